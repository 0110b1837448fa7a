/* Training on a device: values, gradients, moments, masks, the batch and all that a pass keeps stay in its
 * memory, and a step is queued there while the host makes the next batch. The host hears of the loss, one
 * step late. team.h hands over to this where the network's operations have a memory of their own.
 */
#ifndef MIRL_TRAINER_DEVICE_RESIDENT_H
#define MIRL_TRAINER_DEVICE_RESIDENT_H

#include "trainer/data.h"
#include "trainer/network.h"

typedef struct trainer_resident trainer_resident;

/** For batches of `batch` crops, all in one pass. NULL: MIRL_ERROR_MEMORY, or what status() of the device's
 * memory gives. */
trainer_resident *trainer_resident_create(trainer_network *network, int batch, int crop, mirl_error *error);
void trainer_resident_free(trainer_resident *resident);

/** Copies the values there, and the moments and the mask (NULL: as they are). Also after a change of the
 * network's structure. */
void trainer_resident_push(trainer_resident *resident, const float *values, const float *moment1,
                           const float *moment2, const uint8_t *mask);

/** Copies back, after all steps. The device's first failure, or MIRL_ERROR_FORMAT if the last loss is no
 * number; then nothing is copied. */
mirl_status trainer_resident_pull(trainer_resident *resident, float *values, float *moment1, float *moment2,
                                  mirl_error *error);

/** Queues the gradients for this batch, in host memory, as shares of `ranks` batches. Returns the loss of the
 * batch before, which is done by then; of the first, its own. No number: that is what came out, or the device
 * has failed. */
double trainer_resident_gradients(trainer_resident *resident, const float *degraded, const float *clean,
                                  int ranks);

/** Copies the data's images there, so that batches can be made there. MIRL_ERROR_MEMORY if they do not fit,
 * or what reading an image gives. */
mirl_status trainer_resident_images(trainer_resident *resident, trainer_data *data, mirl_error *error);
bool trainer_resident_has_images(const trainer_resident *resident);

/** The same as trainer_resident_gradients() for batch `step` of the data, which is made there. *identity
 * receives what the loss would be if the network changed nothing, of the same batch. MIRL_ERROR_MEMORY. */
mirl_status trainer_resident_gradients_at(trainer_resident *resident, uint64_t step, int ranks, double *loss,
                                          double *identity, mirl_error *error);

/** Queues a step along the gradients, summed over all processes. */
void trainer_resident_step(trainer_resident *resident, const trainer_adamw *adamw);

/** The batch's mean absolute error with the values there. */
double trainer_resident_loss(trainer_resident *resident, const float *degraded, const float *clean);

#endif
