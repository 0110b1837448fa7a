#include "trainer/conv.h"

#include "error.h"
#include "trainer/ops/internal.h"

#include <stdlib.h>

void trainer_pack(const real *weight, size_t row_step, size_t column_step, int rows, int columns,
                  real *tiles) {
    for (int first = 0; first < rows; first += TRAINER_TILE) {
        int count = rows - first < TRAINER_TILE ? rows - first : TRAINER_TILE;
        const real *from = weight + (size_t)first * row_step;
        for (int k = 0; k < columns; k++, tiles += TRAINER_TILE)
            for (int r = 0; r < TRAINER_TILE; r++)
                tiles[r] = r < count ? from[(size_t)r * row_step + (size_t)k * column_step] : 0;
    }
}

static void matrix_free(trainer_matrix *matrix) {
    free(matrix->tiles);
    free(matrix->start);
    free(matrix->column);
    free(matrix->source);
    free(matrix->value);
    *matrix = (trainer_matrix){0};
}

void trainer_conv_free(trainer_conv *conv) {
    matrix_free(&conv->forward);
    matrix_free(&conv->backward);
    *conv = (trainer_conv){0};
}

static size_t alive_count(const uint8_t *mask, size_t count) {
    size_t alive = 0;
    for (size_t i = 0; i < count; i++)
        alive += mask[i] != 0;
    return alive;
}

/* Index in the weight tensor of entry (row, column) of the forward or the backward matrix. */
static size_t source_index(const trainer_conv *conv, bool backward, int row, int column) {
    int taps = conv->side * conv->side;
    if (!backward)
        return (size_t)row * (size_t)(conv->in * taps) + (size_t)column;
    int out = column / taps, tap = column % taps;
    return ((size_t)out * (size_t)conv->in + (size_t)row) * (size_t)taps + (size_t)(taps - 1 - tap);
}

static bool allocate_dense(trainer_matrix *matrix) {
    size_t tiles = ((size_t)matrix->rows + TRAINER_TILE - 1) / TRAINER_TILE;
    size_t bytes = tiles * (size_t)matrix->columns * TRAINER_TILE * sizeof(real);
    matrix->tiles = aligned_alloc(64, (bytes + 63) / 64 * 64);
    return matrix->tiles;
}

static bool allocate_sparse(trainer_conv *conv, bool backward, const uint8_t *mask, size_t alive) {
    trainer_matrix *matrix = backward ? &conv->backward : &conv->forward;
    uint32_t entry = 0;

    matrix->start = malloc(((size_t)matrix->rows + 1) * sizeof *matrix->start);
    matrix->column = malloc((alive + 1) * sizeof *matrix->column);
    matrix->source = malloc((alive + 1) * sizeof *matrix->source);
    matrix->value = malloc((alive + 1) * sizeof *matrix->value);
    if (!matrix->start || !matrix->column || !matrix->source || !matrix->value)
        return false;
    for (int row = 0; row < matrix->rows; row++) {
        matrix->start[row] = entry;
        for (int column = 0; column < matrix->columns; column++) {
            size_t source = source_index(conv, backward, row, column);
            if (!mask[source])
                continue;
            matrix->column[entry] = (uint32_t)column;
            matrix->source[entry++] = (uint32_t)source;
        }
    }
    matrix->start[matrix->rows] = entry;
    return true;
}

mirl_status trainer_conv_structure(trainer_conv *conv, int out, int in, int side, const uint8_t *mask,
                                   double densest, mirl_error *error) {
    size_t count = (size_t)out * (size_t)in * (size_t)(side * side);
    size_t alive = mask ? alive_count(mask, count) : count;
    bool ok;

    trainer_conv_free(conv);
    *conv = (trainer_conv){.out = out, .in = in, .side = side};
    conv->forward.rows = out;
    conv->forward.columns = in * side * side;
    conv->backward.rows = in;
    conv->backward.columns = out * side * side;
    conv->sparse = (double)alive <= densest * (double)count && mask;
    if (conv->sparse)
        ok = allocate_sparse(conv, false, mask, alive) && allocate_sparse(conv, true, mask, alive);
    else
        ok = allocate_dense(&conv->forward) && allocate_dense(&conv->backward);
    if (ok)
        return MIRL_OK;
    trainer_conv_free(conv);
    return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for a convolution of %zu weights", count);
}

static void gather(trainer_matrix *matrix, const real *weight) {
    for (uint32_t entry = 0; entry < matrix->start[matrix->rows]; entry++)
        matrix->value[entry] = weight[matrix->source[entry]];
}

/* The transpose, with the kernels turned by half a turn, in tiles. */
static void pack_backward(const trainer_conv *conv, const real *weight) {
    int taps = conv->side * conv->side;
    size_t in = (size_t)conv->in;
    real *tiles = conv->backward.tiles;

    for (int first = 0; first < conv->in; first += TRAINER_TILE) {
        int count = conv->in - first < TRAINER_TILE ? conv->in - first : TRAINER_TILE;
        for (int out = 0; out < conv->out; out++) {
            const real *from = weight + ((size_t)out * in + (size_t)first) * (size_t)taps;
            for (int tap = taps - 1; tap >= 0; tap--, tiles += TRAINER_TILE)
                for (int r = 0; r < TRAINER_TILE; r++)
                    tiles[r] = r < count ? from[r * taps + tap] : 0;
        }
    }
}

void trainer_conv_values(trainer_conv *conv, const real *weight) {
    conv->weight = weight;
    if (conv->sparse) {
        gather(&conv->forward, weight);
        gather(&conv->backward, weight);
        return;
    }
    trainer_pack(weight, (size_t)conv->forward.columns, 1, conv->out, conv->forward.columns,
                 conv->forward.tiles);
    pack_backward(conv, weight);
}
