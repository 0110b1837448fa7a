/* What the report knows of a run, read from the files in its folder (report.h). */
#ifndef MIRL_TRAINER_REPORT_DATA_H
#define MIRL_TRAINER_REPORT_DATA_H

#include "trainer/eval.h"

typedef struct report_round {
    int number;
    double alive, prunable;  ///< values
    double macs, dense_macs; ///< multiply-adds a pixel
    double loss, identity, seconds;
} report_round;

/** A line of log.csv. */
typedef struct report_loss {
    int round;
    double step; ///< since the run began
    double loss, identity;
} report_loss;

/** A line of scores.csv. */
typedef struct report_score {
    int round;
    trainer_task task;
    double sigma;
    int images;
    trainer_figures means;
    char set[160];
} report_score;

typedef struct report_data {
    report_round *rounds;
    size_t round_count;
    report_loss *losses;
    size_t loss_count;
    report_score *scores;
    size_t score_count;
    char (*layers)[64]; ///< names of the convolution and linear weights
    size_t layer_count;
    double *layer_alive; ///< share of each [layer][round] that is not zero; NaN: not known
} report_data;

/** Reads what there is. Lines that make no sense are left out. MIRL_ERROR_MEMORY. */
mirl_status report_data_read(const char *folder, report_data *data, mirl_error *error);
void report_data_free(report_data *data);

/** Reads scores.csv only. */
mirl_status report_data_read_scores(const char *folder, report_data *data, mirl_error *error);

/** Writes scores.csv. MIRL_ERROR_FILE or _MEMORY. */
mirl_status report_data_write_scores(const char *folder, const report_data *data, mirl_error *error);

/** Adds room for one more score and returns it, or NULL. */
report_score *report_data_add_score(report_data *data);

/** Writes the file name of a set's picture, e.g. "pictures/denoise-CBSD68-15-input.png". */
void report_data_picture(const report_score *score, const char *what, char *name, size_t size);

#endif
