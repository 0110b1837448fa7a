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
    uint32_t rows; ///< of the small matrices of all heads and images
    size_t kept;   ///< values of one head in maps
} attention_shape;

static attention_shape shape_of(const trainer_planes *y, int heads) {
    attention_shape shape;
    shape.images = (uint32_t)y->n;
    shape.heads = (uint32_t)heads;
    shape.d = (uint32_t)(y->channels / heads);
    shape.pixels = (uint32_t)(y->h * y->w);
    shape.rows = shape.images * shape.heads * shape.d;
    shape.kept = 2 * (size_t)shape.d * shape.d + 2 * (size_t)shape.d;
    return shape;
}

/* A team takes (image * 2 + part) * channels + channel, part 0 for q and 1 for k. */
KERNEL_OF_RUNS(norms_kernel, attention_shape shape, trainer_planes qkv, real *maps) {
    SHARED(real, part, LANES);
    FOR_LANES {
        uint32_t item = BLOCK * TEAMS + (uint32_t)(lane / TEAM), channels = shape.heads * shape.d;
        uint32_t row = item % (2 * channels), image = item / (2 * channels);
        real sum = 0;
        if (image < shape.images) {
            const store *from = plane_of(&qkv, row) + (size_t)image * shape.pixels;
            UNROLLED_BY_4
            for (uint32_t p = (uint32_t)(lane % TEAM) * RUN; p < shape.pixels; p += TEAM * RUN) {
                run values = get_run(from + p, (int)(shape.pixels - p), PACKED);
                UNROLLED
                for (int i = 0; i < RUN; i++)
                    sum += values.at[i] * values.at[i];
            }
        }
        part[lane] = sum;
    }
    sum_team(part);
    FOR_LANES {
        uint32_t item = BLOCK * TEAMS + (uint32_t)(lane / TEAM), channels = shape.heads * shape.d;
        uint32_t row = item % (2 * channels), image = item / (2 * channels);
        uint32_t head = row % channels / shape.d;
        real norm = sqrt(part[lane]);
        if (lane % TEAM == 0 && image < shape.images)
            maps[(image * shape.heads + head) * shape.kept + 2 * (size_t)shape.d * shape.d +
                 row / channels * shape.d + row % shape.d] =
                1 / (norm > (real)LEAST_NORM ? norm : (real)LEAST_NORM);
    }
}

/* From q k^T in place of G to G and A. A team takes row (image * heads + head) * d + row. */
KERNEL(softmax_kernel, attention_shape shape, const real *temperature, real *maps) {
    SHARED(real, part, LANES);
    PRIVATE(real, highest);
    FOR_LANES {
        uint32_t item = BLOCK * TEAMS + (uint32_t)(lane / TEAM), row = item % shape.d, d = shape.d;
        real most = -(real)1e30;
        if (item < shape.rows) {
            real *a = maps + item / d * shape.kept, *g = a + d * d, *scale_q = g + d * d,
                 *scale_k = scale_q + d;
            real factor = temperature[item / d % shape.heads];
            for (uint32_t j = (uint32_t)(lane % TEAM); j < d; j += TEAM) {
                real similar = g[row * d + j] * scale_q[row] * scale_k[j];
                g[row * d + j] = similar;
                a[row * d + j] = similar * factor;
                most = similar * factor > most ? similar * factor : most;
            }
        }
        part[lane] = most;
    }
    largest_of_team(part);
    FOR_LANES {
        OWN(highest) = part[lane / TEAM * TEAM];
    }
    BARRIER;
    FOR_LANES {
        uint32_t item = BLOCK * TEAMS + (uint32_t)(lane / TEAM), row = item % shape.d, d = shape.d;
        real *a = maps + item / d * shape.kept + row * d, sum = 0;
        if (item < shape.rows)
            for (uint32_t j = (uint32_t)(lane % TEAM); j < d; j += TEAM) {
                a[j] = exp(a[j] - OWN(highest));
                sum += a[j];
            }
        part[lane] = sum;
    }
    sum_team(part);
    FOR_LANES {
        uint32_t item = BLOCK * TEAMS + (uint32_t)(lane / TEAM), row = item % shape.d, d = shape.d;
        real *a = maps + item / d * shape.kept + row * d;
        if (item < shape.rows)
            for (uint32_t j = (uint32_t)(lane % TEAM); j < d; j += TEAM)
                a[j] /= part[lane / TEAM * TEAM];
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
    LAUNCH_RUNS(norms_kernel, is_packed(&qkv), team_blocks(2 * shape.rows), shape, qkv, maps);
    correlate(&shape, rows_of(&qkv, &shape, 0), rows_of(&qkv, &shape, 1),
              small_of(maps + (size_t)shape.d * shape.d, &shape, shape.kept));
    LAUNCH(softmax_kernel, team_blocks(shape.rows), shape, temperature, maps);
    apply(&shape, store_small(maps, &shape, shape.kept, scratch), false, rows_of(&qkv, &shape, 2), 0,
          rows_of(&y, &shape, 0));
}

/* From dA (in dg) to the gradient of G (again in dg), through the softmax; what the norm of q takes away of
 * dq, and the temperature's gradient of this row. A team takes row (image * heads + head) * d + row. */
KERNEL(softmax_backward_kernel, attention_shape shape, const real *temperature, const real *maps, real *dg,
       real *take_q, real *partial) {
    SHARED(real, part, LANES);
    PRIVATE(real, mean);
    FOR_LANES {
        uint32_t item = BLOCK * TEAMS + (uint32_t)(lane / TEAM), row = item % shape.d, d = shape.d;
        const real *a = maps + item / d * shape.kept + row * d, *from = dg + (size_t)item * d;
        real sum = 0;
        if (item < shape.rows)
            for (uint32_t j = (uint32_t)(lane % TEAM); j < d; j += TEAM)
                sum += a[j] * from[j];
        part[lane] = sum;
    }
    sum_team(part);
    FOR_LANES {
        OWN(mean) = part[lane / TEAM * TEAM];
    }
    BARRIER;
    FOR_LANES {
        uint32_t item = BLOCK * TEAMS + (uint32_t)(lane / TEAM), row = item % shape.d, d = shape.d;
        const real *a = maps + item / d * shape.kept + row * d, *g = a + d * d;
        real *to = dg + (size_t)item * d, along = 0;
        if (item < shape.rows)
            for (uint32_t j = (uint32_t)(lane % TEAM); j < d; j += TEAM) {
                real logit = a[j] * (to[j] - OWN(mean));
                along += logit * g[j];
                to[j] = logit * temperature[item / d % shape.heads];
            }
        part[lane] = along;
    }
    sum_team(part);
    FOR_LANES {
        uint32_t item = BLOCK * TEAMS + (uint32_t)(lane / TEAM), row = item % shape.d, d = shape.d;
        uint32_t head = item / d % shape.heads, image = item / (d * shape.heads);
        if (lane % TEAM != 0 || item >= shape.rows)
            continue;
        real scale = maps[item / d * shape.kept + 2 * (size_t)d * d + row];
        // Rows whose norm was below the least keep all.
        take_q[item] = scale < 1 / (real)LEAST_NORM ? -part[lane] * temperature[head] * scale * scale : 0;
        partial[(head * shape.images + image) * d + row] = part[lane];
    }
}

/* The same for k, down the columns of dG; and dG times the scales, for the products. A team takes matrix
 * image * heads + head, a lane some of its columns. */
KERNEL(columns_kernel, attention_shape shape, const real *maps, real *dg, real *take_k) {
    FOR_LANES {
        uint32_t item = BLOCK * TEAMS + (uint32_t)(lane / TEAM), d = shape.d;
        const real *g = maps + item * shape.kept + d * d, *scale_q = g + d * d, *scale_k = scale_q + d;
        real *to = dg + (size_t)item * d * d;
        if (item >= shape.images * shape.heads)
            continue;
        for (uint32_t column = (uint32_t)(lane % TEAM); column < d; column += TEAM) {
            real scale = scale_k[column], sum = 0;
            for (uint32_t r = 0; r < d; r++) {
                sum += to[r * d + column] * g[r * d + column];
                to[r * d + column] *= scale_q[r] * scale;
            }
            take_k[item * d + column] = scale < 1 / (real)LEAST_NORM ? -sum * scale * scale : 0;
        }
    }
}

/* dq = take_q q and dk = take_k k, to which the products are added. */
KERNEL_OF_RUNS(take_kernel, attention_shape shape, trainer_planes qk, const real *take_q, const real *take_k,
               trainer_planes dqk) {
    FOR_LANES {
        uint32_t channels = shape.heads * shape.d;
        run_spot at = run_spot_of(BLOCK, lane, pixels_of(&qk));
        const real *take = (at.channel < channels ? take_q : take_k) + at.channel % channels;
        if (at.count == 0)
            continue;
        run values = get_run(plane_of(&qk, at.channel) + at.pixel, at.count, PACKED);
        UNROLLED
        for (int i = 0; i < RUN; i++)
            if (i < at.count)
                values.at[i] *= take[(uint32_t)(at.pixel + (uint32_t)i) / shape.pixels * channels];
        put_run(plane_of(&dqk, at.channel) + at.pixel, &values, at.count, PACKED);
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
    uint32_t rows = shape.rows;
    real *dg = scratch, *take_q = dg + rows * (size_t)shape.d, *take_k = take_q + rows,
         *partial = take_k + rows;
    real *stored = partial + rows;
    size_t square = (size_t)shape.d * shape.d;
    trainer_planes qk = trainer_part(qkv, 0, 2 * dy.channels), dqk = trainer_part(dqkv, 0, 2 * dy.channels);

    correlate(&shape, rows_of(&dy, &shape, 0), rows_of(&qkv, &shape, 2), small_of(dg, &shape, square));
    apply(&shape, store_small(maps, &shape, shape.kept, stored), true, rows_of(&dy, &shape, 0), 0,
          rows_of(&dqkv, &shape, 2));
    LAUNCH(softmax_backward_kernel, team_blocks(rows), shape, temperature, maps, dg, take_q, partial);
    LAUNCH(columns_kernel, team_blocks(shape.images * shape.heads), shape, maps, dg, take_k);
    add_partials(partial, shape.heads, shape.images * shape.d, dtemperature);
    LAUNCH_RUNS(take_kernel, is_packed(&qk) && is_packed(&dqk), run_blocks(&qk), shape, qk, take_q, take_k,
                dqk);
    matrix dlogits = store_small(dg, &shape, square, stored);
    apply(&shape, dlogits, false, rows_of(&qkv, &shape, 1), 1, rows_of(&dqkv, &shape, 0));
    apply(&shape, dlogits, true, rows_of(&qkv, &shape, 0), 1, rows_of(&dqkv, &shape, 1));
}
