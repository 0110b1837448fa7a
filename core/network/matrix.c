#include "network/matrix.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"

enum {
    /* Columns in a block: with the 128 pixels that the widest product takes at a time they fill most of a
     * first-level cache. A last block may be half as large again, so that none is small. */
    BLOCK_COLUMNS = 128,
};

static bool pack_dense(mirl_matrix *matrix, const mirl_kernels *kernels, const mirl_weights *weights,
                       int layer) {
    size_t count = (size_t)matrix->rows * (size_t)matrix->columns;
    size_t packed = mirl_packed(matrix->rows, matrix->columns);
    float *values = malloc(count * sizeof *values);
    matrix->dense = aligned_alloc(MIRL_ALIGN, packed * sizeof *matrix->dense);
    if (values && matrix->dense) {
        mirl_weights_values(weights, layer, values);
        kernels->pack(values, (size_t)matrix->columns, matrix->rows, matrix->columns, matrix->dense);
    }
    free(values);
    return values && matrix->dense;
}

/* Moves rows that stand in one piece each, as files have them, into blocks of columns. */
static bool cut_into_blocks(mirl_sparse *sparse) {
    const size_t rows = (size_t)sparse->rows, blocks = (size_t)sparse->blocks;
    const size_t alive = sparse->start[rows];
    const unsigned width = (unsigned)((sparse->columns + sparse->blocks - 1) / sparse->blocks);
    uint32_t *start = calloc(blocks * rows + 1, sizeof *start);
    uint32_t *next = malloc(blocks * rows * sizeof *next);
    uint16_t *column = malloc((alive + 1) * sizeof *column);
    float *value = malloc((alive + 1) * sizeof *value);
    bool fine = start && next && column && value;

    if (fine) {
        for (size_t r = 0; r < rows; r++)
            for (uint32_t k = sparse->start[r]; k < sparse->start[r + 1]; k++)
                start[sparse->column[k] / width * rows + r + 1]++;
        for (size_t i = 0; i < blocks * rows; i++)
            start[i + 1] += start[i];
        memcpy(next, start, blocks * rows * sizeof *next);
        for (size_t r = 0; r < rows; r++)
            for (uint32_t k = sparse->start[r]; k < sparse->start[r + 1]; k++) {
                uint32_t to = next[sparse->column[k] / width * rows + r]++;
                column[to] = sparse->column[k];
                value[to] = sparse->value[k];
            }
    }
    free(next);
    if (!fine) {
        free(start);
        free(column);
        free(value);
        return false;
    }
    free(sparse->start);
    free(sparse->column);
    free(sparse->value);
    sparse->start = start;
    sparse->column = column;
    sparse->value = value;
    return true;
}

static bool pack_sparse(mirl_matrix *matrix, const mirl_weights *weights, int layer) {
    mirl_sparse *sparse = &matrix->sparse;
    size_t alive = mirl_weights_alive(weights, layer);
    int blocks = (matrix->columns + BLOCK_COLUMNS / 2 - 1) / BLOCK_COLUMNS;

    sparse->rows = matrix->rows;
    sparse->columns = matrix->columns;
    sparse->start = malloc(((size_t)matrix->rows + 1) * sizeof *sparse->start);
    sparse->column = malloc((alive + 1) * sizeof *sparse->column);
    sparse->value = malloc((alive + 1) * sizeof *sparse->value);
    if (!sparse->start || !sparse->column || !sparse->value)
        return false;
    uint32_t k = 0;
    for (int r = 0; r < matrix->rows; r++) {
        sparse->start[r] = k;
        k += (uint32_t)mirl_weights_row(weights, layer, r, sparse->column + k, sparse->value + k);
    }
    sparse->start[matrix->rows] = k;
    sparse->blocks = blocks > 1 ? blocks : 1;
    return sparse->blocks == 1 || cut_into_blocks(sparse);
}

mirl_status mirl_matrix_pack_as(mirl_matrix *matrix, const mirl_kernels *kernels, const mirl_weights *weights,
                                int layer, bool dense, mirl_error *error) {
    const mirl_layer *shape = &mirl_weights_graph(weights)->layers[layer];

    mirl_matrix_free(matrix);
    matrix->rows = shape->rows;
    matrix->columns = shape->columns;
    matrix->cost =
        dense ? (double)shape->count : kernels->sparse_cost * (double)mirl_weights_alive(weights, layer);
    if (dense ? pack_dense(matrix, kernels, weights, layer) : pack_sparse(matrix, weights, layer))
        return MIRL_OK;
    return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for the weights of %s", shape->name);
}

mirl_status mirl_matrix_pack(mirl_matrix *matrix, const mirl_kernels *kernels, const mirl_weights *weights,
                             int layer, mirl_error *error) {
    double count = (double)mirl_weights_graph(weights)->layers[layer].count;
    bool dense = kernels->sparse_cost * (double)mirl_weights_alive(weights, layer) > count;
    return mirl_matrix_pack_as(matrix, kernels, weights, layer, dense, error);
}

void mirl_matrix_free(mirl_matrix *matrix) {
    free(matrix->dense);
    free(matrix->sparse.start);
    free(matrix->sparse.column);
    free(matrix->sparse.value);
    *matrix = (mirl_matrix){0};
}
