/* The feed-forward's middle: a depthwise 3x3 convolution, then the first half of the channels through exact
 * GELU times the second half. The convolution's result is not kept: the backward computes it again.
 *
 * gelu(a) = a P(a), gelu'(a) = P(a) + a p(a), with P and p the normal distribution and density. In float,
 * 1 - erf is Abramowitz & Stegun 7.1.26 (absolute error below 1.5e-7) and exp a polynomial of degree 6
 * (relative error below 2e-7); in double both are libm's.
 */
#include "trainer/ops/internal.h"

#include <math.h>

typedef struct normal {
    vec distribution, density;
} normal;

#if defined(TRAINER_REAL_IS_DOUBLE)

INLINE normal normal_of(vec a) {
    normal n;
    for (int i = 0; i < LANES; i++) {
        n.distribution[i] = 0.5 * erfc(-a[i] * M_SQRT1_2);
        n.density[i] = exp(-0.5 * a[i] * a[i]) * (0.5 * M_2_SQRTPI * M_SQRT1_2);
    }
    return n;
}

#else

typedef int32_t ivec __attribute__((vector_size(VECTOR_BYTES)));

/* exp(x) for -87 <= x <= 0 */
INLINE vec exp_negative(vec x) {
    const vec round = splat(12582912.0f); /* 1.5 * 2^23: adding it leaves an integer in the low bits */
    vec shifted = x * 1.44269504f + round;
    vec n = shifted - round;
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec p = 1.3888889e-3f * r + 8.3333333e-3f;
    p = p * r + 4.1666667e-2f;
    p = p * r + 1.6666667e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return (vec)((ivec)p + ((ivec)shifted << 23));
}

/* 1 / x */
INLINE vec inverse(vec x) {
#if VECTOR_BYTES == 64
    vec guess = (vec)_mm512_rcp14_ps((__m512)x);
    return guess * (2.0f - x * guess);
#else
    return 1.0f / x;
#endif
}

INLINE normal normal_of(vec a) {
    const ivec sign_bit = (ivec)splat(-0.0f);
    vec z = (vec)((ivec)a & ~sign_bit) * 0.70710678f;
    vec square = z * z;
    ivec small = square < 87.0f;
    vec e = exp_negative((vec)((ivec)-square & small)), t = inverse(1.0f + 0.3275911f * z);
    e = (vec)((ivec)e & small);
    vec tail = 1.061405429f * t + -1.453152027f;
    tail = tail * t + 1.421413741f;
    tail = tail * t + -0.284496736f;
    tail = tail * t + 0.254829592f;
    tail = tail * t * e * 0.5f; /* 1 - P(|a|) */
    ivec negative = a < 0.0f;
    vec upper = 1.0f - tail;
    return (normal){(vec)(((ivec)tail & negative) | ((ivec)upper & ~negative)), e * 0.39894228f};
}

#endif

INLINE vec load_some(const real *p, int part) {
    return part ? load_part(p, part) : load(p);
}

INLINE void gate_vector(const real *a, const real *b, real *y, int part, const bool as_pairs) {
    vec gate = load_some(a, part);
    store_operand(y, gate * normal_of(gate).distribution * load_some(b, part), part, as_pairs);
}

INLINE void gate_pixels(const real *a, const real *b, size_t pixels, real *y, const bool as_pairs) {
    size_t p = 0;
    for (; p + LANES <= pixels; p += LANES)
        gate_vector(a + p, b + p, y + p, 0, as_pairs);
    if (p < pixels)
        gate_vector(a + p, b + p, y + p, (int)(pixels - p), as_pairs);
}

/* Writes y, and the gradients of a and b over their values. */
INLINE void gate_vector_backward(real *a, real *b, const real *dy, real *y, int part, const bool as_pairs) {
    vec gate = load_some(a, part), value = load_some(b, part), gradient = load_some(dy, part);
    normal n = normal_of(gate);
    vec gelu = gate * n.distribution;
    store_operand(y, gelu * value, part, as_pairs);
    store_some(a, gradient * value * (n.distribution + gate * n.density), part);
    store_some(b, gradient * gelu, part);
}

INLINE void gate_pixels_backward(real *a, real *b, const real *dy, size_t pixels, real *y,
                                 const bool as_pairs) {
    size_t p = 0;
    for (; p + LANES <= pixels; p += LANES)
        gate_vector_backward(a + p, b + p, dy + p, y + p, 0, as_pairs);
    if (p < pixels)
        gate_vector_backward(a + p, b + p, dy + p, y + p, (int)(pixels - p), as_pairs);
}

void OP(gate_rows)(const real *weight_a, const real *weight_b, const real *a, const real *b, int w,
                   trainer_rows rows, real *y, bool as_pairs, real *scratch) {
    size_t pixels = (size_t)rows.count * (size_t)w;
    real *conv_a = scratch, *conv_b = scratch + trainer_pitch(pixels);

    OP(depthwise_rows)(weight_a, a, w, rows, conv_a);
    OP(depthwise_rows)(weight_b, b, w, rows, conv_b);
    if (as_pairs)
        gate_pixels(conv_a, conv_b, pixels, y, true);
    else
        gate_pixels(conv_a, conv_b, pixels, y, false);
}

void OP(gate_rows_backward)(const real *weight_a, const real *weight_b, const real *a, const real *b, int w,
                            trainer_rows rows, const real *dy, real *y, bool as_pairs, real *da, real *db) {
    size_t pixels = (size_t)rows.count * (size_t)w;
    OP(depthwise_rows)(weight_a, a, w, rows, da);
    OP(depthwise_rows)(weight_b, b, w, rows, db);
    if (as_pairs)
        gate_pixels_backward(da, db, dy, pixels, y, true);
    else
        gate_pixels_backward(da, db, dy, pixels, y, false);
}

void OP(gate_forward)(const real *weight, trainer_planes x, trainer_planes y, real *scratch) {
    size_t image = (size_t)x.h * (size_t)x.w;

    for (int c = 0; c < y.channels; c++)
        for (int i = 0; i < x.n; i++) {
            const real *a = x.data + (size_t)c * x.pitch + (size_t)i * image;
            OP(gate_rows)
            (weight + 9 * c, weight + 9 * (c + y.channels), a, a + (size_t)y.channels * x.pitch, x.w,
             (trainer_rows){.count = x.h}, y.data + (size_t)c * y.pitch + (size_t)i * image, false, scratch);
        }
}

void OP(gate_backward)(const real *weight, trainer_planes x, trainer_planes dy, trainer_planes y,
                       trainer_planes dx, real *dweight, real *scratch) {
    size_t image = (size_t)x.h * (size_t)x.w;
    trainer_rows rows = {.count = x.h};

    for (int c = 0; c < y.channels; c++)
        for (int i = 0; i < x.n; i++) {
            size_t skip = (size_t)i * image;
            const real *a = x.data + (size_t)c * x.pitch + skip, *b = a + (size_t)y.channels * x.pitch;
            const real *weight_a = weight + 9 * c, *weight_b = weight_a + 9 * y.channels;
            real *da = scratch + TRAINER_SLACK, *db = da + trainer_pitch(image);
            real *to = dx.data + (size_t)c * dx.pitch + skip, *dweight_a = dweight + 9 * c;

            OP(gate_rows_backward)
            (weight_a, weight_b, a, b, x.w, rows, dy.data + (size_t)c * dy.pitch + skip,
             y.data + (size_t)c * y.pitch + skip, false, da, db);
            OP(depthwise_rows_backward)(weight_a, a, da, x.w, rows, to, false, dweight_a);
            OP(depthwise_rows_backward)
            (weight_b, b, db, x.w, rows, to + (size_t)y.channels * dx.pitch, false,
             dweight_a + 9 * y.channels);
        }
}
