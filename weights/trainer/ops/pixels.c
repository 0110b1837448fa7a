/* What touches each value once: images in and out, pixel-shuffle and its inverse, the loss, AdamW's step.
 */
#include "trainer/ops/internal.h"

#include <tgmath.h>

/* Channel 4c + 2 dy + dx at (y, x) is channel c at (2y + dy, 2x + dx). */
void OP(shuffle)(trainer_planes x, trainer_planes y) {
    for (int c = 0; c < x.channels; c++) {
        const real *from = x.data + (size_t)c * x.pitch;
        for (int i = 0; i < x.n; i++)
            for (int r = 0; r < x.h; r++, from += x.w) {
                size_t row = (size_t)(2 * r + c / 2 % 2) * (size_t)y.w + (size_t)(c % 2);
                real *to = y.data + (size_t)(c / 4) * y.pitch + (size_t)i * (size_t)(y.h * y.w) + row;
                for (int k = 0; k < x.w; k++)
                    to[2 * k] = from[k];
            }
    }
}

void OP(unshuffle)(trainer_planes x, trainer_planes y) {
    for (int c = 0; c < y.channels; c++) {
        real *to = y.data + (size_t)c * y.pitch;
        for (int i = 0; i < y.n; i++)
            for (int r = 0; r < y.h; r++, to += y.w) {
                size_t row = (size_t)(2 * r + c / 2 % 2) * (size_t)x.w + (size_t)(c % 2);
                const real *from = x.data + (size_t)(c / 4) * x.pitch + (size_t)i * (size_t)(x.h * x.w) + row;
                for (int k = 0; k < y.w; k++)
                    to[k] = from[2 * k];
            }
    }
}

/* [n][channels][h][w] to [channels][n][h * w] */
void OP(pack)(const float *images, trainer_planes y) {
    size_t pixels = (size_t)y.h * (size_t)y.w;
    for (int i = 0; i < y.n; i++)
        for (int c = 0; c < y.channels; c++) {
            real *to = y.data + (size_t)c * y.pitch + (size_t)i * pixels;
            for (size_t p = 0; p < pixels; p++)
                to[p] = *images++;
        }
}

void OP(unpack)(trainer_planes x, float *images) {
    size_t pixels = (size_t)x.h * (size_t)x.w;
    for (int i = 0; i < x.n; i++)
        for (int c = 0; c < x.channels; c++) {
            const real *from = x.data + (size_t)c * x.pitch + (size_t)i * pixels;
            for (size_t p = 0; p < pixels; p++)
                *images++ = (float)from[p];
        }
}

void OP(loss)(trainer_planes y, trainer_planes target, real scale, trainer_planes dy, double *sum,
              real *scratch) {
    size_t pixels = trainer_pixels(&y);
    (void)scratch;
    for (int c = 0; c < y.channels; c++) {
        const real *from = y.data + (size_t)c * y.pitch, *goal = target.data + (size_t)c * target.pitch;
        real *to = dy.data + (size_t)c * dy.pitch;
        for (size_t p = 0; p < pixels; p++) {
            real d = from[p] - goal[p];
            *sum += fabs(d);
            to[p] = d > 0 ? scale : d < 0 ? -scale : 0;
        }
    }
}

void OP(adamw)(const trainer_adamw_factors *step, size_t count, real *restrict value,
               const real *restrict gradient, real *restrict moment1, real *restrict moment2,
               const uint8_t *restrict mask) {
    const trainer_adamw_factors f = *step;

    for (size_t i = 0; i < count; i++) {
        real alive = mask ? (real)mask[i] : 1, g = gradient[i] * alive;
        real m = f.beta1 * moment1[i] + f.rest1 * g, s = f.beta2 * moment2[i] + f.rest2 * g * g;
        moment1[i] = m;
        moment2[i] = s;
        value[i] = (value[i] * f.keep - f.rate * m / (sqrt(s) * f.root + f.epsilon)) * alive;
    }
}
