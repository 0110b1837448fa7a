/* Layer normalization over the channels of each pixel. A block takes NORM_PIXELS pixels next to each other, a
 * lane a run of them; NORM_PARTS lanes share the channels of a run.
 */

enum { NORM_LANES = 16, NORM_PIXELS = NORM_LANES * RUN, NORM_PARTS = LANES / NORM_LANES };

#define NORM_EPSILON 1e-5

/** The pixels that a lane takes: `own`..own + count - 1 of the block's; pixel is the first one's number. */
typedef struct norm_run {
    size_t pixel;
    int own, count, part; ///< part: channels part, part + NORM_PARTS, ... are the lane's
} norm_run;

DEVICE norm_run norm_run_of(uint32_t block, int lane, const trainer_planes *x) {
    norm_run at;
    at.own = lane % NORM_LANES * RUN;
    at.part = lane / NORM_LANES;
    at.pixel = (size_t)block * NORM_PIXELS + (uint32_t)at.own;
    at.count = run_length(at.pixel, pixels_of(x));
    return at;
}

/* A lane's sums among those of all parts, part[NORM_PARTS][NORM_PIXELS]. */
DEVICE void put_sums(real *part, const norm_run *at, const run *sums) {
    UNROLLED
    for (int i = 0; i < RUN; i++)
        part[at->part * NORM_PIXELS + at->own + i] = sums->at[i];
}

/* The sum of all parts, of the block's pixel `own`. */
DEVICE real sum_of_parts(const real *part, int own) {
    real sum = 0;
    UNROLLED
    for (int i = 0; i < NORM_PARTS; i++)
        sum += part[i * NORM_PIXELS + own];
    return sum;
}

/* mean[p] and scale[p] = 1 / sqrt(variance + epsilon) of the block's pixels; part is room for
 * NORM_PARTS * NORM_PIXELS values */
DEVICE void norm_statistics(uint32_t block, const trainer_planes *x, bool packed, real *part, real *mean,
                            real *scale) {
    FOR_LANES {
        norm_run at = norm_run_of(block, lane, x);
        run sums = {{0}};
        UNROLLED_BY_4
        for (int c = at.part; c < x->channels; c += NORM_PARTS) {
            run values = get_run(plane_of(x, (uint32_t)c) + at.pixel, at.count, packed);
            UNROLLED
            for (int i = 0; i < RUN; i++)
                sums.at[i] += values.at[i];
        }
        put_sums(part, &at, &sums);
    }
    BARRIER;
    FOR_LANES {
        if (lane < NORM_PIXELS)
            mean[lane] = sum_of_parts(part, lane) / (real)x->channels;
    }
    BARRIER;
    FOR_LANES {
        norm_run at = norm_run_of(block, lane, x);
        run sums = {{0}};
        UNROLLED_BY_4
        for (int c = at.part; c < x->channels; c += NORM_PARTS) {
            run values = get_run(plane_of(x, (uint32_t)c) + at.pixel, at.count, packed);
            UNROLLED
            for (int i = 0; i < RUN; i++) {
                real d = values.at[i] - mean[at.own + i];
                sums.at[i] += d * d;
            }
        }
        put_sums(part, &at, &sums);
    }
    BARRIER;
    FOR_LANES {
        if (lane < NORM_PIXELS)
            scale[lane] = 1 / sqrt(sum_of_parts(part, lane) / (real)x->channels + (real)NORM_EPSILON);
    }
    BARRIER;
}

KERNEL_OF_RUNS(norm_forward_kernel, const real *weight, const real *bias, trainer_planes x,
               trainer_planes y) {
    SHARED(real, part, NORM_PARTS * NORM_PIXELS);
    SHARED(real, mean, NORM_PIXELS);
    SHARED(real, scale, NORM_PIXELS);
    norm_statistics(BLOCK, &x, PACKED, part, mean, scale);
    FOR_LANES {
        norm_run at = norm_run_of(BLOCK, lane, &x);
        UNROLLED_BY_4
        for (int c = at.part; c < x.channels; c += NORM_PARTS) {
            run values = get_run(plane_of(&x, (uint32_t)c) + at.pixel, at.count, PACKED);
            UNROLLED
            for (int i = 0; i < RUN; i++)
                values.at[i] = (values.at[i] - mean[at.own + i]) * scale[at.own + i] * weight[c] + bias[c];
            put_run(plane_of(&y, (uint32_t)c) + at.pixel, &values, at.count, PACKED);
        }
    }
}

static size_t norm_blocks(const trainer_planes *x) {
    return (trainer_pixels(x) + NORM_PIXELS - 1) / NORM_PIXELS;
}

static void device_norm_forward(const real *weight, const real *bias, trainer_planes x, trainer_planes y) {
    LAUNCH_RUNS(norm_forward_kernel, is_packed(&x) && is_packed(&y), norm_blocks(&x), weight, bias, x, y);
}

/* With n = (x - mean) * scale and g = dy * weight: dx += scale * (g - mean(g) - n * mean(g n)). Leaves the
 * means and scales of all pixels in kept[0] and kept[1], each of `pixels` values. */
KERNEL_OF_RUNS(norm_backward_kernel, const real *weight, trainer_planes x, trainer_planes dy,
               trainer_planes dx, real *kept) {
    SHARED(real, part, NORM_PARTS * NORM_PIXELS);
    SHARED(real, part_gn, NORM_PARTS * NORM_PIXELS);
    SHARED(real, mean, NORM_PIXELS);
    SHARED(real, scale, NORM_PIXELS);
    SHARED(real, mean_g, NORM_PIXELS);
    SHARED(real, mean_gn, NORM_PIXELS);
    norm_statistics(BLOCK, &x, PACKED, part, mean, scale);
    FOR_LANES {
        norm_run at = norm_run_of(BLOCK, lane, &x);
        run sums = {{0}}, sums_gn = {{0}};
        UNROLLED_BY_4
        for (int c = at.part; c < x.channels; c += NORM_PARTS) {
            run d = get_run(plane_of(&dy, (uint32_t)c) + at.pixel, at.count, PACKED);
            run values = get_run(plane_of(&x, (uint32_t)c) + at.pixel, at.count, PACKED);
            UNROLLED
            for (int i = 0; i < RUN; i++) {
                real g = d.at[i] * weight[c];
                sums.at[i] += g;
                sums_gn.at[i] += g * (values.at[i] - mean[at.own + i]) * scale[at.own + i];
            }
        }
        put_sums(part, &at, &sums);
        put_sums(part_gn, &at, &sums_gn);
    }
    BARRIER;
    FOR_LANES {
        size_t pixels = pixels_of(&x), p = (size_t)BLOCK * NORM_PIXELS + (uint32_t)lane;
        if (lane >= NORM_PIXELS)
            continue;
        mean_g[lane] = sum_of_parts(part, lane) / (real)x.channels;
        mean_gn[lane] = sum_of_parts(part_gn, lane) / (real)x.channels;
        if (p < pixels) {
            kept[p] = mean[lane];
            kept[pixels + p] = scale[lane];
        }
    }
    BARRIER;
    FOR_LANES {
        norm_run at = norm_run_of(BLOCK, lane, &x);
        UNROLLED_BY_4
        for (int c = at.part; c < x.channels; c += NORM_PARTS) {
            store *to = plane_of(&dx, (uint32_t)c) + at.pixel;
            run d = get_run(plane_of(&dy, (uint32_t)c) + at.pixel, at.count, PACKED),
                result = get_run(to, at.count, PACKED);
            run values = get_run(plane_of(&x, (uint32_t)c) + at.pixel, at.count, PACKED);
            UNROLLED
            for (int i = 0; i < RUN; i++) {
                int own = at.own + i;
                real n = (values.at[i] - mean[own]) * scale[own];
                result.at[i] += scale[own] * (d.at[i] * weight[c] - mean_g[own] - n * mean_gn[own]);
            }
            put_run(to, &result, at.count, PACKED);
        }
    }
}

/* Partial sums of dy n and of dy over the pixels of one channel: block = channel * splits + split. */
KERNEL_OF_RUNS(norm_sums_kernel, trainer_planes x, trainer_planes dy, const real *kept, uint32_t splits,
               uint32_t length, real *partial_weight, real *partial_bias) {
    SHARED(real, part, LANES);
    PRIVATE(real, sum_bias);
    FOR_LANES {
        uint32_t pixels = (uint32_t)pixels_of(&x), c = BLOCK / splits, first = BLOCK % splits * length;
        uint32_t end = first + length < pixels ? first + length : pixels;
        const store *from = plane_of(&x, c), *gradient = plane_of(&dy, c);
        real sum = 0;
        OWN(sum_bias) = 0;
        UNROLLED_BY_4
        for (uint32_t p = first + (uint32_t)lane * RUN; p < end; p += LANES * RUN) {
            int count = (int)(end - p);
            run d = get_run(gradient + p, count, PACKED), values = get_run(from + p, count, PACKED);
            UNROLLED
            for (int i = 0; i < RUN; i++) {
                if (i < count)
                    sum += d.at[i] * (values.at[i] - kept[p + (uint32_t)i]) * kept[pixels + p + (uint32_t)i];
                OWN(sum_bias) += d.at[i];
            }
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
    LAUNCH_RUNS(norm_backward_kernel, is_packed(&x) && is_packed(&dy) && is_packed(&dx), norm_blocks(&x),
                weight, x, dy, dx, scratch);
    LAUNCH_RUNS(norm_sums_kernel, is_packed(&x) && is_packed(&dy), channels * splits, x, dy, scratch, splits,
                (split_length(pixels, splits) + RUN - 1) / RUN * RUN, partial_weight, partial_bias);
    add_partials(partial_weight, channels, splits, dweight);
    add_partials(partial_bias, channels, splits, dbias);
}
