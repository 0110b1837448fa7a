/* Attention across channels: G = q^ k^T (q^, k^: rows divided by their norms), A = softmax(temperature G),
 * y = A v. The products over pixels are cuBLAS's, all images and heads at once; what lies between them is
 * small: d x d numbers for every head of every image, d = channels / heads.
 *
 * maps hold for each image, for each head: A [d][d], G [d][d], 1/norm of the rows of q [d] and of k [d].
 */

#define LEAST_NORM 1e-12

/** The sizes of an attention. */
typedef struct attention_shape {
    uint32_t images, heads, d, pixels;
    size_t kept; ///< values of one head in maps
} attention_shape;

static attention_shape shape_of(const trainer_planes *y, int heads) {
    attention_shape shape;
    shape.images = (uint32_t)y->n;
    shape.heads = (uint32_t)heads;
    shape.d = (uint32_t)(y->channels / heads);
    shape.pixels = (uint32_t)(y->h * y->w);
    shape.kept = 2 * (size_t)shape.d * shape.d + 2 * (size_t)shape.d;
    return shape;
}

/* Block = (image * 2 + part) * channels + channel, part 0 for q and 1 for k. */
KERNEL(norms_kernel, attention_shape shape, trainer_planes qkv, real *maps) {
    SHARED(real, part, LANES);
    FOR_LANES {
        uint32_t channels = shape.heads * shape.d, row = BLOCK % (2 * channels);
        const store *from = plane_of(&qkv, row) + (size_t)(BLOCK / (2 * channels)) * shape.pixels;
        real sum = 0;
        for (uint32_t p = (uint32_t)lane; p < shape.pixels; p += LANES) {
            real value = get(from + p);
            sum += value * value;
        }
        part[lane] = sum;
    }
    sum_block(part);
    FOR_LANES {
        uint32_t channels = shape.heads * shape.d, row = BLOCK % (2 * channels),
                 image = BLOCK / (2 * channels);
        uint32_t head = row % channels / shape.d;
        real norm = sqrt(part[0]);
        if (lane == 0)
            maps[(image * shape.heads + head) * shape.kept + 2 * (size_t)shape.d * shape.d +
                 row / channels * shape.d + row % shape.d] =
                1 / (norm > (real)LEAST_NORM ? norm : (real)LEAST_NORM);
    }
}

/* From q k^T in place of G to G and A. Block = (image * heads + head) * d + row. */
KERNEL(softmax_kernel, attention_shape shape, const real *temperature, real *maps) {
    SHARED(real, part, LANES);
    PRIVATE(real, highest);
    FOR_LANES {
        uint32_t row = BLOCK % shape.d, d = shape.d;
        real *a = maps + BLOCK / d * shape.kept, *g = a + d * d, *scale_q = g + d * d, *scale_k = scale_q + d;
        real factor = temperature[BLOCK / d % shape.heads];
        real most = 0;
        for (uint32_t j = (uint32_t)lane; j < d; j += LANES) {
            real similar = g[row * d + j] * scale_q[row] * scale_k[j];
            g[row * d + j] = similar;
            a[row * d + j] = similar * factor;
            most = j == (uint32_t)lane || similar * factor > most ? similar * factor : most;
        }
        part[lane] = (uint32_t)lane < d ? most : -(real)1e30;
    }
    largest_of_block(part);
    FOR_LANES {
        OWN(highest) = part[0];
    }
    BARRIER;
    FOR_LANES {
        uint32_t row = BLOCK % shape.d, d = shape.d;
        real *a = maps + BLOCK / d * shape.kept + row * d, sum = 0;
        for (uint32_t j = (uint32_t)lane; j < d; j += LANES) {
            a[j] = exp(a[j] - OWN(highest));
            sum += a[j];
        }
        part[lane] = sum;
    }
    sum_block(part);
    FOR_LANES {
        uint32_t row = BLOCK % shape.d, d = shape.d;
        real *a = maps + BLOCK / d * shape.kept + row * d;
        for (uint32_t j = (uint32_t)lane; j < d; j += LANES)
            a[j] /= part[0];
    }
}

/* The pixels of q (0), k (1) or v (2), or of y (0), for products over pixels: images follow each other, heads
 * are groups. */
static matrix rows_of(const trainer_planes *planes, const attention_shape *shape, uint32_t part) {
    matrix rows;
    rows.data = planes->data + (size_t)(part * shape->heads * shape->d) * planes->pitch;
    rows.ld = STORES * planes->pitch;
    rows.stride = shape->pixels;
    rows.group_stride = shape->d * rows.ld;
    return rows;
}

/* The small [d][d] of all images and heads, `kept` values from one to the next. */
static matrix small_of(const void *data, const attention_shape *shape, size_t kept) {
    matrix small;
    small.data = data;
    small.ld = shape->d;
    small.stride = shape->heads * kept;
    small.group_stride = kept;
    return small;
}

#ifdef DEVICE_BF16

KERNEL(store_small_kernel, const real *values, size_t kept, uint32_t square, uint32_t count, store *stored) {
    FOR_LANES {
        uint32_t i = BLOCK * LANES + (uint32_t)lane;
        if (i < count)
            put(stored + i, values[i / square * kept + i % square]);
    }
}

/* The same as stores, as factors are, in the room given. */
static matrix store_small(const real *data, const attention_shape *shape, size_t kept, real *room) {
    uint32_t square = shape->d * shape->d, count = shape->images * shape->heads * square;
    LAUNCH(store_small_kernel, blocks_of(count), data, kept, square, count, (store *)room);
    return small_of(room, shape, square);
}

#else

static matrix store_small(const real *data, const attention_shape *shape, size_t kept, real *room) {
    (void)room;
    return small_of(data, shape, kept);
}

#endif

/* small = left right^T, over pixels */
static void correlate(const attention_shape *shape, matrix left, matrix right, matrix small) {
    product p = {0};
    p.transpose_a = true;
    p.m = p.n = (int)shape->d;
    p.k = (int)shape->pixels;
    p.a = right;
    p.b = left;
    p.c = small;
    p.exact = true;
    p.count = (int)shape->images;
    p.groups = (int)shape->heads;
    multiply(p);
}

/* y = beta y + small x, or with the small matrices transposed */
static void apply(const attention_shape *shape, matrix small, bool transposed, matrix x, real beta,
                  matrix y) {
    product p = {0};
    p.transpose_b = transposed;
    p.m = (int)shape->pixels;
    p.n = p.k = (int)shape->d;
    p.a = x;
    p.b = small;
    p.beta = beta;
    p.c = y;
    p.count = (int)shape->images;
    p.groups = (int)shape->heads;
    multiply(p);
}

static void device_attention_forward(const real *temperature, int heads, trainer_planes qkv, real *maps,
                                     trainer_planes y, real *scratch) {
    attention_shape shape = shape_of(&y, heads);
    LAUNCH(norms_kernel, 2 * shape.images * shape.heads * shape.d, shape, qkv, maps);
    correlate(&shape, rows_of(&qkv, &shape, 0), rows_of(&qkv, &shape, 1),
              small_of(maps + (size_t)shape.d * shape.d, &shape, shape.kept));
    LAUNCH(softmax_kernel, shape.images * shape.heads * shape.d, shape, temperature, maps);
    apply(&shape, store_small(maps, &shape, shape.kept, scratch), false, rows_of(&qkv, &shape, 2), 0,
          rows_of(&y, &shape, 0));
}

/* From dA (in d) to the gradient of G (again in d), through the softmax; what the norm of q takes away of dq,
 * and the temperature's gradient of this row. Block = (image * heads + head) * d + row. */
KERNEL(softmax_backward_kernel, attention_shape shape, const real *temperature, const real *maps, real *dg,
       real *take_q, real *partial) {
    SHARED(real, part, LANES);
    PRIVATE(real, mean);
    FOR_LANES {
        uint32_t row = BLOCK % shape.d, d = shape.d;
        const real *a = maps + BLOCK / d * shape.kept + row * d, *from = dg + (size_t)BLOCK * d;
        real sum = 0;
        for (uint32_t j = (uint32_t)lane; j < d; j += LANES)
            sum += a[j] * from[j];
        part[lane] = sum;
    }
    sum_block(part);
    FOR_LANES {
        OWN(mean) = part[0];
    }
    BARRIER;
    FOR_LANES {
        uint32_t row = BLOCK % shape.d, d = shape.d;
        const real *a = maps + BLOCK / d * shape.kept + row * d, *g = a + d * d;
        real *to = dg + (size_t)BLOCK * d, along = 0;
        for (uint32_t j = (uint32_t)lane; j < d; j += LANES) {
            real logit = a[j] * (to[j] - OWN(mean));
            along += logit * g[j];
            to[j] = logit * temperature[BLOCK / d % shape.heads];
        }
        part[lane] = along;
    }
    sum_block(part);
    FOR_LANES {
        uint32_t row = BLOCK % shape.d, d = shape.d, head = BLOCK / d % shape.heads;
        uint32_t image = BLOCK / (d * shape.heads);
        real scale = maps[BLOCK / d * shape.kept + 2 * (size_t)d * d + row];
        if (lane == 0) {
            // Rows whose norm was below the least keep all.
            take_q[BLOCK] = scale < 1 / (real)LEAST_NORM ? -part[0] * temperature[head] * scale * scale : 0;
            partial[(head * shape.images + image) * d + row] = part[0];
        }
    }
}

/* The same for k, along column `column` of d G; and dG times the scales, for the products. */
KERNEL(columns_kernel, attention_shape shape, const real *maps, real *dg, real *take_k) {
    SHARED(real, part, LANES);
    FOR_LANES {
        uint32_t column = BLOCK % shape.d, d = shape.d;
        const real *g = maps + BLOCK / d * shape.kept + d * d, *scale_q = g + d * d, *scale_k = scale_q + d;
        real *to = dg + (size_t)(BLOCK / d) * d * d, sum = 0;
        for (uint32_t r = (uint32_t)lane; r < d; r += LANES) {
            sum += to[r * d + column] * g[r * d + column];
            to[r * d + column] *= scale_q[r] * scale_k[column];
        }
        part[lane] = sum;
    }
    sum_block(part);
    FOR_LANES {
        uint32_t column = BLOCK % shape.d, d = shape.d;
        real scale = maps[BLOCK / d * shape.kept + 2 * (size_t)d * d + d + column];
        if (lane == 0)
            take_k[BLOCK] = scale < 1 / (real)LEAST_NORM ? -part[0] * scale * scale : 0;
    }
}

/* dq = take_q q and dk = take_k k, to which the products are added. */
KERNEL(take_kernel, attention_shape shape, trainer_planes qk, const real *take_q, const real *take_k,
       trainer_planes dqk) {
    FOR_LANES {
        uint32_t channels = shape.heads * shape.d;
        spot at = spot_of(BLOCK, lane, 2 * channels, shape.pixels);
        const real *take = at.channel < channels ? take_q : take_k;
        if (at.pixel < shape.pixels)
            put(store_at(&dqk, at),
                take[at.image * channels + at.channel % channels] * get(store_at(&qk, at)));
    }
}

static size_t attention_scratch(size_t n, size_t channels, size_t heads) {
    size_t d = channels / heads;
    return 2 * n * channels * d + 3 * n * channels + 16;
}

static void device_attention_backward(const real *temperature, int heads, trainer_planes qkv,
                                      const real *maps, trainer_planes dy, trainer_planes dqkv,
                                      real *dtemperature, real *scratch) {
    attention_shape shape = shape_of(&dy, heads);
    uint32_t rows = shape.images * shape.heads * shape.d;
    real *dg = scratch, *take_q = dg + rows * (size_t)shape.d, *take_k = take_q + rows,
         *partial = take_k + rows;
    real *stored = partial + rows;
    size_t square = (size_t)shape.d * shape.d;
    trainer_planes qk = trainer_part(qkv, 0, 2 * dy.channels), dqk = trainer_part(dqkv, 0, 2 * dy.channels);

    correlate(&shape, rows_of(&dy, &shape, 0), rows_of(&qkv, &shape, 2), small_of(dg, &shape, square));
    apply(&shape, store_small(maps, &shape, shape.kept, stored), true, rows_of(&dy, &shape, 0), 0,
          rows_of(&dqkv, &shape, 2));
    LAUNCH(softmax_backward_kernel, rows, shape, temperature, maps, dg, take_q, partial);
    LAUNCH(columns_kernel, rows, shape, maps, dg, take_k);
    add_partials(partial, shape.heads, shape.images * shape.d, dtemperature);
    LAUNCH(take_kernel, spot_blocks(&qk), shape, qk, take_q, take_k, dqk);
    matrix dlogits = store_small(dg, &shape, square, stored);
    apply(&shape, dlogits, false, rows_of(&qkv, &shape, 1), 1, rows_of(&dqkv, &shape, 0));
    apply(&shape, dlogits, true, rows_of(&qkv, &shape, 0), 1, rows_of(&dqkv, &shape, 1));
}
