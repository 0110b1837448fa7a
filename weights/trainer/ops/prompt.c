/* The prompt, forward and backward: the mean of the features chooses a mixture of learned pictures, which is
 * resized (bilinear, half-pixel centres, edges clamped). The 3x3 convolution that follows is not here.
 */
#include "trainer/ops/internal.h"

#include <tgmath.h>

/* Where an output coordinate lies between two input coordinates. */
typedef struct between {
    int low, high;
    real share; ///< of `high`
} between;

static between between_of(int to, int to_size, int from_size) {
    real at = ((real)to + (real)0.5) * (real)from_size / (real)to_size - (real)0.5;
    at = at > 0 ? at : 0;
    int low = (int)at < from_size - 1 ? (int)at : from_size - 1;
    return (between){low, low < from_size - 1 ? low + 1 : low, at - (real)low};
}

static void resize(const real *from, int size, int h, int w, real *to) {
    for (int y = 0; y < h; y++) {
        between row = between_of(y, h, size);
        const real *upper = from + row.low * size, *lower = from + row.high * size;
        for (int x = 0; x < w; x++) {
            between at = between_of(x, w, size);
            real top = upper[at.low] + at.share * (upper[at.high] - upper[at.low]);
            real bottom = lower[at.low] + at.share * (lower[at.high] - lower[at.low]);
            *to++ = top + row.share * (bottom - top);
        }
    }
}

/* dfrom += */
static void resize_backward(const real *dto, int size, int h, int w, real *dfrom) {
    for (int y = 0; y < h; y++) {
        between row = between_of(y, h, size);
        real *upper = dfrom + row.low * size, *lower = dfrom + row.high * size;
        for (int x = 0; x < w; x++) {
            between at = between_of(x, w, size);
            real top = *dto * (1 - row.share), bottom = *dto * row.share;
            dto++;
            upper[at.low] += top * (1 - at.share);
            upper[at.high] += top * at.share;
            lower[at.low] += bottom * (1 - at.share);
            lower[at.high] += bottom * at.share;
        }
    }
}

static void means(trainer_planes x, real *mean) {
    size_t pixels = (size_t)x.h * (size_t)x.w;
    for (int i = 0; i < x.n; i++)
        for (int c = 0; c < x.channels; c++) {
            const real *from = x.data + (size_t)c * x.pitch + (size_t)i * pixels;
            vec sum = {0};
            size_t p = 0;
            for (; p + LANES <= pixels; p += LANES)
                sum += load(from + p);
            if (p < pixels)
                sum += load_part(from + p, (int)(pixels - p));
            *mean++ = sum_lanes(sum) / (real)pixels;
        }
}

static void mixture(const trainer_prompt *prompt, const real *mean, real *mix) {
    real highest, sum = 0;
    for (int j = 0; j < prompt->length; j++) {
        const real *row = prompt->linear + (size_t)j * (size_t)prompt->features;
        mix[j] = prompt->bias[j];
        for (int c = 0; c < prompt->features; c++)
            mix[j] += row[c] * mean[c];
    }
    highest = mix[0];
    for (int j = 1; j < prompt->length; j++)
        highest = mix[j] > highest ? mix[j] : highest;
    for (int j = 0; j < prompt->length; j++)
        sum += mix[j] = exp(mix[j] - highest);
    for (int j = 0; j < prompt->length; j++)
        mix[j] /= sum;
}

void OP(prompt_forward)(const trainer_prompt *prompt, trainer_planes x, real *mean, real *mix,
                        trainer_planes picture, real *scratch) {
    size_t side = (size_t)prompt->size, plane = side * side, values = (size_t)prompt->channels * plane;

    means(x, mean);
    for (int i = 0; i < x.n; i++, mean += prompt->features, mix += prompt->length) {
        mixture(prompt, mean, mix);
        memset(scratch, 0, values * sizeof *scratch);
        for (int j = 0; j < prompt->length; j++)
            for (size_t v = 0; v < values; v++)
                scratch[v] += mix[j] * prompt->param[(size_t)j * values + v];
        for (int c = 0; c < prompt->channels; c++)
            resize(scratch + (size_t)c * plane, prompt->size, picture.h, picture.w,
                   picture.data + (size_t)c * picture.pitch + (size_t)i * (size_t)(picture.h * picture.w));
    }
}

/* The gradient of one image's mixture goes to the linear layer and the mean of the features. */
static void mixture_backward(const trainer_prompt *prompt, const real *mean, const real *mix, real *dmix,
                             real *dlinear, real *dbias, trainer_planes dx, int i) {
    size_t pixels = (size_t)dx.h * (size_t)dx.w;
    real along = 0;

    for (int j = 0; j < prompt->length; j++)
        along += mix[j] * dmix[j];
    for (int j = 0; j < prompt->length; j++) {
        dmix[j] = mix[j] * (dmix[j] - along);
        dbias[j] += dmix[j];
        for (int c = 0; c < prompt->features; c++)
            dlinear[(size_t)j * (size_t)prompt->features + (size_t)c] += dmix[j] * mean[c];
    }
    for (int c = 0; c < prompt->features; c++) {
        real *to = dx.data + (size_t)c * dx.pitch + (size_t)i * pixels, dmean = 0;
        for (int j = 0; j < prompt->length; j++)
            dmean += dmix[j] * prompt->linear[(size_t)j * (size_t)prompt->features + (size_t)c];
        dmean /= (real)pixels;
        for (size_t p = 0; p < pixels; p++)
            to[p] += dmean;
    }
}

void OP(prompt_backward)(const trainer_prompt *prompt, const real *mean, const real *mix,
                         trainer_planes dpicture, trainer_planes dx, real *dparam, real *dlinear, real *dbias,
                         real *scratch) {
    size_t side = (size_t)prompt->size, plane = side * side, values = (size_t)prompt->channels * plane;
    size_t pixels = (size_t)(dpicture.h * dpicture.w);
    real *dmix = scratch, *dmixed = scratch + (prompt->length + 15) / 16 * 16;

    for (int i = 0; i < dx.n; i++, mean += prompt->features, mix += prompt->length) {
        memset(dmixed, 0, values * sizeof *dmixed);
        for (int c = 0; c < prompt->channels; c++)
            resize_backward(dpicture.data + (size_t)c * dpicture.pitch + (size_t)i * pixels, prompt->size,
                            dpicture.h, dpicture.w, dmixed + (size_t)c * plane);
        for (int j = 0; j < prompt->length; j++) {
            const real *param = prompt->param + (size_t)j * values;
            vec sum = {0};
            size_t v = 0;
            for (; v + LANES <= values; v += LANES)
                sum += load(param + v) * load(dmixed + v);
            if (v < values)
                sum += load_part(param + v, (int)(values - v)) * load_part(dmixed + v, (int)(values - v));
            dmix[j] = sum_lanes(sum);
            for (v = 0; v < values; v++)
                dparam[(size_t)j * values + v] += mix[j] * dmixed[v];
        }
        mixture_backward(prompt, mean, mix, dmix, dlinear, dbias, dx, i);
    }
}
