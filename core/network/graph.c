#include "network/graph.h"

#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS_A_BLOCK = 11, OTHER_LAYERS = 32 };

mirl_config mirl_config_paper(void) {
    return (mirl_config){
        .dim = 48,
        .blocks = {4, 6, 6, 8},
        .refinement = 4,
        .heads = {1, 2, 4, 8},
        .ffn = 2.66,
        .prompt_len = 5,
        .prompt_dims = {64, 128, 320},
        .prompt_sizes = {64, 32, 16},
    };
}

bool mirl_layer_is_prunable(const mirl_layer *layer) {
    return strstr(layer->name, "weight") != NULL;
}

double mirl_layer_macs_per_value(const mirl_layer *layer) {
    bool convolution =
        layer->kind == MIRL_CONV1 || layer->kind == MIRL_CONV3 || layer->kind == MIRL_DEPTHWISE;
    return convolution && layer->scale > 0 ? 1.0 / ((double)layer->scale * layer->scale) : 0.0;
}

double mirl_layer_macs(const mirl_layer *layer, size_t alive) {
    return mirl_layer_macs_per_value(layer) * (double)(layer->kind == MIRL_DEPTHWISE ? layer->count : alive);
}

mirl_remains mirl_remains_begin(const mirl_graph *graph) {
    double attention = mirl_graph_attention_macs(graph);
    return (mirl_remains){.dense_macs = attention, .macs = attention};
}

void mirl_remains_add(mirl_remains *remains, const mirl_layer *layer, size_t alive) {
    remains->dense_macs += mirl_layer_macs(layer, layer->count);
    remains->macs += mirl_layer_macs(layer, alive);
    if (mirl_layer_is_prunable(layer)) {
        remains->prunable += layer->count;
        remains->alive += alive;
    }
}

bool mirl_graph_is_unused_name(const char *name) {
    static const char *const unused[] = {
        "chnl_reduce1.weight",           "chnl_reduce2.weight",           "chnl_reduce3.weight",
        "reduce_noise_channel_1.weight", "reduce_noise_channel_2.weight", "reduce_noise_channel_3.weight",
    };
    for (size_t i = 0; i < sizeof unused / sizeof *unused; i++)
        if (strcmp(name, unused[i]) == 0)
            return true;
    return false;
}

static int add_layer(mirl_graph *graph, mirl_layer_kind kind, int scale, int rank, const int *shape,
                     const char *format, ...) MIRL_PRINTF(6, 7);

static int add_layer(mirl_graph *graph, mirl_layer_kind kind, int scale, int rank, const int *shape,
                     const char *format, ...) {
    mirl_layer *layer = &graph->layers[graph->layer_count];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(layer->name, sizeof layer->name, format, arguments);
    va_end(arguments);
    layer->kind = kind;
    layer->scale = scale;
    layer->rank = rank;
    layer->count = 1;
    for (int i = 0; i < 5; i++) {
        layer->shape[i] = i < rank ? shape[i] : 1;
        layer->count *= (size_t)layer->shape[i];
    }
    layer->rows = shape[0];
    layer->columns = (int)(layer->count / (size_t)shape[0]);
    graph->parameters += layer->count;
    return graph->layer_count++;
}

static int add_conv(mirl_graph *graph, const char *name, int scale, int in, int out, int side) {
    return add_layer(graph, side == 1 ? MIRL_CONV1 : MIRL_CONV3, scale, 4, (int[]){out, in, side, side},
                     "%s.weight", name);
}

static int add_vector(mirl_graph *graph, mirl_layer_kind kind, int scale, int count, const char *prefix,
                      const char *name) {
    return add_layer(graph, kind, scale, 1, &count, "%s.%s", prefix, name);
}

static int add_block(mirl_graph *graph, const char *prefix, int channels, int heads, int scale) {
    mirl_block *block = &graph->blocks[graph->block_count];
    int hidden = (int)(channels * graph->config.ffn);
    char name[64];

    block->channels = channels;
    block->heads = heads;
    block->hidden = hidden;
    block->scale = scale;
    block->norm1_weight = add_vector(graph, MIRL_NORM_WEIGHT, scale, channels, prefix, "norm1.body.weight");
    block->norm1_bias = add_vector(graph, MIRL_NORM_BIAS, scale, channels, prefix, "norm1.body.bias");
    block->temperature =
        add_layer(graph, MIRL_TEMPERATURE, 0, 3, (int[]){heads, 1, 1}, "%s.attn.temperature", prefix);
    snprintf(name, sizeof name, "%s.attn.qkv", prefix);
    block->qkv = add_conv(graph, name, scale, channels, 3 * channels, 1);
    block->qkv_dwconv = add_layer(graph, MIRL_DEPTHWISE, scale, 4, (int[]){3 * channels, 1, 3, 3},
                                  "%s.attn.qkv_dwconv.weight", prefix);
    snprintf(name, sizeof name, "%s.attn.project_out", prefix);
    block->attn_project_out = add_conv(graph, name, scale, channels, channels, 1);
    block->norm2_weight = add_vector(graph, MIRL_NORM_WEIGHT, scale, channels, prefix, "norm2.body.weight");
    block->norm2_bias = add_vector(graph, MIRL_NORM_BIAS, scale, channels, prefix, "norm2.body.bias");
    snprintf(name, sizeof name, "%s.ffn.project_in", prefix);
    block->project_in = add_conv(graph, name, scale, channels, 2 * hidden, 1);
    block->dwconv = add_layer(graph, MIRL_DEPTHWISE, scale, 4, (int[]){2 * hidden, 1, 3, 3},
                              "%s.ffn.dwconv.weight", prefix);
    snprintf(name, sizeof name, "%s.ffn.project_out", prefix);
    block->ffn_project_out = add_conv(graph, name, scale, hidden, channels, 1);
    return graph->block_count++;
}

static mirl_stage add_stage(mirl_graph *graph, const char *prefix, int count, int channels, int heads,
                            int scale) {
    mirl_stage stage = {graph->block_count, count};
    for (int i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.%d", prefix, i);
        add_block(graph, name, channels, heads, scale);
    }
    return stage;
}

static void add_prompt(mirl_graph *graph, int level, int features, int scale) {
    mirl_prompt *prompt = &graph->prompt[level];
    int length = graph->config.prompt_len;
    int channels = graph->config.prompt_dims[level], size = graph->config.prompt_sizes[level];
    char name[64];

    *prompt = (mirl_prompt){.features = features, .channels = channels, .size = size, .scale = scale};
    prompt->prompt_param = add_layer(graph, MIRL_PROMPT_PARAM, 0, 5, (int[]){1, length, channels, size, size},
                                     "prompt%d.prompt_param", level + 1);
    prompt->linear_weight = add_layer(graph, MIRL_LINEAR_WEIGHT, 0, 2, (int[]){length, features},
                                      "prompt%d.linear_layer.weight", level + 1);
    prompt->linear_bias =
        add_layer(graph, MIRL_LINEAR_BIAS, 0, 1, &length, "prompt%d.linear_layer.bias", level + 1);
    snprintf(name, sizeof name, "prompt%d.conv3x3", level + 1);
    prompt->conv3x3 = add_conv(graph, name, scale, channels, channels, 3);
}

static void build(mirl_graph *graph) {
    const mirl_config *config = &graph->config;
    const int d = config->dim, *heads = config->heads, *p = config->prompt_dims;

    graph->patch_embed = add_conv(graph, "patch_embed.proj", 1, 3, d, 3);
    graph->encoder[0] = add_stage(graph, "encoder_level1", config->blocks[0], d, heads[0], 1);
    graph->down[0] = add_conv(graph, "down1_2.body.0", 1, d, d / 2, 3);
    graph->encoder[1] = add_stage(graph, "encoder_level2", config->blocks[1], 2 * d, heads[1], 2);
    graph->down[1] = add_conv(graph, "down2_3.body.0", 2, 2 * d, d, 3);
    graph->encoder[2] = add_stage(graph, "encoder_level3", config->blocks[2], 4 * d, heads[2], 4);
    graph->down[2] = add_conv(graph, "down3_4.body.0", 4, 4 * d, 2 * d, 3);
    graph->latent = add_stage(graph, "latent", config->blocks[3], 8 * d, heads[3], 8);

    add_prompt(graph, 2, 8 * d, 8);
    graph->noise[2] = add_block(graph, "noise_level3", 8 * d + p[2], heads[2], 8);
    graph->reduce_noise[2] = add_conv(graph, "reduce_noise_level3", 8, 8 * d + p[2], 4 * d, 1);
    graph->up[2] = add_conv(graph, "up4_3.body.0", 8, 4 * d, 8 * d, 3);
    graph->reduce_chan[2] = add_conv(graph, "reduce_chan_level3", 4, 6 * d, 4 * d, 1);
    graph->decoder[2] = add_stage(graph, "decoder_level3", config->blocks[2], 4 * d, heads[2], 4);

    add_prompt(graph, 1, 4 * d, 4);
    graph->noise[1] = add_block(graph, "noise_level2", 4 * d + p[1], heads[2], 4);
    graph->reduce_noise[1] = add_conv(graph, "reduce_noise_level2", 4, 4 * d + p[1], 4 * d, 1);
    graph->up[1] = add_conv(graph, "up3_2.body.0", 4, 4 * d, 8 * d, 3);
    graph->reduce_chan[1] = add_conv(graph, "reduce_chan_level2", 2, 4 * d, 2 * d, 1);
    graph->decoder[1] = add_stage(graph, "decoder_level2", config->blocks[1], 2 * d, heads[1], 2);

    add_prompt(graph, 0, 2 * d, 2);
    graph->noise[0] = add_block(graph, "noise_level1", 2 * d + p[0], heads[2], 2);
    graph->reduce_noise[0] = add_conv(graph, "reduce_noise_level1", 2, 2 * d + p[0], 2 * d, 1);
    graph->up[0] = add_conv(graph, "up2_1.body.0", 2, 2 * d, 4 * d, 3);
    graph->reduce_chan[0] = -1;
    graph->decoder[0] = add_stage(graph, "decoder_level1", config->blocks[0], 2 * d, heads[0], 1);
    graph->refinement = add_stage(graph, "refinement", config->refinement, 2 * d, heads[0], 1);
    graph->output = add_conv(graph, "output", 1, 2 * d, 3, 3);
}

static mirl_status check_range(const char *field, double value, double low, double high, mirl_error *error) {
    if (value >= low && value <= high)
        return MIRL_OK;
    return mirl_fail(error, MIRL_ERROR_ARGUMENT, "configuration: %s is %g, it must be %g to %g", field, value,
                     low, high);
}

static mirl_status check_heads(const char *where, int channels, int heads, mirl_error *error) {
    if (channels % heads == 0)
        return MIRL_OK;
    return mirl_fail(error, MIRL_ERROR_ARGUMENT,
                     "configuration: the %d channels of %s do not divide by %d heads", channels, where,
                     heads);
}

static mirl_status check_config(const mirl_config *config, mirl_error *error) {
    static const char *const blocks[] = {"blocks[0]", "blocks[1]", "blocks[2]", "blocks[3]"};
    static const char *const heads[] = {"heads[0]", "heads[1]", "heads[2]", "heads[3]"};
    static const char *const dims[] = {"prompt_dims[0]", "prompt_dims[1]", "prompt_dims[2]"};
    static const char *const sizes[] = {"prompt_sizes[0]", "prompt_sizes[1]", "prompt_sizes[2]"};
    mirl_status status = check_range("dim", config->dim, 2, 512, error);

    if (!status && config->dim % 2)
        status =
            mirl_fail(error, MIRL_ERROR_ARGUMENT, "configuration: dim is %d, it must be even", config->dim);
    for (int i = 0; i < 4 && !status; i++) {
        status = check_range(blocks[i], config->blocks[i], 1, 64, error);
        if (!status)
            status = check_range(heads[i], config->heads[i], 1, 512, error);
    }
    if (!status)
        status = check_range("refinement", config->refinement, 1, 64, error);
    if (!status)
        status = check_range("ffn", config->ffn, 0.5, 8, error);
    if (!status)
        status = check_range("prompt_len", config->prompt_len, 1, 64, error);
    for (int i = 0; i < 3 && !status; i++) {
        status = check_range(dims[i], config->prompt_dims[i], 1, 1024, error);
        if (!status)
            status = check_range(sizes[i], config->prompt_sizes[i], 1, 256, error);
    }
    const int d = config->dim;
    if (!status)
        status = check_heads("level 1", d, config->heads[0], error);
    if (!status)
        status = check_heads("level 2", 2 * d, config->heads[1], error);
    if (!status)
        status = check_heads("level 3", 4 * d, config->heads[2], error);
    if (!status)
        status = check_heads("the latent", 8 * d, config->heads[3], error);
    for (int i = 0; i < 3 && !status; i++) {
        static const char *const noise[] = {"noise_level1", "noise_level2", "noise_level3"};
        status = check_heads(noise[i], (2 * d << i) + config->prompt_dims[i], config->heads[2], error);
    }
    return status;
}

mirl_graph *mirl_graph_create(const mirl_config *config, mirl_error *error) {
    if (check_config(config, error))
        return NULL;
    const int *blocks = config->blocks;
    size_t block_count =
        (size_t)(2 * (blocks[0] + blocks[1] + blocks[2]) + blocks[3] + config->refinement + 3);
    size_t layer_count = block_count * LAYERS_A_BLOCK + OTHER_LAYERS;
    mirl_graph *graph = calloc(1, sizeof *graph);

    if (graph) {
        graph->config = *config;
        graph->layers = calloc(layer_count, sizeof *graph->layers);
        graph->blocks = calloc(block_count, sizeof *graph->blocks);
    }
    if (!graph || !graph->layers || !graph->blocks) {
        mirl_graph_free(graph);
        mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for the network's description");
        return NULL;
    }
    build(graph);
    return graph;
}

void mirl_graph_free(mirl_graph *graph) {
    if (!graph)
        return;
    free(graph->layers);
    free(graph->blocks);
    free(graph);
}

int mirl_graph_find(const mirl_graph *graph, const char *name) {
    for (int i = 0; i < graph->layer_count; i++)
        if (strcmp(graph->layers[i].name, name) == 0)
            return i;
    return -1;
}

double mirl_graph_attention_macs(const mirl_graph *graph) {
    double macs = 0;
    for (int i = 0; i < graph->block_count; i++) {
        const mirl_block *block = &graph->blocks[i];
        macs +=
            2.0 * block->channels * block->channels / block->heads / ((double)block->scale * block->scale);
    }
    return macs;
}
