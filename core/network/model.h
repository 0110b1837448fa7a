/* An opened model: its graph and its weights, packed for the kernels. */
#ifndef MIRL_CORE_NETWORK_MODEL_H
#define MIRL_CORE_NETWORK_MODEL_H

#include "kernels/kernels.h"
#include "network/matrix.h"
#include "network/spare.h"

struct mirl_model {
    mirl_weights *weights;          ///< without their values
    const mirl_graph *graph;        ///< the weights'
    const mirl_kernels *kernels;    ///< that the matrices are packed for
    mirl_convolution *convolutions; ///< [layer_count], filled for all but the depthwise ones
    /** [layer_count], filled for all other layers: decoded, in published order but for the rows of a
     * feed-forward's depthwise convolution, which are in the order of project_in's parts. */
    float **values;
    mirl_spare *spare; ///< memory of the last network, for the next
};

/** mirl_model_open() for these kernels rather than the fastest. */
mirl_model *mirl_model_open_for(const mirl_kernels *kernels, const char *path, mirl_error *error);

#endif
