#include "network/model.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"

enum {
    GROUP = 128, /* hidden channels that a feed-forward takes at a time, about */
    TILE = 32,   /* of which the matrix unit takes all at once */
};

/* Equal groups of at most half as many again. */
static int group_of(int hidden) {
    const int groups = (hidden + GROUP / 2 - 1) / GROUP;
    const int group = groups > 1 ? (hidden + groups - 1) / groups : hidden;
    return groups > 1 ? (group + TILE - 1) / TILE * TILE : group;
}

/* Dense products run best in one piece: they lay out their input anew each time. */
static bool is_dense(const mirl_model *model, int layer) {
    return mirl_convolution_is_dense(model->kernels, model->weights, layer);
}

/* q, k and v are parts, and groups of the feed-forward's hidden channels. */
static mirl_cut cut_in_block(const mirl_model *model, const mirl_block *block, int layer) {
    const bool dense = layer == block->qkv
                           ? is_dense(model, block->qkv)
                           : is_dense(model, block->project_in) || is_dense(model, block->ffn_project_out);
    const int group = dense ? block->hidden : group_of(block->hidden);

    if (layer == block->qkv)
        return (mirl_cut){MIRL_CUT_ROWS, dense ? 3 * block->channels : block->channels};
    if (layer == block->ffn_project_out)
        return (mirl_cut){MIRL_CUT_COLUMNS, group};
    return (mirl_cut){MIRL_CUT_PAIRED_ROWS, group};
}

static mirl_cut cut_of(const mirl_model *model, int layer) {
    for (int i = 0; i < model->graph->block_count; i++) {
        const mirl_block *block = &model->graph->blocks[i];
        if (layer == block->qkv || layer == block->project_in || layer == block->dwconv ||
            layer == block->ffn_project_out)
            return cut_in_block(model, block, layer);
    }
    const mirl_layer *shape = &model->graph->layers[layer];
    return shape->kind == MIRL_CONV3 ? (mirl_cut){MIRL_CUT_KERNEL_ROWS, shape->columns / 3}
                                     : (mirl_cut){MIRL_CUT_ROWS, shape->rows};
}

/* Decodes a layer, its rows in the order of a cut. */
static bool read_values(mirl_model *model, int index, mirl_cut cut) {
    const mirl_layer *layer = &model->graph->layers[index];
    const size_t row = layer->count / (size_t)layer->rows;
    float *published = malloc(layer->count * sizeof *published);
    float *values = model->values[index] = malloc(layer->count * sizeof *values);

    if (published && values) {
        mirl_weights_values(model->weights, index, published);
        for (int r = 0; r < layer->rows; r++)
            memcpy(values + (size_t)r * row, published + (size_t)mirl_cut_row(cut, layer->rows, r) * row,
                   row * sizeof *values);
    }
    free(published);
    return published && values;
}

static mirl_status pack_layer(mirl_model *model, int index, mirl_error *error) {
    const mirl_layer *layer = &model->graph->layers[index];
    const mirl_cut cut = cut_of(model, index);

    if (layer->kind == MIRL_CONV1 || layer->kind == MIRL_CONV3)
        return mirl_convolution_pack(&model->convolutions[index], model->kernels, model->weights, index, cut,
                                     error);
    if (!read_values(model, index, cut))
        return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for the values of %s", layer->name);
    return MIRL_OK;
}

mirl_model *mirl_model_open_for(const mirl_kernels *kernels, const char *path, mirl_error *error) {
    mirl_model *model = calloc(1, sizeof *model);
    if (!model) {
        mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory to open %s", path);
        return NULL;
    }
    model->kernels = kernels;
    model->spare = mirl_spare_create();
    model->weights = mirl_weights_open(path, error);
    if (!model->weights)
        goto failed;
    model->graph = mirl_weights_graph(model->weights);
    model->convolutions = calloc((size_t)model->graph->layer_count, sizeof *model->convolutions);
    model->values = calloc((size_t)model->graph->layer_count, sizeof *model->values);
    if (!model->convolutions || !model->values || !model->spare) {
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
        if (model->convolutions)
            mirl_convolution_free(&model->convolutions[i]);
        if (model->values)
            free(model->values[i]);
    }
    free(model->convolutions);
    free(model->values);
    mirl_weights_close(model->weights);
    mirl_spare_free(model->spare);
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
