/* The kinds of damage, one file each; degrade.h is the way to them. All write rectangle.width *
 * rectangle.height * 3 bytes to rgb and fail with MIRL_ERROR_MEMORY only. */
#ifndef MIRL_TRAINER_DEGRADE_KINDS_H
#define MIRL_TRAINER_DEGRADE_KINDS_H

#include "trainer/picture.h"

mirl_status trainer_degrade_rain(const trainer_damage *damage, const trainer_picture *picture,
                                 trainer_rectangle rectangle, uint8_t *rgb, mirl_error *error);
mirl_status trainer_degrade_haze(const trainer_damage *damage, const trainer_picture *picture,
                                 trainer_rectangle rectangle, uint8_t *rgb, mirl_error *error);
mirl_status trainer_degrade_jpeg(const trainer_damage *damage, const trainer_picture *picture,
                                 trainer_rectangle rectangle, uint8_t *rgb, mirl_error *error);

#endif
