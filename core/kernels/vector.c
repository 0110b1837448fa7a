/* The kernels with GCC's and Clang's vector types: one source, compiled once for each instruction set with
 * MIRL_LANES floats in a vector and MIRL_TABLE as the name of its table.
 */
#include <math.h>
#include <string.h>

#include "kernels/tables.h"

typedef float vec __attribute__((vector_size(MIRL_LANES * 4), may_alias));
typedef float vec_unaligned __attribute__((vector_size(MIRL_LANES * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(MIRL_LANES * 4), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const float *p) {
    return *(const vec_unaligned *)p;
}

INLINE void store(float *p, vec v) {
    *(vec_unaligned *)p = v;
}

INLINE vec splat(float x) {
    return x - (vec){0};
}

/* ---- Products ---------------------------------------------------------------------------------------- */

enum {
    SPARSE_VECTORS = 8, /* accumulators of one row */
    DENSE_ROWS = 6,
    DENSE_VECTORS = MIRL_LANES == 16 ? 4 : 2, /* DENSE_ROWS * DENSE_VECTORS accumulators fit the registers */
};

/* All of w times `vectors` vectors of pixels; vectors is a constant where this is inlined. */
INLINE void sparse_strip(const int vectors, const mirl_sparse *w, const float *in, size_t in_pitch,
                         float *out, size_t out_pitch, bool add) {
    const uint32_t *start = w->start;
    for (int block = 0; block < w->blocks; block++, add = true)
        for (int r = 0; r < w->rows; r++, start++) {
            float *o = out + r * out_pitch;
            vec sum[SPARSE_VECTORS];
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++)
                sum[v] = add ? load(o + v * MIRL_LANES) : (vec){0};
            for (uint32_t k = start[0]; k < start[1]; k++) {
                const float *x = in + w->column[k] * in_pitch;
                vec weight = splat(w->value[k]);
#pragma GCC unroll 8
                for (int v = 0; v < vectors; v++)
                    sum[v] += weight * load(x + v * MIRL_LANES);
            }
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++)
                store(o + v * MIRL_LANES, sum[v]);
        }
}

static void sparse_product(const mirl_sparse *w, const float *in, size_t in_pitch, float *out,
                           size_t out_pitch, size_t pixels, bool add) {
    size_t vectors = (pixels + MIRL_LANES - 1) / MIRL_LANES;
    size_t strips = (vectors + SPARSE_VECTORS - 1) / SPARSE_VECTORS;

    for (; strips > 0; strips--) {
        int n = (int)((vectors + strips - 1) / strips); /* strips of nearly equal width */
        switch (n) {
#define STRIP(n)                                                                                             \
    case n:                                                                                                  \
        sparse_strip(n, w, in, in_pitch, out, out_pitch, add);                                               \
        break;
            STRIP(1)
            STRIP(2)
            STRIP(3)
            STRIP(4)
            STRIP(5)
            STRIP(6)
            STRIP(7)
            STRIP(8)
#undef STRIP
        }
        vectors -= (size_t)n;
        in += n * MIRL_LANES;
        out += n * MIRL_LANES;
    }
}

/* rows x vectors results in registers; both are constants where this is inlined. */
INLINE void dense_tile(const int rows, const int vectors, const float *w, size_t row_pitch, int columns,
                       const float *in, size_t in_pitch, float *out, size_t out_pitch, bool add) {
    vec sum[DENSE_ROWS][DENSE_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            sum[r][v] = add ? load(out + r * out_pitch + v * MIRL_LANES) : (vec){0};
    for (int k = 0; k < columns; k++) {
        vec x[DENSE_VECTORS];
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            x[v] = load(in + k * in_pitch + v * MIRL_LANES);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            vec weight = splat(w[r * row_pitch + k]);
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++)
                sum[r][v] += weight * x[v];
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            store(out + r * out_pitch + v * MIRL_LANES, sum[r][v]);
}

INLINE void dense_strip(const int vectors, const float *w, size_t row_pitch, int rows, int columns,
                        const float *in, size_t in_pitch, float *out, size_t out_pitch, bool add) {
    int r = 0;
#define TILES(n)                                                                                             \
    for (; r + n <= rows; r += n)                                                                            \
        dense_tile(n, vectors, w + r * row_pitch, row_pitch, columns, in, in_pitch, out + r * out_pitch,     \
                   out_pitch, add);
    TILES(DENSE_ROWS)
    TILES(4)
    TILES(2)
    TILES(1)
#undef TILES
}

static void dense_product(const float *w, size_t row_pitch, int rows, int columns, const float *in,
                          size_t in_pitch, float *out, size_t out_pitch, size_t pixels, bool add) {
    size_t vectors = (pixels + MIRL_LANES - 1) / MIRL_LANES, v = 0;
    for (; v + DENSE_VECTORS <= vectors; v += DENSE_VECTORS)
        dense_strip(DENSE_VECTORS, w, row_pitch, rows, columns, in + v * MIRL_LANES, in_pitch,
                    out + v * MIRL_LANES, out_pitch, add);
    for (; v < vectors; v++)
        dense_strip(1, w, row_pitch, rows, columns, in + v * MIRL_LANES, in_pitch, out + v * MIRL_LANES,
                    out_pitch, add);
}

/* Blocks of 8x8: both sides of the copy then touch few cache lines at a time. */
static void transpose(const float *in, size_t in_pitch, int channels, size_t pixels, float *out,
                      size_t out_pitch) {
    for (int c = 0; c < channels; c += 8) {
        int columns = channels - c < 8 ? channels - c : 8;
        size_t p = 0;
        if (columns == 8)
            for (; p + 8 <= pixels; p += 8)
#pragma GCC unroll 8
                for (int i = 0; i < 8; i++)
#pragma GCC unroll 8
                    for (int j = 0; j < 8; j++)
                        out[(p + i) * out_pitch + c + j] = in[(c + j) * in_pitch + p + i];
        for (; p < pixels; p++)
            for (int j = 0; j < columns; j++)
                out[p * out_pitch + c + j] = in[(c + j) * in_pitch + p];
    }
}

/* ---- Pixel by pixel ---------------------------------------------------------------------------------- */

INLINE vec square_root(vec x) {
    vec y;
    for (int i = 0; i < MIRL_LANES; i++)
        y[i] = sqrtf(x[i]);
    return y;
}

static void norm(const float *in, size_t in_pitch, const float *weight, const float *bias, int channels,
                 float *out, size_t out_pitch, size_t pixels) {
    for (size_t p = 0; p < pixels; p += MIRL_LANES) {
        vec sum = {0}, squares = {0};
        for (int c = 0; c < channels; c++)
            sum += load(in + c * in_pitch + p);
        vec mean = sum * (1 / (float)channels);
        for (int c = 0; c < channels; c++) {
            vec difference = load(in + c * in_pitch + p) - mean;
            squares += difference * difference;
        }
        vec scale = 1 / square_root(squares * (1 / (float)channels) + 1e-5f);
        for (int c = 0; c < channels; c++)
            store(out + c * out_pitch + p,
                  (load(in + c * in_pitch + p) - mean) * scale * splat(weight[c]) + splat(bias[c]));
    }
}

/* Walks down the rows: each vector of the input is loaded once, at three offsets, for three output rows. */
static void depthwise(const float *w, const float *in, size_t in_row, float *out, size_t out_row, int rows,
                      size_t width) {
    vec weight[9];
#pragma GCC unroll 9
    for (int i = 0; i < 9; i++)
        weight[i] = splat(w[i]);
#define ROW(i) (weight[i] * a + weight[i + 1] * b + weight[i + 2] * c)
    for (size_t x = 0; x < width; x += MIRL_LANES) {
        const float *source = in + x;
        vec a = load(source), b = load(source + 1), c = load(source + 2);
        vec first = ROW(0); /* of row y, what the rows above have given */
        source += in_row;
        a = load(source), b = load(source + 1), c = load(source + 2);
        vec second = ROW(0); /* of row y + 1 */
        first += ROW(3);
        for (int y = 0; y < rows; y++) {
            source += in_row;
            a = load(source), b = load(source + 1), c = load(source + 2);
            first += ROW(6);
            if (x + MIRL_LANES <= width)
                store(out + y * out_row + x, first);
            else
                memcpy(out + y * out_row + x, &first, (width - x) * sizeof *out);
            first = second + ROW(3);
            second = ROW(0);
        }
    }
#undef ROW
}

/* e^x for x in -87..0, relative error 2e-7: 2^n * e^f, f in -ln2/2..ln2/2 by its Taylor series. */
INLINE vec exponential(vec x) {
    const float magic = 12582912; /* 1.5 * 2^23: adding it rounds to whole numbers */
    vec n = (x * 1.44269504f + magic) - magic;
    vec f = x - n * 0.693359375f + n * 2.12194440e-4f; /* ln 2 in two parts */
    vec y = f * 1.3888889e-3f + 8.3333333e-3f;
    y = f * y + 4.1666667e-2f;
    y = f * y + 1.6666667e-1f;
    y = f * y + 0.5f;
    y = f * y + 1.0f;
    y = f * y + 1.0f;
    ivec exponent = (__builtin_convertvector(n, ivec) + 127) << 23;
    return y * (vec)exponent;
}

INLINE vec choose(ivec mask, vec a, vec b) {
    return (vec)(((ivec)a & mask) | ((ivec)b & ~mask));
}

/* erf by Abramowitz and Stegun, formula 7.1.26, absolute error 1.5e-7. */
INLINE vec error_function(vec x) {
    const ivec sign = (ivec){0} + INT32_MIN;
    vec a = (vec)((ivec)x & ~sign);
    a = choose(a < 9, a, splat(9)); /* erf is 1 there, and e^-81 still a normal number */
    vec t = 1 / (1 + 0.3275911f * a);
    vec polynomial = t * 1.061405429f - 1.453152027f;
    polynomial = t * polynomial + 1.421413741f;
    polynomial = t * polynomial - 0.284496736f;
    polynomial = t * polynomial + 0.254829592f;
    vec result = 1 - t * polynomial * exponential(-a * a);
    return (vec)((ivec)result | ((ivec)x & sign));
}

static void gate(float *gate, const float *value, size_t count) {
    for (size_t i = 0; i < count; i += MIRL_LANES) {
        vec x = load(gate + i);
        store(gate + i, 0.5f * x * (1 + error_function(x * 0.70710678f)) * load(value + i));
    }
}

static float sum_of_squares(const float *x, size_t count) {
    vec sum[2] = {{0}, {0}};
    size_t i = 0;
    for (; i + 2 * MIRL_LANES <= count; i += 2 * MIRL_LANES)
        for (int j = 0; j < 2; j++)
            sum[j] += load(x + i + j * MIRL_LANES) * load(x + i + j * MIRL_LANES);
    sum[0] += sum[1];
    float total = 0;
    for (int j = 0; j < MIRL_LANES; j++)
        total += sum[0][j];
    for (; i < count; i++)
        total += x[i] * x[i];
    return total;
}

#define TEXT(x) TEXT_(x)
#define TEXT_(x) #x

const mirl_kernels MIRL_TABLE = {
    TEXT(MIRL_ISA), MIRL_LANES, sparse_product, dense_product,  transpose,
    norm,           depthwise,  gate,           sum_of_squares,
};
