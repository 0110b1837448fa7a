/* Pictures made for tests, written and read with the ImageMagick that the program uses. */
#ifndef MIRL_TEST_PICTURES_H
#define MIRL_TEST_PICTURES_H

#include "magick.h"

/** A smooth coloured pattern with some noise; `map` is "RGB", "RGBA", "I", "CMYK" or a mix of such letters.
 * Samples are 0..1 scaled by `range`. */
Image *picture_make(size_t width, size_t height, const char *map, float range);

/** Soft shapes in RGB, with Gaussian noise of standard deviation `noise`. */
Image *picture_smooth(size_t width, size_t height, float noise);

/** Writes and destroys it. `depth` is 8, 16 or 32 (float). */
void picture_write(Image *image, const char *path, size_t depth);

/** Every frame of a file. */
Image *picture_read(const char *path);

/** One channel's samples, 0..1, row by row. */
void picture_samples(const Image *image, char channel, float *samples);

/** The largest difference of a channel, 'R', 'G', 'B', 'C', 'M', 'Y', 'K', 'A', between two pictures of one
 * size. */
double picture_difference(const Image *a, const Image *b, char channel);

void picture_set_property(Image *image, const char *key, const char *value);
void picture_set_profile(Image *image, const char *name, const void *data, size_t size);

#endif
