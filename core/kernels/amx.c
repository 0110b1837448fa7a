/* Dense products on the matrix unit of x86 (AMX), which multiplies bfloat16 and sums in float. Each float is
 * rounded to a bfloat16 and so is what that leaves, x = high + low with an error below 2^-17 x, and
 *
 *     w x = w_high x_high + w_high x_low + w_low x_high
 *
 * but for 2^-17 |w x|. A tile is 16 rows of 16 lanes, each of two bfloat16: the unit sums the products of
 * lanes' halves, (16 rows of 32) times (16 rows of 16 pairs). Operands are pairs of tiles, high and low, with
 * those that are summed over side by side: [rows / 16][depth / 32][2][TILE].
 */
#include <stdbool.h>

#include "kernels/amx.h"
#include "kernels/tables.h"

enum {
    SIDE = MIRL_AMX_SIDE,
    DEPTH = 2 * SIDE, ///< that a tile sums over
    TILE = SIDE * SIDE,
    PAIR = 2 * TILE,  ///< lanes of a high and a low tile
    STRIP_GROUPS = 4, ///< of SIDE pixels, of a product at a time
    STRIP_STEPS = 8,  ///< of DEPTH columns, likewise
};

#define INLINE static inline __attribute__((always_inline))

INLINE int least(int a, int b) {
    return a < b ? a : b;
}

static int divide_up(int a, int b) {
    return (a + b - 1) / b;
}

/* ---- Operands ---------------------------------------------------------------------------------------- */

struct halves {
    __m512i high, low;
};

/* Lane i is the pair of a's and b's lane i. */
INLINE struct halves split(__m512 a, __m512 b) {
    const __m512i half = _mm512_set1_epi32(0x8000), upper = _mm512_set1_epi32(-0x10000);
    __m512i high_a = _mm512_add_epi32(_mm512_castps_si512(a), half);
    __m512i high_b = _mm512_add_epi32(_mm512_castps_si512(b), half);
    __m512 rest_a = a - _mm512_castsi512_ps(high_a & upper), rest_b = b - _mm512_castsi512_ps(high_b & upper);
    __m512i low_a = _mm512_add_epi32(_mm512_castps_si512(rest_a), half);
    __m512i low_b = _mm512_add_epi32(_mm512_castps_si512(rest_b), half);
    const __mmask32 odd = 0xaaaaaaaa;
    return (struct halves){_mm512_mask_blend_epi16(odd, _mm512_srli_epi32(high_a, 16), high_b),
                           _mm512_mask_blend_epi16(odd, _mm512_srli_epi32(low_a, 16), low_b)};
}

INLINE __m512 load(const float *p, int count) {
    return _mm512_maskz_loadu_ps(count >= SIDE ? 0xffff : count > 0 ? (1u << count) - 1 : 0, p);
}

/* Step s of a row that is `count` long. */
INLINE struct halves split_row(const float *row, int s, int count) {
    const float *at = row + s * DEPTH;
    return split(load(at, count - s * DEPTH), load(at + SIDE, count - s * DEPTH - SIDE));
}

/* Rows to sum along: the left factor. Rows beyond the last are left as they are. */
static void split_rows(const float *in, size_t pitch, int rows, int count, uint32_t *to) {
    const int steps = divide_up(count, DEPTH);
    for (int r = 0; r < rows; r++, in += pitch) {
        uint32_t *at = to + r / SIDE * steps * PAIR + r % SIDE * SIDE;
        for (int s = 0; s < steps; s++, at += PAIR) {
            struct halves x = split_row(in, s, count);
            _mm512_store_si512(at, x.high);
            _mm512_store_si512(at + TILE, x.low);
        }
    }
}

/* Rows to sum along, as the right factor. */
static void split_turned(const float *in, size_t pitch, int rows, int count, uint32_t *to) {
    const int steps = divide_up(count, DEPTH);
    for (int r = 0; r < rows; r += SIDE, in += SIDE * pitch)
        for (int s = 0; s < steps; s++, to += PAIR) {
            __m512 high[SIDE], low[SIDE];
            for (int i = 0; i < SIDE; i++) {
                struct halves x = split_row(in + i * pitch, s, r + i < rows ? count : 0);
                high[i] = _mm512_castsi512_ps(x.high);
                low[i] = _mm512_castsi512_ps(x.low);
            }
            mirl_amx_turn(high);
            mirl_amx_turn(low);
#pragma GCC unroll 16
            for (int i = 0; i < SIDE; i++) {
                _mm512_store_ps(to + i * SIDE, high[i]);
                _mm512_store_ps(to + TILE + i * SIDE, low[i]);
            }
        }
}

/* Rows to sum over: `groups` of SIDE pixels become [groups][steps][2][TILE]. */
static void split_columns(const float *in, size_t pitch, int rows, int groups, int steps, uint32_t *to) {
    for (int k = 0; k < steps * SIDE; k++) {
        const int s = k / SIDE, i = k % SIDE, first = s * DEPTH + i, second = first + SIDE;
        uint32_t *at = to + s * PAIR + i * SIDE;
        for (int g = 0; g < groups; g++, at += steps * PAIR) {
            struct halves x = split(load(in + (size_t)first * pitch + g * SIDE, first < rows ? SIDE : 0),
                                    load(in + (size_t)second * pitch + g * SIDE, second < rows ? SIDE : 0));
            _mm512_store_si512(at, x.high);
            _mm512_store_si512(at + TILE, x.low);
        }
    }
}

/* ---- Sums -------------------------------------------------------------------------------------------- */

/* Adds to tiles 0 and 1 (and 2 and 3): one (or two) groups of rows times one (or two) groups of columns,
 * which are a_next and b_next lanes apart. */
INLINE void multiply(const bool rows2, const bool columns2, const uint32_t *a, size_t a_next,
                     const uint32_t *b, size_t b_next, int steps) {
    for (int s = 0; s < steps; s++, a += PAIR, b += PAIR) {
        _tile_loadd(4, a + TILE, 64);
        _tile_loadd(6, b, 64);
        _tile_dpbf16ps(0, 4, 6);
        if (columns2) {
            _tile_loadd(7, b + b_next, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (rows2) {
            _tile_loadd(5, a + a_next + TILE, 64);
            _tile_dpbf16ps(2, 5, 6);
            if (columns2)
                _tile_dpbf16ps(3, 5, 7);
        }
        _tile_loadd(4, a, 64);
        _tile_dpbf16ps(0, 4, 6);
        if (columns2)
            _tile_dpbf16ps(1, 4, 7);
        if (rows2) {
            _tile_loadd(5, a + a_next, 64);
            _tile_dpbf16ps(2, 5, 6);
            if (columns2)
                _tile_dpbf16ps(3, 5, 7);
        }
        _tile_loadd(6, b + TILE, 64);
        _tile_dpbf16ps(0, 4, 6);
        if (rows2)
            _tile_dpbf16ps(2, 5, 6);
        if (columns2) {
            _tile_loadd(7, b + b_next + TILE, 64);
            _tile_dpbf16ps(1, 4, 7);
            if (rows2)
                _tile_dpbf16ps(3, 5, 7);
        }
    }
}

INLINE void load_sums(const bool rows2, const bool columns2, const float *from, size_t pitch) {
    const size_t step = pitch * sizeof *from;
    _tile_loadd(0, from, step);
    if (columns2)
        _tile_loadd(1, from + SIDE, step);
    if (rows2)
        _tile_loadd(2, from + SIDE * pitch, step);
    if (rows2 && columns2)
        _tile_loadd(3, from + SIDE * pitch + SIDE, step);
}

INLINE void store_sums(const bool rows2, const bool columns2, float *to, size_t pitch) {
    const size_t step = pitch * sizeof *to;
    _tile_stored(0, to, step);
    if (columns2)
        _tile_stored(1, to + SIDE, step);
    if (rows2)
        _tile_stored(2, to + SIDE * pitch, step);
    if (rows2 && columns2)
        _tile_stored(3, to + SIDE * pitch + SIDE, step);
}

/* out = add + a b for 1..2 SIDE rows and one or two groups of columns; add NULL: 0. */
INLINE void block(const bool rows2, const bool columns2, const uint32_t *a, size_t a_next, const uint32_t *b,
                  size_t b_next, int steps, int rows, const float *add, size_t add_pitch, float *out,
                  size_t out_pitch) {
    const bool whole = rows % SIDE == 0;
    if (add && whole) {
        load_sums(rows2, columns2, add, add_pitch);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    multiply(rows2, columns2, a, a_next, b, b_next, steps);
    if (whole) {
        store_sums(rows2, columns2, out, out_pitch);
        return;
    }
    float sums[4 * TILE] __attribute__((aligned(64)));
    store_sums(rows2, columns2, sums, DEPTH);
    mirl_amx_finish_stores();
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < (columns2 ? DEPTH : SIDE); i += SIDE) {
            __m512 sum = _mm512_load_ps(sums + r * DEPTH + i);
            if (add)
                sum += _mm512_loadu_ps(add + (size_t)r * add_pitch + i);
            _mm512_storeu_ps(out + (size_t)r * out_pitch + i, sum);
        }
}

/* The same for any number of rows and of groups of columns. */
static void blocks(const uint32_t *a, size_t a_next, int rows, const uint32_t *b, size_t b_next, int groups,
                   int steps, const float *add, size_t add_pitch, float *out, size_t out_pitch) {
    mirl_amx_finish_stores();
    for (int r = 0; r < rows; r += 2 * SIDE, a += 2 * a_next) {
        const uint32_t *from = b;
        const int some = least(rows - r, 2 * SIDE);
        for (int g = 0; g < groups; g += 2, from += 2 * b_next) {
            const size_t at = (size_t)r * out_pitch + (size_t)(g * SIDE);
            const float *plus = add ? add + (size_t)r * add_pitch + g * SIDE : NULL;
#define BLOCK(rows2, columns2)                                                                               \
    block(rows2, columns2, a, a_next, from, b_next, steps, some, plus, add_pitch, out + at, out_pitch)
            if (some > SIDE && g + 1 < groups)
                BLOCK(true, true);
            else if (some > SIDE)
                BLOCK(true, false);
            else if (g + 1 < groups)
                BLOCK(false, true);
            else
                BLOCK(false, false);
#undef BLOCK
        }
    }
    mirl_amx_finish_stores();
}

/* ---- Kernels ----------------------------------------------------------------------------------------- */

/* Tiles are computed whole, and each column of the input is split once. Fitted to times of 16 x 16 to 510 x
 * 96: a column takes as long to split as 21 multiply-adds. */
double mirl_amx_dense_cost(int rows, int columns) {
    return (21 + divide_up(rows, SIDE) * SIDE) * (double)(divide_up(columns, DEPTH) * DEPTH);
}

void mirl_amx_pack(const float *w, size_t row_pitch, int rows, int columns, float *packed) {
    split_rows(w, row_pitch, rows, columns, (uint32_t *)packed);
}

void mirl_amx_dense_product(const float *packed, int rows, int columns, const float *in, size_t in_pitch,
                            float *out, size_t out_pitch, size_t pixels, const float *add, size_t add_pitch) {
    uint32_t strip[STRIP_GROUPS * STRIP_STEPS * PAIR] __attribute__((aligned(64)));
    const int steps = divide_up(columns, DEPTH), groups = divide_up((int)pixels, SIDE);

    mirl_amx_begin();
    for (int g = 0; g < groups; g += STRIP_GROUPS) {
        const size_t p = (size_t)(g * SIDE);
        for (int s = 0; s < steps; s += STRIP_STEPS) {
            const int some = least(steps - s, STRIP_STEPS), few = least(groups - g, STRIP_GROUPS);
            const float *plus = s ? out + p : add ? add + p : NULL;
            split_columns(in + (size_t)(s * DEPTH) * in_pitch + p, in_pitch, columns - s * DEPTH, few, some,
                          strip);
            blocks((const uint32_t *)packed + s * PAIR, (size_t)(steps * PAIR), rows, strip,
                   (size_t)(some * PAIR), few, some, plus, s ? out_pitch : add_pitch, out + p, out_pitch);
        }
    }
    _tile_release();
}

void mirl_amx_dots(const float *a, size_t a_pitch, const float *a_squares, int a_rows, const float *b,
                   size_t b_pitch, const float *b_squares, int b_rows, size_t pixels, float *scratch,
                   float *out, size_t out_pitch, bool add) {
    (void)a_squares;
    (void)b_squares;
    const int b_groups = divide_up(b_rows, SIDE);
    uint32_t *left = (uint32_t *)scratch, *right = left + mirl_padded((size_t)a_rows) * MIRL_DOTS_PIXELS;

    mirl_amx_begin();
    for (size_t p = 0; p < pixels; p += MIRL_DOTS_PIXELS, add = true) {
        const int count = pixels - p < MIRL_DOTS_PIXELS ? (int)(pixels - p) : MIRL_DOTS_PIXELS;
        const int steps = divide_up(count, DEPTH);
        split_rows(a + p, a_pitch, a_rows, count, left);
        split_turned(b + p, b_pitch, b_rows, count, right);
        blocks(left, (size_t)(steps * PAIR), a_rows, right, (size_t)(steps * PAIR), b_groups, steps,
               add ? out : NULL, out_pitch, out, out_pitch);
    }
    _tile_release();
}
