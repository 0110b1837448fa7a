/* The kernels with GCC's and Clang's vector types: one source, compiled once for each instruction set with
 * MIRL_LANES floats in a vector and MIRL_TABLE as the name of its table; with MIRL_MATRIX_UNIT dense products
 * are amx.c's, with MIRL_VNNI dots multiplies integers.
 */
#include <math.h>
#include <string.h>

#include "kernels/tables.h"

#if MIRL_LANES == 16 || defined __AVX2__
#include <immintrin.h>
#endif

#ifndef MIRL_MATRIX_UNIT
#define MIRL_MATRIX_UNIT 0
#endif
#ifndef MIRL_VNNI
#define MIRL_VNNI 0
#endif

typedef float vec __attribute__((vector_size(MIRL_LANES * 4), may_alias));
typedef int32_t ivec __attribute__((vector_size(MIRL_LANES * 4), may_alias));
typedef float vec_unaligned __attribute__((vector_size(MIRL_LANES * 4), aligned(4), may_alias));

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

/* Rows of a sparse matrix that are multiplied together. */
struct sparse_rows {
    int count;
    const uint32_t *start;  /* [count + 1]: where each row begins, counted as in the matrix */
    const uint32_t *offset; /* of each value's input, floats */
    const float *value;
};

/* The rows times `vectors` vectors of pixels; vectors is a constant where this is inlined. */
INLINE void sparse_strip(const int vectors, const struct sparse_rows *rows, const float *in, float *out,
                         size_t out_pitch, const float *add, size_t add_pitch) {
    const uint32_t *offset = rows->offset;
    const float *value = rows->value;

    for (int r = 0; r < rows->count; r++, out += out_pitch) {
        const uint32_t *end = rows->offset + (rows->start[r + 1] - rows->start[0]);
        vec sum[SPARSE_VECTORS];
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            sum[v] = add ? load(add + r * add_pitch + v * MIRL_LANES) : (vec){0};
#pragma GCC unroll 1
        for (; offset < end; offset++, value++) {
            const float *x = in + *offset;
            vec weight = splat(*value);
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++)
                sum[v] += weight * load(x + v * MIRL_LANES);
        }
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            store(out + v * MIRL_LANES, sum[v]);
    }
}

static void multiply_rows(const struct sparse_rows *rows, const float *in, float *out, size_t out_pitch,
                          size_t pixels, const float *add, size_t add_pitch) {
    size_t vectors = (pixels + MIRL_LANES - 1) / MIRL_LANES;
    size_t strips = (vectors + SPARSE_VECTORS - 1) / SPARSE_VECTORS;

    for (; strips > 0; strips--) {
        int n = (int)((vectors + strips - 1) / strips); /* strips of nearly equal width */
        switch (n) {
#define STRIP(n)                                                                                             \
    case n:                                                                                                  \
        sparse_strip(n, rows, in, out, out_pitch, add, add_pitch);                                           \
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
        add = add ? add + n * MIRL_LANES : NULL;
    }
}

/* Rows are short, and what their first input waits for is felt: columns become offsets for many pixels at
 * once. */
static void sparse_product(const mirl_sparse *w, const float *in, size_t in_pitch, float *out,
                           size_t out_pitch, size_t pixels, const float *add, size_t add_pitch) {
    uint32_t offset[MIRL_SPARSE_VALUES];

    for (int block = 0; block < w->blocks; block++, add = out, add_pitch = out_pitch)
        for (int r = 0, count; r < w->rows; r += count) {
            const uint32_t *start = w->start + block * w->rows + r;
            for (count = 1; r + count < w->rows && start[count + 1] - start[0] <= MIRL_SPARSE_VALUES;)
                count++;
            for (uint32_t k = start[0]; k < start[count]; k++)
                offset[k - start[0]] = w->column[k] * (uint32_t)in_pitch;
            struct sparse_rows rows = {count, start, offset, w->value + start[0]};
            multiply_rows(&rows, in, out + (size_t)r * out_pitch, out_pitch, pixels,
                          add ? add + (size_t)r * add_pitch : NULL, add_pitch);
        }
}

#if MIRL_MATRIX_UNIT

#define dense_cost mirl_amx_dense_cost
#define pack mirl_amx_pack
#define dense_product mirl_amx_dense_product
#define dots mirl_amx_dots

#else

#define dense_cost mirl_plain_dense_cost

static void pack(const float *w, size_t row_pitch, int rows, int columns, float *packed) {
    for (int r = 0; r < rows; r++)
        memcpy(packed + r * mirl_packed_row(columns), w + r * row_pitch, (size_t)columns * sizeof *w);
}

/* rows x vectors results in registers; both are constants where this is inlined. */
INLINE void dense_tile(const int rows, const int vectors, const float *w, size_t row_pitch, int columns,
                       const float *in, size_t in_pitch, float *out, size_t out_pitch, const float *add,
                       size_t add_pitch) {
    vec sum[DENSE_ROWS][DENSE_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            sum[r][v] = add ? load(add + r * add_pitch + v * MIRL_LANES) : (vec){0};
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
                        const float *in, size_t in_pitch, float *out, size_t out_pitch, const float *add,
                        size_t add_pitch) {
    int r = 0;
#define TILES(n)                                                                                             \
    for (; r + n <= rows; r += n)                                                                            \
        dense_tile(n, vectors, w + r * row_pitch, row_pitch, columns, in, in_pitch, out + r * out_pitch,     \
                   out_pitch, add ? add + r * add_pitch : NULL, add_pitch);
    TILES(DENSE_ROWS)
    TILES(4)
    TILES(2)
    TILES(1)
#undef TILES
}

static void multiply(const float *w, size_t row_pitch, int rows, int columns, const float *in,
                     size_t in_pitch, float *out, size_t out_pitch, size_t pixels, const float *add,
                     size_t add_pitch) {
    size_t vectors = (pixels + MIRL_LANES - 1) / MIRL_LANES;
    size_t strips = (vectors + DENSE_VECTORS - 1) / DENSE_VECTORS;

    for (; strips > 0; strips--) {
        size_t n = (vectors + strips - 1) / strips;
        switch (n) {
#define STRIP(n)                                                                                             \
    case n:                                                                                                  \
        dense_strip(n, w, row_pitch, rows, columns, in, in_pitch, out, out_pitch, add, add_pitch);           \
        break;
            STRIP(1)
            STRIP(2)
#if MIRL_LANES == 16
            STRIP(3)
            STRIP(4)
#endif
#undef STRIP
        }
        vectors -= n;
        in += n * MIRL_LANES;
        out += n * MIRL_LANES;
        add = add ? add + n * MIRL_LANES : NULL;
    }
}

static void dense_product(const float *packed, int rows, int columns, const float *in, size_t in_pitch,
                          float *out, size_t out_pitch, size_t pixels, const float *add, size_t add_pitch) {
    multiply(packed, mirl_packed_row(columns), rows, columns, in, in_pitch, out, out_pitch, pixels, add,
             add_pitch);
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

#if MIRL_VNNI

enum { PAIR_VECTORS = 3 }; /* DENSE_ROWS * PAIR_VECTORS accumulators */

/* Rows of `pixels` floats to rows of 16-bit integers, pitch of them apart, zeros behind the last. A row's
 * length becomes 2^15: by Cauchy-Schwarz no sum of products of two such rows leaves 32 bits. */
static void to_integers(const float *in, size_t in_pitch, const float *squares, int rows, size_t pixels,
                        int16_t *out, size_t pitch) {
    for (int r = 0; r < rows; r++) {
        const vec scale = splat(squares[r] > 0 ? 0x1p15f / sqrtf(squares[r]) : 0);
        for (size_t p = 0; p < pixels; p += MIRL_LANES) {
            const size_t left = pixels - p;
            const __mmask16 inside = left < MIRL_LANES ? (__mmask16)((1 << left) - 1) : 0xffff;
            const vec x = (vec)_mm512_maskz_loadu_ps(inside, in + r * in_pitch + p) * scale;
            _mm256_store_si256((void *)(out + r * pitch + p),
                               _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32((__m512)x)));
        }
    }
}

/* sum += the products of pairs of 16-bit integers. With the intrinsic GCC 12 copies sums between registers.
 */
INLINE void add_pairs(__m512i *sum, __m512i x, __m512i y) {
    __asm__("vpdpwssd %2, %1, %0" : "+v"(*sum) : "v"(x), "v"(y));
}

/* rows x vectors results over `pairs` pairs of pixels, in registers; rows and vectors are constants where
 * this is inlined. a: rows of integers; b: for each pair of pixels a pair of integers of each row. */
INLINE void pair_tile(const int rows, const int vectors, const int16_t *a, size_t a_pitch, const float *b,
                      size_t b_pitch, size_t pairs, const float *a_squares, const float *b_lengths,
                      float *out, size_t out_pitch, bool add) {
    __m512i sum[DENSE_ROWS][PAIR_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            sum[r][v] = _mm512_setzero_si512();
    for (size_t p = 0; p < pairs; p++) {
        __m512i x[PAIR_VECTORS];
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            x[v] = (__m512i)load(b + p * b_pitch + v * MIRL_LANES);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            int pair;
            memcpy(&pair, a + r * a_pitch + 2 * p, sizeof pair);
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++)
                add_pairs(&sum[r][v], x[v], _mm512_set1_epi32(pair));
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            float *target = out + r * out_pitch + v * MIRL_LANES;
            const vec length = load(b_lengths + v * MIRL_LANES) * (sqrtf(a_squares[r]) * 0x1p-30f);
            const vec products = (vec)_mm512_cvtepi32_ps(sum[r][v]) * length;
            store(target, add ? (vec)(load(target) + products) : (vec)products);
        }
}

static void dots(const float *a, size_t a_pitch, const float *a_squares, int a_rows, const float *b,
                 size_t b_pitch, const float *b_squares, int b_rows, size_t pixels, float *scratch,
                 float *out, size_t out_pitch, bool add) {
    const size_t integers = mirl_padded(pixels), pairs = (pixels + 1) / 2, pitch = mirl_pitch((size_t)b_rows);
    float *lengths = scratch, *paired = lengths + pitch;
    int16_t *a_integers = (int16_t *)(paired + pairs * pitch);
    int16_t *b_integers = a_integers + (size_t)a_rows * integers;

    memset(lengths, 0, pitch * sizeof *lengths);
    for (int j = 0; j < b_rows; j++)
        lengths[j] = sqrtf(b_squares[j]);
    to_integers(a, a_pitch, a_squares, a_rows, pixels, a_integers, integers);
    to_integers(b, b_pitch, b_squares, b_rows, pixels, b_integers, integers);
    transpose((const float *)b_integers, integers / 2, b_rows, pairs, paired, pitch);
    for (size_t j = 0; j < (size_t)b_rows; j += PAIR_VECTORS * MIRL_LANES) {
        const size_t left = (b_rows - j + MIRL_LANES - 1) / MIRL_LANES;
        int r = 0;
#define TILES(n, vectors)                                                                                    \
    for (; r + n <= a_rows; r += n)                                                                          \
        pair_tile(n, vectors, a_integers + r * integers, integers, paired + j, pitch, pairs, a_squares + r,  \
                  lengths + j, out + r * out_pitch + j, out_pitch, add);
#define VECTORS(n)                                                                                           \
    TILES(DENSE_ROWS, n)                                                                                     \
    TILES(2, n)                                                                                              \
    TILES(1, n)
        if (left == 1) {
            VECTORS(1)
        } else if (left == 2) {
            VECTORS(2)
        } else {
            VECTORS(3)
        }
#undef VECTORS
#undef TILES
    }
}

#else

static void dots(const float *a, size_t a_pitch, const float *a_squares, int a_rows, const float *b,
                 size_t b_pitch, const float *b_squares, int b_rows, size_t pixels, float *scratch,
                 float *out, size_t out_pitch, bool add) {
    const size_t pitch = mirl_pitch((size_t)b_rows);
    (void)a_squares;
    (void)b_squares;
    transpose(b, b_pitch, b_rows, pixels, scratch, pitch);
    multiply(a, a_pitch, a_rows, (int)pixels, scratch, pitch, out, out_pitch, (size_t)b_rows,
             add ? out : NULL, out_pitch);
}

#endif

#endif

/* ---- Pixel by pixel ---------------------------------------------------------------------------------- */

INLINE vec square_root(vec x) {
    vec y;
    for (int i = 0; i < MIRL_LANES; i++)
        y[i] = sqrtf(x[i]);
    return y;
}

enum { NORM_VECTORS = 4 }; /* at a time: they hide each other's latency */

INLINE void norm_columns(const int vectors, const float *in, size_t in_pitch, const float *weight,
                         const float *bias, int channels, float *out, size_t out_pitch) {
    vec mean[NORM_VECTORS] = {{0}}, scale[NORM_VECTORS] = {{0}};

    for (int c = 0; c < channels; c++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            mean[v] += load(in + c * in_pitch + v * MIRL_LANES);
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        mean[v] *= 1 / (float)channels;
    for (int c = 0; c < channels; c++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            vec difference = load(in + c * in_pitch + v * MIRL_LANES) - mean[v];
            scale[v] += difference * difference;
        }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        scale[v] = 1 / square_root(scale[v] * (1 / (float)channels) + 1e-5f);
    for (int c = 0; c < channels; c++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            vec x = (load(in + c * in_pitch + v * MIRL_LANES) - mean[v]) * scale[v];
            store(out + c * out_pitch + v * MIRL_LANES, x * splat(weight[c]) + splat(bias[c]));
        }
}

static void norm(const float *in, size_t in_pitch, const float *weight, const float *bias, int channels,
                 float *out, size_t out_pitch, size_t pixels) {
    size_t vectors = (pixels + MIRL_LANES - 1) / MIRL_LANES;
    size_t strips = (vectors + NORM_VECTORS - 1) / NORM_VECTORS;

    for (; strips > 0; strips--) {
        size_t n = (vectors + strips - 1) / strips;
        switch (n) {
#define STRIP(n)                                                                                             \
    case n:                                                                                                  \
        norm_columns(n, in, in_pitch, weight, bias, channels, out, out_pitch);                               \
        break;
            STRIP(1)
            STRIP(2)
            STRIP(3)
            STRIP(4)
#undef STRIP
        }
        vectors -= n;
        in += n * MIRL_LANES;
        out += n * MIRL_LANES;
    }
}

/* Ones in the first `count` lanes. */
INLINE ivec first_lanes(int count) {
    ivec lane;
    for (int i = 0; i < MIRL_LANES; i++)
        lane[i] = i;
    return lane < (count - (ivec){0});
}

INLINE vec choose(ivec lanes, vec x, vec other) {
    return (vec)(((ivec)x & lanes) | ((ivec)other & ~lanes));
}

INLINE void store_part(float *p, vec v, int count) {
#if MIRL_LANES == 16
    _mm512_mask_storeu_ps(p, (__mmask16)((1 << count) - 1), (__m512)v);
#elif defined __AVX2__
    _mm256_maskstore_ps(p, (__m256i)first_lanes(count), (__m256)v);
#else
    memcpy(p, &v, (size_t)count * sizeof *p);
#endif
}

enum { DEPTHWISE_VECTORS = MIRL_LANES == 16 ? 4 : 2 };

/* Each lane's neighbour to the left, and to the right, in a row that holds before, x and after. Where sixteen
 * lanes are a cache line, loads that lie across two cost more than shifting. */
#if MIRL_LANES == 16
#define FROM_LEFT(before, x)                                                                                 \
    __builtin_shufflevector(before, x, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30)
#define FROM_RIGHT(x, after)                                                                                 \
    __builtin_shufflevector(x, after, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
#elif MIRL_LANES == 8
#define FROM_LEFT(before, x) __builtin_shufflevector(before, x, 7, 8, 9, 10, 11, 12, 13, 14)
#define FROM_RIGHT(x, after) __builtin_shufflevector(x, after, 1, 2, 3, 4, 5, 6, 7, 8)
#else
#define FROM_LEFT(before, x) __builtin_shufflevector(before, x, 3, 4, 5, 6)
#define FROM_RIGHT(x, after) __builtin_shufflevector(x, after, 1, 2, 3, 4)
#endif

/* A scalar of every row: the first one's, and how far apart they are. */
struct beside {
    const float *at;
    size_t step;
};

/* Walks down the rows `vectors` vectors at a time, which hide each other's latency: each vector of the input
 * is seen at three offsets, for three output rows. `partial`: the last has `count` lanes only. Nothing is
 * read of a row after it has been written over, if out is in: the last pixel takes the place of the one to
 * the left, for the columns that follow. */
INLINE void depthwise_columns(const int vectors, const bool partial, int count, const vec *weight,
                              float *sums, float *next, const float *in, size_t in_row, float *left,
                              struct beside right, float *out, size_t out_row, int rows) {
    const ivec lanes = first_lanes(count);
    vec first[DEPTHWISE_VECTORS], second[DEPTHWISE_VECTORS]; /* of output rows y and y + 1 */
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        first[v] = load(sums + v * MIRL_LANES);
        second[v] = load(next + v * MIRL_LANES);
    }
#define ADD_ROW(sum, i) ((sum) + weight[i] * a + weight[i + 1] * b + weight[i + 2] * c)
#define LOAD(v)                                                                                              \
    (partial && (v) + 1 == vectors ? choose(lanes, load(in + (v)*MIRL_LANES), end)                           \
                                   : load(in + (v)*MIRL_LANES))
    for (int y = 0; y < rows; y++, in += in_row, out += out_row, left += 2) {
        const vec end = splat(right.at[y * right.step]);
        vec before = splat(*left), after = LOAD(0), shifted = after;
        *left = in[(vectors - 1) * MIRL_LANES + count - 1];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            const float *source = in + v * MIRL_LANES;
            vec a, b = after, c;
            after = v + 1 < vectors ? LOAD(v + 1) : end;
            a = MIRL_LANES == 16 || v == 0 ? (vec)FROM_LEFT(before, b) : shifted;
            c = MIRL_LANES == 16 || v + 1 == vectors ? (vec)FROM_RIGHT(b, after) : load(source + 1);
            shifted = v + 1 < vectors ? load(source + MIRL_LANES - 1) : b;
            before = b;
            if (partial && v + 1 == vectors)
                store_part(out + v * MIRL_LANES, ADD_ROW(first[v], 6), count);
            else
                store(out + v * MIRL_LANES, ADD_ROW(first[v], 6));
            first[v] = ADD_ROW(second[v], 3);
            second[v] = weight[0] * a + weight[1] * b + weight[2] * c;
        }
    }
#undef LOAD
#undef ADD_ROW
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        store(sums + v * MIRL_LANES, first[v]);
        store(next + v * MIRL_LANES, second[v]);
    }
}

static void depthwise(const float *w, float *sums, float *in, float *out, size_t out_row, int rows,
                      size_t width) {
    float *sides = in + rows * width;
    float *next = sums + mirl_padded(width);
    size_t vectors = (width + MIRL_LANES - 1) / MIRL_LANES;
    size_t strips = (vectors + DEPTHWISE_VECTORS - 1) / DEPTHWISE_VECTORS;
    vec weight[9];
#pragma GCC unroll 9
    for (int i = 0; i < 9; i++)
        weight[i] = splat(w[i]);
    for (size_t x = 0; strips > 0; strips--) {
        const size_t n = (vectors + strips - 1) / strips, end = x + n * MIRL_LANES;
        const int count = end > width ? (int)(width - (end - MIRL_LANES)) : MIRL_LANES;
        const struct beside right =
            end < width ? (struct beside){in + end, width} : (struct beside){sides + 1, 2};
        switch (count < MIRL_LANES ? n + DEPTHWISE_VECTORS : n) {
#define STRIP(n, partial)                                                                                    \
    case (n) + (partial)*DEPTHWISE_VECTORS:                                                                  \
        depthwise_columns(n, partial, partial ? count : MIRL_LANES, weight, sums + x, next + x, in + x,      \
                          width, sides, right, out + x, out_row, rows);                                      \
        break;
            STRIP(1, false)
            STRIP(2, false)
            STRIP(1, true)
            STRIP(2, true)
#if MIRL_LANES == 16
            STRIP(3, false)
            STRIP(4, false)
            STRIP(3, true)
            STRIP(4, true)
#endif
#undef STRIP
        }
        vectors -= n;
        x = end;
    }
}

/* The smaller of |x| and limit, compared as integers: these order floats above 0 alike, and every compiler
 * has one instruction for it. */
INLINE vec least_size(vec x, float limit) {
    union {
        float number;
        int32_t bits;
    } most = {limit};
    ivec size = (ivec)x & INT32_MAX;
    for (int i = 0; i < MIRL_LANES; i++)
        size[i] = size[i] < most.bits ? size[i] : most.bits;
    return (vec)size;
}

enum { GATE_VECTORS = 4 }; /* at a time: they hide each other's latency */

#if MIRL_LANES == 16

/* x Phi(x), where Phi(x) - 1/2 of |x| is a polynomial of degree 4 around each of 16 evenly spaced points, the
 * first 0, which Chebyshev interpolation made (in units of their distance), and constant beyond 5.12. Errors
 * of gelu: 4e-7 there, and 2e-7 |x| beyond. */
INLINE void gate_vectors(const int vectors, float *gate, const float *value) {
    static const float coefficient[5][16] = {
        {0, 0.000177972135f, 0.000268165924f, 0.000241370173f, 0.000136924384f, 2.32014136e-05f,
         -5.05161624e-05f, -7.37645023e-05f, -6.33242889e-05f, -4.14116112e-05f, -2.21731734e-05f,
         -1.00307507e-05f, -3.89915886e-06f, -1.31584e-06f, -3.88133174e-07f, -1.00548057e-07f},
        {-0.00238426146f, -0.00201254059f, -0.00108386867f, -3.11699223e-05f, 0.000739096082f, 0.00105242559f,
         0.00098148291f, 0.000718855357f, 0.00043785639f, 0.000227638418f, 0.000102459417f, 4.02741498e-05f,
         1.39048298e-05f, 4.23365691e-06f, 1.14011868e-06f, 2.72163248e-07f},
        {0, -0.0068076523f, -0.0115597239f, -0.013199944f, -0.0120131597f, -0.00919023249f, -0.00605172804f,
         -0.00347384019f, -0.00175144663f, -0.000779391034f, -0.000307134818f, -0.000107435371f,
         -3.34171891e-05f, -9.2549426e-06f, -2.28458134e-06f, -5.03064314e-07f},
        {0.131778881f, 0.124782234f, 0.1059433f, 0.0806506053f, 0.0550496578f, 0.0336909778f, 0.0184877254f,
         0.00909626205f, 0.00401282683f, 0.0015872455f, 0.000562913774f, 0.000178995193f, 5.10317004e-05f,
         1.30447243e-05f, 2.98966688e-06f, 6.14327917e-07f},
        {0, 0.12942189f, 0.245580047f, 0.339149326f, 0.406797707f, 0.45069325f, 0.476256758f, 0.489618272f,
         0.495886147f, 0.498525023f, 0.49952209f, 0.499860227f, 0.499963135f, 0.499991238f, 0.499998122f,
         0.499999642f},
    };
    const float points = 15.5f / 5.12f, end = 5.1199994f;
    const float whole = 0x1.8p23f; /* added to a float, leaves of it a whole number in the lowest bits */
    ivec point[GATE_VECTORS];
    vec at[GATE_VECTORS], y[GATE_VECTORS];
#define LOOK_UP(k, v) ((vec)_mm512_permutexvar_ps((__m512i)point[v], (__m512)load(coefficient[k])))
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++) {
        vec size = least_size(load(gate + v * MIRL_LANES), end), nearest = size * points + whole;
        point[v] = (ivec)nearest;
        at[v] = size * points - (nearest - whole);
        y[v] = LOOK_UP(0, v);
    }
#pragma GCC unroll 4
    for (int k = 1; k < 5; k++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            y[v] = y[v] * at[v] + LOOK_UP(k, v);
#undef LOOK_UP
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++) {
        vec x = load(gate + v * MIRL_LANES), size = (vec)((ivec)x & INT32_MAX);
        store(gate + v * MIRL_LANES, (y[v] * size + x * 0.5f) * load(value + v * MIRL_LANES));
    }
}

#else

/* x Phi(x), where Phi(x) - 1/2 is x times a polynomial in x^2 that a weighted least-squares fit made even in
 * error on 0..5.1, and constant beyond. Errors of gelu: 1.3e-6 there, and 3e-7 |x| beyond. */
INLINE void gate_vectors(const int vectors, float *gate, const float *value) {
    static const float coefficient[] = {
        0.000654182921f, -0.00195681327f, 0.00240445253f, -0.00322966371f, 0.00685990229f,
        -0.0120242238f,  0.0174654964f,   -0.0240164772f, 0.0317160226f,   -0.0402186587f,
        0.0507829562f,   -0.0690032616f,  0.138605297f,
    };
    const float end = 5.1f;
    vec inside[GATE_VECTORS], t[GATE_VECTORS], y[GATE_VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++) {
        inside[v] = least_size(load(gate + v * MIRL_LANES), end);
        t[v] = inside[v] * inside[v] * (2 / (end * end)) - 1;
        y[v] = splat(coefficient[0]);
    }
#pragma GCC unroll 12
    for (int k = 1; k < 13; k++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            y[v] = y[v] * t[v] + coefficient[k];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++) {
        vec x = load(gate + v * MIRL_LANES), size = (vec)((ivec)x & INT32_MAX);
        store(gate + v * MIRL_LANES, (y[v] * inside[v] * size + x * 0.5f) * load(value + v * MIRL_LANES));
    }
}

#endif

static void gate(float *gate, const float *value, size_t count) {
    size_t i = 0;
    for (; i + GATE_VECTORS * MIRL_LANES <= count; i += GATE_VECTORS * MIRL_LANES)
        gate_vectors(GATE_VECTORS, gate + i, value + i);
    for (; i < count; i += MIRL_LANES)
        gate_vectors(1, gate + i, value + i);
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

/* A sparse multiply-add takes its input from memory, a dense one from a register. Measured on a Xeon: 103
 * against 180 GFLOP/s with AVX-512; with AMX about 5 was best for networks of 70 and 80 % zeros. */
#define SPARSE_COST (MIRL_MATRIX_UNIT ? 5 : 1.75)

/* 256 was best on a Zen 4 with AVX-512, 144 on a Xeon with AMX, and kept to AVX2, by 2.5 to 4.6 %, though its
 * second-level cache is the larger one; with 148 five rows of the widest feed-forward fit. */
#define STRIP_FLOATS ((MIRL_LANES == 16 && !MIRL_MATRIX_UNIT ? 256 : 148) << 10)

const mirl_kernels MIRL_TABLE = {
    TEXT(MIRL_ISA), MIRL_LANES, STRIP_FLOATS, SPARSE_COST, dense_cost, sparse_product, pack,
    dense_product,  dots,       norm,         depthwise,   gate,       sum_of_squares,
};
