/* A convolution's weights, packed for the kernels: as a sparse matrix, or as a dense one where so few zeros
 * are left that skipping them costs more than multiplying them. */
#ifndef MIRL_CORE_NETWORK_MATRIX_H
#define MIRL_CORE_NETWORK_MATRIX_H

#include "kernels/kernels.h"
#include "weights/weights.h"

typedef struct mirl_matrix {
    int rows, columns;
    float *dense; ///< packed for dense_product(), or NULL: then sparse holds the values
    mirl_sparse sparse;
    double cost; ///< of a product, for each pixel: multiply-adds of the dense kernel
} mirl_matrix;

/** Packs a convolution layer for these kernels the way that runs faster. Free with mirl_matrix_free(), also
 * after a failure (MIRL_ERROR_MEMORY). */
mirl_status mirl_matrix_pack(mirl_matrix *matrix, const mirl_kernels *kernels, const mirl_weights *weights,
                             int layer, mirl_error *error);
/** The same, in a given way; frees what `matrix`, packed or zeroed, held before. */
mirl_status mirl_matrix_pack_as(mirl_matrix *matrix, const mirl_kernels *kernels, const mirl_weights *weights,
                                int layer, bool dense, mirl_error *error);
void mirl_matrix_free(mirl_matrix *matrix);

/** out = add + matrix * in; shapes, `add` and padding as in mirl_kernels. */
static inline void mirl_matrix_product(const mirl_kernels *kernels, const mirl_matrix *matrix,
                                       const float *in, size_t in_pitch, float *out, size_t out_pitch,
                                       size_t pixels, const float *add, size_t add_pitch) {
    if (matrix->dense)
        kernels->dense_product(matrix->dense, matrix->rows, matrix->columns, in, in_pitch, out, out_pitch,
                               pixels, add, add_pitch);
    else
        kernels->sparse_product(&matrix->sparse, in, in_pitch, out, out_pitch, pixels, add, add_pitch);
}

#endif
