/* Parts of pictures, and pictures as planes of floats. */
#ifndef MIRL_TRAINER_PICTURE_H
#define MIRL_TRAINER_PICTURE_H

#include "trainer/degrade.h"
#include "trainer/inline.h"

/** The picture's pixel (x, y). */
TRAINER_INLINE const uint8_t *trainer_picture_at(const trainer_picture *picture, int x, int y) {
    return picture->rgb + ((size_t)y * (size_t)picture->width + (size_t)x) * 3;
}

/** Copies a rectangle of the picture: rectangle.width * rectangle.height * 3 bytes. */
void trainer_picture_cut(const trainer_picture *picture, trainer_rectangle rectangle, uint8_t *rgb);

/** Interleaved bytes to planes [3][pixels] of byte / 255, and back: clipped to 0..1 and rounded. */
void trainer_picture_to_planes(const uint8_t *rgb, size_t pixels, float *planes);
void trainer_picture_from_planes(const float *planes, size_t pixels, uint8_t *rgb);

/** A value in 0..1 as the nearest byte; values outside are clipped. */
TRAINER_INLINE uint8_t trainer_to_byte(float value) {
    return value <= 0 ? 0 : value >= 1 ? 255 : (uint8_t)(value * 255 + 0.5f);
}

/** A byte with an error, clipped to 0..255 and truncated. */
TRAINER_INLINE uint8_t trainer_noisy_byte(uint8_t clean, double error) {
    double value = clean + error;
    return value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)value;
}

#endif
