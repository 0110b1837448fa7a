/* Whole images through a network on a device, for scoring.
 */
#ifndef MIRL_TRAINER_DEVICE_RESTORER_H
#define MIRL_TRAINER_DEVICE_RESTORER_H

#include "trainer/ops.h"

typedef struct trainer_restorer trainer_restorer;

/** Loads a weights file to where the operations run, which must be a device. NULL: as mirl_model_open(), or
 * MIRL_ERROR_MEMORY. */
trainer_restorer *trainer_restorer_open(const char *weights, const trainer_ops *ops, mirl_error *error);
void trainer_restorer_close(trainer_restorer *restorer);

/** Restores planes [3][height][width], sides multiples of 8, as trainer_eval_options' `restore` (user: the
 * restorer). Not clipped. Threads take turns. MIRL_ERROR_MEMORY, or the device's failure. */
mirl_status trainer_restorer_run(void *user, const float *input, float *restored, size_t width, size_t height,
                                 mirl_error *error);

#endif
