/* The prompt: the mean of the features chooses a mixture of learned pictures, which is resized (bilinear,
 * half-pixel centres, edges clamped). The backward of the resizing gathers: a prototype's pixel looks for the
 * pixels that took it.
 */

/** Where an output coordinate lies between two input coordinates. */
typedef struct between {
    int low, high;
    real share; ///< of `high`
} between;

DEVICE between between_of(int to, int to_size, int from_size) {
    between place;
    real at = ((real)to + (real)0.5) * (real)from_size / (real)to_size - (real)0.5;
    at = at > 0 ? at : 0;
    place.low = (int)at < from_size - 1 ? (int)at : from_size - 1;
    place.high = place.low < from_size - 1 ? place.low + 1 : place.low;
    place.share = at - (real)place.low;
    return place;
}

/** How much of input coordinate `from` the output coordinate takes. */
DEVICE real share_of(between place, int from) {
    return (place.low == from ? 1 - place.share : 0) + (place.high == from ? place.share : 0);
}

/** The output coordinates that may take input coordinate `from`: first..last. */
DEVICE void takers_of(int from, int to_size, int from_size, int *first, int *last) {
    real ratio = (real)to_size / (real)from_size;
    *first = from == 0 ? 0 : (int)(((real)from - (real)0.5) * ratio) - 2;
    *last = from == from_size - 1 ? to_size - 1 : (int)(((real)from + (real)1.5) * ratio) + 2;
    *first = *first > 0 ? *first : 0;
    *last = *last < to_size - 1 ? *last : to_size - 1;
}

/* Block = image * features + feature. */
KERNEL(means_kernel, trainer_planes x, real *mean) {
    SHARED(real, part, LANES);
    FOR_LANES {
        uint32_t channels = (uint32_t)x.channels, pixels = (uint32_t)(x.h * x.w);
        const store *from = plane_of(&x, BLOCK % channels) + (size_t)(BLOCK / channels) * pixels;
        real sum = 0;
        for (uint32_t p = (uint32_t)lane; p < pixels; p += LANES)
            sum += get(from + p);
        part[lane] = sum;
    }
    sum_block(part);
    FOR_LANES {
        if (lane == 0)
            mean[BLOCK] = part[0] / (real)(x.h * x.w);
    }
}

/* mix [length] of image BLOCK */
KERNEL(mixture_kernel, trainer_prompt prompt, const real *mean, real *mix) {
    SHARED(real, part, LANES);
    for (int j = 0; j < prompt.length; j++) {
        FOR_LANES {
            const real *row = prompt.linear + (size_t)j * (uint32_t)prompt.features;
            const real *from = mean + (size_t)BLOCK * (uint32_t)prompt.features;
            real sum = 0;
            for (int c = lane; c < prompt.features; c += LANES)
                sum += row[c] * from[c];
            part[lane] = sum;
        }
        sum_block(part);
        FOR_LANES {
            if (lane == 0)
                mix[BLOCK * (uint32_t)prompt.length + (uint32_t)j] = part[0] + prompt.bias[j];
        }
        BARRIER;
    }
    FOR_LANES {
        real *own = mix + BLOCK * (uint32_t)prompt.length, highest = own[0], sum = 0;
        if (lane != 0)
            continue;
        for (int j = 1; j < prompt.length; j++)
            highest = own[j] > highest ? own[j] : highest;
        for (int j = 0; j < prompt.length; j++)
            sum += own[j] = exp(own[j] - highest);
        for (int j = 0; j < prompt.length; j++)
            own[j] /= sum;
    }
}

/* A prototype's place in a channel's mixture. */
DEVICE real mixed_at(const trainer_prompt *prompt, const real *mix, uint32_t channel, int row, int column) {
    size_t size = (uint32_t)prompt->size, values = (uint32_t)prompt->channels * size * size;
    const real *at = prompt->param + (channel * size + (uint32_t)row) * size + (uint32_t)column;
    real sum = 0;
    for (int j = 0; j < prompt->length; j++)
        sum += mix[j] * at[(uint32_t)j * values];
    return sum;
}

KERNEL(picture_kernel, trainer_prompt prompt, const real *mix, trainer_planes picture) {
    FOR_LANES {
        uint32_t pixels = (uint32_t)(picture.h * picture.w);
        spot at = spot_of(BLOCK, lane, (uint32_t)picture.n, pixels);
        if (at.image >= (uint32_t)picture.n)
            continue;
        const real *own = mix + at.image * (uint32_t)prompt.length;
        between row = between_of((int)at.pixel / picture.w, picture.h, prompt.size);
        between column = between_of((int)at.pixel % picture.w, picture.w, prompt.size);
        real left = mixed_at(&prompt, own, at.channel, row.low, column.low);
        real top = left + column.share * (mixed_at(&prompt, own, at.channel, row.low, column.high) - left);
        left = mixed_at(&prompt, own, at.channel, row.high, column.low);
        real bottom =
            left + column.share * (mixed_at(&prompt, own, at.channel, row.high, column.high) - left);
        put(store_at(&picture, at), top + row.share * (bottom - top));
    }
}

static void device_prompt_forward(const trainer_prompt *prompt, trainer_planes x, real *mean, real *mix,
                                  trainer_planes picture, real *scratch) {
    (void)scratch;
    LAUNCH(means_kernel, x.n * x.channels, x, mean);
    LAUNCH(mixture_kernel, x.n, *prompt, mean, mix);
    LAUNCH(picture_kernel, spot_blocks(&picture), *prompt, mix, picture);
}

/* The gradient of every image's mixture: mixed = dmixed, planes [channels] of size x size. */
KERNEL(resize_backward_kernel, trainer_prompt prompt, trainer_planes dpicture, real *dmixed) {
    FOR_LANES {
        uint32_t pixels = (uint32_t)(prompt.size * prompt.size);
        spot at = spot_of(BLOCK, lane, (uint32_t)dpicture.n, pixels);
        if (at.image >= (uint32_t)dpicture.n)
            continue;
        const store *from =
            plane_of(&dpicture, at.channel) + (size_t)at.image * (uint32_t)(dpicture.h * dpicture.w);
        int v = (int)at.pixel / prompt.size, u = (int)at.pixel % prompt.size, top, bottom, left, right;
        real sum = 0;
        takers_of(v, dpicture.h, prompt.size, &top, &bottom);
        takers_of(u, dpicture.w, prompt.size, &left, &right);
        for (int y = top; y <= bottom; y++) {
            real along = 0, share = share_of(between_of(y, dpicture.h, prompt.size), v);
            if (share == 0)
                continue;
            for (int x = left; x <= right; x++)
                along += share_of(between_of(x, dpicture.w, prompt.size), u) *
                         get(from + (size_t)y * (uint32_t)dpicture.w + (uint32_t)x);
            sum += share * along;
        }
        dmixed[(at.image * (uint32_t)prompt.channels + at.channel) * (size_t)pixels + at.pixel] = sum;
    }
}

/* Partial sums of param_j dmixed_i: block = (i * length + j) * splits + split. */
KERNEL(dmix_kernel, trainer_prompt prompt, const real *dmixed, uint32_t splits, uint32_t chunk,
       real *partial) {
    SHARED(real, part, LANES);
    FOR_LANES {
        uint32_t values = (uint32_t)(prompt.channels * prompt.size * prompt.size);
        uint32_t first = BLOCK % splits * chunk, end = first + chunk < values ? first + chunk : values;
        uint32_t j = BLOCK / splits % (uint32_t)prompt.length, i = BLOCK / splits / (uint32_t)prompt.length;
        const real *param = prompt.param + j * (size_t)values, *from = dmixed + i * (size_t)values;
        real sum = 0;
        for (uint32_t v = first + (uint32_t)lane; v < end; v += LANES)
            sum += param[v] * from[v];
        part[lane] = sum;
    }
    sum_block(part);
    FOR_LANES {
        if (lane == 0)
            partial[BLOCK] = part[0];
    }
}

/* Through the softmax, in place: dmix [length] of image BLOCK. */
KERNEL(mixture_backward_kernel, int length, const real *mix, real *dmix) {
    FOR_LANES {
        const real *own = mix + BLOCK * (uint32_t)length;
        real *to = dmix + BLOCK * (uint32_t)length, along = 0;
        if (lane != 0)
            continue;
        for (int j = 0; j < length; j++)
            along += own[j] * to[j];
        for (int j = 0; j < length; j++)
            to[j] = own[j] * (to[j] - along);
    }
}

KERNEL(dparam_kernel, trainer_prompt prompt, const real *mix, const real *dmixed, uint32_t images,
       real *dparam) {
    FOR_LANES {
        uint32_t values = (uint32_t)(prompt.channels * prompt.size * prompt.size);
        uint32_t v = BLOCK * LANES + (uint32_t)lane, length = (uint32_t)prompt.length;
        for (uint32_t j = 0; j < length && v < values; j++) {
            real sum = 0;
            for (uint32_t i = 0; i < images; i++)
                sum += mix[i * length + j] * dmixed[i * (size_t)values + v];
            dparam[j * (size_t)values + v] += sum;
        }
    }
}

/* dlinear [length][features] and, as feature number `features`, dbias */
KERNEL(dlinear_kernel, trainer_prompt prompt, const real *mean, const real *dmix, uint32_t images,
       real *dlinear, real *dbias) {
    FOR_LANES {
        uint32_t features = (uint32_t)prompt.features, length = (uint32_t)prompt.length;
        uint32_t v = BLOCK * LANES + (uint32_t)lane, j = v / (features + 1), c = v % (features + 1);
        real sum = 0;
        if (j >= length)
            continue;
        for (uint32_t i = 0; i < images; i++)
            sum += dmix[i * length + j] * (c < features ? mean[i * features + c] : 1);
        if (c < features)
            dlinear[j * features + c] += sum;
        else
            dbias[j] += sum;
    }
}

KERNEL(dmean_kernel, trainer_prompt prompt, const real *dmix, trainer_planes dx) {
    FOR_LANES {
        uint32_t pixels = (uint32_t)(dx.h * dx.w), length = (uint32_t)prompt.length;
        spot at = spot_of(BLOCK, lane, (uint32_t)dx.n, pixels);
        real dmean = 0;
        if (at.image >= (uint32_t)dx.n)
            continue;
        for (uint32_t j = 0; j < length; j++)
            dmean += dmix[at.image * length + j] * prompt.linear[j * (uint32_t)prompt.features + at.channel];
        store *to = store_at(&dx, at);
        put(to, get(to) + dmean / (real)pixels);
    }
}

static size_t prompt_scratch(size_t n, size_t length, size_t values) {
    return n * values + n * length * (SPLITS + 1) + 16;
}

static void device_prompt_backward(const trainer_prompt *prompt, const real *mean, const real *mix,
                                   trainer_planes dpicture, trainer_planes dx, real *dparam, real *dlinear,
                                   real *dbias, real *scratch) {
    size_t values = (size_t)(prompt->channels * prompt->size) * (size_t)prompt->size;
    uint32_t images = (uint32_t)dx.n, length = (uint32_t)prompt->length;
    uint32_t splits = splits_for(images * length, values), count = (uint32_t)(prompt->features + 1) * length;
    real *dmixed = scratch, *dmix = dmixed + images * values, *partial = dmix + images * length;

    LAUNCH(resize_backward_kernel,
           (uint32_t)prompt->channels * blocks_of((size_t)images * (uint32_t)(prompt->size * prompt->size)),
           *prompt, dpicture, dmixed);
    LAUNCH(dmix_kernel, images * length * splits, *prompt, dmixed, splits, split_length(values, splits),
           partial);
    clear_values(dmix, images * length);
    add_partials(partial, images * length, splits, dmix);
    LAUNCH(mixture_backward_kernel, images, length, mix, dmix);
    LAUNCH(dparam_kernel, blocks_of(values), *prompt, mix, dmixed, images, dparam);
    LAUNCH(dlinear_kernel, blocks_of(count), *prompt, mean, dmix, images, dlinear, dbias);
    LAUNCH(dmean_kernel, spot_blocks(&dx), *prompt, dmix, dx);
}
