/* Operations in a row that share what is in cache: a 1x1 convolution and the depthwise one behind it, and the
 * feed-forward's middle with the convolutions around it. Where the convolutions are sparse, one channel after
 * the other goes through all of them; dense products are faster on many rows at once, so there each operation
 * runs by itself.
 */
#include "trainer/ops/internal.h"

static ptrdiff_t *plane_offsets(ptrdiff_t *offset, int planes, size_t pitch) {
    for (int k = 0; k < planes; k++)
        offset[k] = (ptrdiff_t)((size_t)k * pitch);
    return offset;
}

/* Behind so many offsets, rounded up. */
static real *after_offsets(ptrdiff_t *offset, int count) {
    return (real *)(offset + (count + 7) / 8 * 8);
}

void OP(conv_depthwise_forward)(const trainer_conv *conv, const real *weight, trainer_planes x,
                                trainer_planes between, trainer_planes y, real *scratch) {
    size_t image = (size_t)x.h * (size_t)x.w, pixels = trainer_pixels(&x);

    if (!conv->sparse) {
        OP(conv_forward)(conv, x, NULL, between, scratch);
        OP(depthwise_forward)(weight, between, y);
        return;
    }
    ptrdiff_t *offset = plane_offsets((ptrdiff_t *)scratch, x.channels, x.pitch);
    for (int c = 0; c < y.channels; c++) {
        real *from = between.data + (size_t)c * between.pitch, *to = y.data + (size_t)c * y.pitch;
        OP(product_row)(&conv->forward, c, x.data, offset, NULL, from, pixels);
        for (int i = 0; i < x.n; i++)
            OP(depthwise_image)(weight + 9 * c, from + (size_t)i * image, x.h, x.w, to + (size_t)i * image);
    }
}

void OP(conv_depthwise_backward)(const trainer_conv *conv, const real *weight, trainer_planes x,
                                 trainer_planes between, trainer_planes dy, trainer_planes dbetween,
                                 real *dconv, real *dweight, real *scratch) {
    size_t image = (size_t)x.h * (size_t)x.w, pixels = trainer_pixels(&x);

    if (!conv->sparse) {
        OP(depthwise_backward)(weight, between, dy, dbetween, dweight, scratch);
        OP(conv_backward_weight)(conv, x, dbetween, dconv, scratch);
        return;
    }
    ptrdiff_t *offset = plane_offsets((ptrdiff_t *)scratch, x.channels, x.pitch);
    for (int c = 0; c < dy.channels; c++) {
        real *to = dbetween.data + (size_t)c * dbetween.pitch;
        for (int i = 0; i < x.n; i++) {
            size_t skip = (size_t)i * image;
            OP(depthwise_image_backward)
            (weight + 9 * c, between.data + (size_t)c * between.pitch + skip,
             dy.data + (size_t)c * dy.pitch + skip, x.h, x.w, to + skip, dweight + 9 * c);
        }
        OP(dots_alive_row)(&conv->forward, c, to, x.data, offset, pixels, dconv);
    }
}

void OP(conv_gate_forward)(const trainer_conv *conv, const real *weight, trainer_planes x,
                           trainer_planes between, trainer_planes y, real *scratch) {
    size_t pixels = trainer_pixels(&x);

    if (!conv->sparse) {
        OP(conv_forward)(conv, x, NULL, between, scratch);
        OP(gate_forward)(weight, between, y, scratch);
        return;
    }
    ptrdiff_t *offset = plane_offsets((ptrdiff_t *)scratch, x.channels, x.pitch);
    real *rest = after_offsets(offset, x.channels);
    for (int c = 0; c < y.channels; c++) {
        for (int row = c; row < between.channels; row += y.channels)
            OP(product_row)
        (&conv->forward, row, x.data, offset, NULL, between.data + (size_t)row * between.pitch, pixels);
        OP(gate_channel)(weight, between, c, y.data + (size_t)c * y.pitch, rest);
    }
}

void OP(conv_gate_conv_backward)(const trainer_conv *in, const real *weight, const trainer_conv *out,
                                 trainer_planes x, trainer_planes between, trainer_planes dy,
                                 trainer_planes hidden, trainer_planes dhidden, trainer_planes dbetween,
                                 real *din, real *dweight, real *dout, real *scratch) {
    size_t pixels = trainer_pixels(&x);

    if (!in->sparse || !out->sparse) {
        OP(conv_backward_input)(out, dy, NULL, dhidden, scratch);
        OP(gate_backward)(weight, between, dhidden, hidden, dbetween, dweight, scratch);
        OP(conv_backward_weight)(out, hidden, dy, dout, scratch);
        OP(conv_backward_weight)(in, x, dbetween, din, scratch);
        return;
    }
    ptrdiff_t *offset = plane_offsets((ptrdiff_t *)scratch, x.channels, x.pitch);
    ptrdiff_t *offset_dy = plane_offsets(offset + (x.channels + 7) / 8 * 8, dy.channels, dy.pitch);
    real *rest = after_offsets(offset_dy, dy.channels);
    for (int c = 0; c < hidden.channels; c++) {
        OP(product_row)(&out->backward, c, dy.data, offset_dy, NULL, dhidden.data, pixels);
        OP(gate_channel_backward)(weight, between, c, dhidden.data, hidden.data, dbetween, dweight, rest);
        OP(dots_alive_row)(&out->backward, c, hidden.data, dy.data, offset_dy, pixels, dout);
        for (int row = c; row < between.channels; row += hidden.channels)
            OP(dots_alive_row)
        (&in->forward, row, dbetween.data + (size_t)row * dbetween.pitch, x.data, offset, pixels, din);
    }
}
