/* Depthwise 3x3 convolution, forward and backward. A strip of columns as wide as a vector goes down the
 * image with three rows in registers, each at three horizontal shifts; the backward uses the shifted
 * gradients for the input's gradient and the weights' at once.
 */
#include "trainer/ops/internal.h"

/* x - 1, x and x + 1 of one row */
typedef struct shifted {
    vec left, centre, right;
} shifted;

#if VECTOR_BYTES == 64 && !defined(TRAINER_REAL_IS_DOUBLE)

/* Which lanes of the loads at x - 1, x and x + 1 lie in the image. */
typedef struct edges {
    __mmask16 left, centre, right;
} edges;

INLINE edges edges_of(int x0, int w) {
    unsigned inside = w - x0 < LANES ? (1u << (w - x0)) - 1 : 0xffff, left = x0 ? inside : inside & 0xfffe;
    unsigned right = w - x0 > LANES ? 0xffff : inside >> 1;
    return (edges){(__mmask16)left, (__mmask16)inside, (__mmask16)right};
}

INLINE vec load_kept(const real *p, __mmask16 m) {
    return (vec)_mm512_maskz_loadu_ps(m, p);
}

#else

#if defined(TRAINER_REAL_IS_DOUBLE)
typedef int64_t lane_mask;
#else
typedef int32_t lane_mask;
#endif
typedef lane_mask mask __attribute__((vector_size(VECTOR_BYTES)));

typedef struct edges {
    mask left, centre, right;
} edges;

static edges edges_of(int x0, int w) {
    edges e;
    for (int i = 0; i < LANES; i++) {
        e.left[i] = x0 + i >= 1 && x0 + i < w ? -1 : 0;
        e.centre[i] = x0 + i < w ? -1 : 0;
        e.right[i] = x0 + i + 1 < w ? -1 : 0;
    }
    return e;
}

INLINE vec load_kept(const real *p, mask m) {
    return (vec)((mask)load(p) & m);
}

#endif

INLINE shifted load_row(const real *p, const edges *e) {
    return (shifted){load_kept(p - 1, e->left), load_kept(p, e->centre), load_kept(p + 1, e->right)};
}

/* k[0..2] on the first row, k[3..5] on the second, k[6..8] on the third */
INLINE vec weigh(const vec k[9], const shifted *first, const shifted *second, const shifted *third) {
    vec sum = k[0] * first->left;
    sum += k[1] * first->centre;
    sum += k[2] * first->right;
    sum += k[3] * second->left;
    sum += k[4] * second->centre;
    sum += k[5] * second->right;
    sum += k[6] * third->left;
    sum += k[7] * third->centre;
    sum += k[8] * third->right;
    return sum;
}

INLINE void strip_forward(const vec k[9], const real *from, int w, int x0, trainer_rows rows, real *to,
                          const int part) {
    const shifted nothing = {0};
    const edges e = edges_of(x0, w);
    int inner = rows.below ? rows.count : rows.count - 1, r = 0; /* rows with one below them */
    shifted above = rows.above ? load_row(from - w, &e) : nothing, here = load_row(from, &e);
    for (; r + 2 <= inner; r += 2, from += 2 * w, to += 2 * w) {
        shifted below = load_row(from + w, &e), last = load_row(from + 2 * w, &e);
        vec first = weigh(k, &above, &here, &below), second = weigh(k, &here, &below, &last);
        store_some(to, first, part);
        store_some(to + w, second, part);
        above = below;
        here = last;
    }
    if (r < inner) {
        shifted below = load_row(from + w, &e);
        store_some(to, weigh(k, &above, &here, &below), part);
        above = here;
        here = below;
        to += w;
    }
    if (!rows.below)
        store_some(to, weigh(k, &above, &here, &nothing), part);
}

void OP(depthwise_rows)(const real *weight, const real *x, int w, trainer_rows rows, real *y) {
    vec k[9];
    int x0 = 0;
    for (int t = 0; t < 9; t++)
        k[t] = splat(weight[t]);
    for (; x0 + LANES <= w; x0 += LANES)
        strip_forward(k, x + x0, w, x0, rows, y + x0, 0);
    if (x0 < w)
        strip_forward(k, x + x0, w, x0, rows, y + x0, w - x0);
}

/* The sums of dy x for each of the taps that dy's shifts stand for. */
INLINE void add_products(shifted *sum, vec x, const shifted *dy) {
    sum->left += x * dy->left;
    sum->centre += x * dy->centre;
    sum->right += x * dy->right;
}

typedef struct tap_sums {
    shifted above, here, below;
} tap_sums;

INLINE void strip_backward(const vec k[9], const real *x, const real *dy, int w, int x0, trainer_rows rows,
                           real *dx, tap_sums *sums, const int part, const bool as_pairs) {
    const shifted nothing = {0};
    const edges e = edges_of(x0, w);
    int inner = rows.below ? rows.count : rows.count - 1;
    shifted above = rows.above ? load_row(dy - w, &e) : nothing, here = load_row(dy, &e);
    tap_sums sum = *sums;
    for (int r = 0; r < inner; r++, x += w, dx += w) {
        dy += w;
        shifted below = load_row(dy, &e);
        vec pixel = load_kept(x, e.centre);
        store_operand(dx, weigh(k, &above, &here, &below), part, as_pairs);
        add_products(&sum.above, pixel, &above);
        add_products(&sum.here, pixel, &here);
        add_products(&sum.below, pixel, &below);
        above = here;
        here = below;
    }
    if (!rows.below) {
        vec pixel = load_kept(x, e.centre);
        store_operand(dx, weigh(k, &above, &here, &nothing), part, as_pairs);
        add_products(&sum.above, pixel, &above);
        add_products(&sum.here, pixel, &here);
    }
    *sums = sum;
}

/* Tap (dy, dx) took x(r + dy, c + dx) to y(r, c): it brings dy(r - dy, c - dx) to dx(r, c), and the
 * weight's gradient is the sum of dy(r - dy, c - dx) x(r, c). */
INLINE void rows_backward(const real *weight, const real *x, const real *dy, int w, trainer_rows rows,
                          real *dx, real *dweight, const bool as_pairs) {
    tap_sums sums = {0};
    vec k[9];
    int x0 = 0;
    for (int t = 0; t < 9; t++)
        k[t] = splat(weight[8 - t]);
    for (; x0 + LANES <= w; x0 += LANES)
        strip_backward(k, x + x0, dy + x0, w, x0, rows, dx + x0, &sums, 0, as_pairs);
    if (x0 < w)
        strip_backward(k, x + x0, dy + x0, w, x0, rows, dx + x0, &sums, w - x0, as_pairs);
    const vec sum[9] = {sums.below.right, sums.below.centre, sums.below.left,
                        sums.here.right,  sums.here.centre,  sums.here.left,
                        sums.above.right, sums.above.centre, sums.above.left};
    for (int t = 0; t < 9; t++)
        dweight[t] += sum_lanes(sum[t]);
}

void OP(depthwise_rows_backward)(const real *weight, const real *x, const real *dy, int w, trainer_rows rows,
                                 real *dx, bool as_pairs, real *dweight) {
    if (as_pairs)
        rows_backward(weight, x, dy, w, rows, dx, dweight, true);
    else
        rows_backward(weight, x, dy, w, rows, dx, dweight, false);
}

void OP(depthwise_forward)(const real *weight, trainer_planes x, trainer_planes y) {
    size_t image = (size_t)x.h * (size_t)x.w;
    for (int c = 0; c < x.channels; c++)
        for (int i = 0; i < x.n; i++)
            OP(depthwise_rows)
    (weight + 9 * c, x.data + (size_t)c * x.pitch + (size_t)i * image, x.w, (trainer_rows){.count = x.h},
     y.data + (size_t)c * y.pitch + (size_t)i * image);
}

void OP(depthwise_backward)(const real *weight, trainer_planes x, trainer_planes dy, trainer_planes dx,
                            real *dweight, real *scratch) {
    (void)scratch;
    size_t image = (size_t)x.h * (size_t)x.w;
    for (int c = 0; c < x.channels; c++)
        for (int i = 0; i < x.n; i++) {
            size_t skip = (size_t)i * image;
            OP(depthwise_rows_backward)
            (weight + 9 * c, x.data + (size_t)c * x.pitch + skip, dy.data + (size_t)c * dy.pitch + skip, x.w,
             (trainer_rows){.count = x.h}, dx.data + (size_t)c * dx.pitch + skip, false, dweight + 9 * c);
        }
}
