/* Reading and writing a run's CSV files. */
#include "trainer/report_data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "weights/replace.h"
#include "weights/weights.h"

enum { PATH = 4096, LINE = 1024 };

static mirl_status no_memory(mirl_error *error) {
    return mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for the report");
}

/** Room for one more entry of `size` bytes behind `count`, or NULL. */
static void *add(void **entries, size_t *count, size_t size) {
    if ((*count & (*count - 1)) == 0) { // doubled at every power of two
        void *grown = realloc(*entries, (*count ? 2 * *count : 1) * size);
        if (!grown)
            return NULL;
        *entries = grown;
    }
    return (char *)*entries + (*count)++ * size;
}

report_score *report_data_add_score(report_data *data) {
    return add((void **)&data->scores, &data->score_count, sizeof *data->scores);
}

/** Calls `take` with each line of a file, its end cut off. */
static mirl_status each_line(const char *folder, const char *name, report_data *data,
                             bool (*take)(report_data *, const char *), mirl_error *error) {
    char path[PATH], line[LINE];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    bool room = true;
    while (file && room && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        room = take(data, line);
    }
    if (file)
        fclose(file);
    return room ? MIRL_OK : no_memory(error);
}

static bool take_round(report_data *data, const char *line) {
    report_round round;
    double steps;
    if (sscanf(line, "%d,%lf,%lf,%lf,%lf,%lf,%lf,%lf,%lf", &round.number, &round.alive, &round.prunable,
               &round.macs, &round.dense_macs, &round.loss, &round.identity, &steps, &round.seconds) != 9 ||
        !(round.prunable > 0) || !(round.alive > 0) || !(round.dense_macs > 0))
        return true;
    report_round *added = add((void **)&data->rounds, &data->round_count, sizeof round);
    if (added)
        *added = round;
    return added != NULL;
}

static bool take_loss(report_data *data, const char *line) {
    report_loss loss;
    double seconds;
    if (sscanf(line, "%d,%lf,%lf,%lf,%lf", &loss.round, &loss.step, &seconds, &loss.loss, &loss.identity) !=
        5)
        return true;
    report_loss *added = add((void **)&data->losses, &data->loss_count, sizeof loss);
    if (added)
        *added = loss;
    return added != NULL;
}

static bool take_score(report_data *data, const char *line) {
    report_score score = {0};
    char task[32];
    trainer_figures *means = &score.means;
    if (sscanf(line, "%d,%31[^,],%lf,%d,%lf,%lf,%lf,%lf,%159[^\n]", &score.round, task, &score.sigma,
               &score.images, &means->psnr, &means->ssim, &means->input_psnr, &means->input_ssim,
               score.set) != 9 ||
        (score.task = trainer_task_find(task)) == TRAINER_TASKS)
        return true;
    report_score *added = report_data_add_score(data);
    if (added)
        *added = score;
    return added != NULL;
}

/** Steps of log.csv count from each round's beginning. */
static void join_steps(report_data *data) {
    double before = 0;
    for (size_t i = 0; i < data->loss_count; i++) {
        report_loss *loss = &data->losses[i];
        if (i > 0 && loss->round != loss[-1].round)
            before = loss[-1].step;
        loss->step += before;
    }
}

static bool is_shown(const mirl_layer *layer) {
    return layer->kind == MIRL_CONV1 || layer->kind == MIRL_CONV3 || layer->kind == MIRL_DEPTHWISE ||
           layer->kind == MIRL_LINEAR_WEIGHT;
}

/** Takes the layers' names from the first weights file. */
static mirl_status name_layers(report_data *data, const mirl_graph *graph, mirl_error *error) {
    size_t cells = (size_t)graph->layer_count * data->round_count;
    data->layers = calloc((size_t)graph->layer_count, sizeof *data->layers);
    data->layer_alive = malloc(cells * sizeof *data->layer_alive);
    if (!data->layers || !data->layer_alive)
        return no_memory(error);
    for (size_t i = 0; i < cells; i++)
        data->layer_alive[i] = NAN;
    for (int i = 0; i < graph->layer_count; i++)
        if (is_shown(&graph->layers[i]))
            snprintf(data->layers[data->layer_count++], sizeof *data->layers, "%s", graph->layers[i].name);
    return MIRL_OK;
}

/** Sparsity of a round's layers, from its weights file if that is there. */
static mirl_status read_layers(const char *folder, report_data *data, size_t round, mirl_error *error) {
    char path[PATH];
    snprintf(path, sizeof path, "%s/round-%d.safetensors", folder, data->rounds[round].number);
    mirl_weights *weights = mirl_weights_open(path, NULL);
    if (!weights)
        return MIRL_OK;
    const mirl_graph *graph = mirl_weights_graph(weights);
    mirl_status status = data->layers ? MIRL_OK : name_layers(data, graph, error);
    size_t row = 0;
    for (int i = 0; status == MIRL_OK && i < graph->layer_count; i++) {
        const mirl_layer *layer = &graph->layers[i];
        if (!is_shown(layer) || row == data->layer_count || strcmp(data->layers[row], layer->name) != 0)
            continue;
        data->layer_alive[row++ * data->round_count + round] =
            (double)mirl_weights_alive(weights, i) / (double)layer->count;
    }
    mirl_weights_close(weights);
    return status;
}

mirl_status report_data_read_scores(const char *folder, report_data *data, mirl_error *error) {
    *data = (report_data){0};
    return each_line(folder, "scores.csv", data, take_score, error);
}

mirl_status report_data_read(const char *folder, report_data *data, mirl_error *error) {
    mirl_status status = report_data_read_scores(folder, data, error);
    if (status == MIRL_OK)
        status = each_line(folder, "rounds.csv", data, take_round, error);
    if (status == MIRL_OK)
        status = each_line(folder, "log.csv", data, take_loss, error);
    join_steps(data);
    for (size_t i = 0; status == MIRL_OK && i < data->round_count; i++)
        status = read_layers(folder, data, i, error);
    return status;
}

void report_data_free(report_data *data) {
    free(data->rounds);
    free(data->losses);
    free(data->scores);
    free(data->layers);
    free(data->layer_alive);
}

mirl_status report_data_write_scores(const char *folder, const report_data *data, mirl_error *error) {
    static const char head[] = "round,task,sigma,images,psnr,ssim,input_psnr,input_ssim,set\n";
    char path[PATH], line[LINE];
    snprintf(path, sizeof path, "%s/scores.csv", folder);
    mirl_replacement *file = mirl_replace_begin(path, error);
    if (!file)
        return MIRL_ERROR_FILE;
    mirl_replace_append(file, head, sizeof head - 1);
    for (size_t i = 0; i < data->score_count; i++) {
        const report_score *score = &data->scores[i];
        const trainer_figures *means = &score->means;
        snprintf(line, sizeof line, "%d,%s,%g,%d,%.4f,%.5f,%.4f,%.5f,%s\n", score->round,
                 trainer_task_name(score->task), score->sigma, score->images, means->psnr, means->ssim,
                 means->input_psnr, means->input_ssim, score->set);
        mirl_replace_append(file, line, strlen(line));
    }
    return mirl_replace_commit(file, error);
}

void report_data_picture(const report_score *score, const char *what, char *name, size_t size) {
    char sigma[32] = "";
    if (score->task == TRAINER_DENOISE)
        snprintf(sigma, sizeof sigma, "-%g", score->sigma);
    snprintf(name, size, "pictures/%s-%s%s-%s.png", trainer_task_name(score->task), score->set, sigma, what);
}
