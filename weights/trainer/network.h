/* The network as the trainer sees it: where each layer's values stand in one flat array, its convolutions
 * prepared for products, and passes that run samples forward and backward.
 */
#ifndef MIRL_TRAINER_NETWORK_H
#define MIRL_TRAINER_NETWORK_H

#include "network/graph.h"
#include "ops.h"

/** Parameters, gradients, moments and masks are arrays of `parameters` values in the same order. */
typedef struct trainer_network {
    const mirl_graph *graph; ///< not owned
    const trainer_ops *ops;
    size_t parameters;
    size_t *at;          ///< of each layer: its first value in the flat arrays
    trainer_conv *convs; ///< of each layer; unused for those that are no 1x1 or 3x3 convolution
} trainer_network;

/** All convolutions dense. The graph must outlive the network. NULL: MIRL_ERROR_MEMORY. */
trainer_network *trainer_network_create(const mirl_graph *graph, const trainer_ops *ops, mirl_error *error);
void trainer_network_free(trainer_network *network);

/** Chooses sparse or dense products for each layer after the masks (NULL: all alive). */
mirl_status trainer_network_structure(trainer_network *network, const uint8_t *mask, mirl_error *error);

/** Prepares the convolutions with new values, on all OpenMP threads. Masked values must be zero. The values
 * live in the operations' memory and must stay. */
void trainer_network_values(trainer_network *network, const real *values);

/** PyTorch's default initial values (network.md), from our own generator. */
void trainer_network_initial(const trainer_network *network, uint64_t seed, real *values);

/** Memory and state for running up to `most` samples of h x w pixels (multiples of 8) at once; one for
 * each thread. */
typedef struct trainer_pass trainer_pass;

trainer_pass *trainer_pass_create(const trainer_network *network, int most, int h, int w, mirl_error *error);
void trainer_pass_free(trainer_pass *pass);

/** Bytes that a pass needs. */
size_t trainer_pass_bytes(const trainer_network *network, int most, int h, int w);

/** Runs n samples ([n][3][h][w], as are clean) forward, takes the mean absolute error over
 * `total` values (those of the whole batch), and adds the gradients of all parameters to `gradient`.
 * Returns these samples' part of the loss. Thread-safe for different passes and gradients. */
double trainer_pass_run(trainer_pass *pass, const real *values, int n, const float *degraded,
                        const float *clean, size_t total, real *gradient);

/** The same where everything, *sum too, lives in the operations' memory (ops.h): adds the sum of the absolute
 * errors to *sum. */
void trainer_pass_gradients(trainer_pass *pass, const real *values, int n, const float *degraded,
                            const float *clean, size_t total, real *gradient, double *sum);

/** Forward only: adds the sum of the absolute errors to *sum. */
void trainer_pass_loss(trainer_pass *pass, const real *values, int n, const float *degraded,
                       const float *clean, double *sum);

/** Forward only: restored [n][3][h][w]. */
void trainer_pass_restore(trainer_pass *pass, const real *values, int n, const float *degraded,
                          float *restored);

#endif
