/* Layer normalization over the channels of each pixel. A block takes 32 pixels next to each other; its lanes
 * share the channels, so that a row of lanes reads one channel's 32 pixels together.
 */

enum { NORM_PIXELS = 32, NORM_PARTS = LANES / NORM_PIXELS };

#define NORM_EPSILON 1e-5

/* part[p] = the sum over the parts of part[32 * part + p] */
DEVICE void sum_channels(real *part) {
    BARRIER;
    for (int half = NORM_PARTS / 2; half > 0; half /= 2) {
        FOR_LANES {
            if (lane < half * NORM_PIXELS)
                part[lane] += part[lane + half * NORM_PIXELS];
        }
        BARRIER;
    }
}

/* mean[p] and scale[p] = 1 / sqrt(variance + epsilon) of the block's pixels; part is room for LANES values */
DEVICE void norm_statistics(uint32_t block, const trainer_planes *x, real *part, real *mean, real *scale) {
    FOR_LANES {
        size_t pixels = pixels_of(x), p = (size_t)block * NORM_PIXELS + (uint32_t)(lane % NORM_PIXELS);
        real sum = 0;
        if (p < pixels)
            for (int c = lane / NORM_PIXELS; c < x->channels; c += NORM_PARTS)
                sum += get(plane_of(x, (uint32_t)c) + p);
        part[lane] = sum;
    }
    sum_channels(part);
    FOR_LANES {
        if (lane < NORM_PIXELS)
            mean[lane] = part[lane] / (real)x->channels;
    }
    BARRIER;
    FOR_LANES {
        size_t pixels = pixels_of(x), p = (size_t)block * NORM_PIXELS + (uint32_t)(lane % NORM_PIXELS);
        real sum = 0, centre = mean[lane % NORM_PIXELS];
        if (p < pixels)
            for (int c = lane / NORM_PIXELS; c < x->channels; c += NORM_PARTS) {
                real d = get(plane_of(x, (uint32_t)c) + p) - centre;
                sum += d * d;
            }
        part[lane] = sum;
    }
    sum_channels(part);
    FOR_LANES {
        if (lane < NORM_PIXELS)
            scale[lane] = 1 / sqrt(part[lane] / (real)x->channels + (real)NORM_EPSILON);
    }
    BARRIER;
}

KERNEL(norm_forward_kernel, const real *weight, const real *bias, trainer_planes x, trainer_planes y) {
    SHARED(real, part, LANES);
    SHARED(real, mean, NORM_PIXELS);
    SHARED(real, scale, NORM_PIXELS);
    norm_statistics(BLOCK, &x, part, mean, scale);
    FOR_LANES {
        size_t pixels = pixels_of(&x), p = (size_t)BLOCK * NORM_PIXELS + (uint32_t)(lane % NORM_PIXELS);
        real centre = mean[lane % NORM_PIXELS], factor = scale[lane % NORM_PIXELS];
        if (p < pixels)
            for (int c = lane / NORM_PIXELS; c < x.channels; c += NORM_PARTS)
                put(plane_of(&y, (uint32_t)c) + p,
                    (get(plane_of(&x, (uint32_t)c) + p) - centre) * factor * weight[c] + bias[c]);
    }
}

static size_t norm_blocks(const trainer_planes *x) {
    return (trainer_pixels(x) + NORM_PIXELS - 1) / NORM_PIXELS;
}

static void device_norm_forward(const real *weight, const real *bias, trainer_planes x, trainer_planes y) {
    LAUNCH(norm_forward_kernel, norm_blocks(&x), weight, bias, x, y);
}

/* With n = (x - mean) * scale and g = dy * weight: dx += scale * (g - mean(g) - n * mean(g n)). Leaves the
 * means and scales of all pixels in kept[0] and kept[1], each of `pixels` values. */
KERNEL(norm_backward_kernel, const real *weight, trainer_planes x, trainer_planes dy, trainer_planes dx,
       real *kept) {
    SHARED(real, part, LANES);
    SHARED(real, mean, NORM_PIXELS);
    SHARED(real, scale, NORM_PIXELS);
    SHARED(real, mean_g, NORM_PIXELS);
    SHARED(real, mean_gn, NORM_PIXELS);
    PRIVATE(real, sum_gn);
    norm_statistics(BLOCK, &x, part, mean, scale);
    FOR_LANES {
        size_t pixels = pixels_of(&x), p = (size_t)BLOCK * NORM_PIXELS + (uint32_t)(lane % NORM_PIXELS);
        real centre = mean[lane % NORM_PIXELS], factor = scale[lane % NORM_PIXELS], sum = 0;
        OWN(sum_gn) = 0;
        if (p < pixels)
            for (int c = lane / NORM_PIXELS; c < x.channels; c += NORM_PARTS) {
                real g = get(plane_of(&dy, (uint32_t)c) + p) * weight[c];
                sum += g;
                OWN(sum_gn) += g * (get(plane_of(&x, (uint32_t)c) + p) - centre) * factor;
            }
        part[lane] = sum;
        if (p < pixels && lane < NORM_PIXELS) {
            kept[p] = centre;
            kept[pixels + p] = factor;
        }
    }
    sum_channels(part);
    FOR_LANES {
        if (lane < NORM_PIXELS)
            mean_g[lane] = part[lane] / (real)x.channels;
    }
    BARRIER;
    FOR_LANES {
        part[lane] = OWN(sum_gn);
    }
    sum_channels(part);
    FOR_LANES {
        if (lane < NORM_PIXELS)
            mean_gn[lane] = part[lane] / (real)x.channels;
    }
    BARRIER;
    FOR_LANES {
        size_t pixels = pixels_of(&x), p = (size_t)BLOCK * NORM_PIXELS + (uint32_t)(lane % NORM_PIXELS);
        int own = lane % NORM_PIXELS;
        if (p < pixels)
            for (int c = lane / NORM_PIXELS; c < x.channels; c += NORM_PARTS) {
                store *to = plane_of(&dx, (uint32_t)c) + p;
                real n = (get(plane_of(&x, (uint32_t)c) + p) - mean[own]) * scale[own];
                real g = get(plane_of(&dy, (uint32_t)c) + p) * weight[c];
                put(to, get(to) + scale[own] * (g - mean_g[own] - n * mean_gn[own]));
            }
    }
}

/* Partial sums of dy n and of dy over the pixels of one channel: block = channel * splits + split. */
KERNEL(norm_sums_kernel, trainer_planes x, trainer_planes dy, const real *kept, uint32_t splits,
       uint32_t length, real *partial_weight, real *partial_bias) {
    SHARED(real, part, LANES);
    PRIVATE(real, sum_bias);
    FOR_LANES {
        uint32_t pixels = (uint32_t)pixels_of(&x), c = BLOCK / splits, first = BLOCK % splits * length;
        uint32_t end = first + length < pixels ? first + length : pixels;
        const store *from = plane_of(&x, c), *gradient = plane_of(&dy, c);
        real sum = 0;
        OWN(sum_bias) = 0;
        for (uint32_t p = first + (uint32_t)lane; p < end; p += LANES) {
            real d = get(gradient + p);
            sum += d * (get(from + p) - kept[p]) * kept[pixels + p];
            OWN(sum_bias) += d;
        }
        part[lane] = sum;
    }
    sum_block(part);
    FOR_LANES {
        if (lane == 0)
            partial_weight[BLOCK] = part[0];
    }
    BARRIER;
    FOR_LANES {
        part[lane] = OWN(sum_bias);
    }
    sum_block(part);
    FOR_LANES {
        if (lane == 0)
            partial_bias[BLOCK] = part[0];
    }
}

static size_t norm_scratch(size_t channels, size_t pixels) {
    return 2 * pixels + 2 * channels * SPLITS;
}

static void device_norm_backward(const real *weight, trainer_planes x, trainer_planes dy, trainer_planes dx,
                                 real *dweight, real *dbias, real *scratch) {
    size_t pixels = trainer_pixels(&x), channels = (size_t)x.channels;
    uint32_t splits = splits_for(channels, pixels);
    real *partial_weight = scratch + 2 * pixels, *partial_bias = partial_weight + channels * splits;
    LAUNCH(norm_backward_kernel, norm_blocks(&x), weight, x, dy, dx, scratch);
    LAUNCH(norm_sums_kernel, channels * splits, x, dy, scratch, splits, split_length(pixels, splits),
           partial_weight, partial_bias);
    add_partials(partial_weight, channels, splits, dweight);
    add_partials(partial_bias, channels, splits, dbias);
}
