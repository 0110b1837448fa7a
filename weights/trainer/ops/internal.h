/* Shared by the operations' sources, which are compiled once for each instruction set: the names that bear
 * the set's suffix, and vectors of `real` in GCC's vector extensions, as wide as the set's registers.
 */
#ifndef MIRL_TRAINER_OPS_INTERNAL_H
#define MIRL_TRAINER_OPS_INTERNAL_H

#include "trainer/ops.h"

#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#ifndef TRAINER_ISA
#define TRAINER_ISA baseline
#endif
#define TRAINER_JOIN(name, isa) trainer_##name##_##isa
#define TRAINER_JOIN2(name, isa) TRAINER_JOIN(name, isa)
#define OP(name) TRAINER_JOIN2(name, TRAINER_ISA)

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

/* Whether dense products are those of product_split.c. */
#if defined(__AMX_BF16__) && !defined(TRAINER_REAL_IS_DOUBLE)
#define SPLIT 1
#else
#define SPLIT 0
#endif

typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef real vec_unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));
enum { LANES = VECTOR_BYTES / (int)sizeof(real) };

#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const real *p) {
    return *(const vec_unaligned *)p;
}

INLINE void store(real *p, vec v) {
    *(vec_unaligned *)p = v;
}

/* The first `count` lanes, 1..LANES; the others are zero. */
INLINE vec load_part(const real *p, int count) {
    vec v = {0};
    memcpy(&v, p, (size_t)count * sizeof(real));
    return v;
}

INLINE void store_part(real *p, vec v, int count) {
    memcpy(p, &v, (size_t)count * sizeof(real));
}

INLINE vec splat(real x) {
    return x - (vec){0};
}

#if VECTOR_BYTES == 64 && !defined(TRAINER_REAL_IS_DOUBLE)

INLINE real sum_lanes(vec v) {
    return _mm512_reduce_add_ps((__m512)v);
}

/* totals[i] = the sum of v[i]'s lanes, four at a time */
INLINE void sum_lanes4(const vec v[4], real totals[4]) {
    __m256 half[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        half[i] =
            _mm256_add_ps(_mm512_castps512_ps256((__m512)v[i]), _mm512_extractf32x8_ps((__m512)v[i], 1));
    __m256 quarters = _mm256_hadd_ps(_mm256_hadd_ps(half[0], half[1]), _mm256_hadd_ps(half[2], half[3]));
    _mm_storeu_ps(totals, _mm_add_ps(_mm256_castps256_ps128(quarters), _mm256_extractf128_ps(quarters, 1)));
}

#else

INLINE real sum_lanes(vec v) {
    real lane[LANES] __attribute__((aligned(VECTOR_BYTES)));
    memcpy(lane, &v, sizeof lane);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

INLINE void sum_lanes4(const vec v[4], real totals[4]) {
    for (int i = 0; i < 4; i++)
        totals[i] = sum_lanes(v[i]);
}

#endif

#if SPLIT

/* Two bfloat16 in each lane, the lower half first. */
typedef uint32_t pairs __attribute__((vector_size(64)));
typedef uint32_t pairs_unaligned __attribute__((vector_size(64), aligned(4), may_alias));

INLINE pairs high_of(vec x) {
    return (pairs)x & 0xffff0000;
}

/* bfloat16 of what high_of() leaves, in the upper half */
INLINE pairs low_of(vec x) {
    return ((pairs)(x - (vec)high_of(x)) + 0x8000) & 0xffff0000;
}

/* Both of them, as products want their operands. */
INLINE pairs split(vec x) {
    return (pairs)x >> 16 | low_of(x);
}

INLINE void store_pairs(uint32_t *to, pairs v) {
    *(pairs_unaligned *)to = v;
}

#endif

/* part > 0: only so many lanes exist. */
INLINE void store_some(real *p, vec v, int part) {
    if (part)
        store_part(p, v, part);
    else
        store(p, v);
}

/* Stores what a product takes as its operand: values, or pairs for a matrix in split tiles. */
INLINE void store_operand(real *p, vec v, int part, const bool as_pairs) {
#if SPLIT
    v = as_pairs ? (vec)split(v) : v;
#endif
    (void)as_pairs;
    store_some(p, v, part);
}

/* Asks for what is needed soon, into the second-level cache; p may point anywhere. */
INLINE void prefetch(const real *p) {
    __builtin_prefetch(p, 0, 2);
}

/* y[rows][pixels] = add + matrix x, where row k of x starts at x + offset[k]; add NULL: 0. */
void OP(product)(const trainer_matrix *matrix, const real *x, const ptrdiff_t *offset, const real *add,
                 size_t add_pitch, real *y, size_t y_pitch, size_t pixels);

/* out[r * out_pitch + k] += sum over pixels of a[r * a_pitch + p] * x[offset[k] + p] */
void OP(dots)(const real *a, size_t a_pitch, int rows, const real *x, const ptrdiff_t *offset, int columns,
              size_t pixels, real *out, size_t out_pitch);

/* The same where `matrix` (sparse) is alive: out[source of the entry] += */
void OP(dots_alive)(const trainer_matrix *matrix, const real *a, size_t a_pitch, const real *x,
                    const ptrdiff_t *offset, size_t pixels, real *out);

#if SPLIT

/* The dense part of product() on the matrix unit. */
void OP(product_split)(const trainer_matrix *matrix, const real *x, const ptrdiff_t *offset, const real *add,
                       size_t add_pitch, real *y, size_t y_pitch, size_t pixels);

/* The same where x, and dots() where a, is an operand, planes of split lanes, finite or zero up to a multiple
 * of TRAINER_SPLIT pixels and (product) channels; turned: out[k * out_pitch + r]. */
void OP(product_operand)(const trainer_matrix *matrix, const real *x, size_t x_pitch, const real *add,
                         size_t add_pitch, real *y, size_t y_pitch, size_t pixels);
void OP(dots_operand)(const real *a, size_t a_pitch, int rows, const real *x, const ptrdiff_t *offset,
                      int columns, bool turned, size_t pixels, real *out, size_t out_pitch);

#endif

/* Consecutive rows of an image; whether it goes on above and below them. */
typedef struct trainer_rows {
    int count;
    bool above, below;
} trainer_rows;

/* Depthwise 3x3 on rows of one channel: x, y and the gradients point to the first of them. as_pairs, here and
 * below: dx (or y) is an operand of split lanes. */
void OP(depthwise_rows)(const real *weight, const real *x, int w, trainer_rows rows, real *y);
void OP(depthwise_rows_backward)(const real *weight, const real *x, const real *dy, int w, trainer_rows rows,
                                 real *dx, bool as_pairs, real *dweight);

/* gate_forward() on rows of one pair of channels. */
void OP(gate_rows)(const real *weight_a, const real *weight_b, const real *a, const real *b, int w,
                   trainer_rows rows, real *y, bool as_pairs, real *scratch);
/* Of gate_backward(), what is behind the depthwise convolution: from dy to y, and to the gradients of the
 * convolution's results. */
void OP(gate_rows_backward)(const real *weight_a, const real *weight_b, const real *a, const real *b, int w,
                            trainer_rows rows, const real *dy, real *y, bool as_pairs, real *da, real *db);

/* Rows of an image, or whole images if they are small, that go through a chain of operations together, so
 * that the widest tensor between them, of so many channels, stays with the others in the second-level cache.
 */
static inline void trainer_band_size(int channels, int n, int h, int w, int *rows, int *images) {
    enum { VALUES = 96 << 10, SMALL_VALUES = 384 << 10 };
    int some = VALUES / (channels * w), whole = SMALL_VALUES / (channels * w) / h;
    some = some < 8 ? (some > 0 ? some : 1) : some / 8 * 8;
    *rows = whole > 1 && n > 1 ? h : some < h ? some : h;
    *images = *rows < h || whole < 1 ? 1 : whole < n ? whole : n;
}

/* The table's functions, of which some are made of others. */
void OP(conv_forward)(const trainer_conv *conv, trainer_planes x, const trainer_planes *add, trainer_planes y,
                      real *scratch);
void OP(conv_backward_input)(const trainer_conv *conv, trainer_planes dy, const trainer_planes *add,
                             trainer_planes dx, real *scratch);
void OP(conv_backward_weight)(const trainer_conv *conv, trainer_planes x, trainer_planes dy, real *dweight,
                              real *scratch);
void OP(depthwise_forward)(const real *weight, trainer_planes x, trainer_planes y);
void OP(depthwise_backward)(const real *weight, trainer_planes x, trainer_planes dy, trainer_planes dx,
                            real *dweight, real *scratch);
void OP(gate_forward)(const real *weight, trainer_planes x, trainer_planes y, real *scratch);
void OP(gate_backward)(const real *weight, trainer_planes x, trainer_planes dy, trainer_planes y,
                       trainer_planes dx, real *dweight, real *scratch);

#endif
