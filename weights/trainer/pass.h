/* Inside a pass: the tensors that a forward run keeps for the backward, and one transformer block.
 */
#ifndef MIRL_TRAINER_PASS_H
#define MIRL_TRAINER_PASS_H

#include "network.h"

/** Memory handed out front to back. With base NULL it only counts. */
typedef struct trainer_arena {
    real *base;
    size_t used; ///< values
} trainer_arena;

real *trainer_take(trainer_arena *arena, size_t values);

/** What a block keeps: its input x, output y (views), and what lies between; what is cheap to compute again
 * (norms, depthwise convolutions, the gate) is not kept, unless the operations say so (keeps). qkv and wide
 * are the `between` of chains, which an implementation may fill or leave. */
typedef struct trainer_block_state {
    trainer_planes x, y;
    trainer_planes qkv;                     ///< before the depthwise convolution
    trainer_planes attended;                ///< A v
    trainer_planes middle;                  ///< x + attn(norm1(x))
    trainer_planes wide;                    ///< project_in's result
    real *maps;                             ///< see attention_forward
    trainer_planes normed1, normed2, mixed; ///< results of the norms and of qkv_dwconv, where they are kept
} trainer_block_state;

struct trainer_pass {
    const trainer_network *network;
    int most, h, w;
    int n; ///< samples that the views are laid out for
    real *memory;
    size_t memory_values;

    trainer_arena work; ///< starts where temporary tensors may go
    real *scratch;      ///< for operations
    const real *values; ///< of the current run
    real *gradient;

    trainer_planes image, target, result, dresult, embedded, refined;
    trainer_block_state *blocks;
    /* By level 1, 2, 3; names as in graph.h: cat = [up, encoder's result], noisy = [x, prompt]. */
    trainer_planes cat[3], noisy[3], denoised[3], reduced[3], picture[3], deeper[3];
    trainer_planes dcat[3], dnoisy[3], dreduced[3];
    real *mean[3], *mix[3];
};

/** A tensor for this pass's samples at 1/scale. */
trainer_planes trainer_take_planes(const trainer_pass *pass, trainer_arena *arena, int channels, int scale);

/** Takes what the block keeps beside x and y. */
void trainer_block_plan(const trainer_pass *pass, int block, trainer_arena *arena);
/** Values of temporary tensors that the block's backward takes. */
size_t trainer_block_work(const trainer_pass *pass, int block);

void trainer_block_forward(trainer_pass *pass, int block);
/** d: in the gradient of y, out that of x. */
void trainer_block_backward(trainer_pass *pass, int block, trainer_planes d);

/* A layer's convolution in this pass: y = add + conv(x). */
void trainer_pass_conv(trainer_pass *pass, int layer, trainer_planes x, const trainer_planes *add,
                       trainer_planes y);
/* Its backward: the weights' gradient, and dx = add + conv^T(dy). */
void trainer_pass_conv_backward(trainer_pass *pass, int layer, trainer_planes x, trainer_planes dy,
                                const trainer_planes *add, trainer_planes dx);

/** A layer's values and its gradients in this pass. */
static inline const real *trainer_pass_values(const trainer_pass *pass, int layer) {
    return pass->values + pass->network->at[layer];
}
static inline real *trainer_pass_gradient(const trainer_pass *pass, int layer) {
    return pass->gradient + pass->network->at[layer];
}

#endif
