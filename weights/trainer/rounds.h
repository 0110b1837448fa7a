/* A run of iterative magnitude pruning: rounds of training, between them pruning and reset (MIR-L, arXiv
 * 2510.14463), with checkpoints, so that a run that was stopped anywhere goes on to the same bits.
 *
 * In the run's folder: checkpoint, checkpoint.previous (state.h), log.csv, rounds.csv (runlog.h),
 * round-<n>.safetensors after each round, and at the end <name>.safetensors and <name>-i8.safetensors, the
 * network of the last round that learned.
 */
#ifndef MIRL_TRAINER_ROUNDS_H
#define MIRL_TRAINER_ROUNDS_H

#include "ops.h"
#include "recipe.h"
#include "state.h"

#include <signal.h>

typedef struct trainer_progress {
    int round, rounds;
    uint64_t step;             ///< of this round
    double share;              ///< of this round that is done, 0..1
    double loss, identity;     ///< mean absolute errors of late: of the result, and of its input
    double patches_per_second; ///< of late, all processes together
    double seconds_left;       ///< of the whole run; negative: not known yet
    double alive;              ///< share of the prunable weights
} trainer_progress;

typedef struct trainer_run_options {
    const trainer_recipe *recipe; ///< checked
    const char *folder;           ///< exists
    const trainer_ops *ops;       ///< that compute; NULL: the processor's fastest
    bool resume;                  ///< go on from the folder's checkpoint, if there is one
    const volatile sig_atomic_t *stop;

    /* Each may be NULL. Called from the thread that runs, and in process 0 only. */
    void (*progress)(const trainer_progress *progress, void *user); ///< after every step
    void (*say)(const char *sentence, void *user);
    /** After a round: its weights file. A failure is said and the run goes on. */
    mirl_status (*round_done)(int round, const char *weights, void *user, mirl_error *error);
    void *user;
} trainer_run_options;

/** Why a run came back. */
typedef enum trainer_ending {
    TRAINER_COMPLETE, ///< all rounds done
    TRAINER_STUCK,    ///< a round did not learn; the last good network was written
    TRAINER_STOPPED,  ///< *stop was set; a checkpoint was written
    TRAINER_REFUSED,  ///< before any training: the recipe or the data cannot be used
    TRAINER_FAILED,   ///< while training; error->message says how
} trainer_ending;

/** Runs the recipe to its end. *error is set with TRAINER_REFUSED and TRAINER_FAILED. */
trainer_ending trainer_run(const trainer_run_options *options, mirl_error *error);

/** The published learning rate at `time` of a round that is `length` long, with `warmup` before the cosine,
 * all in the same unit (pruning.md): 0 at 0, rising by rate / (warmup - 1), then a cosine to 0. */
double trainer_rate(double rate, double time, double warmup, double length);

#endif
