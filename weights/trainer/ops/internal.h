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

/* Depthwise 3x3 on one image; turned: with the kernel turned by half a turn. */
void OP(depthwise_image)(const real *weight, const real *x, int h, int w, real *y);
void OP(depthwise_image_backward)(const real *weight, const real *x, const real *dy, int h, int w, real *dx,
                                  real *dweight);

/* One row of a sparse matrix in product() and dots_alive(): a and y are that row's pixels. */
void OP(product_row)(const trainer_matrix *matrix, int row, const real *x, const ptrdiff_t *offset,
                     const real *add, real *y, size_t pixels);
void OP(dots_alive_row)(const trainer_matrix *matrix, int row, const real *a, const real *x,
                        const ptrdiff_t *offset, size_t pixels, real *out);

/* One channel of gate_forward() and gate_backward(): y, dy are its pixels in all images. */
void OP(gate_channel)(const real *weight, trainer_planes x, int channel, real *y, real *scratch);
void OP(gate_channel_backward)(const real *weight, trainer_planes x, int channel, const real *dy, real *y,
                               trainer_planes dx, real *dweight, real *scratch);

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

/* Lays out [rows][columns] with row pitch `pitch` (or, transposed, its transpose) in tiles. */
void trainer_pack(const real *weight, size_t row_step, size_t column_step, int rows, int columns,
                  real *tiles);

#endif
