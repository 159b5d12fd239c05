// A plain C face of libvips for decoding and encoding 8-bit RGB pictures: libvips itself is variadic, which Swift
// cannot call. Every function may be called from any thread. No function reads or writes a file.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    CVIPS_JPEG = 0,
    CVIPS_PNG,
    CVIPS_WEBP,
    CVIPS_GIF,
    CVIPS_TIFF,
    CVIPS_HEIF,
} cvips_format;

// A picture whose header has been read and whose pixels have not.
typedef struct cvips_source_s *cvips_source;

// Starts libvips once for the process: no operation cache, one thread per picture, no untrusted loaders, no warnings
// on stderr. Returns 0, or 1 where libvips cannot start.
int32_t cvips_start(void);

// 1 if this libvips can read the format.
int32_t cvips_can_read(cvips_format format);

// Whether the last failure on this thread was for want of memory, or `needed` bytes are not to be had: then nothing is
// known of the data.
int32_t cvips_lacked_memory(size_t needed);

// Reads the header from bytes[0 ..< count], which must stay valid until cvips_source_free. NULL if it is damaged.
// The loader is named by the format: libvips never guesses.
cvips_source cvips_source_new(const void *bytes, size_t count, cvips_format format);

// Size as stored, before the orientation is applied.
int32_t cvips_source_stored_width(cvips_source source);
int32_t cvips_source_stored_height(cvips_source source);
// Bytes of all pixels as stored: 16 bits a channel take twice as long to unpack as 8.
size_t cvips_source_stored_bytes(cvips_source source);

// Sets up orientation, colour and alpha; nothing is decoded yet. 0, or 1 if that is impossible.
// width and height are those of the upright picture; profile is the embedded RGB profile, borrowed from the source, or
// NULL.
int32_t cvips_source_prepare(
    cvips_source source, int32_t *width, int32_t *height, const void **profile, size_t *profile_count);

// Decodes into pixels[0 ..< height * width * 3], rows of RGB. 0, or 1 if the data is damaged or cut off.
int32_t cvips_source_decode(cvips_source source, void *pixels, size_t count);

void cvips_source_free(cvips_source source);

// Encodes rows of RGB as JPEG, PNG or WebP; quality 1...100 is ignored by PNG. The result is freed with
// cvips_bytes_free; NULL if encoding fails.
void *cvips_encode(
    const void *pixels, int32_t width, int32_t height, cvips_format format, int32_t quality, const void *profile,
    size_t profile_count, size_t *count);
void cvips_bytes_free(void *bytes);

// Bytes of pixel memory that libvips holds now, for tests of leaks.
size_t cvips_live_bytes(void);

#ifdef __cplusplus
}
#endif
