#include "cfont.h"

#include <fontconfig/fontconfig.h>
#include <ft2build.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include FT_FREETYPE_H
#include FT_OUTLINE_H

struct cfont_face_s {
    FT_Library library;
    FT_Face face;
};

static int32_t copy(const FcChar8 *from, char *to, size_t capacity) {
    size_t length = strlen((const char *)from);
    if (length >= capacity) return 0;
    memcpy(to, from, length + 1);
    return 1;
}

// How far a face is from the upright regular one of its family; fontconfig calls regular 80.
static int distance_from_regular(FcPattern *font) {
    int weight = FC_WEIGHT_REGULAR, slant = FC_SLANT_ROMAN;
    FcPatternGetInteger(font, FC_WEIGHT, 0, &weight);
    FcPatternGetInteger(font, FC_SLANT, 0, &slant);
    return abs(weight - FC_WEIGHT_REGULAR) + slant;
}

static int has_character(FcPattern *font, uint32_t character) {
    FcCharSet *characters = NULL;
    return character == 0 || (FcPatternGetCharSet(font, FC_CHARSET, 0, &characters) == FcResultMatch &&
                              FcCharSetHasChar(characters, character));
}

int32_t cfont_find(
    const char *family, uint32_t character, char *name, size_t name_capacity, char *file, size_t file_capacity,
    int32_t *index) {
    FcPattern *wanted = FcPatternCreate();
    FcObjectSet *fields =
        FcObjectSetBuild(FC_FAMILY, FC_FILE, FC_INDEX, FC_CHARSET, FC_WEIGHT, FC_SLANT, (char *)NULL);
    FcFontSet *fonts = NULL;
    if (wanted && fields) {
        if (family) FcPatternAddString(wanted, FC_FAMILY, (const FcChar8 *)family);
        FcPatternAddBool(wanted, FC_SCALABLE, FcTrue);
        FcPatternAddBool(wanted, FC_OUTLINE, FcTrue);
        fonts = FcFontList(NULL, wanted, fields);
    }
    FcPattern *best = NULL;
    for (int i = 0; fonts && i < fonts->nfont; i++) {
        FcPattern *font = fonts->fonts[i];
        if (!has_character(font, character)) continue;
        if (!best || distance_from_regular(font) < distance_from_regular(best)) best = font;
    }
    FcChar8 *best_file = NULL, *best_name = NULL;
    int best_index = 0;
    int32_t found = best && FcPatternGetString(best, FC_FILE, 0, &best_file) == FcResultMatch &&
                    FcPatternGetString(best, FC_FAMILY, 0, &best_name) == FcResultMatch &&
                    copy(best_file, file, file_capacity) && copy(best_name, name, name_capacity);
    if (found) {
        FcPatternGetInteger(best, FC_INDEX, 0, &best_index);
        *index = best_index;
    }
    if (fonts) FcFontSetDestroy(fonts);
    if (fields) FcObjectSetDestroy(fields);
    if (wanted) FcPatternDestroy(wanted);
    return found;
}

cfont_face cfont_face_new(const char *file, int32_t index) {
    cfont_face face = calloc(1, sizeof *face);
    if (!face) return NULL;
    if (FT_Init_FreeType(&face->library)) {
        free(face);
        return NULL;
    }
    if (FT_New_Face(face->library, file, index, &face->face) || !FT_IS_SCALABLE(face->face)) {
        cfont_face_free(face);
        return NULL;
    }
    return face;
}

void cfont_face_free(cfont_face face) {
    if (!face) return;
    if (face->face) FT_Done_Face(face->face);
    FT_Done_FreeType(face->library);
    free(face);
}

int32_t cfont_face_has(cfont_face face, uint32_t character) {
    return FT_Get_Char_Index(face->face, character) != 0;
}

float cfont_face_ascent(cfont_face face) {
    float up = face->face->ascender, down = -face->face->descender;
    return up + down > 0 ? up / (up + down) : 0.86f;
}

// Leaves only the contours of the part in the outline; 0 if there are none.
static int cut(FT_Outline *outline, const cfont_part *part, float size) {
    FT_Pos from = (FT_Pos)lroundf(part->from * size * 64), to = (FT_Pos)lroundf(part->to * size * 64);
    int contours = 0, points = 0, start = 0;
    for (int i = 0; i < outline->n_contours; i++) {
        int end = outline->contours[i] + 1, inside = 1;
        for (int k = start; k < end; k++)
            if (outline->points[k].x < from || outline->points[k].x > to) inside = 0;
        if (inside) {
            memmove(outline->points + points, outline->points + start, (size_t)(end - start) * sizeof *outline->points);
            memmove(outline->tags + points, outline->tags + start, (size_t)(end - start) * sizeof *outline->tags);
            points += end - start;
            outline->contours[contours++] = (short)(points - 1);
        }
        start = end;
    }
    outline->n_contours = (short)contours;
    outline->n_points = (short)points;
    FT_Outline_Translate(outline, (FT_Pos)lroundf(part->shift * size * 64), 0);
    FT_Matrix stretched = {(FT_Fixed)lroundf(part->stretch * 65536), 0, 0, 65536};
    FT_Outline_Transform(outline, &stretched);
    return contours;
}

int32_t cfont_face_draw(
    cfont_face face, uint32_t character, float size, float weight, const cfont_part *part, cfont_glyph *glyph) {
    memset(glyph, 0, sizeof *glyph);
    FT_UInt number = FT_Get_Char_Index(face->face, character);
    if (number == 0 || !(size >= 1 && size <= 4096)) return 1;
    if (FT_Set_Char_Size(face->face, 0, (FT_F26Dot6)lroundf(size * 64), 72, 72)) return 1;
    if (FT_Load_Glyph(face->face, number, FT_LOAD_NO_HINTING | FT_LOAD_NO_BITMAP)) return 1;
    FT_GlyphSlot slot = face->face->glyph;
    if (slot->format != FT_GLYPH_FORMAT_OUTLINE) return 1;
    if (part && !cut(&slot->outline, part, size)) return 1;
    FT_Pos strength = (FT_Pos)lroundf(weight * 64);
    if (strength != 0) {
        FT_Outline_Embolden(&slot->outline, strength);
        // FreeType grows the strokes to the right and up; the middle stays where it was.
        FT_Outline_Translate(&slot->outline, -strength / 2, -strength / 2);
    }
    if (FT_Render_Glyph(slot, FT_RENDER_MODE_NORMAL)) return 1;
    FT_Bitmap *bitmap = &slot->bitmap;
    glyph->width = (int32_t)bitmap->width;
    glyph->height = (int32_t)bitmap->rows;
    glyph->left = slot->bitmap_left;
    glyph->top = slot->bitmap_top;
    glyph->advance = (float)slot->linearHoriAdvance / 65536.0f;
    if (bitmap->width == 0 || bitmap->rows == 0) return 0;
    glyph->coverage = malloc((size_t)bitmap->width * bitmap->rows);
    if (!glyph->coverage) return 1;
    for (unsigned row = 0; row < bitmap->rows; row++)
        memcpy(glyph->coverage + (size_t)row * bitmap->width, bitmap->buffer + (long)row * bitmap->pitch, bitmap->width);
    return 0;
}

void cfont_glyph_free(cfont_glyph *glyph) {
    free(glyph->coverage);
    glyph->coverage = NULL;
}
