/* What happens after a round: scoring, adding to the run's files, writing the report. */
#include "trainer/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "trainer/layout.h"
#include "trainer/photo.h"
#include "trainer/picture.h"
#include "trainer/report_data.h"

enum { PATH = 4096, PICTURE = 224 }; // pixels a side

/** Where the pictures of a round go. */
typedef struct album {
    const char *folder;
    int round;
    mirl_status status;
    mirl_error error;
} album;

static report_score score_of(const trainer_score *set, int round) {
    report_score score = {.round = round,
                          .task = set->task,
                          .sigma = set->sigma,
                          .images = (int)set->count,
                          .means = set->means};
    snprintf(score.set, sizeof score.set, "%s", set->set);
    return score;
}

static void keep_picture(album *to, const trainer_result *result, const char *what, const float *planes) {
    size_t pixels = result->width * result->height;
    int width = (int)result->width, height = (int)result->height;
    trainer_picture whole = {width, height, malloc(pixels * 3)};
    trainer_picture part = {width < PICTURE ? width : PICTURE, height < PICTURE ? height : PICTURE,
                            malloc((size_t)PICTURE * PICTURE * 3)};
    report_score score = score_of(result->set, to->round);
    char name[512], path[PATH + 512];
    report_data_picture(&score, what, name, sizeof name);
    snprintf(path, sizeof path, "%s/%s", to->folder, name);
    if (whole.rgb && part.rgb) {
        trainer_picture_from_planes(planes, pixels, whole.rgb);
        trainer_picture_cut(&whole,
                            (trainer_rectangle){(width - part.width) / 2, (height - part.height) / 2,
                                                part.width, part.height},
                            part.rgb);
        to->status = trainer_make_folders(path, &to->error);
        if (to->status == MIRL_OK)
            to->status = trainer_photo_write(path, &part, &to->error);
    } else {
        to->status = mirl_fail(&to->error, MIRL_ERROR_MEMORY, "no memory for the report's pictures");
    }
    free(whole.rgb);
    free(part.rgb);
}

/** Keeps the set's middle image. */
static void keep_pictures(const trainer_result *result, void *user) {
    album *to = user;
    char what[32];
    if (result->image != result->set->count / 2 || to->status != MIRL_OK)
        return;
    snprintf(what, sizeof what, "round-%d", to->round);
    keep_picture(to, result, "input", result->input);
    if (to->status == MIRL_OK)
        keep_picture(to, result, "clean", result->clean);
    if (to->status == MIRL_OK)
        keep_picture(to, result, what, result->restored);
}

static mirl_status add_scores(const char *folder, int round, const trainer_scores *scores,
                              mirl_error *error) {
    report_data data;
    mirl_status status = report_data_read_scores(folder, &data, error);
    size_t kept = 0;
    for (size_t i = 0; i < data.score_count; i++)
        if (data.scores[i].round < round)
            data.scores[kept++] = data.scores[i];
    report_data all = {0};
    for (size_t i = 0; status == MIRL_OK && i < kept + scores->count; i++) {
        report_score *added = report_data_add_score(&all);
        if (!added)
            status = mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for the scores");
        else
            *added = i < kept ? data.scores[i] : score_of(&scores->sets[i - kept], round);
    }
    if (status == MIRL_OK)
        status = report_data_write_scores(folder, &all, error);
    report_data_free(&all);
    report_data_free(&data);
    return status;
}

static mirl_status evaluate(const char *folder, int round, const char *weights,
                            const trainer_eval_options *eval, mirl_error *error) {
    mirl_model *model = mirl_model_open(weights, error);
    if (!model)
        return error->status;
    album pictures = {.folder = folder, .round = round, .status = MIRL_OK};
    trainer_eval_options options = *eval;
    options.result = keep_pictures;
    options.result_user = &pictures;
    trainer_scores *scores = trainer_eval(model, &options, error);
    mirl_status status = scores ? MIRL_OK : error->status;
    if (scores)
        status = add_scores(folder, round, scores, error);
    if (status == MIRL_OK && pictures.status != MIRL_OK)
        status = mirl_fail(error, pictures.status, "%s", pictures.error.message);
    trainer_scores_free(scores);
    mirl_model_close(model);
    return status;
}

mirl_status trainer_report_round(const char *folder, const char *title, int round, const char *weights,
                                 const trainer_eval_options *eval, mirl_error *error) {
    mirl_error own;
    mirl_status status = eval ? evaluate(folder, round, weights, eval, &own) : MIRL_OK;
    if (status == MIRL_OK)
        return trainer_report_write(folder, title, error);
    return mirl_fail(error, status, "%s", own.message);
}
