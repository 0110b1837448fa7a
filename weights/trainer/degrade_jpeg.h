/* What is compressed for a patch: the same on the host and in a device's kernels. */
#ifndef MIRL_TRAINER_DEGRADE_JPEG_H
#define MIRL_TRAINER_DEGRADE_JPEG_H

#include "trainer/degrade.h"
#include "trainer/inline.h"

enum { TRAINER_JPEG_GRID = 16 }; ///< pixels a side of a 4:2:0 block

/** Start and length of what is encoded for first..first+length-1 of a side of `whole` pixels, so that a grid
 * line lies `shift` pixels before `first` and the last block is whole, as far as the picture reaches. */
TRAINER_INLINE int trainer_jpeg_widen(int first, int length, int whole, int shift, int *start) {
    *start = first > shift ? first - shift : 0;
    int blocks = (first + length - *start + TRAINER_JPEG_GRID - 1) / TRAINER_JPEG_GRID;
    int end = *start + blocks * TRAINER_JPEG_GRID;
    return (end < whole ? end : whole) - *start;
}

/** The part of the picture that is compressed for a rectangle of it, less than 2 * TRAINER_JPEG_GRID pixels
 * wider and higher. */
TRAINER_INLINE trainer_rectangle trainer_jpeg_region(const trainer_damage *damage,
                                                     const trainer_picture *picture,
                                                     trainer_rectangle rectangle) {
    trainer_random random = damage->random;
    int shift_x = (int)trainer_random_below(&random, TRAINER_JPEG_GRID);
    int shift_y = (int)trainer_random_below(&random, TRAINER_JPEG_GRID);
    trainer_rectangle region;
    region.width = trainer_jpeg_widen(rectangle.x, rectangle.width, picture->width, shift_x, &region.x);
    region.height = trainer_jpeg_widen(rectangle.y, rectangle.height, picture->height, shift_y, &region.y);
    return region;
}

#endif
