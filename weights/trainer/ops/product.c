/* Matrix products over planes of pixels: W x (dense in tiles of rows, or sparse), and a x^T (all entries, or
 * those alive). Pixels are contiguous, so nothing is repacked; blocks of pixels keep the rows in cache.
 */
#include "trainer/ops/internal.h"

enum {
    PRODUCT_BLOCK = 512, ///< pixels for which a dense product runs over all rows
    DOTS_BLOCK = 512,    ///< pixels over which dots are summed in registers
    DOTS_ROWS = VECTOR_BYTES == 64 ? 4 : 2,
    DOTS_COLUMNS = VECTOR_BYTES == 64 ? 6 : 4,
    ALIVE_COLUMNS = 8,
    SPARSE_VECTORS = 8, ///< vectors of a row that a sparse product keeps in registers
};

INLINE vec load_at(const real *p, int vector, int part) {
    return part ? load_part(p, part) : load(p + vector * LANES);
}

INLINE void store_at(real *p, int vector, int part, vec v) {
    if (part)
        store_part(p, v, part);
    else
        store(p + vector * LANES, v);
}

#if !SPLIT

/* `computed` rows (constant) of which `rows` exist, `vectors` (constant) vectors of pixels; part > 0: one
 * vector of which only so many lanes exist. */
INLINE void dense_tile(const real *tile, int columns, const real *x, const ptrdiff_t *offset, const real *add,
                       size_t add_pitch, real *y, size_t y_pitch, int rows, const int computed,
                       const int vectors, int part) {
    vec sum[TRAINER_TILE][2];

#pragma GCC unroll 8
    for (int r = 0; r < computed; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            sum[r][v] = add && r < rows ? load_at(add + (size_t)r * add_pitch, v, part) : (vec){0};
    for (int k = 0; k < columns; k++, tile += TRAINER_TILE) {
        vec pixels[2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            pixels[v] = load_at(x + offset[k], v, part);
        if (vectors == 2) {
            __builtin_prefetch(x + offset[k] + 2 * LANES);
            __builtin_prefetch(x + offset[k] + 3 * LANES);
        }
#pragma GCC unroll 8
        for (int r = 0; r < computed; r++)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                sum[r][v] += tile[r] * pixels[v];
    }
#pragma GCC unroll 8
    for (int r = 0; r < computed; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            if (r < rows)
                store_at(y + (size_t)r * y_pitch, v, part, sum[r][v]);
}

INLINE void dense_rows(const real *tile, int columns, const real *x, const ptrdiff_t *offset, const real *add,
                       size_t add_pitch, real *y, size_t y_pitch, int rows, const int computed, int pixels) {
    int p = 0;
    for (; p + 2 * LANES <= pixels; p += 2 * LANES)
        dense_tile(tile, columns, x + p, offset, add ? add + p : NULL, add_pitch, y + p, y_pitch, rows,
                   computed, 2, 0);
    for (; p + LANES <= pixels; p += LANES)
        dense_tile(tile, columns, x + p, offset, add ? add + p : NULL, add_pitch, y + p, y_pitch, rows,
                   computed, 1, 0);
    if (p < pixels)
        dense_tile(tile, columns, x + p, offset, add ? add + p : NULL, add_pitch, y + p, y_pitch, rows,
                   computed, 1, pixels - p);
}

static void product_dense(const trainer_matrix *matrix, const real *x, const ptrdiff_t *offset,
                          const real *add, size_t add_pitch, real *y, size_t y_pitch, int pixels) {
    const real *tile = matrix->tiles;
    for (int row = 0; row < matrix->rows; row += TRAINER_TILE) {
        int rows = matrix->rows - row < TRAINER_TILE ? matrix->rows - row : TRAINER_TILE;
        const real *add_row = add ? add + (size_t)row * add_pitch : NULL;
        real *y_row = y + (size_t)row * y_pitch;
        if (rows == TRAINER_TILE)
            dense_rows(tile, matrix->columns, x, offset, add_row, add_pitch, y_row, y_pitch, TRAINER_TILE,
                       TRAINER_TILE, pixels);
        else if (rows > 4)
            dense_rows(tile, matrix->columns, x, offset, add_row, add_pitch, y_row, y_pitch, rows,
                       TRAINER_TILE, pixels);
        else
            dense_rows(tile, matrix->columns, x, offset, add_row, add_pitch, y_row, y_pitch, rows, 4, pixels);
        tile += (size_t)matrix->columns * TRAINER_TILE;
    }
}

#endif

INLINE void sparse_tile(const trainer_matrix *matrix, int row, const real *x, const ptrdiff_t *offset,
                        const real *add, real *y, const int vectors, int part) {
    vec sum[SPARSE_VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++)
        sum[v] = add ? load_at(add, v, part) : (vec){0};
    for (uint32_t e = matrix->start[row]; e < matrix->start[row + 1]; e++) {
        const real *from = x + offset[matrix->column[e]];
        real value = matrix->value[e];
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            sum[v] += value * load_at(from, v, part);
    }
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++)
        store_at(y, v, part, sum[v]);
}

INLINE void sparse_strip(const trainer_matrix *matrix, const real *x, const ptrdiff_t *offset,
                         const real *add, size_t add_pitch, real *y, size_t y_pitch, const int vectors,
                         int part) {
    if (vectors == SPARSE_VECTORS)
        for (int k = 0; k < matrix->columns; k++)
#pragma GCC unroll 8
            for (int v = 0; v < SPARSE_VECTORS; v++)
                prefetch(x + offset[k] + (v + SPARSE_VECTORS) * LANES);
    for (int row = 0; row < matrix->rows; row++)
        sparse_tile(matrix, row, x, offset, add ? add + (size_t)row * add_pitch : NULL,
                    y + (size_t)row * y_pitch, vectors, part);
}

/* Strips so narrow that what the rows read again and again stays in the first-level cache. */
static void product_sparse(const trainer_matrix *matrix, const real *x, const ptrdiff_t *offset,
                           const real *add, size_t add_pitch, real *y, size_t y_pitch, size_t pixels) {
    size_t p = 0;
    for (; p + SPARSE_VECTORS * LANES <= pixels; p += SPARSE_VECTORS * LANES)
        sparse_strip(matrix, x + p, offset, add ? add + p : NULL, add_pitch, y + p, y_pitch, SPARSE_VECTORS,
                     0);
    for (; p + 4 * LANES <= pixels; p += 4 * LANES)
        sparse_strip(matrix, x + p, offset, add ? add + p : NULL, add_pitch, y + p, y_pitch, 4, 0);
    for (; p + LANES <= pixels; p += LANES)
        sparse_strip(matrix, x + p, offset, add ? add + p : NULL, add_pitch, y + p, y_pitch, 1, 0);
    if (p < pixels)
        sparse_strip(matrix, x + p, offset, add ? add + p : NULL, add_pitch, y + p, y_pitch, 1,
                     (int)(pixels - p));
}

void OP(product)(const trainer_matrix *matrix, const real *x, const ptrdiff_t *offset, const real *add,
                 size_t add_pitch, real *y, size_t y_pitch, size_t pixels) {
    if (!matrix->tiles) {
        product_sparse(matrix, x, offset, add, add_pitch, y, y_pitch, pixels);
        return;
    }
#if SPLIT
    OP(product_split)(matrix, x, offset, add, add_pitch, y, y_pitch, pixels);
#else
    for (size_t p = 0; p < pixels; p += PRODUCT_BLOCK)
        product_dense(matrix, x + p, offset, add ? add + p : NULL, add_pitch, y + p, y_pitch,
                      pixels - p < PRODUCT_BLOCK ? (int)(pixels - p) : PRODUCT_BLOCK);
#endif
}

#if !SPLIT

INLINE void dots_step(const real *a, size_t a_pitch, const real *x, const ptrdiff_t *offset, int part,
                      vec sum[DOTS_COLUMNS][4], const int rows, const int columns) {
    vec left[4];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
        left[r] = load_at(a + (size_t)r * a_pitch, 0, part);
#pragma GCC unroll 6
    for (int k = 0; k < columns; k++) {
        vec right = load_at(x + offset[k], 0, part);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
            sum[k][r] += left[r] * right;
    }
}

INLINE void dots_tile(const real *a, size_t a_pitch, const real *x, const ptrdiff_t *offset, int pixels,
                      real *out, size_t out_pitch, const int rows, const int columns) {
    vec sum[DOTS_COLUMNS][4];
    real totals[DOTS_COLUMNS][4];
    int p = 0;

#pragma GCC unroll 6
    for (int k = 0; k < columns; k++)
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++)
            sum[k][r] = (vec){0};
    for (; p + LANES <= pixels; p += LANES)
        dots_step(a + p, a_pitch, x + p, offset, 0, sum, rows, columns);
    if (p < pixels)
        dots_step(a + p, a_pitch, x + p, offset, pixels - p, sum, rows, columns);
#pragma GCC unroll 6
    for (int k = 0; k < columns; k++)
        sum_lanes4(sum[k], totals[k]);
#pragma GCC unroll 6
    for (int k = 0; k < columns; k++)
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
            out[(size_t)r * out_pitch + (size_t)k] += totals[k][r];
}

INLINE void dots_rows(const real *a, size_t a_pitch, const real *x, const ptrdiff_t *offset, int columns,
                      int pixels, real *out, size_t out_pitch, const int rows) {
    int k = 0;
    for (; k + DOTS_COLUMNS <= columns; k += DOTS_COLUMNS)
        dots_tile(a, a_pitch, x, offset + k, pixels, out + k, out_pitch, rows, DOTS_COLUMNS);
    for (; k + 2 <= columns; k += 2)
        dots_tile(a, a_pitch, x, offset + k, pixels, out + k, out_pitch, rows, 2);
    if (k < columns)
        dots_tile(a, a_pitch, x, offset + k, pixels, out + k, out_pitch, rows, 1);
}

void OP(dots)(const real *a, size_t a_pitch, int rows, const real *x, const ptrdiff_t *offset, int columns,
              size_t pixels, real *out, size_t out_pitch) {
    for (size_t p = 0; p < pixels; p += DOTS_BLOCK, a += DOTS_BLOCK, x += DOTS_BLOCK) {
        int count = pixels - p < DOTS_BLOCK ? (int)(pixels - p) : DOTS_BLOCK;
        int r = 0;
        for (; r + DOTS_ROWS <= rows; r += DOTS_ROWS)
            dots_rows(a + (size_t)r * a_pitch, a_pitch, x, offset, columns, count,
                      out + (size_t)r * out_pitch, out_pitch, DOTS_ROWS);
        for (; r < rows; r++)
            dots_rows(a + (size_t)r * a_pitch, a_pitch, x, offset, columns, count,
                      out + (size_t)r * out_pitch, out_pitch, 1);
    }
}

#endif

INLINE void alive_step(const real *a, const real *const *from, int p, int part, vec *sum, const int columns) {
    vec left = load_at(a + p, 0, part);
#pragma GCC unroll 8
    for (int k = 0; k < columns; k++)
        sum[k] += left * load_at(from[k] + p, 0, part);
}

INLINE void alive_group(const real *a, const real *x, const ptrdiff_t *offset, const uint32_t *column,
                        const uint32_t *source, int pixels, real *out, const int columns) {
    vec sum[ALIVE_COLUMNS];
    const real *from[ALIVE_COLUMNS];
    real totals[ALIVE_COLUMNS];
    int p = 0;

#pragma GCC unroll 8
    for (int k = 0; k < ALIVE_COLUMNS; k++)
        sum[k] = (vec){0};
#pragma GCC unroll 8
    for (int k = 0; k < columns; k++)
        from[k] = x + offset[column[k]];
    for (; p + LANES <= pixels; p += LANES)
        alive_step(a, from, p, 0, sum, columns);
    if (p < pixels)
        alive_step(a, from, p, pixels - p, sum, columns);
    sum_lanes4(sum, totals);
    if (columns > 4)
        sum_lanes4(sum + 4, totals + 4);
#pragma GCC unroll 8
    for (int k = 0; k < columns; k++)
        out[source[k]] += totals[k];
}

/* Up to DOTS_BLOCK pixels of one row. */
static void alive_row(const trainer_matrix *matrix, int row, const real *a, const real *x,
                      const ptrdiff_t *offset, int pixels, real *out) {
    uint32_t e = matrix->start[row], end = matrix->start[row + 1];
    const uint32_t *column = matrix->column, *source = matrix->source;
    for (; e + ALIVE_COLUMNS <= end; e += ALIVE_COLUMNS)
        alive_group(a, x, offset, column + e, source + e, pixels, out, ALIVE_COLUMNS);
    for (; e + 3 <= end; e += 3)
        alive_group(a, x, offset, column + e, source + e, pixels, out, 3);
    if (e + 2 == end)
        alive_group(a, x, offset, column + e, source + e, pixels, out, 2);
    else if (e < end)
        alive_group(a, x, offset, column + e, source + e, pixels, out, 1);
}

void OP(dots_alive)(const trainer_matrix *matrix, const real *a, size_t a_pitch, const real *x,
                    const ptrdiff_t *offset, size_t pixels, real *out) {
    for (size_t p = 0; p < pixels; p += DOTS_BLOCK) {
        int count = pixels - p < DOTS_BLOCK ? (int)(pixels - p) : DOTS_BLOCK;
        for (int row = 0; row < matrix->rows; row++)
            alive_row(matrix, row, a + (size_t)row * a_pitch + p, x + p, offset, count, out);
    }
}
