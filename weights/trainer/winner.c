#include "trainer/winner.h"

#include "error.h"
#include "weights/config.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCHES = 16 };

/* The file's metadata; NULL: no memory. To be freed with cJSON_free(). */
static char *metadata_of(const trainer_recipe *recipe, int round) {
    char number[16], *text = trainer_recipe_print(recipe, false), *printed = NULL;
    cJSON *object = cJSON_CreateObject();
    snprintf(number, sizeof number, "%d", round);
    if (text && cJSON_AddStringToObject(object, "task", recipe->name) &&
        cJSON_AddStringToObject(object, "round", number) && cJSON_AddStringToObject(object, "recipe", text))
        printed = cJSON_PrintUnformatted(object);
    cJSON_Delete(object);
    free(text);
    return printed;
}

mirl_status trainer_weights_write(const char *path, const mirl_graph *graph, const float *values,
                                  mirl_type type, const trainer_recipe *recipe, int round,
                                  mirl_error *error) {
    float **layers = malloc((size_t)graph->layer_count * sizeof *layers);
    char *metadata = metadata_of(recipe, round);
    mirl_status status;

    if (layers && metadata) {
        for (int i = 0; i < graph->layer_count; values += graph->layers[i++].count)
            layers[i] = (float *)values;
        status = mirl_weights_write(path, graph, layers, type, metadata, error);
    } else {
        status = mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory to write '%.300s'", path);
    }
    free(layers);
    cJSON_free(metadata);
    return status;
}

mirl_status trainer_same_network(const mirl_config *wanted, const mirl_config *given, const char *path,
                                 mirl_error *error) {
    char *ours = mirl_config_print(wanted), *theirs = mirl_config_print(given);
    mirl_status status = MIRL_OK;
    if (!ours || !theirs)
        status = mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory to compare the recipe");
    else if (strcmp(ours, theirs) != 0)
        status =
            mirl_fail(error, MIRL_ERROR_ARGUMENT,
                      "%.200s is of another network, %.200s; the recipe's must be the same", path, theirs);
    free(ours);
    free(theirs);
    return status;
}

/* The mean loss on fresh batches. */
static mirl_status measure(const float *values, trainer_team *team, trainer_data *data, uint64_t step,
                           float *degraded, float *clean, double *loss, mirl_error *error) {
    mirl_status status = MIRL_OK;
    trainer_team_values(team, values);
    *loss = 0;
    for (uint64_t i = 0; i < BATCHES && !status; i++) {
        status = trainer_data_batch(data, step + i, degraded, clean, error);
        if (!status)
            *loss += trainer_team_loss(team, values, degraded, clean) / BATCHES;
    }
    return status;
}

mirl_status trainer_weights_read(const char *path, const mirl_graph *graph, float *values,
                                 mirl_error *error) {
    mirl_weights *weights = mirl_weights_open(path, error);
    if (!weights)
        return error->status;
    mirl_status status =
        trainer_same_network(&graph->config, &mirl_weights_graph(weights)->config, path, error);
    for (int i = 0; i < graph->layer_count && !status; values += graph->layers[i++].count)
        mirl_weights_values(weights, i, values);
    mirl_weights_close(weights);
    return status;
}

mirl_status trainer_winner_write(trainer_winner *winner, trainer_network *network, trainer_team *team,
                                 trainer_data *data, uint64_t step, mirl_error *error) {
    const trainer_recipe *recipe = winner->recipe;
    float *degraded = malloc(winner->batch_floats * sizeof *degraded);
    float *clean = malloc(winner->batch_floats * sizeof *clean);
    float *values = malloc(winner->graph->parameters * sizeof *values);
    char path[1200], path_i8[1200];
    mirl_status status = MIRL_OK;

    winner->batches = BATCHES;
    snprintf(path, sizeof path, "%s/%s.safetensors", winner->folder, recipe->name);
    snprintf(path_i8, sizeof path_i8, "%s/%s-i8.safetensors", winner->folder, recipe->name);
    if (!degraded || !clean || !values)
        status = mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory to measure the result");
    if (!status)
        status = trainer_network_structure(network, winner->mask, error);
    if (!status)
        status = trainer_weights_write(path, winner->graph, winner->values, MIRL_F32, recipe, winner->round,
                                       error);
    if (!status)
        status = trainer_weights_write(path_i8, winner->graph, winner->values, MIRL_I8, recipe, winner->round,
                                       error);
    if (!status)
        status = measure(winner->values, team, data, step, degraded, clean, &winner->loss, error);
    if (!status)
        status = trainer_weights_read(path_i8, winner->graph, values, error);
    if (!status)
        status = measure(values, team, data, step, degraded, clean, &winner->loss_i8, error);
    free(degraded);
    free(clean);
    free(values);
    return status;
}
