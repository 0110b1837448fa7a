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

INLINE normal normal_of(vec a) {
    const ivec sign_bit = (ivec)splat(-0.0f);
    vec z = (vec)((ivec)a & ~sign_bit) * 0.70710678f;
    vec square = z * z;
    ivec small = square < 87.0f;
    vec e = exp_negative((vec)((ivec)-square & small)), t = 1.0f / (1.0f + 0.3275911f * z);
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

static void gate_image(const real *a, const real *b, size_t pixels, real *y) {
    size_t p = 0;
    for (; p + LANES <= pixels; p += LANES) {
        vec gate = load(a + p);
        store(y + p, gate * normal_of(gate).distribution * load(b + p));
    }
    if (p < pixels) {
        int part = (int)(pixels - p);
        vec gate = load_part(a + p, part);
        store_part(y + p, gate * normal_of(gate).distribution * load_part(b + p, part), part);
    }
}

/* Writes y, and the gradients of a and b over their values. */
static void gate_image_backward(real *a, real *b, const real *dy, size_t pixels, real *y) {
    for (size_t p = 0; p < pixels; p += LANES) {
        int part = pixels - p < LANES ? (int)(pixels - p) : LANES;
        bool whole = part == LANES;
        vec gate = whole ? load(a + p) : load_part(a + p, part);
        vec value = whole ? load(b + p) : load_part(b + p, part);
        vec gradient = whole ? load(dy + p) : load_part(dy + p, part);
        normal n = normal_of(gate);
        vec gelu = gate * n.distribution;
        vec result = gelu * value;
        vec da = gradient * value * (n.distribution + gate * n.density), db = gradient * gelu;
        if (whole) {
            store(y + p, result);
            store(a + p, da);
            store(b + p, db);
        } else {
            store_part(y + p, result, part);
            store_part(a + p, da, part);
            store_part(b + p, db, part);
        }
    }
}

void OP(gate_channel)(const real *weight, trainer_planes x, int channel, real *y, real *scratch) {
    size_t image = (size_t)x.h * (size_t)x.w;
    real *a = scratch + TRAINER_SLACK, *b = a + trainer_pitch(image);
    int second = channel + x.channels / 2;

    for (int i = 0; i < x.n; i++) {
        const real *from = x.data + (size_t)i * image;
        OP(depthwise_image)(weight + 9 * channel, from + (size_t)channel * x.pitch, x.h, x.w, a);
        OP(depthwise_image)(weight + 9 * second, from + (size_t)second * x.pitch, x.h, x.w, b);
        gate_image(a, b, image, y + (size_t)i * image);
    }
}

void OP(gate_channel_backward)(const real *weight, trainer_planes x, int channel, const real *dy, real *y,
                               trainer_planes dx, real *dweight, real *scratch) {
    size_t image = (size_t)x.h * (size_t)x.w;
    real *a = scratch + TRAINER_SLACK, *b = a + trainer_pitch(image);
    int second = channel + x.channels / 2;

    for (int i = 0; i < x.n; i++) {
        size_t skip = (size_t)i * image;
        const real *xa = x.data + (size_t)channel * x.pitch + skip;
        const real *xb = x.data + (size_t)second * x.pitch + skip;
        OP(depthwise_image)(weight + 9 * channel, xa, x.h, x.w, a);
        OP(depthwise_image)(weight + 9 * second, xb, x.h, x.w, b);
        gate_image_backward(a, b, dy + skip, image, y + skip);
        OP(depthwise_image_backward)
        (weight + 9 * channel, xa, a, x.h, x.w, dx.data + (size_t)channel * dx.pitch + skip,
         dweight + 9 * channel);
        OP(depthwise_image_backward)
        (weight + 9 * second, xb, b, x.h, x.w, dx.data + (size_t)second * dx.pitch + skip,
         dweight + 9 * second);
    }
}

void OP(gate_forward)(const real *weight, trainer_planes x, trainer_planes y, real *scratch) {
    for (int c = 0; c < y.channels; c++)
        OP(gate_channel)(weight, x, c, y.data + (size_t)c * y.pitch, scratch);
}

void OP(gate_backward)(const real *weight, trainer_planes x, trainer_planes dy, trainer_planes y,
                       trainer_planes dx, real *dweight, real *scratch) {
    for (int c = 0; c < y.channels; c++)
        OP(gate_channel_backward)
    (weight, x, c, dy.data + (size_t)c * dy.pitch, y.data + (size_t)c * y.pitch, dx, dweight, scratch);
}
