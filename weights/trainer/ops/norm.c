/* Layer normalization over the channels of each pixel, forward and backward. A few vectors of pixels at a
 * time go through all channels, so that the passes for mean, variance and result read from cache.
 */
#include "trainer/ops/internal.h"

#include <tgmath.h>

enum { STRIP = 4 }; ///< vectors of pixels at a time

static const double EPSILON = 1e-5;

INLINE vec load_at(const real *p, int v, int part) {
    return part ? load_part(p, part) : load(p + v * LANES);
}

INLINE void store_at(real *p, int v, int part, vec value) {
    if (part)
        store_part(p, value, part);
    else
        store(p + v * LANES, value);
}

INLINE vec inverse_root(vec x) {
    real lane[LANES] __attribute__((aligned(VECTOR_BYTES)));
    memcpy(lane, &x, sizeof lane);
    for (int i = 0; i < LANES; i++)
        lane[i] = 1 / sqrt(lane[i]);
    memcpy(&x, lane, sizeof lane);
    return x;
}

/* Mean and 1 / sqrt(variance + epsilon) of each pixel. */
INLINE void statistics(const real *x, size_t pitch, int channels, const int vectors, int part, vec *mean,
                       vec *scale) {
    vec squares[STRIP];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        mean[v] = squares[v] = (vec){0};
    for (int c = 0; c < channels; c++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            mean[v] += load_at(x + (size_t)c * pitch, v, part);
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        mean[v] /= (real)channels;
    for (int c = 0; c < channels; c++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            vec d = load_at(x + (size_t)c * pitch, v, part) - mean[v];
            squares[v] += d * d;
        }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        scale[v] = inverse_root(squares[v] / (real)channels + (real)EPSILON);
}

INLINE void forward_strip(const real *weight, const real *bias, const trainer_planes *x,
                          const trainer_planes *y, size_t p, const int vectors, int part) {
    vec mean[STRIP], scale[STRIP];
    statistics(x->data + p, x->pitch, x->channels, vectors, part, mean, scale);
    for (int c = 0; c < x->channels; c++) {
        const real *from = x->data + (size_t)c * x->pitch + p;
        real *to = y->data + (size_t)c * y->pitch + p;
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            store_at(to, v, part, (load_at(from, v, part) - mean[v]) * scale[v] * weight[c] + bias[c]);
    }
}

void OP(norm_forward)(const real *weight, const real *bias, trainer_planes x, trainer_planes y) {
    size_t pixels = trainer_pixels(&x), p = 0;
    for (; p + STRIP * LANES <= pixels; p += STRIP * LANES)
        forward_strip(weight, bias, &x, &y, p, STRIP, 0);
    for (; p + LANES <= pixels; p += LANES)
        forward_strip(weight, bias, &x, &y, p, 1, 0);
    if (p < pixels)
        forward_strip(weight, bias, &x, &y, p, 1, (int)(pixels - p));
}

/* With n = (x - mean) * scale and g = dy * weight: dx = scale * (g - mean(g) - n * mean(g n)). */
INLINE void backward_strip(const real *weight, const trainer_planes *x, const trainer_planes *dy,
                           const trainer_planes *dx, real *sums, size_t p, const int vectors, int part) {
    vec mean[STRIP], scale[STRIP], mean_g[STRIP], mean_gn[STRIP];
    const real share = 1 / (real)x->channels;

    statistics(x->data + p, x->pitch, x->channels, vectors, part, mean, scale);
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        mean_g[v] = mean_gn[v] = (vec){0};
    for (int c = 0; c < x->channels; c++) {
        real *sum = sums + (size_t)c * 2 * LANES;
        vec sum_weight = load(sum), sum_bias = load(sum + LANES);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            vec n = (load_at(x->data + (size_t)c * x->pitch + p, v, part) - mean[v]) * scale[v];
            vec d = load_at(dy->data + (size_t)c * dy->pitch + p, v, part), g = d * weight[c];
            sum_weight += d * n;
            sum_bias += d;
            mean_g[v] += g;
            mean_gn[v] += g * n;
        }
        store(sum, sum_weight);
        store(sum + LANES, sum_bias);
    }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        mean_g[v] *= share;
        mean_gn[v] *= share;
    }
    for (int c = 0; c < x->channels; c++) {
        real *to = dx->data + (size_t)c * dx->pitch + p;
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            vec n = (load_at(x->data + (size_t)c * x->pitch + p, v, part) - mean[v]) * scale[v];
            vec g = load_at(dy->data + (size_t)c * dy->pitch + p, v, part) * weight[c];
            store_at(to, v, part, load_at(to, v, part) + scale[v] * (g - mean_g[v] - n * mean_gn[v]));
        }
    }
}

void OP(norm_backward)(const real *weight, trainer_planes x, trainer_planes dy, trainer_planes dx,
                       real *dweight, real *dbias, real *scratch) {
    size_t pixels = trainer_pixels(&x), p = 0;
    memset(scratch, 0, (size_t)x.channels * 2 * LANES * sizeof *scratch);
    for (; p + STRIP * LANES <= pixels; p += STRIP * LANES)
        backward_strip(weight, &x, &dy, &dx, scratch, p, STRIP, 0);
    for (; p + LANES <= pixels; p += LANES)
        backward_strip(weight, &x, &dy, &dx, scratch, p, 1, 0);
    if (p < pixels)
        backward_strip(weight, &x, &dy, &dx, scratch, p, 1, (int)(pixels - p));
    for (int c = 0; c < x.channels; c++) {
        dweight[c] += sum_lanes(load(scratch + (size_t)c * 2 * LANES));
        dbias[c] += sum_lanes(load(scratch + (size_t)c * 2 * LANES + LANES));
    }
}
