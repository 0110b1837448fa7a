/* A run's result as weights files.
 */
#ifndef MIRL_TRAINER_WINNER_H
#define MIRL_TRAINER_WINNER_H

#include "recipe.h"
#include "team.h"
#include "weights/weights.h"

/** Writes a network's values (all layers one after the other) with what the recipe says of them. */
mirl_status trainer_weights_write(const char *path, const mirl_graph *graph, const float *values,
                                  mirl_type type, const trainer_recipe *recipe, int round, mirl_error *error);

/** Reads the values of a file whose network must be the graph's. MIRL_ERROR_FILE, _FORMAT, _ARGUMENT (another
 * network) or _MEMORY. */
mirl_status trainer_weights_read(const char *path, const mirl_graph *graph, float *values, mirl_error *error);

/** MIRL_ERROR_ARGUMENT with a sentence about `path`, which holds `given`, unless that is `wanted`; or
 * _MEMORY. */
mirl_status trainer_same_network(const mirl_config *wanted, const mirl_config *given, const char *path,
                                 mirl_error *error);

typedef struct trainer_winner {
    const mirl_graph *graph;
    const trainer_recipe *recipe;
    const float *values;
    const uint8_t *mask;
    int round;
    const char *folder;
    size_t batch_floats; ///< of a batch's degraded or clean patches
    /* Filled in: the mean absolute errors on so many fresh batches, and quantized to i8. */
    double loss, loss_i8;
    int batches;
} trainer_winner;

/** Writes <folder>/<name>.safetensors (f32) and <name>-i8.safetensors, and measures both on the batches from
 * `step` on. Changes the network's structure and the team's values. */
mirl_status trainer_winner_write(trainer_winner *winner, trainer_network *network, trainer_team *team,
                                 trainer_data *data, uint64_t step, mirl_error *error);

#endif
