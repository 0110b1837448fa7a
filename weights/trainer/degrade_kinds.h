/* The kinds of damage, one file each; degrade.h is the way to them. All write rectangle.width *
 * rectangle.height * 3 bytes to rgb and fail with MIRL_ERROR_MEMORY only. */
#ifndef MIRL_TRAINER_DEGRADE_KINDS_H
#define MIRL_TRAINER_DEGRADE_KINDS_H

#include "trainer/degrade.h"

mirl_status trainer_degrade_rain(const trainer_damage *damage, const trainer_picture *picture,
                                 trainer_rectangle rectangle, uint8_t *rgb, mirl_error *error);
mirl_status trainer_degrade_haze(const trainer_damage *damage, const trainer_picture *picture,
                                 trainer_rectangle rectangle, uint8_t *rgb, mirl_error *error);
mirl_status trainer_degrade_jpeg(const trainer_damage *damage, const trainer_picture *picture,
                                 trainer_rectangle rectangle, uint8_t *rgb, mirl_error *error);

/** The bytes of the picture's row y from column x on. */
static inline const uint8_t *trainer_picture_at(const trainer_picture *picture, int x, int y) {
    return picture->rgb + ((size_t)y * (size_t)picture->width + (size_t)x) * 3;
}

/** A value in 0..1 as the nearest byte; values outside are clipped. */
static inline uint8_t trainer_to_byte(float value) {
    return value <= 0 ? 0 : value >= 1 ? 255 : (uint8_t)(value * 255 + 0.5f);
}

#endif
