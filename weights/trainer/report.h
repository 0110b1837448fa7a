/* The report of a pruning run: report.html in the run's folder, one file that needs nothing beside it.
 *
 * Everything in it comes from files, so that it can be made again at any time: the trainer's log.csv,
 * rounds.csv (runlog.h) and round-<n>.safetensors, and what is added here after each round:
 *
 *     scores.csv   round,task,sigma,images,psnr,ssim,input_psnr,input_ssim,set   a line a set and round
 *     pictures/    <task>-<set>[-<sigma>]-{input,clean,round-<n>}.png            a part of one image a set
 */
#ifndef MIRL_TRAINER_REPORT_H
#define MIRL_TRAINER_REPORT_H

#include "trainer/eval.h"

/** Scores a round's weights file, adds the scores and pictures to the run's folder and writes its report.
 * Scores of this and later rounds that are there already are replaced. `eval` may be NULL: nothing is scored;
 * its `result` is not used. MIRL_ERROR_FILE, _FORMAT, _MEMORY or _CANCELLED; the report is then the one
 * before. */
mirl_status trainer_report_round(const char *folder, const char *title, int round, const char *weights,
                                 const trainer_eval_options *eval, mirl_error *error);

/** Writes <folder>/report.html from the folder's files. Files that are missing leave their part out.
 * MIRL_ERROR_FILE or _MEMORY. */
mirl_status trainer_report_write(const char *folder, const char *title, mirl_error *error);

#endif
