#include "pictures.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check(ExceptionInfo *exception) {
    if (exception->severity >= ErrorException)
        fail_msg("ImageMagick: %s", exception->reason);
    DestroyExceptionInfo(exception);
}

static Image *constitute(size_t width, size_t height, const char *map, float *samples) {
    ExceptionInfo *exception = AcquireExceptionInfo();
    Image *image = ConstituteImage(width, height, map, FloatPixel, samples, exception);
    check(exception);
    assert_non_null(image);
    free(samples);
    return image;
}

static double uniform(unsigned *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return ((double)(*seed >> 8) + 0.5) / (1 << 24);
}

Image *picture_make(size_t width, size_t height, const char *map, float range) {
    size_t channels = strlen(map);
    float *samples = malloc(width * height * channels * sizeof *samples), *at = samples;
    unsigned seed = 7;

    assert_non_null(samples);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++)
            for (size_t c = 0; c < channels; c++) {
                double wave = 0.5 + 0.35 * sin(0.21 * (double)x * (double)(c + 1) + 0.13 * (double)y);
                *at++ = range * (float)(wave + 0.2 * (uniform(&seed) - 0.5));
            }
    return constitute(width, height, map, samples);
}

Image *picture_smooth(size_t width, size_t height, float noise) {
    float *samples = malloc(width * height * 3 * sizeof *samples), *at = samples;
    unsigned seed = 11;

    assert_non_null(samples);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++)
            for (int c = 0; c < 3; c++) {
                double wave = 0.5 + 0.3 * sin(0.05 * (double)x + c) * cos(0.04 * (double)y);
                double gauss = sqrt(-2 * log(uniform(&seed))) * cos(6.283185307179586 * uniform(&seed));
                *at++ = (float)(wave + noise * gauss);
            }
    return constitute(width, height, "RGB", samples);
}

void picture_write(Image *image, const char *path, size_t depth) {
    ImageInfo *info = AcquireImageInfo();
    ExceptionInfo *exception = AcquireExceptionInfo();

    for (Image *frame = image; frame; frame = GetNextImageInList(frame)) {
        frame->depth = depth;
        snprintf(frame->filename, sizeof frame->filename, "%s", path);
    }
    if (depth == 32)
        SetImageOption(info, "quantum:format", "floating-point");
    assert_true(WriteImages(info, image, path, exception)); /* may say something of tags all the same */
    DestroyExceptionInfo(exception);
    DestroyImageInfo(info);
    DestroyImageList(image);
}

Image *picture_read(const char *path) {
    ImageInfo *info = AcquireImageInfo();
    ExceptionInfo *exception = AcquireExceptionInfo();

    snprintf(info->filename, sizeof info->filename, "%s", path);
    Image *image = ReadImage(info, exception);
    check(exception);
    assert_non_null(image);
    DestroyImageInfo(info);
    return image;
}

void picture_samples(const Image *image, char channel, float *samples) {
    const char map[] = {channel, '\0'};
    ExceptionInfo *exception = AcquireExceptionInfo();
    assert_true(
        ExportImagePixels(image, 0, 0, image->columns, image->rows, map, FloatPixel, samples, exception));
    check(exception);
}

double picture_difference(const Image *a, const Image *b, char channel) {
    size_t count = a->columns * a->rows;
    float *x = malloc(count * sizeof *x), *y = malloc(count * sizeof *y);
    double worst = 0;

    assert_int_equal(a->columns, b->columns);
    assert_int_equal(a->rows, b->rows);
    picture_samples(a, channel, x);
    picture_samples(b, channel, y);
    for (size_t i = 0; i < count; i++)
        worst = fmax(worst, fabs((double)x[i] - (double)y[i]));
    free(x);
    free(y);
    return worst;
}

void picture_set_property(Image *image, const char *key, const char *value) {
    ExceptionInfo *exception = AcquireExceptionInfo();
    assert_true(magick_set_property(image, key, value, exception));
    check(exception);
}

void picture_set_profile(Image *image, const char *name, const void *data, size_t size) {
    ExceptionInfo *exception = AcquireExceptionInfo();
    StringInfo *profile = AcquireStringInfo(size);
    SetStringInfoDatum(profile, data);
    assert_true(magick_set_profile(image, name, profile, exception));
    check(exception);
    DestroyStringInfo(profile);
}
