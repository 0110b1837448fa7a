#include "network/model.h"

#include <stdlib.h>

#include "error.h"

static bool is_matrix(const mirl_layer *layer) {
    return layer->kind == MIRL_CONV1 || layer->kind == MIRL_CONV3;
}

static mirl_status pack_layer(mirl_model *model, int index, mirl_error *error) {
    const mirl_layer *layer = &model->graph->layers[index];
    if (is_matrix(layer))
        return mirl_matrix_pack(&model->matrices[index], model->kernels, model->weights, index, error);
    model->values[index] = malloc(layer->count * sizeof(float));
    if (!model->values[index])
        return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for the values of %s", layer->name);
    mirl_weights_values(model->weights, index, model->values[index]);
    return MIRL_OK;
}

mirl_model *mirl_model_open_for(const mirl_kernels *kernels, const char *path, mirl_error *error) {
    mirl_model *model = calloc(1, sizeof *model);
    if (!model) {
        mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory to open %s", path);
        return NULL;
    }
    model->kernels = kernels;
    model->weights = mirl_weights_open(path, error);
    if (!model->weights)
        goto failed;
    model->graph = mirl_weights_graph(model->weights);
    model->matrices = calloc((size_t)model->graph->layer_count, sizeof *model->matrices);
    model->values = calloc((size_t)model->graph->layer_count, sizeof *model->values);
    if (!model->matrices || !model->values) {
        mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory to open %s", path);
        goto failed;
    }
    for (int i = 0; i < model->graph->layer_count; i++)
        if (pack_layer(model, i, error))
            goto failed;
    mirl_weights_drop_values(model->weights);
    return model;

failed:
    mirl_model_close(model);
    return NULL;
}

mirl_model *mirl_model_open(const char *path, mirl_error *error) {
    return mirl_model_open_for(mirl_kernels_best(), path, error);
}

void mirl_model_close(mirl_model *model) {
    if (!model)
        return;
    for (int i = 0; model->graph && i < model->graph->layer_count; i++) {
        if (model->matrices)
            mirl_matrix_free(&model->matrices[i]);
        if (model->values)
            free(model->values[i]);
    }
    free(model->matrices);
    free(model->values);
    mirl_weights_close(model->weights);
    free(model);
}

void mirl_model_get_info(const mirl_model *model, mirl_model_info *info) {
    const mirl_remains remains = mirl_weights_remains(model->weights);

    *info = (mirl_model_info){
        .task = mirl_weights_metadata_get(model->weights, "task"),
        .metadata = mirl_weights_metadata(model->weights),
        .file_size = mirl_weights_file_size(model->weights),
        .parameters = model->graph->parameters,
        .prunable = remains.prunable,
        .alive = remains.alive,
        .dense_macs = remains.dense_macs,
        .macs = remains.macs,
    };
}
