/* An opened model: its graph and its weights, packed for the kernels. */
#ifndef MIRL_CORE_NETWORK_MODEL_H
#define MIRL_CORE_NETWORK_MODEL_H

#include "kernels/kernels.h"
#include "network/matrix.h"

struct mirl_model {
    mirl_weights *weights;       ///< without their values
    const mirl_graph *graph;     ///< the weights'
    const mirl_kernels *kernels; ///< that the matrices are packed for
    mirl_matrix *matrices;       ///< [layer_count], filled for convolutions other than depthwise
    float **values;              ///< [layer_count], filled for all other layers: decoded, published order
};

/** mirl_model_open() for these kernels rather than the fastest. */
mirl_model *mirl_model_open_for(const mirl_kernels *kernels, const char *path, mirl_error *error);

#endif
