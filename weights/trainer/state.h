/* Everything that a run of the trainer is, between two steps, and the file that holds it: a checkpoint.
 */
#ifndef MIRL_TRAINER_STATE_H
#define MIRL_TRAINER_STATE_H

#include "trainer/recipe.h"

/** The arrays hold all parameters of the graph, one layer after the other. */
typedef struct trainer_state {
    size_t parameters;
    float *values;            ///< being trained; masked ones are zero
    float *origin;            ///< what a round goes back to
    float *moment1, *moment2; ///< AdamW's
    uint8_t *mask;
    float *good; ///< the values after the last round that learned
    uint8_t *good_mask;

    int round;           ///< 0..rounds
    int good_round;      ///< -1: none yet
    uint64_t step;       ///< steps done in this round
    uint64_t total_step; ///< steps done in all rounds: the number of the next batch
    double elapsed;      ///< seconds of training in this round
    double total_elapsed;
    double loss_sum, identity_sum; ///< over the last quarter of the round, for whether it learns
    uint64_t judged;               ///< steps in these sums
    double log_loss, log_identity; ///< sums since the log's last line
    uint64_t log_steps;
    bool origin_taken; ///< the rewind point is behind
    bool finished;
} trainer_state;

/** All arrays zero, masks one, before round 0. MIRL_ERROR_MEMORY. */
mirl_status trainer_state_create(trainer_state *state, size_t parameters, mirl_error *error);
void trainer_state_free(trainer_state *state);

/** Writes <folder>/checkpoint, durably, beside its place; what was there becomes checkpoint.previous. On
 * failure (MIRL_ERROR_FILE, _MEMORY) both are as they were. */
mirl_status trainer_checkpoint_write(const char *folder, const trainer_state *state, const char *recipe,
                                     mirl_error *error);

/** Reads a run back: the checkpoint, or, if it cannot be used, the one before; then `warning` holds a
 * sentence about why, otherwise "". *recipe receives the recipe's text, to be freed. state must be created
 * for the same network. MIRL_ERROR_FILE if there is no checkpoint, MIRL_ERROR_FORMAT if none can be used. */
mirl_status trainer_checkpoint_read(const char *folder, trainer_state *state, char **recipe, char *warning,
                                    size_t warning_size, mirl_error *error);

#endif
