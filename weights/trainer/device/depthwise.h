/* Depthwise 3x3 convolution, and the feed-forward's gate with it. A lane takes a strip of RUN columns and
 * STRIP rows, and loads it with its frame at once; lanes next to each other take strips next to each other.
 */

enum { STRIP = 2, WINDOW_ROWS = STRIP + 2, WINDOW_COLUMNS = RUN + 2 };

/** A strip of one image: rows first..first+STRIP-1, columns column..column+columns-1. */
typedef struct strip {
    uint32_t channel, image;
    int first, column, columns;
} strip;

TRAINER_INLINE uint32_t strips_of(const trainer_planes *x) {
    return (uint32_t)(x->n * ((x->h + STRIP - 1) / STRIP) * ((x->w + RUN - 1) / RUN));
}

/* Strip `item` of a channel, 0..strips_of() - 1. */
DEVICE strip strip_of(const trainer_planes *x, uint32_t channel, uint32_t item) {
    uint32_t wide = (uint32_t)(x->w + RUN - 1) / RUN, high = (uint32_t)(x->h + STRIP - 1) / STRIP;
    strip s;
    s.channel = channel;
    s.image = item / (wide * high);
    s.first = (int)(item / wide % high) * STRIP;
    s.column = (int)(item % wide) * RUN;
    s.columns = s.column + RUN < x->w ? RUN : x->w - s.column;
    return s;
}

/* The strip of a lane of a block of strip_blocks(), which takes LANES strips of one channel; false: none. */
DEVICE bool lane_strip(const trainer_planes *x, uint32_t block, int lane, strip *s) {
    uint32_t strips = strips_of(x), chunks = (strips + LANES - 1) / LANES;
    uint32_t item = block % chunks * LANES + (uint32_t)lane;
    if (item < strips)
        *s = strip_of(x, block / chunks, item);
    return item < strips;
}

/* The strip's first value, `above` channels further on. */
DEVICE store *strip_at(const trainer_planes *x, const strip *s, uint32_t above) {
    uint32_t pixel = (s->image * (uint32_t)x->h + (uint32_t)s->first) * (uint32_t)x->w + (uint32_t)s->column;
    return plane_of(x, s->channel + above) + pixel;
}

/** A strip and its frame of one pixel; zero outside the image. */
typedef struct window {
    real at[WINDOW_ROWS][WINDOW_COLUMNS];
} window;

DEVICE void load_window(const trainer_planes *x, const strip *s, uint32_t above, bool packed, window *to) {
    const store *first = strip_at(x, s, above);
    bool left = s->column > 0, right = s->column + RUN < x->w;
    UNROLLED
    for (int i = 0; i < WINDOW_ROWS; i++) {
        int row = s->first - 1 + i;
        bool inside = row >= 0 && row < x->h;
        const store *from = inside ? first + (i - 1) * x->w : first;
        run values = get_run(from, inside ? s->columns : 0, packed);
        to->at[i][0] = inside && left ? get(from - 1) : 0;
        UNROLLED
        for (int j = 0; j < RUN; j++)
            to->at[i][j + 1] = values.at[j];
        to->at[i][RUN + 1] = inside && right ? get(from + RUN) : 0;
    }
}

/* Row `row` of the strip; zeros outside the image. */
DEVICE run load_row(const trainer_planes *x, const strip *s, const store *first, int row, bool packed) {
    bool inside = s->first + row < x->h;
    return get_run(inside ? first + row * x->w : first, inside ? s->columns : 0, packed);
}

DEVICE void store_row(const trainer_planes *x, const strip *s, store *first, int row, const run *values,
                      bool packed) {
    if (s->first + row < x->h)
        put_run(first + row * x->w, values, s->columns, packed);
}

/** A channel's kernel. */
typedef struct taps {
    real at[9];
} taps;

DEVICE taps load_taps(const real *weight, uint32_t channel) {
    taps k;
    UNROLLED
    for (int t = 0; t < 9; t++)
        k.at[t] = weight[9 * channel + (uint32_t)t];
    return k;
}

/* Around value (row, column) of the strip. */
DEVICE real convolve(const taps *k, const window *x, int row, int column) {
    real sum = 0;
    UNROLLED
    for (int t = 0; t < 9; t++)
        sum += k->at[t] * x->at[row + t / 3][column + t % 3];
    return sum;
}

/* The same with the kernel turned by half a turn. */
DEVICE real convolve_turned(const taps *k, const window *x, int row, int column) {
    real sum = 0;
    UNROLLED
    for (int t = 0; t < 9; t++)
        sum += k->at[t] * x->at[row + 2 - t / 3][column + 2 - t % 3];
    return sum;
}

KERNEL_OF_RUNS(depthwise_kernel, const real *weight, trainer_planes x, trainer_planes y) {
    FOR_LANES {
        strip s;
        if (!lane_strip(&x, BLOCK, lane, &s))
            continue;
        taps k = load_taps(weight, s.channel);
        store *first = strip_at(&y, &s, 0);
        window from;
        load_window(&x, &s, 0, PACKED, &from);
        UNROLLED
        for (int i = 0; i < STRIP; i++) {
            run to;
            UNROLLED
            for (int j = 0; j < RUN; j++)
                to.at[j] = convolve(&k, &from, i, j);
            store_row(&y, &s, first, i, &to, PACKED);
        }
    }
}

static size_t strip_blocks(const trainer_planes *x, int channels) {
    return (size_t)channels * blocks_of(strips_of(x));
}

static void device_depthwise_forward(const real *weight, trainer_planes x, trainer_planes y) {
    LAUNCH_RUNS(depthwise_kernel, is_packed(&x) && is_packed(&y), strip_blocks(&x, x.channels), weight, x, y);
}

/* Tap (dy, dx) took x(r + dy, c + dx) to y(r, c): it brings dy(r - dy, c - dx) to dx(r, c), and the weight's
 * gradient is the sum of dy(r - dy, c - dx) x(r, c). Block = channel * splits + split of its strips; leaves
 * partial[channel][tap][split]. */
KERNEL_OF_RUNS(depthwise_backward_kernel, const real *weight, trainer_planes x, trainer_planes dy,
               trainer_planes dx, uint32_t splits, uint32_t length, real *partial) {
    SHARED(real, part, 9 * LANES);
    FOR_LANES {
        uint32_t strips = strips_of(&x), first = BLOCK % splits * length;
        uint32_t end = first + length < strips ? first + length : strips;
        taps k = load_taps(weight, BLOCK / splits), sums;
        UNROLLED
        for (int t = 0; t < 9; t++)
            sums.at[t] = 0;
        for (uint32_t item = first + (uint32_t)lane; item < end; item += LANES) {
            strip s = strip_of(&x, BLOCK / splits, item);
            const store *pixels_first = strip_at(&x, &s, 0);
            store *to_first = strip_at(&dx, &s, 0);
            window from;
            load_window(&dy, &s, 0, PACKED, &from);
            UNROLLED
            for (int i = 0; i < STRIP; i++) {
                run to, pixels = load_row(&x, &s, pixels_first, i, PACKED);
                UNROLLED
                for (int j = 0; j < RUN; j++) {
                    to.at[j] = convolve_turned(&k, &from, i, j);
                    UNROLLED
                    for (int t = 0; t < 9; t++)
                        sums.at[t] += pixels.at[j] * from.at[i + 2 - t / 3][j + 2 - t % 3];
                }
                store_row(&dx, &s, to_first, i, &to, PACKED);
            }
        }
        UNROLLED
        for (int t = 0; t < 9; t++)
            part[t * LANES + lane] = sums.at[t];
    }
    sum_block_each(part, 9);
    FOR_LANES {
        if (lane < 9)
            partial[(BLOCK / splits * 9 + (uint32_t)lane) * splits + BLOCK % splits] = part[lane * LANES];
    }
}

static size_t depthwise_scratch(size_t channels) {
    return 9 * channels * SPLITS;
}

static void device_depthwise_backward(const real *weight, trainer_planes x, trainer_planes dy,
                                      trainer_planes dx, real *dweight, real *scratch) {
    size_t strips = strips_of(&x), channels = (size_t)x.channels;
    uint32_t splits = splits_for(channels, strips);
    LAUNCH_RUNS(depthwise_backward_kernel, is_packed(&x) && is_packed(&dy) && is_packed(&dx),
                channels * splits, weight, x, dy, dx, splits, split_length(strips, splits), scratch);
    add_partials(scratch, 9 * channels, splits, dweight);
}

/* ---- The gate: (a, b) = depthwise(x), y = gelu(a) b -------------------------------------------------- */

/** The normal distribution and density: gelu(a) = a P(a), gelu'(a) = P(a) + a p(a). */
typedef struct normal {
    real distribution, density;
} normal;

/* Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: erf(x) = 1 - (a1 t + .. + a5 t^5)
 * exp(-x^2) with t = 1 / (1 + p x), for x >= 0, to 1.5e-7; x = |a| / sqrt(2). Not for doubles, whose
 * gradients are compared with differences. */
DEVICE normal normal_of(real a) {
    const real p = (real)0.23164189, a1 = (real)0.254829592, a2 = (real)-0.284496736, a3 = (real)1.421413741,
               a4 = (real)-1.453152027, a5 = (real)1.061405429;
    real power = EXPONENTIAL((real)-0.5 * a * a), t = QUOTIENT(1, 1 + p * (a < 0 ? -a : a));
    real tail = (real)0.5 * t * (a1 + t * (a2 + t * (a3 + t * (a4 + t * a5)))) * power;
    normal n;
    n.distribution = a < 0 ? tail : 1 - tail;
    if (sizeof(real) > sizeof(float))
        n.distribution = (real)0.5 * erfc(-a * (real)0.70710678118654752);
    n.density = power * (real)0.39894228040143268;
    return n;
}

/** What a strip of both halves takes. */
typedef struct gate_inputs {
    taps ka, kb;
    window a, b;
} gate_inputs;

DEVICE void load_gate(const real *weight, const trainer_planes *x, const strip *s, uint32_t half, bool packed,
                      gate_inputs *in) {
    in->ka = load_taps(weight, s->channel);
    in->kb = load_taps(weight, s->channel + half);
    load_window(x, s, 0, packed, &in->a);
    load_window(x, s, half, packed, &in->b);
}

KERNEL_OF_RUNS(gate_kernel, const real *weight, trainer_planes x, trainer_planes y) {
    FOR_LANES {
        uint32_t half = (uint32_t)y.channels;
        strip s;
        if (!lane_strip(&x, BLOCK, lane, &s))
            continue;
        store *first = strip_at(&y, &s, 0);
        gate_inputs in;
        load_gate(weight, &x, &s, half, PACKED, &in);
        UNROLLED
        for (int i = 0; i < STRIP; i++) {
            run to;
            UNROLLED
            for (int j = 0; j < RUN; j++) {
                real gate = convolve(&in.ka, &in.a, i, j);
                to.at[j] = gate * normal_of(gate).distribution * convolve(&in.kb, &in.b, i, j);
            }
            store_row(&y, &s, first, i, &to, PACKED);
        }
    }
}

static void device_gate_forward(const real *weight, trainer_planes x, trainer_planes y, real *scratch) {
    (void)scratch;
    LAUNCH_RUNS(gate_kernel, is_packed(&x) && is_packed(&y), strip_blocks(&x, y.channels), weight, x, y);
}

/* y again, and the gradients of a and b, d[2 channels of y]. */
KERNEL_OF_RUNS(gate_gradients_kernel, const real *weight, trainer_planes x, trainer_planes dy,
               trainer_planes y, trainer_planes d) {
    FOR_LANES {
        uint32_t half = (uint32_t)y.channels;
        strip s;
        if (!lane_strip(&x, BLOCK, lane, &s))
            continue;
        const store *dy_first = strip_at(&dy, &s, 0);
        store *y_first = strip_at(&y, &s, 0), *a_first = strip_at(&d, &s, 0),
              *b_first = strip_at(&d, &s, half);
        gate_inputs in;
        load_gate(weight, &x, &s, half, PACKED, &in);
        UNROLLED
        for (int i = 0; i < STRIP; i++) {
            run result, da, db, from = load_row(&dy, &s, dy_first, i, PACKED);
            UNROLLED
            for (int j = 0; j < RUN; j++) {
                real gate = convolve(&in.ka, &in.a, i, j), value = convolve(&in.kb, &in.b, i, j);
                normal n = normal_of(gate);
                result.at[j] = gate * n.distribution * value;
                da.at[j] = from.at[j] * value * (n.distribution + gate * n.density);
                db.at[j] = from.at[j] * gate * n.distribution;
            }
            store_row(&y, &s, y_first, i, &result, PACKED);
            store_row(&d, &s, a_first, i, &da, PACKED);
            store_row(&d, &s, b_first, i, &db, PACKED);
        }
    }
}

static size_t gate_scratch(size_t hidden, size_t pixels) {
    return depthwise_scratch(2 * hidden) + 2 * hidden * pitch_in(pixels);
}

static void device_gate_backward(const real *weight, trainer_planes x, trainer_planes dy, trainer_planes y,
                                 trainer_planes dx, real *dweight, real *scratch) {
    trainer_planes d = planes_in(x, x.channels, scratch + depthwise_scratch((size_t)x.channels));
    LAUNCH_RUNS(gate_gradients_kernel, is_packed(&x) && is_packed(&dy) && is_packed(&y) && is_packed(&d),
                strip_blocks(&x, y.channels), weight, x, dy, y, d);
    device_depthwise_backward(weight, x, d, dx, dweight, scratch);
}
