/* Every operation of the network as a pair, forward and backward, behind one table of functions.
 *
 * A backend fills the table once (plain C for several instruction sets here; a GPU's could follow) and the
 * network and the training loop call nothing else. Shapes are written [channels]; every tensor of a call has
 * the same n, h, w unless said. A backward writes the gradient of its input and *adds* to the gradients of
 * parameters. `scratch` is room for trainer_scratch_size() values, private to the calling thread.
 *
 * Operations are thread-safe: they touch what they are given and nothing else. Sums have a fixed order.
 */
#ifndef MIRL_TRAINER_OPS_H
#define MIRL_TRAINER_OPS_H

#include "conv.h"
#include "memory.h"
#include "network/graph.h"
#include "patch.h"
#include "planes.h"

/** What a device's matrix products round their factors to; BF16: what it keeps of activations and their
 * gradients, too. Sums, parameters, their gradients and moments are float32. */
typedef enum trainer_precision { TRAINER_FLOAT32, TRAINER_TF32, TRAINER_BF16 } trainer_precision;

/** One prompt: sizes and parameters, network.md. */
typedef struct trainer_prompt {
    int features, channels, size, length;
    const real *param;  ///< [length][channels][size][size]
    const real *linear; ///< [length][features]
    const real *bias;   ///< [length]
} trainer_prompt;

/** A step of AdamW (Loshchilov & Hutter, arXiv 1711.05101) as PyTorch computes it. */
typedef struct trainer_adamw {
    double rate, beta1, beta2, epsilon, decay;
    uint64_t step; ///< 1 for the first
} trainer_adamw;

/** What the step multiplies by: value = (value * keep - rate * m / (sqrt(v) * root + epsilon)) with
 * m = beta1 * m + rest1 * g, v = beta2 * v + rest2 * g * g. */
typedef struct trainer_adamw_factors {
    real keep, rate, root, epsilon, beta1, beta2, rest1, rest2;
} trainer_adamw_factors;

trainer_adamw_factors trainer_adamw_factors_of(const trainer_adamw *step);

typedef struct trainer_ops {
    const char *name;
    bool split;     ///< dense convolutions are wanted in split tiles (trainer_matrix)
    bool keeps;     ///< memory is cheaper than time: norms and qkv_dwconv are kept for the backward
    double densest; ///< the largest share of weights alive with which sparse products are faster
    const trainer_memory *memory; ///< where all that the operations are given lives; NULL: the host's
    /** Values of scratch for any operation of the graph on n x h x w images; NULL: those of
     * trainer_scratch_size(). */
    size_t (*scratch)(const mirl_graph *graph, int n, int h, int w);

    /* y = images [n][channels][h][w], and back */
    void (*pack)(const float *images, trainer_planes y);
    void (*unpack)(trainer_planes x, float *images);

    /* y[out] = add + conv(x[in]), add[out] or NULL for 0; add may be y. */
    void (*conv_forward)(const trainer_conv *conv, trainer_planes x, const trainer_planes *add,
                         trainer_planes y, real *scratch);
    /* dx[in] = add + conv^T(dy[out]) */
    void (*conv_backward_input)(const trainer_conv *conv, trainer_planes dy, const trainer_planes *add,
                                trainer_planes dx, real *scratch);
    /* dweight += dy x^T, where the convolution is sparse only at the positions that are alive */
    void (*conv_backward_weight)(const trainer_conv *conv, trainer_planes x, trainer_planes dy, real *dweight,
                                 real *scratch);

    /* y[c] = weight[c][3][3] over x[c], zero padding */
    void (*depthwise_forward)(const real *weight, trainer_planes x, trainer_planes y);
    /* dx may not be dy */
    void (*depthwise_backward)(const real *weight, trainer_planes x, trainer_planes dy, trainer_planes dx,
                               real *dweight, real *scratch);

    /* (a, b) = depthwise(x[2c], weight[2c][3][3]); y[c] = gelu(a) * b */
    void (*gate_forward)(const real *weight, trainer_planes x, trainer_planes y, real *scratch);
    /* writes y again, which the backward of what follows needs; dx may not be x */
    void (*gate_backward)(const real *weight, trainer_planes x, trainer_planes dy, trainer_planes y,
                          trainer_planes dx, real *dweight, real *scratch);

    /* Chains of the above: between = conv(x), y = depthwise(between). */
    void (*conv_depthwise_forward)(const trainer_conv *conv, const real *weight, trainer_planes x,
                                   trainer_planes between, trainer_planes y, real *scratch);
    /* From dy to dx, and the gradients of both kernels. Here and below, dbetween and what else is not said to
     * be read or written is room for temporary values that an implementation may use or not. */
    void (*conv_depthwise_backward)(const trainer_conv *conv, const real *weight, trainer_planes x,
                                    trainer_planes between, trainer_planes dy, trainer_planes dbetween,
                                    trainer_planes dx, real *dconv, real *dweight, real *scratch);
    /* between = in(x), hidden = gate(between), y = add + out(hidden) */
    void (*conv_gate_conv_forward)(const trainer_conv *in, const real *weight, const trainer_conv *out,
                                   trainer_planes x, trainer_planes between, trainer_planes hidden,
                                   trainer_planes add, trainer_planes y, real *scratch);
    /* From dy, the gradient of out's result, to dx and the gradients of all three. */
    void (*conv_gate_conv_backward)(const trainer_conv *in, const real *weight, const trainer_conv *out,
                                    trainer_planes x, trainer_planes between, trainer_planes dy,
                                    trainer_planes hidden, trainer_planes dhidden, trainer_planes dbetween,
                                    trainer_planes dx, real *din, real *dweight, real *dout, real *scratch);

    /* y = (x - mean) / sqrt(variance + 1e-5) * weight + bias, over the channels of each pixel */
    void (*norm_forward)(const real *weight, const real *bias, trainer_planes x, trainer_planes y);
    /* dx += */
    void (*norm_backward)(const real *weight, trainer_planes x, trainer_planes dy, trainer_planes dx,
                          real *dweight, real *dbias, real *scratch);

    /* y[c] = A v for (q, k, v) = qkv[3c]; maps [n][heads][c/heads][c/heads] receives A */
    void (*attention_forward)(const real *temperature, int heads, trainer_planes qkv, real *maps,
                              trainer_planes y, real *scratch);
    void (*attention_backward)(const real *temperature, int heads, trainer_planes qkv, const real *maps,
                               trainer_planes dy, trainer_planes dqkv, real *dtemperature, real *scratch);

    /* pixel-shuffle: y[c] at twice the size of x[4c]; and its inverse (each is the other's backward) */
    void (*shuffle)(trainer_planes x, trainer_planes y);
    void (*unshuffle)(trainer_planes x, trainer_planes y);

    /* picture[channels] = resize(sum_i softmax(linear mean(x[features]) + bias)_i param_i);
     * mix [n][length] receives the softmax, mean [n][features] the means */
    void (*prompt_forward)(const trainer_prompt *prompt, trainer_planes x, real *mean, real *mix,
                           trainer_planes picture, real *scratch);
    /* dx[features] += */
    void (*prompt_backward)(const trainer_prompt *prompt, const real *mean, const real *mix,
                            trainer_planes dpicture, trainer_planes dx, real *dparam, real *dlinear,
                            real *dbias, real *scratch);

    /* *sum += |y - target| over all values; dy = sign(y - target) * scale */
    void (*loss)(trainer_planes y, trainer_planes target, real scale, trainer_planes dy, double *sum,
                 real *scratch);

    /* One step; gradients and the new values are multiplied by the mask. All pointers stand at the first of
     * `count` values; mask NULL: all alive. */
    void (*adamw)(const trainer_adamw_factors *step, size_t count, real *value, const real *gradient,
                  real *moment1, real *moment2, const uint8_t *mask);

    /* Of a device only (device/album.h): `count` patches of crop x crop pixels of these pictures, into
     * degraded, clean [count][3][crop][crop]; *difference += sum |degraded - clean|. room: patches_room()
     * bytes. */
    size_t (*patches_room)(int count, int crop);
    void (*patches)(const trainer_patch *patches, int count, int crop, const trainer_picture *pictures,
                    void *room, float *degraded, float *clean, double *difference);
} trainer_ops;

/** The fastest table that this processor can run, or the one of that name ("amx", "avx512", "avx2",
 * "baseline"; "twin" and "twin-reversed": a device's kernels in plain C, device/kernel.h), NULL if there is
 * none such. */
const trainer_ops *trainer_ops_get(const char *name);

/** Values of scratch that any operation needs on up to `channels` channels (3x3 convolutions: in + out) of
 * n x h x w pixels, with prompts of up to `prompt` values a prototype. */
size_t trainer_scratch_size(int channels, int n, int h, int w, size_t prompt);

/** The same for chains with up to `channels` channels between. */
size_t trainer_chain_scratch_size(int channels, int n, int h, int w);

#endif
