/* Depthwise 3x3 convolution, forward and backward. A strip of columns as wide as a vector goes down the
 * image with three rows in registers, each at three horizontal shifts; the backward uses the shifted
 * gradients for the input's gradient and the weights' at once. Meanwhile the image behind is asked for, which
 * is mostly the next channel's.
 */
#include "trainer/ops/internal.h"

#if defined(TRAINER_REAL_IS_DOUBLE)
typedef int64_t lane_mask;
#else
typedef int32_t lane_mask;
#endif
typedef lane_mask mask __attribute__((vector_size(VECTOR_BYTES)));

/* Which lanes of the loads at x - 1, x and x + 1 lie in the image. */
typedef struct edges {
    mask left, centre, right;
} edges;

/* x - 1, x and x + 1 of one row */
typedef struct shifted {
    vec left, centre, right;
} shifted;

static edges edges_of(int x0, int w) {
    edges e;
    for (int i = 0; i < LANES; i++) {
        int x = x0 + i;
        e.left[i] = x >= 1 && x < w ? -1 : 0;
        e.centre[i] = x < w ? -1 : 0;
        e.right[i] = x + 1 < w ? -1 : 0;
    }
    return e;
}

INLINE vec keep(vec v, mask m) {
    return (vec)((mask)v & m);
}

INLINE shifted load_row(const real *p, const edges *e) {
    return (shifted){keep(load(p - 1), e->left), keep(load(p), e->centre), keep(load(p + 1), e->right)};
}

void OP(depthwise_image)(const real *weight, const real *x, int h, int w, real *y) {
    vec k[9];
    size_t image = (size_t)h * (size_t)w;
    for (int t = 0; t < 9; t++)
        k[t] = splat(weight[t]);
    for (int x0 = 0; x0 < w; x0 += LANES) {
        edges e = edges_of(x0, w);
        int part = w - x0 < LANES ? w - x0 : 0;
        shifted above = {0}, here = load_row(x + x0, &e), below;
        for (int r = 0; r < h; r++, above = here, here = below) {
            size_t at = (size_t)r * (size_t)w + (size_t)x0;
            below = r + 1 < h ? load_row(x + at + w, &e) : (shifted){0};
            prefetch(x + at + image + LANES);
            vec sum = k[0] * above.left;
            sum += k[1] * above.centre;
            sum += k[2] * above.right;
            sum += k[3] * here.left;
            sum += k[4] * here.centre;
            sum += k[5] * here.right;
            sum += k[6] * below.left;
            sum += k[7] * below.centre;
            sum += k[8] * below.right;
            if (part)
                store_part(y + at, sum, part);
            else
                store(y + at, sum);
        }
    }
}

/* Tap (dy, dx) took x(r + dy, c + dx) to y(r, c): it brings dy(r - dy, c - dx) to dx(r, c), and the
 * weight's gradient is the sum of dy(r - dy, c - dx) x(r, c). */
void OP(depthwise_image_backward)(const real *weight, const real *x, const real *dy, int h, int w, real *dx,
                                  real *dweight) {
    vec k[9];
    shifted above_sum = {0}, here_sum = {0}, below_sum = {0};
    size_t image = (size_t)h * (size_t)w;
    for (int t = 0; t < 9; t++)
        k[t] = splat(weight[t]);
    for (int x0 = 0; x0 < w; x0 += LANES) {
        edges e = edges_of(x0, w);
        int part = w - x0 < LANES ? w - x0 : 0;
        shifted above = {0}, here = load_row(dy + x0, &e), below;
        for (int r = 0; r < h; r++, above = here, here = below) {
            size_t at = (size_t)r * (size_t)w + (size_t)x0;
            below = r + 1 < h ? load_row(dy + at + w, &e) : (shifted){0};
            prefetch(x + at + image + LANES);
            prefetch(dy + at + image + LANES);
            vec pixel = keep(load(x + at), e.centre);
            vec sum = k[0] * below.right;
            sum += k[1] * below.centre;
            sum += k[2] * below.left;
            sum += k[3] * here.right;
            sum += k[4] * here.centre;
            sum += k[5] * here.left;
            sum += k[6] * above.right;
            sum += k[7] * above.centre;
            sum += k[8] * above.left;
            below_sum.right += pixel * below.right;
            below_sum.centre += pixel * below.centre;
            below_sum.left += pixel * below.left;
            here_sum.right += pixel * here.right;
            here_sum.centre += pixel * here.centre;
            here_sum.left += pixel * here.left;
            above_sum.right += pixel * above.right;
            above_sum.centre += pixel * above.centre;
            above_sum.left += pixel * above.left;
            if (part)
                store_part(dx + at, sum, part);
            else
                store(dx + at, sum);
        }
    }
    dweight[0] += sum_lanes(below_sum.right);
    dweight[1] += sum_lanes(below_sum.centre);
    dweight[2] += sum_lanes(below_sum.left);
    dweight[3] += sum_lanes(here_sum.right);
    dweight[4] += sum_lanes(here_sum.centre);
    dweight[5] += sum_lanes(here_sum.left);
    dweight[6] += sum_lanes(above_sum.right);
    dweight[7] += sum_lanes(above_sum.centre);
    dweight[8] += sum_lanes(above_sum.left);
}

void OP(depthwise_forward)(const real *weight, trainer_planes x, trainer_planes y) {
    size_t image = (size_t)x.h * (size_t)x.w;
    for (int c = 0; c < x.channels; c++)
        for (int i = 0; i < x.n; i++)
            OP(depthwise_image)
    (weight + 9 * c, x.data + (size_t)c * x.pitch + (size_t)i * image, x.h, x.w,
     y.data + (size_t)c * y.pitch + (size_t)i * image);
}

void OP(depthwise_backward)(const real *weight, trainer_planes x, trainer_planes dy, trainer_planes dx,
                            real *dweight, real *scratch) {
    (void)scratch;
    size_t image = (size_t)x.h * (size_t)x.w;
    for (int c = 0; c < x.channels; c++)
        for (int i = 0; i < x.n; i++) {
            size_t skip = (size_t)i * image;
            OP(depthwise_image_backward)
            (weight + 9 * c, x.data + (size_t)c * x.pitch + skip, dy.data + (size_t)c * dy.pitch + skip, x.h,
             x.w, dx.data + (size_t)c * dx.pitch + skip, dweight + 9 * c);
        }
}
