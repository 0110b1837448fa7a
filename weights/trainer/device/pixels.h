/* What touches each value once: images in and out, pixel-shuffle and its inverse, the loss, AdamW's step.
 * A block takes pixels of one channel, of one image or several.
 */

/** Where a lane of such a block stands in planes of `images` images of `pixels` pixels; image = images:
 * nowhere.
 */
typedef struct spot {
    uint32_t channel, image, pixel;
} spot;

DEVICE spot spot_of(uint32_t block, int lane, uint32_t images, uint32_t pixels) {
    uint32_t chunks = (images * pixels + LANES - 1) / LANES;
    uint32_t p = block % chunks * LANES + (uint32_t)lane;
    spot at;
    at.channel = block / chunks;
    at.image = p < images * pixels ? p / pixels : images;
    at.pixel = p % pixels;
    return at;
}

DEVICE store *store_at(const trainer_planes *planes, spot at) {
    return plane_of(planes, at.channel) + (size_t)at.image * (uint32_t)(planes->h * planes->w) + at.pixel;
}

/* The same for planes of reals. */
DEVICE real *exact_at(const trainer_planes *planes, spot at) {
    return planes->data + at.channel * planes->pitch + (size_t)at.image * (uint32_t)(planes->h * planes->w) +
           at.pixel;
}

static size_t spot_blocks(const trainer_planes *planes) {
    return (size_t)planes->channels * blocks_of(trainer_pixels(planes));
}

/** Where a lane stands that takes a run of a channel's pixels, of all images; count = 0: nowhere. */
typedef struct run_spot {
    uint32_t channel;
    size_t pixel;
    int count;
} run_spot;

DEVICE run_spot run_spot_of(uint32_t block, int lane, size_t pixels) {
    uint32_t chunks = (uint32_t)((pixels + LANES * RUN - 1) / (LANES * RUN));
    run_spot at;
    at.channel = block / chunks;
    at.pixel = ((size_t)(block % chunks) * LANES + (uint32_t)lane) * RUN;
    at.count = run_length(at.pixel, pixels);
    return at;
}

static size_t run_blocks(const trainer_planes *planes) {
    return (size_t)planes->channels * blocks_of((trainer_pixels(planes) + RUN - 1) / RUN);
}

KERNEL(pack_kernel, const float *images, trainer_planes y) {
    FOR_LANES {
        uint32_t pixels = (uint32_t)(y.h * y.w), channels = (uint32_t)y.channels;
        spot at = spot_of(BLOCK, lane, (uint32_t)y.n, pixels);
        if (at.image < (uint32_t)y.n)
            *exact_at(&y, at) = images[(at.image * channels + at.channel) * (size_t)pixels + at.pixel];
    }
}

KERNEL(unpack_kernel, trainer_planes x, float *images) {
    FOR_LANES {
        uint32_t pixels = (uint32_t)(x.h * x.w), channels = (uint32_t)x.channels;
        spot at = spot_of(BLOCK, lane, (uint32_t)x.n, pixels);
        if (at.image < (uint32_t)x.n)
            images[(at.image * channels + at.channel) * (size_t)pixels + at.pixel] = (float)*exact_at(&x, at);
    }
}

static void device_pack(const float *images, trainer_planes y) {
    LAUNCH(pack_kernel, spot_blocks(&y), images, y);
}

static void device_unpack(trainer_planes x, float *images) {
    LAUNCH(unpack_kernel, spot_blocks(&x), x, images);
}

KERNEL_OF_RUNS(copy_kernel, trainer_planes x, trainer_planes y) {
    FOR_LANES {
        run_spot at = run_spot_of(BLOCK, lane, pixels_of(&x));
        if (at.count == 0)
            continue;
        run values = get_run(plane_of(&x, at.channel) + at.pixel, at.count, PACKED);
        put_run(plane_of(&y, at.channel) + at.pixel, &values, at.count, PACKED);
    }
}

KERNEL(copy_exact_kernel, trainer_planes x, trainer_planes y) {
    FOR_LANES {
        uint32_t pixels = (uint32_t)(x.h * x.w);
        spot at = spot_of(BLOCK, lane, (uint32_t)x.n, pixels);
        if (at.image < (uint32_t)x.n)
            *exact_at(&y, at) = *exact_at(&x, at);
    }
}

static void copy_planes(trainer_planes x, trainer_planes y, bool exact) {
    if (exact) {
        LAUNCH(copy_exact_kernel, spot_blocks(&x), x, y);
    } else {
        LAUNCH_RUNS(copy_kernel, is_packed(&x) && is_packed(&y), run_blocks(&x), x, y);
    }
}

/* The place in the wide tensor (channel c / 4, twice the size) of a pixel of the narrow one. */
DEVICE spot shuffled(spot at, uint32_t w) {
    spot wide;
    uint32_t row = 2 * (at.pixel / w) + at.channel / 2 % 2, column = 2 * (at.pixel % w) + at.channel % 2;
    wide.channel = at.channel / 4;
    wide.image = at.image;
    wide.pixel = row * 2 * w + column;
    return wide;
}

KERNEL(shuffle_kernel, trainer_planes x, trainer_planes y) {
    FOR_LANES {
        uint32_t pixels = (uint32_t)(x.h * x.w);
        spot at = spot_of(BLOCK, lane, (uint32_t)x.n, pixels);
        if (at.image < (uint32_t)x.n)
            *store_at(&y, shuffled(at, (uint32_t)x.w)) = *store_at(&x, at);
    }
}

KERNEL(unshuffle_kernel, trainer_planes x, trainer_planes y) {
    FOR_LANES {
        uint32_t pixels = (uint32_t)(y.h * y.w);
        spot at = spot_of(BLOCK, lane, (uint32_t)y.n, pixels);
        if (at.image < (uint32_t)y.n)
            *store_at(&y, at) = *store_at(&x, shuffled(at, (uint32_t)y.w));
    }
}

static void device_shuffle(trainer_planes x, trainer_planes y) {
    LAUNCH(shuffle_kernel, spot_blocks(&x), x, y);
}

static void device_unshuffle(trainer_planes x, trainer_planes y) {
    LAUNCH(unshuffle_kernel, spot_blocks(&y), x, y);
}

/* ---- The loss ---------------------------------------------------------------------------------------- */

DEVICE void sum_block_double(double *part) {
    BARRIER;
    for (int half = LANES / 2; half > 0; half /= 2) {
        FOR_LANES {
            if (lane < half)
                part[lane] += part[lane + half];
        }
        BARRIER;
    }
}

enum { LOSS_BLOCKS = 512 };

KERNEL(loss_kernel, trainer_planes y, trainer_planes target, real scale, trainer_planes dy, double *partial) {
    SHARED(double, part, LANES);
    FOR_LANES {
        uint32_t pixels = (uint32_t)(y.n * y.h * y.w), count = pixels * (uint32_t)y.channels;
        double sum = 0;
        for (uint32_t v = BLOCK * LANES + (uint32_t)lane; v < count; v += LOSS_BLOCKS * LANES) {
            size_t c = v / pixels, p = v % pixels;
            real d = y.data[c * y.pitch + p] - target.data[c * target.pitch + p];
            sum += d > 0 ? d : -d;
            put(plane_of(&dy, (uint32_t)c) + p, d > 0 ? scale : d < 0 ? -scale : 0);
        }
        part[lane] = sum;
    }
    sum_block_double(part);
    FOR_LANES {
        if (lane == 0)
            partial[BLOCK] = part[0];
    }
}

KERNEL(loss_sum_kernel, const double *partial, double *sum) {
    SHARED(double, part, LANES);
    FOR_LANES {
        double own = 0;
        for (uint32_t i = BLOCK + (uint32_t)lane; i < LOSS_BLOCKS; i += LANES)
            own += partial[i];
        part[lane] = own;
    }
    sum_block_double(part);
    FOR_LANES {
        if (lane == 0)
            *sum += part[0];
    }
}

static void device_loss(trainer_planes y, trainer_planes target, real scale, trainer_planes dy, double *sum,
                        real *scratch) {
    double *partial = (double *)scratch;
    LAUNCH(loss_kernel, LOSS_BLOCKS, y, target, scale, dy, partial);
    LAUNCH(loss_sum_kernel, 1, partial, sum);
}

/* ---- AdamW ------------------------------------------------------------------------------------------- */

KERNEL(adamw_kernel, const trainer_adamw_factors *factors, size_t count, real *value, const real *gradient,
       real *moment1, real *moment2, const uint8_t *mask) {
    FOR_LANES {
        size_t i = (size_t)BLOCK * LANES + (uint32_t)lane;
        if (i >= count)
            continue;
        real alive = mask ? (real)mask[i] : 1, g = gradient[i] * alive;
        real m = factors->beta1 * moment1[i] + factors->rest1 * g;
        real s = factors->beta2 * moment2[i] + factors->rest2 * g * g;
        moment1[i] = m;
        moment2[i] = s;
        value[i] =
            (value[i] * factors->keep - factors->rate * m / (sqrt(s) * factors->root + factors->epsilon)) *
            alive;
    }
}

static void device_adamw(const trainer_adamw_factors *factors, size_t count, real *value,
                         const real *gradient, real *moment1, real *moment2, const uint8_t *mask) {
    LAUNCH(adamw_kernel, blocks_of(count), factors, count, value, gradient, moment1, moment2, mask);
}
