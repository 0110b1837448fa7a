/* Attention across channels, forward and backward, one head of one image at a time:
 *
 *     G = q^ k^T (q^, k^: rows divided by their norms), A = softmax(temperature G), y = A v
 *
 * What the forward keeps of a head (HEAD_VALUES) is small: A, G and the inverse norms. The backward never
 * forms q^ or k^: their scales go into the small matrices.
 */
#include "trainer/ops/internal.h"

#include <tgmath.h>

static const double LEAST_NORM = 1e-12;

/* What is kept of one head: A [c][c], G [c][c], 1/norm of the rows of q [c] and of k [c]. */
typedef struct head {
    int channels;
    real *a, *g, *scale_q, *scale_k;
} head;

static head head_of(real *maps, int index, int channels) {
    size_t square = (size_t)channels * (size_t)channels;
    real *at = maps + (size_t)index * (2 * square + 2 * (size_t)channels);
    return (head){channels, at, at + square, at + 2 * square, at + 2 * square + channels};
}

/* The pixels of q (0), k (1) or v (2) for a head of image i. */
static real *part_of(const trainer_planes *qkv, int which, int first, int i) {
    size_t channel = (size_t)(which * (qkv->channels / 3) + first);
    return qkv->data + channel * qkv->pitch + (size_t)i * (size_t)qkv->h * (size_t)qkv->w;
}

static void inverse_norms(const real *x, size_t pitch, int channels, size_t pixels, real *scale) {
    for (int c = 0; c < channels; c++, x += pitch) {
        vec sum = {0};
        size_t p = 0;
        for (; p + LANES <= pixels; p += LANES)
            sum += load(x + p) * load(x + p);
        if (p < pixels) {
            vec last = load_part(x + p, (int)(pixels - p));
            sum += last * last;
        }
        real norm = sqrt(sum_lanes(sum));
        scale[c] = 1 / (norm > (real)LEAST_NORM ? norm : (real)LEAST_NORM);
    }
}

static void softmax(real *row, int count) {
    real highest = row[0], sum = 0;
    for (int j = 1; j < count; j++)
        highest = row[j] > highest ? row[j] : highest;
    for (int j = 0; j < count; j++)
        sum += row[j] = exp(row[j] - highest);
    for (int j = 0; j < count; j++)
        row[j] /= sum;
}

static void row_offsets(ptrdiff_t *offset, int rows, size_t pitch) {
    for (int k = 0; k < rows; k++)
        offset[k] = (ptrdiff_t)((size_t)k * pitch);
}

/* y = add + M x for a small square M, given by its steps so that it may be a transpose. */
static void small_product(const real *m, size_t row_step, size_t column_step, int channels, const real *x,
                          const ptrdiff_t *offset, const real *add, real *y, size_t y_pitch, size_t pixels,
                          real *tiles) {
    trainer_matrix matrix = {.rows = channels, .columns = channels, .split = SPLIT, .tiles = tiles};
    trainer_entries entries = {m, (ptrdiff_t)row_step, (ptrdiff_t)column_step, 0, 1};
    trainer_pack(entries, channels, channels, SPLIT, tiles);
    OP(product)(&matrix, x, offset, add, y_pitch, y, y_pitch, pixels);
}

void OP(attention_forward)(const real *temperature, int heads, trainer_planes qkv, real *maps,
                           trainer_planes y, real *scratch) {
    int channels = y.channels / heads;
    size_t pixels = (size_t)y.h * (size_t)y.w;
    ptrdiff_t *offset = (ptrdiff_t *)scratch;
    real *tiles = (real *)(offset + (channels + 7) / 8 * 8);

    row_offsets(offset, channels, qkv.pitch);
    for (int i = 0; i < y.n; i++)
        for (int h = 0; h < heads; h++) {
            head kept = head_of(maps, i * heads + h, channels);
            const real *q = part_of(&qkv, 0, h * channels, i), *k = part_of(&qkv, 1, h * channels, i);
            real *to = y.data + (size_t)(h * channels) * y.pitch + (size_t)i * pixels;

            memset(kept.g, 0, (size_t)(channels * channels) * sizeof *kept.g);
            OP(dots)(q, qkv.pitch, channels, k, offset, channels, pixels, kept.g, (size_t)channels);
            inverse_norms(q, qkv.pitch, channels, pixels, kept.scale_q);
            inverse_norms(k, qkv.pitch, channels, pixels, kept.scale_k);
            for (int r = 0; r < channels; r++) {
                real *g = kept.g + r * channels, *a = kept.a + r * channels;
                for (int j = 0; j < channels; j++) {
                    g[j] *= kept.scale_q[r] * kept.scale_k[j];
                    a[j] = g[j] * temperature[h];
                }
                softmax(a, channels);
            }
            small_product(kept.a, (size_t)channels, 1, channels, part_of(&qkv, 2, h * channels, i), offset,
                          NULL, to, y.pitch, pixels, tiles);
        }
}

/* From dA (in `d`) to the gradient of G (again in `d`), through the softmax. Returns the temperature's. */
static real softmax_backward(const head *kept, real temperature, real *d) {
    real dtemperature = 0;
    for (int r = 0; r < kept->channels; r++, d += kept->channels) {
        const real *a = kept->a + r * kept->channels, *g = kept->g + r * kept->channels;
        real mean = 0;
        for (int j = 0; j < kept->channels; j++)
            mean += a[j] * d[j];
        for (int j = 0; j < kept->channels; j++) {
            real logit = a[j] * (d[j] - mean);
            dtemperature += logit * g[j];
            d[j] = logit * temperature;
        }
    }
    return dtemperature;
}

/* to = -x * scale^2 * sum(d G along the row or column), the part of dq that the norm of q takes away; rows
 * whose norm was below the least keep all. */
static void norm_part(const head *kept, const real *d, bool along_rows, const real *x, size_t pitch,
                      size_t pixels, real *to, size_t to_pitch) {
    const real *scale = along_rows ? kept->scale_q : kept->scale_k;
    for (int r = 0; r < kept->channels; r++, x += pitch, to += to_pitch) {
        real sum = 0;
        for (int j = 0; j < kept->channels; j++) {
            int at = along_rows ? r * kept->channels + j : j * kept->channels + r;
            sum += d[at] * kept->g[at];
        }
        real factor = scale[r] < 1 / (real)LEAST_NORM ? -sum * scale[r] * scale[r] : 0;
        for (size_t p = 0; p < pixels; p++)
            to[p] = factor * x[p];
    }
}

void OP(attention_backward)(const real *temperature, int heads, trainer_planes qkv, const real *maps,
                            trainer_planes dy, trainer_planes dqkv, real *dtemperature, real *scratch) {
    int channels = dy.channels / heads;
    size_t pixels = (size_t)dy.h * (size_t)dy.w, square = (size_t)(channels * channels);
    ptrdiff_t *offset = (ptrdiff_t *)scratch, *offset_dy = offset + (channels + 7) / 8 * 8;
    real *d = (real *)(offset_dy + (channels + 7) / 8 * 8), *tiles = d + (square + 15) / 16 * 16;

    row_offsets(offset, channels, qkv.pitch);
    row_offsets(offset_dy, channels, dy.pitch);
    for (int i = 0; i < dy.n; i++)
        for (int h = 0; h < heads; h++) {
            head kept = head_of((real *)maps, i * heads + h, channels);
            int first = h * channels;
            const real *q = part_of(&qkv, 0, first, i), *k = part_of(&qkv, 1, first, i);
            const real *gradient = dy.data + (size_t)first * dy.pitch + (size_t)i * pixels;
            real *dq = part_of(&dqkv, 0, first, i), *dk = part_of(&dqkv, 1, first, i);

            memset(d, 0, square * sizeof *d);
            OP(dots)
            (gradient, dy.pitch, channels, part_of(&qkv, 2, first, i), offset, channels, pixels, d,
             (size_t)channels);
            small_product(kept.a, 1, (size_t)channels, channels, gradient, offset_dy, NULL,
                          part_of(&dqkv, 2, first, i), dqkv.pitch, pixels, tiles);
            dtemperature[h] += softmax_backward(&kept, temperature[h], d);
            norm_part(&kept, d, true, q, qkv.pitch, pixels, dq, dqkv.pitch);
            norm_part(&kept, d, false, k, qkv.pitch, pixels, dk, dqkv.pitch);
            for (int r = 0; r < channels; r++)
                for (int j = 0; j < channels; j++)
                    d[r * channels + j] *= kept.scale_q[r] * kept.scale_k[j];
            small_product(d, (size_t)channels, 1, channels, k, offset, dq, dq, dqkv.pitch, pixels, tiles);
            small_product(d, 1, (size_t)channels, channels, q, offset, dk, dk, dqkv.pitch, pixels, tiles);
        }
}
