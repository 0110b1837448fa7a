#include "network/matrix.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"

enum {
    /* Columns in a block of a sparse matrix: with the 128 pixels that the widest product takes at a time they
     * fill most of a first-level cache. A last block may be half as large again, so that none is small. */
    BLOCK_COLUMNS = 128,
};

/* ---- Cutting ----------------------------------------------------------------------------------------- */

static int least(int a, int b) {
    return a < b ? a : b;
}

int mirl_cut_row(mirl_cut cut, int rows, int at) {
    if (cut.along != MIRL_CUT_PAIRED_ROWS)
        return at;
    const int half = rows / 2, first = at / (2 * cut.step) * cut.step, place = at - 2 * first;
    const int count = least(cut.step, half - first);
    return first + (place < count ? place : half + place - count);
}

/* Rows in a part of a cut along rows. */
static int rows_of_part(mirl_cut cut) {
    return cut.along == MIRL_CUT_PAIRED_ROWS ? 2 * cut.step : cut.step;
}

static bool cuts_columns(mirl_cut cut) {
    return cut.along == MIRL_CUT_COLUMNS || cut.along == MIRL_CUT_KERNEL_ROWS;
}

static int parts_of(const mirl_convolution *whole) {
    return cuts_columns(whole->cut) ? mirl_cut_parts(whole->columns, whole->cut.step)
                                    : mirl_cut_parts(whole->rows, rows_of_part(whole->cut));
}

/* ---- Values ------------------------------------------------------------------------------------------ */

static bool allocate(mirl_sparse *sparse, int rows, int columns, int blocks, size_t alive) {
    *sparse = (mirl_sparse){
        .rows = rows,
        .columns = columns,
        .blocks = blocks,
        .start = calloc((size_t)blocks * (size_t)rows + 1, sizeof *sparse->start),
        .column = malloc((alive + 1) * sizeof *sparse->column),
        .value = malloc((alive + 1) * sizeof *sparse->value),
    };
    return sparse->start && sparse->column && sparse->value;
}

static void release(mirl_sparse *sparse) {
    free(sparse->start);
    free(sparse->column);
    free(sparse->value);
    *sparse = (mirl_sparse){0};
}

/* A layer's rows in the order of a cut. */
static bool read_rows(mirl_sparse *values, const mirl_weights *weights, int layer, mirl_cut cut) {
    const mirl_layer *shape = &mirl_weights_graph(weights)->layers[layer];
    if (!allocate(values, shape->rows, shape->columns, 1, mirl_weights_alive(weights, layer)))
        return false;
    for (int r = 0; r < shape->rows; r++) {
        const uint32_t k = values->start[r];
        const int row = mirl_cut_row(cut, shape->rows, r);
        values->start[r + 1] =
            k + (uint32_t)mirl_weights_row(weights, layer, row, values->column + k, values->value + k);
    }
    return true;
}

static size_t alive_in(const mirl_sparse *values) {
    return values->start[values->rows] - values->start[0];
}

/* The same values, with their columns cut into blocks of `width`; `apart`: each block counts its columns
 * from 0. */
static bool take_blocks(mirl_sparse *taken, const mirl_sparse *values, int width, bool apart) {
    const int blocks = mirl_cut_parts(values->columns, width), rows = values->rows;
    uint32_t *next = malloc((size_t)rows * sizeof *next), to = 0;

    if (!allocate(taken, rows, values->columns, blocks, alive_in(values)) || !next) {
        free(next);
        return false;
    }
    memcpy(next, values->start, (size_t)rows * sizeof *next);
    for (int b = 0, edge = width; b < blocks; b++, edge += width)
        for (int r = 0; r < rows; r++) {
            uint32_t k = next[r];
            for (; k < values->start[r + 1] && values->column[k] < edge; k++, to++) {
                taken->column[to] = (uint16_t)(values->column[k] - (apart ? edge - width : 0));
                taken->value[to] = values->value[k];
            }
            next[r] = k;
            taken->start[b * rows + r + 1] = to;
        }
    free(next);
    return true;
}

/* The same values, those of each row of the 3x3 kernels together. */
static bool take_kernel_rows(mirl_sparse *taken, const mirl_sparse *values) {
    const int rows = values->rows;
    uint32_t to = 0;

    if (!allocate(taken, rows, values->columns, 3, alive_in(values)))
        return false;
    for (int i = 0; i < 3; i++)
        for (int r = 0; r < rows; r++) {
            for (uint32_t k = values->start[r]; k < values->start[r + 1]; k++)
                if (values->column[k] / 3 % 3 == i) {
                    taken->column[to] = values->column[k] / 9 * 3 + values->column[k] % 3;
                    taken->value[to++] = values->value[k];
                }
            taken->start[i * rows + r + 1] = to;
        }
    return true;
}

/* ---- Packing ----------------------------------------------------------------------------------------- */

static bool dense_is_faster(const mirl_kernels *kernels, size_t alive, int rows, int columns) {
    return kernels->sparse_cost * (double)alive > kernels->dense_cost(rows, columns);
}

bool mirl_convolution_is_dense(const mirl_kernels *kernels, const mirl_weights *weights, int layer) {
    const mirl_layer *shape = &mirl_weights_graph(weights)->layers[layer];
    return dense_is_faster(kernels, mirl_weights_alive(weights, layer), shape->rows, shape->columns);
}

static float *pack_dense(const mirl_kernels *kernels, const float *dense, int rows, int columns) {
    float *packed = aligned_alloc(MIRL_ALIGN, mirl_packed(rows, columns) * sizeof *packed);
    if (packed)
        kernels->pack(dense, (size_t)columns, rows, columns, packed);
    return packed;
}

static float *pack_scattered(const mirl_kernels *kernels, const mirl_sparse *values) {
    const size_t columns = (size_t)values->columns;
    float *dense = calloc((size_t)values->rows * columns, sizeof *dense), *packed = NULL;

    if (dense) {
        for (int r = 0; r < values->rows; r++)
            for (uint32_t k = values->start[r]; k < values->start[r + 1]; k++)
                dense[(size_t)r * columns + values->column[k]] = values->value[k];
        packed = pack_dense(kernels, dense, values->rows, values->columns);
    }
    free(dense);
    return packed;
}

/* Packs the next part. Where nothing has to be moved, it is a view of `values`. */
static bool pack_part(mirl_convolution *convolution, const mirl_kernels *kernels, const mirl_sparse *values) {
    const int blocks = (values->columns + BLOCK_COLUMNS / 2 - 1) / BLOCK_COLUMNS;
    mirl_matrix *matrix = &convolution->part[convolution->parts++];

    *matrix = (mirl_matrix){.rows = values->rows, .columns = values->columns};
    if (dense_is_faster(kernels, alive_in(values), values->rows, values->columns)) {
        convolution->cost += kernels->dense_cost(values->rows, values->columns);
        matrix->dense = pack_scattered(kernels, values);
        return matrix->dense;
    }
    convolution->cost += kernels->sparse_cost * (double)alive_in(values);
    if (blocks > 1)
        return take_blocks(&matrix->sparse, values, mirl_cut_parts(values->columns, blocks), false);
    matrix->sparse = *values;
    return true;
}

/* Puts the values into the order of the parts. */
static bool separate_columns(mirl_convolution *convolution) {
    mirl_sparse taken;
    const bool fine = convolution->cut.along == MIRL_CUT_KERNEL_ROWS
                          ? take_kernel_rows(&taken, &convolution->values)
                          : take_blocks(&taken, &convolution->values, convolution->cut.step, true);

    release(&convolution->values);
    convolution->values = taken;
    return fine;
}

/* Part `number` as a view of the values. */
static mirl_sparse view(const mirl_convolution *convolution, int number) {
    const mirl_cut cut = convolution->cut;
    mirl_sparse part = convolution->values;

    part.blocks = 1;
    if (cuts_columns(cut)) {
        part.columns = least(cut.step, part.columns - number * cut.step);
        part.start += number * part.rows;
    } else {
        const int step = rows_of_part(cut);
        part.rows = least(step, part.rows - number * step);
        part.start += number * step;
    }
    return part;
}

static bool pack_parts(mirl_convolution *convolution, int parts, const mirl_kernels *kernels,
                       const mirl_weights *weights, int layer) {
    bool fine = read_rows(&convolution->values, weights, layer, convolution->cut), viewed = false;

    if (fine && parts > 1 && cuts_columns(convolution->cut))
        fine = separate_columns(convolution);
    for (int i = 0; fine && i < parts; i++) {
        const mirl_sparse part = view(convolution, i);
        fine = pack_part(convolution, kernels, &part);
        viewed |= convolution->part[i].sparse.column == part.column;
    }
    if (!viewed)
        release(&convolution->values);
    return fine;
}

/* A dense matrix in one piece does not go through lists of its values. */
static bool pack_whole(mirl_convolution *convolution, const mirl_kernels *kernels,
                       const mirl_weights *weights, int layer) {
    const size_t count = (size_t)convolution->rows * (size_t)convolution->columns;
    mirl_matrix *matrix = &convolution->part[convolution->parts++];
    float *values = malloc(count * sizeof *values);

    *matrix = (mirl_matrix){.rows = convolution->rows, .columns = convolution->columns};
    convolution->cost = kernels->dense_cost(matrix->rows, matrix->columns);
    if (values) {
        mirl_weights_values(weights, layer, values);
        matrix->dense = pack_dense(kernels, values, matrix->rows, matrix->columns);
    }
    free(values);
    return matrix->dense;
}

mirl_status mirl_convolution_pack(mirl_convolution *convolution, const mirl_kernels *kernels,
                                  const mirl_weights *weights, int layer, mirl_cut cut, mirl_error *error) {
    const mirl_layer *shape = &mirl_weights_graph(weights)->layers[layer];

    *convolution = (mirl_convolution){.cut = cut, .rows = shape->rows, .columns = shape->columns};
    const int parts = parts_of(convolution);
    convolution->part = calloc((size_t)parts, sizeof *convolution->part);
    if (convolution->part && (parts == 1 && mirl_convolution_is_dense(kernels, weights, layer)
                                  ? pack_whole(convolution, kernels, weights, layer)
                                  : pack_parts(convolution, parts, kernels, weights, layer)))
        return MIRL_OK;
    return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for the weights of %s", shape->name);
}

void mirl_convolution_free(mirl_convolution *convolution) {
    for (int i = 0; i < convolution->parts; i++) {
        mirl_matrix *matrix = &convolution->part[i];
        free(matrix->dense);
        if (matrix->sparse.column != convolution->values.column)
            release(&matrix->sparse);
    }
    release(&convolution->values);
    free(convolution->part);
    *convolution = (mirl_convolution){0};
}

mirl_matrix mirl_matrix_from(const mirl_matrix *matrix, int *first) {
    mirl_matrix rest = *matrix;

    if (rest.dense) {
        *first -= *first % MIRL_PAD;
        rest.dense += mirl_packed(*first, rest.columns);
    } else {
        *first = rest.sparse.blocks > 1 ? 0 : *first;
        rest.sparse.start += *first;
        rest.sparse.rows -= *first;
    }
    rest.rows -= *first;
    return rest;
}
