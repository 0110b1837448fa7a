/* Dense products on the matrix unit of x86 (AMX), which multiplies bfloat16 and sums in float. Each float is
 * split into two bfloat16, x = high + low with an error below 2^-16 x, that stand in one 32-bit lane; the
 * unit takes two neighbouring lanes' halves as one pair of factors. A tile is 16 rows of 16 lanes:
 *
 *     sum_k (w_high, w_high)_k (x_high, x_low)_k + (w_low, w_low)_k (x_high, x_low)_k = sum_k w_k x_k
 *
 * W x has the pairs of W in its tiles already (trainer_matrix); x comes as an operand, planes of split lanes,
 * or is split strip by strip. a x^T takes the pairs of the one as they stand in its planes, and turns the
 * other.
 */
#include "trainer/ops/internal.h"

#if SPLIT

#include "kernels/amx.h"

enum {
    SIDE = MIRL_AMX_SIDE,
    TILE = SIDE * SIDE,  ///< lanes
    STRIP = 4 * SIDE,    ///< pixels of a product at a time: four tiles of sums
    STRIP_COLUMNS = 256, ///< that are split at a time
    LEFT_ROWS = 96,      ///< of dots at a time, where they have to be split
    RIGHT_ROWS = 64,     ///< of dots at a time
    DOTS_PIXELS = 256    ///< of dots at a time
};

INLINE vec load_some(const real *p, int count) {
    return count >= LANES ? load(p) : load_part(p, count);
}

/* ---- W x --------------------------------------------------------------------------------------------- */

/* x as [columns / SIDE][STRIP / SIDE] tiles; the last rows are zero. */
static void split_strip(const real *x, const ptrdiff_t *offset, int columns, int pixels, uint32_t *to) {
    for (int k = 0; k < columns; k++) {
        uint32_t *row = to + k / SIDE * (STRIP / SIDE * TILE) + k % SIDE * SIDE;
        if (pixels == STRIP)
#pragma GCC unroll 4
            for (int p = 0; p < STRIP; p += SIDE) {
                prefetch(x + offset[k] + STRIP + p);
                store_pairs(row + p * SIDE, split(load(x + offset[k] + p)));
            }
        else
            for (int p = 0; p < pixels; p += SIDE)
                store_pairs(row + p * SIDE, split(load_some(x + offset[k] + p, pixels - p)));
    }
    for (int k = columns; k % SIDE; k++)
        for (int p = 0; p < STRIP; p += SIDE)
            store_pairs(to + k / SIDE * (STRIP / SIDE * TILE) + k % SIDE * SIDE + p * SIDE, (pairs){0});
    mirl_amx_finish_stores();
}

/* Split lanes where a strip's tiles stand: the next SIDE columns of the matrix are `block` lanes behind, the
 * next SIDE pixels `group`, the next column `row`. */
typedef struct operand {
    const uint32_t *lanes;
    size_t block, group, row;
} operand;

/* Adds to the sums in tiles 0..3: SIDE rows of W times a strip. */
INLINE void multiply_strip(const uint32_t *tiles, operand x, int blocks) {
    const size_t step = x.row * sizeof *x.lanes;
    for (int k = 0; k < blocks; k++, tiles += 2 * TILE, x.lanes += x.block) {
        _tile_loadd(4, tiles, 64);
        _tile_loadd(6, x.lanes, step);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, x.lanes + x.group, step);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, tiles + TILE, 64);
        _tile_dpbf16ps(0, 5, 6);
        _tile_loadd(6, x.lanes + 2 * x.group, step);
        _tile_dpbf16ps(2, 4, 6);
        _tile_dpbf16ps(1, 5, 7);
        _tile_loadd(7, x.lanes + 3 * x.group, step);
        _tile_dpbf16ps(3, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

INLINE void zero_sums(void) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

INLINE void load_sums(const real *from, size_t step) {
    _tile_loadd(0, from, step * sizeof *from);
    _tile_loadd(1, from + SIDE, step * sizeof *from);
    _tile_loadd(2, from + 2 * SIDE, step * sizeof *from);
    _tile_loadd(3, from + 3 * SIDE, step * sizeof *from);
}

INLINE void store_sums(real *to, size_t step) {
    _tile_stored(0, to, step * sizeof *to);
    _tile_stored(1, to + SIDE, step * sizeof *to);
    _tile_stored(2, to + 2 * SIDE, step * sizeof *to);
    _tile_stored(3, to + 3 * SIDE, step * sizeof *to);
}

/* Rows or pixels that do not fill the tiles: through memory. */
static void add_part(const real *sums, const real *add, size_t add_pitch, real *y, size_t y_pitch, int rows,
                     int pixels) {
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < pixels; p += LANES) {
            vec v = load(sums + r * STRIP + p);
            int count = pixels - p;
            if (add)
                v += load_some(add + (size_t)r * add_pitch + p, count);
            if (count >= LANES)
                store(y + (size_t)r * y_pitch + p, v);
            else
                store_part(y + (size_t)r * y_pitch + p, v, count);
        }
}

/* From columns first..first+blocks*SIDE-1 of the matrix; x is their split strip. */
static void product_strip(const trainer_matrix *matrix, int first, int blocks, operand x, const real *add,
                          size_t add_pitch, real *y, size_t y_pitch, int pixels) {
    size_t row_tiles = ((size_t)matrix->columns + SIDE - 1) / SIDE * (2 * TILE);
    const uint32_t *tiles = (const uint32_t *)matrix->tiles + (size_t)first / SIDE * (2 * TILE);
    for (int row = 0; row < matrix->rows; row += SIDE, tiles += row_tiles) {
        const real *plus = add ? add + (size_t)row * add_pitch : NULL;
        real *to = y + (size_t)row * y_pitch;
        int rows = matrix->rows - row;
        bool whole = rows >= SIDE && pixels == STRIP;
        if (whole && plus)
            load_sums(plus, add_pitch);
        else
            zero_sums();
        multiply_strip(tiles, x, blocks);
        if (whole) {
            store_sums(to, y_pitch);
        } else {
            real sums[SIDE * STRIP] __attribute__((aligned(64)));
            store_sums(sums, STRIP);
            add_part(sums, plus, add_pitch, to, y_pitch, rows < SIDE ? rows : SIDE, pixels);
        }
    }
}

void OP(product_split)(const trainer_matrix *matrix, const real *x, const ptrdiff_t *offset, const real *add,
                       size_t add_pitch, real *y, size_t y_pitch, size_t pixels) {
    uint32_t strip[STRIP_COLUMNS * STRIP] __attribute__((aligned(64)));

    mirl_amx_begin();
    for (size_t p = 0; p < pixels; p += STRIP) {
        int count = pixels - p < STRIP ? (int)(pixels - p) : STRIP;
        for (int k = 0; k < matrix->columns; k += STRIP_COLUMNS) {
            int columns = matrix->columns - k < STRIP_COLUMNS ? matrix->columns - k : STRIP_COLUMNS;
            const real *plus = k ? y + p : add ? add + p : NULL;
            operand of_x = {strip, STRIP / SIDE * TILE, TILE, SIDE};
            split_strip(x + p, offset + k, columns, count, strip);
            product_strip(matrix, k, (columns + SIDE - 1) / SIDE, of_x, plus, k ? y_pitch : add_pitch, y + p,
                          y_pitch, count);
        }
    }
    _tile_release();
}

void OP(product_operand)(const trainer_matrix *matrix, const real *x, size_t x_pitch, const real *add,
                         size_t add_pitch, real *y, size_t y_pitch, size_t pixels) {
    operand of_x = {(const uint32_t *)x, SIDE * x_pitch, SIDE, x_pitch};

    mirl_amx_begin();
    for (size_t p = 0; p < pixels; p += STRIP, of_x.lanes += STRIP)
        product_strip(matrix, 0, (matrix->columns + SIDE - 1) / SIDE, of_x, add ? add + p : NULL, add_pitch,
                      y + p, y_pitch, pixels - p < STRIP ? (int)(pixels - p) : STRIP);
    _tile_release();
}

/* ---- a x^T ------------------------------------------------------------------------------------------- */

/* Rows of pixels at first + offset[row], or with offset NULL at first + row * pitch. */
typedef struct rows {
    const real *first;
    const ptrdiff_t *offset;
    size_t pitch;
    int count;
} rows;

static const real *row_of(const rows *from, int row) {
    return from->first + (from->offset ? from->offset[row] : (ptrdiff_t)((size_t)row * from->pitch));
}

/* `count` rows from `row` on, from pixel p on */
static rows part_of(const rows *from, int row, int count, size_t p) {
    rows part = {from->first + p, from->offset ? from->offset + row : NULL, from->pitch, count};
    if (!part.offset)
        part.first += (size_t)row * from->pitch;
    return part;
}

/* [rows][DOTS_PIXELS]: a row's pixels side by side, split. */
static void split_left(rows from, int pixels, uint32_t *to) {
    for (int r = 0; r < from.count; r++, to += DOTS_PIXELS) {
        const real *row = row_of(&from, r);
        for (int p = 0; p < pixels; p += SIDE)
            store_pairs(to + p, split(load_some(row + p, pixels - p)));
    }
    mirl_amx_finish_stores();
}

/* [rows / SIDE][DOTS_PIXELS / SIDE][2] tiles: a pixel's rows side by side, twice their high part in the one,
 * twice the low in the other; missing rows are zero. */
static void split_right(rows from, int pixels, uint32_t *to) {
    for (int r = 0; r < from.count; r += SIDE, to += DOTS_PIXELS / SIDE * 2 * TILE)
        for (int p = 0; p < pixels; p += SIDE) {
            uint32_t *at = to + p / SIDE * 2 * TILE;
            vec v[SIDE];
            for (int i = 0; i < SIDE; i++)
                v[i] = r + i < from.count ? load_some(row_of(&from, r + i) + p, pixels - p) : (vec){0};
            mirl_amx_turn((__m512 *)v);
#pragma GCC unroll 16
            for (int i = 0; i < SIDE; i++) {
                pairs high = high_of(v[i]), low = low_of(v[i]);
                store_pairs(at + i * SIDE, high | high >> 16);
                store_pairs(at + TILE + i * SIDE, low | low >> 16);
            }
        }
    mirl_amx_finish_stores();
}

/* Adds SIDE x SIDE sums, of which rows x columns exist. */
static void add_tile(const real *sums, bool turned, real *out, size_t out_pitch, int rows, int columns) {
    vec v[SIDE];
    for (int r = 0; r < SIDE; r++)
        v[r] = load(sums + r * SIDE);
    if (turned)
        mirl_amx_turn((__m512 *)v);
    for (int r = 0; r < rows; r++, out += out_pitch)
        if (columns == SIDE)
            store(out, load(out) + v[r]);
        else
            store_part(out, load_part(out, columns) + v[r], columns);
}

/* The sums of two tiles of left rows by two of right ones. */
static void dots_block(const uint32_t *left, const uint32_t *left2, size_t pitch, const uint32_t *right,
                       const uint32_t *right2, int steps, real sums[4][TILE]) {
    zero_sums();
    for (int s = 0; s < steps; s++, left += SIDE, left2 += SIDE, right += 2 * TILE, right2 += 2 * TILE) {
        _tile_loadd(4, left, pitch * sizeof *left);
        _tile_loadd(6, right, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, right2, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, left2, pitch * sizeof *left);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        _tile_loadd(6, right + TILE, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, right2 + TILE, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[1], 64);
    _tile_stored(2, sums[2], 64);
    _tile_stored(3, sums[3], 64);
}

/* The sums of one tile of left rows by one of right ones. */
static void dots_tile(const uint32_t *left, size_t pitch, const uint32_t *right, int steps, real sums[TILE]) {
    _tile_zero(0);
    for (int s = 0; s < steps; s++, left += SIDE, right += 2 * TILE) {
        _tile_loadd(4, left, pitch * sizeof *left);
        _tile_loadd(6, right, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, right + TILE, 64);
        _tile_dpbf16ps(0, 4, 7);
    }
    _tile_stored(0, sums, 64);
}

static int least(int a, int b) {
    return a < b ? a : b;
}

/* out[left][right] +=, or turned, out[right][left] +=, over at most DOTS_PIXELS pixels; what the left rows
 * have behind them up to a multiple of SIDE is finite. */
static void dots_part(const uint32_t *left, size_t pitch, int left_rows, rows right, int pixels, bool turned,
                      real *out, size_t out_pitch) {
    uint32_t turned_right[RIGHT_ROWS * DOTS_PIXELS * 2] __attribute__((aligned(64)));
    real sums[4][TILE] __attribute__((aligned(64)));
    int steps = (pixels + SIDE - 1) / SIDE;

    split_right(right, pixels, turned_right);
    for (int l = 0; l < left_rows; l += 2 * SIDE)
        for (int r = 0; r < right.count; r += 2 * SIDE) {
            const uint32_t *from = left + (size_t)l * pitch, *by = turned_right + r * DOTS_PIXELS * 2;
            bool second = l + SIDE < left_rows, second_right = r + SIDE < right.count;
            if (second || second_right)
                dots_block(from, second ? from + SIDE * pitch : from, pitch, by,
                           second_right ? by + SIDE * DOTS_PIXELS * 2 : by, steps, sums);
            else
                dots_tile(from, pitch, by, steps, sums[0]);
            for (int t = 0; t < 4; t++) {
                int i = l + t / 2 * SIDE, k = r + t % 2 * SIDE;
                int rows = least(left_rows - i, SIDE), columns = least(right.count - k, SIDE);
                if (rows <= 0 || columns <= 0)
                    continue;
                if (turned)
                    add_tile(sums[t], true, out + (size_t)k * out_pitch + (size_t)i, out_pitch, columns,
                             rows);
                else
                    add_tile(sums[t], false, out + (size_t)i * out_pitch + (size_t)k, out_pitch, rows,
                             columns);
            }
        }
}

/* dots_part() for left rows that are split already, for as many right rows. */
static void dots_rows(const uint32_t *left, size_t pitch, int left_rows, rows right, int pixels, bool turned,
                      real *out, size_t out_pitch) {
    for (int r = 0; r < right.count; r += RIGHT_ROWS)
        dots_part(left, pitch, left_rows, part_of(&right, r, least(right.count - r, RIGHT_ROWS), 0), pixels,
                  turned, out + (turned ? (size_t)r * out_pitch : (size_t)r), out_pitch);
}

void OP(dots)(const real *a, size_t a_pitch, int a_rows, const real *x, const ptrdiff_t *offset, int columns,
              size_t pixels, real *out, size_t out_pitch) {
    uint32_t split_rows[LEFT_ROWS * DOTS_PIXELS] __attribute__((aligned(64)));
    rows of_a = {a, NULL, a_pitch, a_rows}, of_x = {x, offset, 0, columns};
    bool turned = a_rows < columns;
    rows left = turned ? of_x : of_a, right = turned ? of_a : of_x;

    mirl_amx_begin();
    for (size_t p = 0; p < pixels; p += DOTS_PIXELS) {
        int count = pixels - p < DOTS_PIXELS ? (int)(pixels - p) : DOTS_PIXELS;
        for (int l = 0; l < left.count; l += LEFT_ROWS) {
            int some = least(left.count - l, LEFT_ROWS);
            split_left(part_of(&left, l, some, p), count, split_rows);
            dots_rows(split_rows, DOTS_PIXELS, some, part_of(&right, 0, right.count, p), count, turned,
                      out + (turned ? (size_t)l : (size_t)l * out_pitch), out_pitch);
        }
    }
    _tile_release();
}

void OP(dots_operand)(const real *a, size_t a_pitch, int a_rows, const real *x, const ptrdiff_t *offset,
                      int columns, bool turned, size_t pixels, real *out, size_t out_pitch) {
    rows right = {x, offset, 0, columns};

    mirl_amx_begin();
    for (size_t p = 0; p < pixels; p += DOTS_PIXELS)
        dots_rows((const uint32_t *)a + p, a_pitch, a_rows, part_of(&right, 0, columns, p),
                  pixels - p < DOTS_PIXELS ? (int)(pixels - p) : DOTS_PIXELS, turned, out, out_pitch);
    _tile_release();
}

#endif
