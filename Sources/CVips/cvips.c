#include "cvips.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vips/vips.h>

struct cvips_source_s {
    const void *bytes;
    size_t count;
    cvips_format format;
    VipsImage *stored;    // header only until pixels are asked for
    VipsImage *prepared;  // upright 8-bit RGB; NULL before cvips_source_prepare
    void *profile;        // our copy, because libvips replaces the metadata of `stored` when it decodes
    size_t profile_count;
};

static const char *const loader_names[] = {
    "jpegload_buffer", "pngload_buffer", "webpload_buffer", "gifload_buffer", "tiffload_buffer", "heifload_buffer",
};

// dav1d, which decodes AVIF, prints what it thinks of damaged data to `stderr`, and nobody between it and us turns that
// off. While a HEIF is read, C's `stderr` leads nowhere; file descriptor 2, to which our own tool writes, stays.
static pthread_mutex_t hush_lock = PTHREAD_MUTEX_INITIALIZER;
static int hushed = 0;
static FILE *nowhere = NULL, *loud = NULL;

static void hush(cvips_format format) {
    if (format != CVIPS_HEIF) return;
    pthread_mutex_lock(&hush_lock);
    if (!nowhere) nowhere = fopen("/dev/null", "we");
    if (hushed++ == 0 && nowhere) {
        loud = stderr;
        stderr = nowhere;
    }
    pthread_mutex_unlock(&hush_lock);
}

static void speak(cvips_format format) {
    if (format != CVIPS_HEIF) return;
    pthread_mutex_lock(&hush_lock);
    if (--hushed == 0 && loud) {
        stderr = loud;
        loud = NULL;
    }
    pthread_mutex_unlock(&hush_lock);
}

// Whether the last failure of this thread was for want of memory, as far as the libraries say.
static __thread int32_t lacked_memory;

// Takes a failure down and clears libvips's message.
static void forget_error(void) {
    gchar *message = g_ascii_strdown(vips_error_buffer(), -1);
    lacked_memory = strstr(message, "out of memory") || strstr(message, "insufficient memory")
        || strstr(message, "cannot allocate memory") || strstr(message, "unable to allocate");
    g_free(message);
    vips_error_clear();
}

int32_t cvips_lacked_memory(size_t needed) {
    if (lacked_memory) return 1;
    void *probe = malloc(needed);
    free(probe);
    return probe == NULL;
}

static void ignore_log(const gchar *domain, GLogLevelFlags level, const gchar *message, gpointer data) {}

int32_t cvips_start(void) {
    // The environment would otherwise decide how many threads there are and where large pictures are unpacked.
    if (VIPS_INIT("tihua")) return 1;
    vips_concurrency_set(1);
    vips_cache_set_max(0);
    vips_block_untrusted_set(TRUE);
    g_log_set_handler("VIPS", G_LOG_LEVEL_WARNING | G_LOG_LEVEL_INFO | G_LOG_LEVEL_MESSAGE, ignore_log, NULL);
    return 0;
}

int32_t cvips_can_read(cvips_format format) {
    return vips_type_find("VipsForeignLoad", loader_names[format]) != 0;
}

// memory: unpack the whole picture into memory at once, which turning it needs; else rows come in order.
static VipsImage *open_image(const void *bytes, size_t count, cvips_format format, gboolean memory) {
    VipsImage *image = NULL;
    void *data = (void *)bytes;
    VipsAccess access = memory ? VIPS_ACCESS_RANDOM : VIPS_ACCESS_SEQUENTIAL;
    int status = 1;
    hush(format);
#define CVIPS_LOAD(loader)                                                                                       \
    loader(data, count, &image, "access", access, "memory", memory, "fail_on", VIPS_FAIL_ON_TRUNCATED, NULL)
    switch (format) {
        case CVIPS_JPEG: status = CVIPS_LOAD(vips_jpegload_buffer); break;
        case CVIPS_PNG: status = CVIPS_LOAD(vips_pngload_buffer); break;
        case CVIPS_WEBP: status = CVIPS_LOAD(vips_webpload_buffer); break;
        case CVIPS_GIF: status = CVIPS_LOAD(vips_gifload_buffer); break;
        case CVIPS_TIFF: status = CVIPS_LOAD(vips_tiffload_buffer); break;
        case CVIPS_HEIF: status = CVIPS_LOAD(vips_heifload_buffer); break;
    }
#undef CVIPS_LOAD
    speak(format);
    if (status) {
        forget_error();
        return NULL;
    }
    return image;
}

cvips_source cvips_source_new(const void *bytes, size_t count, cvips_format format) {
    lacked_memory = 0;
    VipsImage *stored = open_image(bytes, count, format, FALSE);
    if (!stored) return NULL;
    cvips_source source = calloc(1, sizeof *source);
    if (!source) {
        g_object_unref(stored);
        return NULL;
    }
    source->bytes = bytes;
    source->count = count;
    source->format = format;
    source->stored = stored;
    return source;
}

int32_t cvips_source_stored_width(cvips_source source) { return vips_image_get_width(source->stored); }
int32_t cvips_source_stored_height(cvips_source source) { return vips_image_get_height(source->stored); }
size_t cvips_source_stored_bytes(cvips_source source) { return VIPS_IMAGE_SIZEOF_IMAGE(source->stored); }

static int flatten_on_white(VipsImage *in, VipsImage **out, double white) {
    VipsArrayDouble *background = vips_array_double_newv(1, white);
    int status = vips_flatten(in, out, "background", background, "max_alpha", white, NULL);
    vips_area_unref(VIPS_AREA(background));
    return status;
}

// Replaces *image by what one operation makes of it, so that a chain of operations owns one image at a time.
#define STEP(...)                     \
    do {                              \
        VipsImage *next = NULL;       \
        if (__VA_ARGS__) return 1;    \
        g_object_unref(*image);       \
        *image = next;                \
    } while (0)

// Takes one reference of *image and leaves one in *image, also when it fails.
static int to_rgb8(VipsImage **image) {
    VipsInterpretation space = vips_image_guess_interpretation(*image);
    if (space == VIPS_INTERPRETATION_CMYK) {
        if (vips_image_get_bands(*image) > 4) STEP(vips_extract_band(*image, &next, 0, "n", 4, NULL));
        // The embedded profile if there is a good one, else the generic one of libvips.
        STEP(vips_icc_transform(
            *image, &next, "srgb", "embedded", TRUE, "input_profile", "cmyk", "depth", 8, NULL));
    } else {
        VipsBandFormat format = vips_image_get_format(*image);
        double white = format == VIPS_FORMAT_UCHAR ? 255 : format == VIPS_FORMAT_USHORT ? 65535 : 0;
        if (white > 0 && vips_image_hasalpha(*image)) STEP(flatten_on_white(*image, &next, white));
        if (space != VIPS_INTERPRETATION_sRGB && vips_colourspace_issupported(*image))
            STEP(vips_colourspace(*image, &next, VIPS_INTERPRETATION_sRGB, NULL));
        if (vips_image_hasalpha(*image)) STEP(flatten_on_white(*image, &next, 255));
    }
    int bands = vips_image_get_bands(*image);
    if (bands == 2 || bands > 3) STEP(vips_extract_band(*image, &next, 0, "n", bands == 2 ? 1 : 3, NULL));
    if (bands < 3) {
        VipsImage *grey[3] = {*image, *image, *image};
        STEP(vips_bandjoin(grey, &next, 3, NULL));
    }
    if (vips_image_get_format(*image) != VIPS_FORMAT_UCHAR) STEP(vips_cast(*image, &next, VIPS_FORMAT_UCHAR, NULL));
    return 0;
}

int32_t cvips_source_prepare(
    cvips_source source, int32_t *width, int32_t *height, const void **profile, size_t *profile_count) {
    VipsImage *image = NULL;
    if (vips_image_get_orientation(source->stored) > 1) {
        VipsImage *whole = open_image(source->bytes, source->count, source->format, TRUE);
        if (!whole) return 1;
        int status = vips_autorot(whole, &image, NULL);
        g_object_unref(whole);
        if (status) {
            forget_error();
            return 1;
        }
    } else {
        image = source->stored;
        g_object_ref(image);
    }
    VipsInterpretation space = vips_image_guess_interpretation(source->stored);
    gboolean colour = space == VIPS_INTERPRETATION_sRGB || space == VIPS_INTERPRETATION_RGB16;
    if (colour && !source->profile && vips_image_get_typeof(source->stored, VIPS_META_ICC_NAME)) {
        const void *found = NULL;
        size_t count = 0;
        if (!vips_image_get_blob(source->stored, VIPS_META_ICC_NAME, &found, &count) && count > 0)
            source->profile = malloc(count);
        if (source->profile) {
            memcpy(source->profile, found, count);
            source->profile_count = count;
        }
    }
    *profile = source->profile;
    *profile_count = source->profile_count;
    if (to_rgb8(&image)) {
        g_object_unref(image);
        forget_error();
        return 1;
    }
    *width = vips_image_get_width(image);
    *height = vips_image_get_height(image);
    if (source->prepared) g_object_unref(source->prepared);
    source->prepared = image;
    return 0;
}

int32_t cvips_source_decode(cvips_source source, void *pixels, size_t count) {
    VipsImage *from = source->prepared;
    if (!from || count != VIPS_IMAGE_SIZEOF_IMAGE(from)) return 1;
    VipsImage *into = vips_image_new_from_memory(
        pixels, count, vips_image_get_width(from), vips_image_get_height(from), 3, VIPS_FORMAT_UCHAR);
    hush(source->format);
    int status = !into || vips_image_write(from, into);
    speak(source->format);
    if (into) g_object_unref(into);
    if (status) forget_error();
    return status ? 1 : 0;
}

void cvips_source_free(cvips_source source) {
    if (!source) return;
    if (source->prepared) g_object_unref(source->prepared);
    g_object_unref(source->stored);
    free(source->profile);
    free(source);
}

void *cvips_encode(
    const void *pixels, int32_t width, int32_t height, cvips_format format, int32_t quality, const void *profile,
    size_t profile_count, size_t *count) {
    size_t size = (size_t)width * (size_t)height * 3;
    VipsImage *raw = vips_image_new_from_memory(pixels, size, width, height, 3, VIPS_FORMAT_UCHAR);
    VipsImage *image = NULL;
    if (!raw || vips_copy(raw, &image, "interpretation", VIPS_INTERPRETATION_sRGB, NULL)) {
        if (raw) g_object_unref(raw);
        forget_error();
        return NULL;
    }
    g_object_unref(raw);
    if (profile) vips_image_set_blob_copy(image, VIPS_META_ICC_NAME, profile, profile_count);
    void *bytes = NULL;
    int status = 1;
    switch (format) {
        case CVIPS_JPEG:
            status = vips_jpegsave_buffer(image, &bytes, count, "Q", quality, "optimize_coding", TRUE, NULL);
            break;
        case CVIPS_PNG: status = vips_pngsave_buffer(image, &bytes, count, NULL); break;
        case CVIPS_WEBP: status = vips_webpsave_buffer(image, &bytes, count, "Q", quality, NULL); break;
        default: break;
    }
    g_object_unref(image);
    if (status) {
        forget_error();
        g_free(bytes);
        return NULL;
    }
    return bytes;
}

void cvips_bytes_free(void *bytes) { g_free(bytes); }

size_t cvips_live_bytes(void) { return vips_tracked_get_mem(); }
