/* 1x1 and 3x3 convolutions, forward and backward. A 3x3 convolution is the same product as a 1x1: in a copy
 * whose rows are followed by one zero column and whose images are followed by one zero row, tap (dy, dx) is
 * the pixel at a fixed distance, and results at the zeros are dropped.
 */
#include "trainer/ops/internal.h"

/* Where image pixels stand in a padded copy. */
typedef struct padding {
    size_t lead, pixels, pitch; ///< zeros before the first image; its grid with the zeros; values a plane
    int row;                    ///< values between rows
} padding;

static padding padding_of(const trainer_planes *planes) {
    padding pad = {.row = planes->w + 1};
    pad.lead = ((size_t)planes->w + 2 + 15) / 16 * 16;
    pad.pixels = (size_t)planes->n * (size_t)(planes->h + 1) * (size_t)pad.row;
    pad.pitch = trainer_pitch(pad.lead + pad.pixels + (size_t)planes->w + 2);
    return pad;
}

static void pad_planes(const trainer_planes *from, const padding *pad, real *to) {
    for (int c = 0; c < from->channels; c++, to += pad->pitch) {
        const real *row = from->data + (size_t)c * from->pitch;
        real *at = to + pad->lead;
        memset(to, 0, pad->pitch * sizeof *to);
        for (int i = 0; i < from->n; i++, at += pad->row)
            for (int y = 0; y < from->h; y++, at += pad->row, row += from->w)
                memcpy(at, row, (size_t)from->w * sizeof *at);
    }
}

static void unpad_planes(const real *from, const padding *pad, const trainer_planes *add, trainer_planes to) {
    for (int c = 0; c < to.channels; c++, from += pad->pitch) {
        const real *at = from + pad->lead;
        const real *plus = add ? add->data + (size_t)c * add->pitch : NULL;
        real *row = to.data + (size_t)c * to.pitch;
        for (int i = 0; i < to.n; i++, at += pad->row)
            for (int y = 0; y < to.h; y++, at += pad->row, row += to.w) {
                if (!plus) {
                    memcpy(row, at, (size_t)to.w * sizeof *at);
                    continue;
                }
                for (int x = 0; x < to.w; x++)
                    row[x] = plus[x] + at[x];
                plus += to.w;
            }
    }
}

static void offsets_1x1(ptrdiff_t *offset, int channels, size_t pitch) {
    for (int k = 0; k < channels; k++)
        offset[k] = (ptrdiff_t)((size_t)k * pitch);
}

static void offsets_3x3(ptrdiff_t *offset, int channels, const padding *pad) {
    for (int c = 0; c < channels; c++)
        for (int dy = -1; dy <= 1; dy++)
            for (int dx = -1; dx <= 1; dx++)
                *offset++ = (ptrdiff_t)((size_t)c * pad->pitch) + dy * pad->row + dx;
}

static void convolve(const trainer_matrix *matrix, int side, trainer_planes x, const trainer_planes *add,
                     trainer_planes y, real *scratch) {
    ptrdiff_t *offset = (ptrdiff_t *)scratch;
    if (side == 1) {
        offsets_1x1(offset, matrix->columns, x.pitch);
        OP(product)
        (matrix, x.data, offset, add ? add->data : NULL, add ? add->pitch : 0, y.data, y.pitch,
         trainer_pixels(&x));
        return;
    }
    padding pad = padding_of(&x);
    real *padded = (real *)(offset + (matrix->columns + 7) / 8 * 8);
    real *result = padded + (size_t)x.channels * pad.pitch;
    offsets_3x3(offset, x.channels, &pad);
    pad_planes(&x, &pad, padded);
    OP(product)(matrix, padded + pad.lead, offset, NULL, 0, result + pad.lead, pad.pitch, pad.pixels);
    unpad_planes(result, &pad, add, y);
}

void OP(conv_forward)(const trainer_conv *conv, trainer_planes x, const trainer_planes *add, trainer_planes y,
                      real *scratch) {
    convolve(&conv->forward, conv->side, x, add, y, scratch);
}

void OP(conv_backward_input)(const trainer_conv *conv, trainer_planes dy, const trainer_planes *add,
                             trainer_planes dx, real *scratch) {
    convolve(&conv->backward, conv->side, dy, add, dx, scratch);
}

void OP(conv_backward_weight)(const trainer_conv *conv, trainer_planes x, trainer_planes dy, real *dweight,
                              real *scratch) {
    const trainer_matrix *matrix = &conv->forward;
    ptrdiff_t *offset = (ptrdiff_t *)scratch;
    const real *left = dy.data, *right = x.data;
    size_t left_pitch = dy.pitch, pixels = trainer_pixels(&x);

    if (conv->side == 1) {
        offsets_1x1(offset, matrix->columns, x.pitch);
    } else {
        padding pad = padding_of(&x);
        real *padded = (real *)(offset + (matrix->columns + 7) / 8 * 8);
        real *padded_dy = padded + (size_t)x.channels * pad.pitch;
        offsets_3x3(offset, x.channels, &pad);
        pad_planes(&x, &pad, padded);
        pad_planes(&dy, &pad, padded_dy);
        left = padded_dy + pad.lead;
        left_pitch = pad.pitch;
        right = padded + pad.lead;
        pixels = pad.pixels;
    }
    if (conv->sparse)
        OP(dots_alive)(matrix, left, left_pitch, right, offset, pixels, dweight);
    else
        OP(dots)
    (left, left_pitch, conv->out, right, offset, matrix->columns, pixels, dweight, (size_t)matrix->columns);
}
