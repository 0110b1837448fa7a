/* MagickCore (6.9 or 7) behind four functions. */
#include "trainer/photo.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#if __has_include(<MagickCore/MagickCore.h>)
#include <MagickCore/MagickCore.h>
#else
#include <magick/MagickCore.h>
#endif

#include "error.h"
#include "weights/replace.h"

enum { MAX_SIDE = 1 << 15 };
static const long max_file = 1L << 30;

static void start_magick(void) {
    MagickCoreGenesis(NULL, MagickFalse);
    SetMagickResourceLimit(ThreadResource, 1); // the callers have threads of their own
}

static void need_magick(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_magick);
}

bool trainer_photo_is_named(const char *name) {
    static const char *const endings[] = {".jpg", ".jpeg", ".png", ".bmp"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof endings[0]; i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    return false;
}

/** *bytes are to be freed with free(). */
static mirl_status read_file(const char *path, uint8_t **bytes, size_t *size, mirl_error *error) {
    FILE *file = fopen(path, "rb");
    if (!file)
        return mirl_fail(error, MIRL_ERROR_FILE, "cannot open %s: %s", path, strerror(errno));
    mirl_status status = MIRL_OK;
    long length = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    *bytes = NULL;
    *size = (size_t)length;
    if (length < 0 || length > max_file || fseek(file, 0, SEEK_SET) != 0)
        status = mirl_fail(error, MIRL_ERROR_FILE, "%s is no file, or larger than 1 GiB", path);
    else if (!(*bytes = malloc(*size + 1)))
        status = mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for the %zu bytes of %s", *size, path);
    else if (fread(*bytes, 1, *size, file) != *size)
        status = mirl_fail(error, MIRL_ERROR_FILE, "cannot read %s: %s", path, strerror(errno));
    fclose(file);
    if (status != MIRL_OK)
        free(*bytes);
    return status;
}

/** MagickCore's name of the format, or NULL. Only these are let through to MagickCore, which would also obey
 * files that name others or run programs. */
static const char *format_of(const uint8_t *bytes, size_t size) {
    if (size > 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0)
        return "JPEG";
    if (size > 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0)
        return "PNG";
    if (size > 2 && memcmp(bytes, "BM", 2) == 0)
        return "BMP";
    return NULL;
}

typedef Image *(*blob_reader)(const ImageInfo *, const void *, const size_t, ExceptionInfo *);

/** What `reader` makes of the bytes: an image to be freed with DestroyImageList(). */
static mirl_status decode(blob_reader reader, const char *path, const uint8_t *bytes, size_t size,
                          Image **image, mirl_error *error) {
    const char *format = format_of(bytes, size);
    if (!format)
        return mirl_fail(error, MIRL_ERROR_FORMAT, "%s is not a JPEG, PNG or BMP image", path);
    ImageInfo *info = CloneImageInfo(NULL);
    ExceptionInfo *exception = AcquireExceptionInfo();
    snprintf(info->magick, sizeof info->magick, "%s", format);
    mirl_status status = MIRL_OK;
    *image = reader(info, bytes, size, exception);
    if (!*image || exception->severity >= ErrorException)
        status = mirl_fail(error, MIRL_ERROR_FORMAT, "%s cannot be decoded: %s", path,
                           exception->reason ? exception->reason : "no image in it");
    else if ((*image)->columns > MAX_SIDE || (*image)->rows > MAX_SIDE)
        status = mirl_fail(error, MIRL_ERROR_FORMAT, "%s is %zux%zu pixels; at most %d a side are read", path,
                           (size_t)(*image)->columns, (size_t)(*image)->rows, MAX_SIDE);
    if (status != MIRL_OK && *image)
        DestroyImageList(*image);
    DestroyExceptionInfo(exception);
    DestroyImageInfo(info);
    return status;
}

static mirl_status read_with(blob_reader reader, const char *path, Image **image, mirl_error *error) {
    need_magick();
    uint8_t *bytes = NULL;
    size_t size = 0;
    mirl_status status = read_file(path, &bytes, &size, error);
    if (status != MIRL_OK)
        return status;
    status = decode(reader, path, bytes, size, image, error);
    free(bytes);
    return status;
}

static bool to_srgb(Image *image, ExceptionInfo *exception) {
    if (image->colorspace == sRGBColorspace || image->colorspace == GRAYColorspace)
        return true;
#if MagickLibVersion >= 0x700
    return TransformImageColorspace(image, sRGBColorspace, exception) != MagickFalse;
#else
    (void)exception;
    return TransformImageColorspace(image, sRGBColorspace) != MagickFalse;
#endif
}

mirl_status trainer_photo_read(const char *path, trainer_picture *picture, mirl_error *error) {
    Image *image;
    mirl_status status = read_with(BlobToImage, path, &image, error);
    if (status != MIRL_OK)
        return status;
    picture->width = (int)image->columns;
    picture->height = (int)image->rows;
    picture->rgb = malloc((size_t)image->columns * image->rows * 3);
    ExceptionInfo *exception = AcquireExceptionInfo();
    if (!picture->rgb || !to_srgb(image, exception) ||
        !ExportImagePixels(image, 0, 0, image->columns, image->rows, "RGB", CharPixel, picture->rgb,
                           exception)) {
        free(picture->rgb);
        picture->rgb = NULL;
        status = mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for the %dx%d pixels of %s", picture->width,
                           picture->height, path);
    }
    DestroyExceptionInfo(exception);
    DestroyImageList(image);
    return status;
}

mirl_status trainer_photo_size(const char *path, int *width, int *height, mirl_error *error) {
    Image *image;
    mirl_status status = read_with(PingBlob, path, &image, error);
    if (status != MIRL_OK)
        return status;
    *width = (int)image->columns;
    *height = (int)image->rows;
    DestroyImageList(image);
    return MIRL_OK;
}

uint8_t *trainer_photo_png(const trainer_picture *picture, size_t *size, mirl_error *error) {
    need_magick();
    ExceptionInfo *exception = AcquireExceptionInfo();
    ImageInfo *info = CloneImageInfo(NULL);
    Image *image = ConstituteImage((size_t)picture->width, (size_t)picture->height, "RGB", CharPixel,
                                   picture->rgb, exception);
    uint8_t *png = NULL;
    if (image) {
        // PNG24 keeps grey pictures RGB; no dates, so that the same picture gives the same bytes.
        snprintf(info->magick, sizeof info->magick, "PNG24");
        snprintf(image->magick, sizeof image->magick, "PNG24");
        SetImageOption(info, "png:exclude-chunk", "all");
        void *blob = ImageToBlob(info, image, size, exception);
        if (blob && (png = malloc(*size)))
            memcpy(png, blob, *size);
        RelinquishMagickMemory(blob);
        DestroyImage(image);
    }
    if (!png)
        mirl_fail(error, MIRL_ERROR_MEMORY, "no memory to write %dx%d pixels as PNG", picture->width,
                  picture->height);
    DestroyImageInfo(info);
    DestroyExceptionInfo(exception);
    return png;
}

mirl_status trainer_photo_write(const char *path, const trainer_picture *picture, mirl_error *error) {
    size_t size;
    uint8_t *png = trainer_photo_png(picture, &size, error);
    if (!png)
        return MIRL_ERROR_MEMORY;
    mirl_replacement *file = mirl_replace_begin(path, error);
    if (file)
        mirl_replace_append(file, png, size);
    free(png);
    return file ? mirl_replace_commit(file, error) : MIRL_ERROR_FILE;
}
