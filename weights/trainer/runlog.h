/* The files that tell how a run went, in its folder:
 *
 *     log.csv     round,step,seconds,loss,identity,rate,patches_per_second   a line every log_steps steps
 *     rounds.csv  round,alive,prunable,macs,dense_macs,loss,identity,steps,seconds   a line a round
 *
 * loss and identity are mean absolute errors over the steps since the line before (log.csv) or over the
 * round's last quarter (rounds.csv): of the network's result, and of its input. macs are multiply-adds a
 * pixel, seconds those of training since the run began.
 */
#ifndef MIRL_TRAINER_RUNLOG_H
#define MIRL_TRAINER_RUNLOG_H

#include "state.h"

/** Removes the lines that come after the state (all, if it is at the beginning), and writes the heads of new
 * files. MIRL_ERROR_FILE. */
mirl_status trainer_log_open(const char *folder, const trainer_state *state, mirl_error *error);

/** Appends a line to log.csv from the state's sums since the last. */
mirl_status trainer_log_steps(const char *folder, const trainer_state *state, double rate,
                              double patches_per_second, mirl_error *error);

/** Appends a line to rounds.csv. */
mirl_status trainer_log_round(const char *folder, const trainer_state *state, const mirl_remains *remains,
                              mirl_error *error);

#endif
