#include "trainer/conv.h"

#include "error.h"

#include <stdlib.h>
#include <string.h>

size_t trainer_tiles_size(int rows, int columns, bool split) {
    size_t tile = split ? TRAINER_SPLIT : TRAINER_TILE, wide = split ? 2 * TRAINER_SPLIT : 1;
    size_t blocks = split ? ((size_t)columns + TRAINER_SPLIT - 1) / TRAINER_SPLIT : (size_t)columns;
    return ((size_t)rows + tile - 1) / tile * blocks * tile * wide;
}

static void pack_values(trainer_entries from, int rows, int columns, real *tiles) {
    for (int first = 0; first < rows; first += TRAINER_TILE) {
        int count = rows - first < TRAINER_TILE ? rows - first : TRAINER_TILE;
        for (int k = 0; k < columns; k += from.taps)
            for (int t = 0; t < from.taps; t++, tiles += TRAINER_TILE) {
                const real *at = from.first + first * from.row + k / from.taps * from.block + t * from.tap;
                for (int r = 0; r < TRAINER_TILE; r++)
                    tiles[r] = r < count ? at[r * from.row] : 0;
            }
    }
}

/* The bits of x's bfloat16, to nearest, in the upper half. */
static inline uint32_t rounded(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
}

/* A row of a tile: twice each value's bfloat16, and twice that of what is left. */
static void split_row(const float *values, uint32_t *high, uint32_t *low) {
    for (int k = 0; k < TRAINER_SPLIT; k++) {
        uint32_t bits = rounded(values[k]), rest;
        float kept;
        memcpy(&kept, &bits, sizeof kept);
        rest = rounded(values[k] - kept);
        high[k] = bits | bits >> 16;
        low[k] = rest | rest >> 16;
    }
}

static void pack_split(trainer_entries from, int rows, int columns, uint32_t *tiles) {
    enum { SIDE = TRAINER_SPLIT, TILE = SIDE * SIDE };
    for (int first = 0; first < rows; first += SIDE)
        for (int column = 0; column < columns; column += SIDE, tiles += 2 * TILE) {
            int count = columns - column < SIDE ? columns - column : SIDE;
            ptrdiff_t at[SIDE];
            for (int k = 0; k < count; k++)
                at[k] = (column + k) / from.taps * from.block + (column + k) % from.taps * from.tap;
            for (int r = 0; r < SIDE; r++) {
                const real *row = from.first + (first + r) * from.row;
                float values[SIDE] = {0};
                if (first + r < rows)
                    for (int k = 0; k < count; k++)
                        values[k] = (float)row[at[k]];
                split_row(values, tiles + r * SIDE, tiles + TILE + r * SIDE);
            }
        }
}

void trainer_pack(trainer_entries from, int rows, int columns, bool split, real *tiles) {
    if (split)
        pack_split(from, rows, columns, (uint32_t *)tiles);
    else
        pack_values(from, rows, columns, tiles);
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

static bool allocate_dense(trainer_matrix *matrix, bool split) {
    size_t bytes = trainer_tiles_size(matrix->rows, matrix->columns, split) * sizeof(real);
    matrix->split = split;
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
                                   double densest, bool split, mirl_error *error) {
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
        ok = allocate_dense(&conv->forward, split) && allocate_dense(&conv->backward, split);
    if (ok)
        return MIRL_OK;
    trainer_conv_free(conv);
    return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for a convolution of %zu weights", count);
}

static void gather(trainer_matrix *matrix, const real *weight) {
    for (uint32_t entry = 0; entry < matrix->start[matrix->rows]; entry++)
        matrix->value[entry] = weight[matrix->source[entry]];
}

void trainer_conv_values(trainer_conv *conv, const real *weight) {
    const trainer_matrix *forward = &conv->forward, *backward = &conv->backward;
    int taps = conv->side * conv->side;
    ptrdiff_t row = (ptrdiff_t)conv->in * taps;

    conv->weight = weight;
    if (conv->sparse) {
        gather(&conv->forward, weight);
        gather(&conv->backward, weight);
        return;
    }
    trainer_pack((trainer_entries){weight, row, taps, 1, taps}, forward->rows, forward->columns,
                 forward->split, forward->tiles);
    trainer_pack((trainer_entries){weight + taps - 1, taps, row, -1, taps}, backward->rows, backward->columns,
                 backward->split, backward->tiles);
}
