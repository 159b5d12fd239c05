// A plain C face of fontconfig and FreeType: find an installed typeface by name, draw single characters from it.
// Every face belongs to one thread at a time.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cfont_face_s *cfont_face;

// One drawn character: rows of coverage 0...255, and where its top left corner lies relative to the pen, y upwards.
typedef struct {
    uint8_t *coverage;  // freed with cfont_glyph_free; NULL for a blank
    int32_t width;
    int32_t height;
    int32_t left;
    int32_t top;
    float advance;  // pixels
} cfont_glyph;

// Finds an installed scalable typeface: by family name if it is not NULL (case and blanks do not matter), and with the
// character if it is not 0. Writes its family name, file and face index; returns 1 if there is one, else 0.
int32_t cfont_find(
    const char *family, uint32_t character, char *name, size_t name_capacity, char *file, size_t file_capacity,
    int32_t *index);

// Opens a face; NULL if FreeType cannot read it or it has no outlines.
cfont_face cfont_face_new(const char *file, int32_t index);
void cfont_face_free(cfont_face face);

// 1 if the face has the character.
int32_t cfont_face_has(cfont_face face, uint32_t character);

// Which part of a character is drawn: the contours that lie wholly between `from` and `to` (shares of the em, from the
// left), moved by `shift` ems and then stretched from the left edge of the em by `stretch`.
typedef struct {
    float from;
    float to;
    float shift;
    float stretch;
} cfont_part;

// Draws a character, or the part of it where that is not NULL, with an em of `size` pixels, its strokes made wider by
// `weight` pixels. 0, or 1 if it cannot.
int32_t cfont_face_draw(
    cfont_face face, uint32_t character, float size, float weight, const cfont_part *part, cfont_glyph *glyph);
void cfont_glyph_free(cfont_glyph *glyph);

// Height of the ideographic em box above the baseline, as a share of the em.
float cfont_face_ascent(cfont_face face);

#ifdef __cplusplus
}
#endif
