/* A convolution's weights, packed for the kernels: as sparse matrices, or as dense ones where so few zeros
 * are left that skipping them costs more than multiplying them. */
#ifndef MIRL_CORE_NETWORK_MATRIX_H
#define MIRL_CORE_NETWORK_MATRIX_H

#include "kernels/kernels.h"
#include "weights/weights.h"

typedef struct mirl_matrix {
    int rows, columns;
    float *dense; ///< packed for dense_product(), or NULL: then sparse holds the values
    mirl_sparse sparse;
} mirl_matrix;

/** How a convolution is cut into parts that run one after the other, so that what lies between two
 * convolutions stays small. */
typedef struct mirl_cut {
    enum {
        MIRL_CUT_ROWS,
        MIRL_CUT_PAIRED_ROWS, ///< each part takes rows of the first half, then the same of the second
        MIRL_CUT_COLUMNS,
        MIRL_CUT_KERNEL_ROWS, ///< of a 3x3 convolution, whose column 9c + 3i + j becomes 3c + j of part i
    } along;
    int step; ///< rows (of each half) or columns in a part; the last may have fewer. Kernel rows: a third
} mirl_cut;

/** The parts of `count` rows or columns. */
static inline int mirl_cut_parts(int count, int step) {
    return (count + step - 1) / step;
}

/** The layer's row at place `at` of the parts' rows, end to end. `rows`: the layer's. */
int mirl_cut_row(mirl_cut cut, int rows, int at);

typedef struct mirl_convolution {
    mirl_cut cut;
    int rows, columns; ///< of the whole
    int parts;
    mirl_matrix *part;  ///< [parts]
    mirl_sparse values; ///< that parts may be views of
    double cost;        ///< of all products, for each pixel: multiply-adds of the dense kernel
} mirl_convolution;

/** True where a layer's matrix runs faster dense. */
bool mirl_convolution_is_dense(const mirl_kernels *kernels, const mirl_weights *weights, int layer);

/** Packs a layer for these kernels, each part the way that runs faster. Free with mirl_convolution_free(),
 * also after a failure (MIRL_ERROR_MEMORY). */
mirl_status mirl_convolution_pack(mirl_convolution *convolution, const mirl_kernels *kernels,
                                  const mirl_weights *weights, int layer, mirl_cut cut, mirl_error *error);
void mirl_convolution_free(mirl_convolution *convolution);

/** A view of the rows from `first` on, or from one before it: *first becomes that. */
mirl_matrix mirl_matrix_from(const mirl_matrix *matrix, int *first);

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
