/* The network's graph (PromptIR, arXiv 2306.13090, as MIR-L prunes it): its configuration, every layer with
 * its published name and shape, and how layers form blocks and stages.
 *
 * This is the one place that spells a layer's name or shape. The weights reader, the inference network, the
 * trainer, the pruning scopes and every report take them from here.
 */
#ifndef MIRL_CORE_NETWORK_GRAPH_H
#define MIRL_CORE_NETWORK_GRAPH_H

#include "mirl.h"

typedef struct mirl_config {
    int dim;             ///< channels at full resolution, 1..1024
    int blocks[4];       ///< transformer blocks at levels 1, 2, 3 and in the latent, 1..64 each
    int refinement;      ///< blocks after the last decoder level, 1..64
    int heads[4];        ///< attention heads at levels 1, 2, 3, latent
    double ffn;          ///< hidden channels = (int)(channels * ffn), 0.5..8
    int prompt_len;      ///< prototypes in each prompt, 1..64
    int prompt_dims[3];  ///< channels of the prompts at levels 1, 2, 3
    int prompt_sizes[3]; ///< side of the prototypes, pixels
} mirl_config;

typedef enum mirl_layer_kind {
    MIRL_CONV1,         ///< 1x1 convolution weight [out, in, 1, 1]
    MIRL_CONV3,         ///< 3x3 convolution weight [out, in, 3, 3]
    MIRL_DEPTHWISE,     ///< 3x3 depthwise convolution weight [channels, 1, 3, 3]
    MIRL_NORM_WEIGHT,   ///< [channels]
    MIRL_NORM_BIAS,     ///< [channels]
    MIRL_TEMPERATURE,   ///< [heads, 1, 1]
    MIRL_PROMPT_PARAM,  ///< [1, prompt_len, channels, size, size]
    MIRL_LINEAR_WEIGHT, ///< [prompt_len, features]
    MIRL_LINEAR_BIAS,   ///< [prompt_len]
} mirl_layer_kind;

/** One parameter tensor. */
typedef struct mirl_layer {
    char name[64]; ///< as published, e.g. "encoder_level1.0.attn.qkv.weight"
    mirl_layer_kind kind;
    int rank;
    int shape[5]; ///< unused entries are 1
    size_t count; ///< values
    int rows;     ///< shape[0]: output channels of a convolution
    int columns;  ///< count / rows: in/groups * k * k of a convolution
    int scale;    ///< it runs at 1/scale of the image's width and height: 1, 2, 4, 8; 0: once an image
} mirl_layer;

/** True for the parameters that pruning may remove: those whose name contains "weight". */
bool mirl_layer_is_prunable(const mirl_layer *layer);

/** Multiply-adds a pixel of the image for each value of the layer: 1/scale^2 for convolutions, 0 for
 * norms and for whatever runs once an image. */
double mirl_layer_macs_per_value(const mirl_layer *layer);

/* In the structures below, an int that bears a layer's name is that layer's index in mirl_graph.layers. */

/** x = x + attn(norm1(x)); x = x + ffn(norm2(x)) */
typedef struct mirl_block {
    int channels, heads, hidden; ///< hidden: of the feed-forward, after the gate
    int scale;
    int norm1_weight, norm1_bias;
    int temperature, qkv, qkv_dwconv, attn_project_out;
    int norm2_weight, norm2_bias;
    int project_in, dwconv, ffn_project_out;
} mirl_block;

/** Consecutive blocks: first..first+count-1 in mirl_graph.blocks. */
typedef struct mirl_stage {
    int first, count;
} mirl_stage;

typedef struct mirl_prompt {
    int features; ///< channels of what it looks at
    int channels, size, scale;
    int prompt_param, linear_weight, linear_bias, conv3x3;
} mirl_prompt;

typedef struct mirl_graph {
    mirl_config config;
    mirl_layer *layers;
    int layer_count;
    mirl_block *blocks;
    int block_count;
    size_t parameters; ///< values in all layers

    int patch_embed;
    mirl_stage encoder[3]; ///< levels 1, 2, 3
    int down[3];           ///< down1_2, down2_3, down3_4: 3x3, then pixel-unshuffle
    mirl_stage latent;
    mirl_prompt prompt[3]; ///< levels 1, 2, 3, as are the next three
    int noise[3];          ///< noise_levelN, an index into blocks
    int reduce_noise[3];
    mirl_stage decoder[3];
    int up[3];          ///< up2_1, up3_2, up4_3: 3x3, then pixel-shuffle
    int reduce_chan[3]; ///< [0] is -1: decoder level 1 has none
    mirl_stage refinement;
    int output;
} mirl_graph;

/** Checks the configuration and builds its graph. NULL on failure (MIRL_ERROR_ARGUMENT with a sentence that
 * names the field, MIRL_ERROR_MEMORY). Free with mirl_graph_free(). */
mirl_graph *mirl_graph_create(const mirl_config *config, mirl_error *error);
void mirl_graph_free(mirl_graph *graph);

/** The layer's index, or -1. */
int mirl_graph_find(const mirl_graph *graph, const char *name);

/** Multiply-adds a pixel that do not depend on weights: the attention products of all blocks. */
double mirl_graph_attention_macs(const mirl_graph *graph);

/** What pruning leaves of a network. Begun with mirl_remains_begin(), every layer added once. */
typedef struct mirl_remains {
    size_t prunable, alive;  ///< values that pruning may remove; of those, not zero
    double dense_macs, macs; ///< multiply-adds a pixel, attention included: before pruning, and left
} mirl_remains;

mirl_remains mirl_remains_begin(const mirl_graph *graph);

/** `alive`: the layer's values that are not zero. */
void mirl_remains_add(mirl_remains *remains, const mirl_layer *layer, size_t alive);

/** Multiply-adds a pixel of a layer of which `alive` values are left. Depthwise convolutions run in full:
 * their few zeros save nothing. */
double mirl_layer_macs(const mirl_layer *layer, size_t alive);

/** True for the 1x1 convolutions that are in every published checkpoint and never run. */
bool mirl_graph_is_unused_name(const char *name);

/** The published network: dim 48, 35 376 967 parameters used. */
mirl_config mirl_config_paper(void);

#endif
