/* One training step on all threads (and processes): each thread runs its share of the batch with its own
 * pass and its own gradients, which are then summed in the order of the threads. The same values, batch and
 * number of threads give the same bits.
 *
 * Where the network's operations run on a device, it takes the whole batch at once, keeps the values and
 * moments to itself between push and pull, and lets the host run ahead (device/resident.h).
 */
#ifndef MIRL_TRAINER_TEAM_H
#define MIRL_TRAINER_TEAM_H

#include "data.h"
#include "network.h"

typedef struct trainer_team trainer_team;

/** threads 0: as many as OpenMP offers; never more than batch. group: samples that a thread runs at once.
 * NULL: MIRL_ERROR_MEMORY. */
trainer_team *trainer_team_create(trainer_network *network, int threads, int batch, int crop, int group,
                                  mirl_error *error);
void trainer_team_free(trainer_team *team);

/** Takes over new values (also after a change of the network's structure). */
void trainer_team_values(trainer_team *team, const float *values);

/** Takes over new values, moments and a new mask, before steps. On a device they are copied, and what steps
 * change is in the host's arrays only after trainer_team_pull(), which fails if the device has
 * failed or the last loss is no number. */
void trainer_team_push(trainer_team *team, const float *values, const float *moment1, const float *moment2,
                       const uint8_t *mask);
mirl_status trainer_team_pull(trainer_team *team, float *values, float *moment1, float *moment2,
                              mirl_error *error);

/** Computes this process's part of the loss and the gradients, both as shares of the batches of all
 * `ranks` processes together. degraded, clean: [batch][3][crop][crop]. On a device the loss is that of the
 * batch before, but for the first. */
double trainer_team_gradients(trainer_team *team, const float *values, const float *degraded,
                              const float *clean, int ranks);

/** On a device: copies the data's images there, so that it makes its batches itself. Otherwise, and if they
 * do not fit (MIRL_ERROR_MEMORY), the batches are to be given. Other errors: an image cannot be read. */
mirl_status trainer_team_images(trainer_team *team, trainer_data *data, mirl_error *error);
bool trainer_team_has_images(const trainer_team *team);

/** The same as trainer_team_gradients() for batch `step` of the images that the team has. *identity receives
 * what the loss would be if the network changed nothing, of the same batch. MIRL_ERROR_MEMORY. */
mirl_status trainer_team_gradients_at(trainer_team *team, uint64_t step, int ranks, double *loss,
                                      double *identity, mirl_error *error);

/** Sums the gradients over threads and processes, steps, and takes over the values. */
void trainer_team_step(trainer_team *team, const trainer_adamw *adamw, float *values, float *moment1,
                       float *moment2, const uint8_t *mask);

/** The batch's mean absolute error with the values taken over, without gradients. */
double trainer_team_loss(trainer_team *team, const float *values, const float *degraded, const float *clean);

/** How many batches the loss is behind. */
int trainer_team_lag(const trainer_team *team);

int trainer_team_threads(const trainer_team *team);

#endif
