/* Depthwise 3x3 convolution, and the feed-forward's gate with it. A lane goes down STRIP rows of a column
 * with three rows of three values in registers; lanes next to each other take columns next to each other.
 */

enum { STRIP = 4 };

/** A strip: rows first..end-1 of column `column`. */
typedef struct strip {
    uint32_t channel, image;
    int column, first, end;
} strip;

DEVICE uint32_t strips_of(const trainer_planes *x) {
    return (uint32_t)(x->n * ((x->h + STRIP - 1) / STRIP) * x->w);
}

/* Strip `item` of a channel, 0..strips_of() - 1. */
DEVICE strip strip_of(const trainer_planes *x, uint32_t channel, uint32_t item) {
    uint32_t w = (uint32_t)x->w, high = (uint32_t)(x->h + STRIP - 1) / STRIP;
    strip s;
    s.channel = channel;
    s.image = item / (w * high);
    s.column = (int)(item % w);
    s.first = (int)(item / w % high) * STRIP;
    s.end = s.first + STRIP < x->h ? s.first + STRIP : x->h;
    return s;
}

/* The image that the strip lies in, `above` channels further on. */
DEVICE store *image_of(const trainer_planes *x, const strip *s, uint32_t above) {
    return plane_of(x, s->channel + above) + (size_t)s->image * (uint32_t)(x->h * x->w);
}

/** Three neighbours in a row; zero outside the image. */
typedef struct row3 {
    real left, centre, right;
} row3;

DEVICE row3 load_row3(const store *image, int row, int column, int h, int w) {
    row3 values = {0, 0, 0};
    if (row >= 0 && row < h) {
        const store *at = image + (size_t)row * (uint32_t)w + (uint32_t)column;
        values.left = column > 0 ? get(at - 1) : 0;
        values.centre = get(at);
        values.right = column + 1 < w ? get(at + 1) : 0;
    }
    return values;
}

DEVICE real dot3(const real *k, row3 values) {
    return k[0] * values.left + k[1] * values.centre + k[2] * values.right;
}

KERNEL(depthwise_kernel, const real *weight, trainer_planes x, trainer_planes y) {
    FOR_LANES {
        uint32_t strips = strips_of(&x), chunks = (strips + LANES - 1) / LANES;
        uint32_t item = BLOCK % chunks * LANES + (uint32_t)lane;
        if (item >= strips)
            continue;
        strip s = strip_of(&x, BLOCK / chunks, item);
        const real *k = weight + 9 * s.channel;
        const store *from = image_of(&x, &s, 0);
        store *to = image_of(&y, &s, 0);
        row3 above = load_row3(from, s.first - 1, s.column, x.h, x.w);
        row3 here = load_row3(from, s.first, s.column, x.h, x.w);
        for (int row = s.first; row < s.end; row++) {
            row3 below = load_row3(from, row + 1, s.column, x.h, x.w);
            put(to + (size_t)row * (uint32_t)x.w + (uint32_t)s.column,
                dot3(k, above) + dot3(k + 3, here) + dot3(k + 6, below));
            above = here;
            here = below;
        }
    }
}

static size_t strip_blocks(const trainer_planes *x, int channels) {
    return (size_t)channels * blocks_of((size_t)(x->n * ((x->h + STRIP - 1) / STRIP)) * (size_t)x->w);
}

static void device_depthwise_forward(const real *weight, trainer_planes x, trainer_planes y) {
    LAUNCH(depthwise_kernel, strip_blocks(&x, x.channels), weight, x, y);
}

/* Tap (dy, dx) took x(r + dy, c + dx) to y(r, c): it brings dy(r - dy, c - dx) to dx(r, c), and the weight's
 * gradient is the sum of dy(r - dy, c - dx) x(r, c). Block = channel * splits + split of its strips; leaves
 * partial[channel][tap][split]. */
KERNEL(depthwise_backward_kernel, const real *weight, trainer_planes x, trainer_planes dy, trainer_planes dx,
       uint32_t splits, uint32_t length, real *partial) {
    SHARED(real, part, LANES);
    PRIVATE_ARRAY(real, sums, 9);
    FOR_LANES {
        uint32_t strips = strips_of(&x), first = BLOCK % splits * length;
        uint32_t end = first + length < strips ? first + length : strips;
        const real *k = weight + 9 * (BLOCK / splits);
        UNROLLED
        for (int t = 0; t < 9; t++)
            OWN(sums)[t] = 0;
        for (uint32_t item = first + (uint32_t)lane; item < end; item += LANES) {
            strip s = strip_of(&x, BLOCK / splits, item);
            const store *pixels = image_of(&x, &s, 0), *from = image_of(&dy, &s, 0);
            store *to = image_of(&dx, &s, 0);
            row3 above = load_row3(from, s.first - 1, s.column, x.h, x.w);
            row3 here = load_row3(from, s.first, s.column, x.h, x.w);
            for (int row = s.first; row < s.end; row++) {
                row3 below = load_row3(from, row + 1, s.column, x.h, x.w);
                size_t at = (size_t)row * (uint32_t)x.w + (uint32_t)s.column;
                real pixel = get(pixels + at);
                put(to + at, k[0] * below.right + k[1] * below.centre + k[2] * below.left +
                                 k[3] * here.right + k[4] * here.centre + k[5] * here.left +
                                 k[6] * above.right + k[7] * above.centre + k[8] * above.left);
                OWN(sums)[0] += pixel * below.right;
                OWN(sums)[1] += pixel * below.centre;
                OWN(sums)[2] += pixel * below.left;
                OWN(sums)[3] += pixel * here.right;
                OWN(sums)[4] += pixel * here.centre;
                OWN(sums)[5] += pixel * here.left;
                OWN(sums)[6] += pixel * above.right;
                OWN(sums)[7] += pixel * above.centre;
                OWN(sums)[8] += pixel * above.left;
                above = here;
                here = below;
            }
        }
    }
    UNROLLED
    for (int t = 0; t < 9; t++) {
        FOR_LANES {
            part[lane] = OWN(sums)[t];
        }
        sum_block(part);
        FOR_LANES {
            if (lane == 0)
                partial[(BLOCK / splits * 9 + (uint32_t)t) * splits + BLOCK % splits] = part[0];
        }
        BARRIER;
    }
}

static size_t depthwise_scratch(size_t channels) {
    return 9 * channels * SPLITS;
}

static void device_depthwise_backward(const real *weight, trainer_planes x, trainer_planes dy,
                                      trainer_planes dx, real *dweight, real *scratch) {
    size_t strips = (size_t)(x.n * ((x.h + STRIP - 1) / STRIP)) * (size_t)x.w, channels = (size_t)x.channels;
    uint32_t splits = splits_for(channels, strips);
    LAUNCH(depthwise_backward_kernel, channels * splits, weight, x, dy, dx, splits,
           split_length(strips, splits), scratch);
    add_partials(scratch, 9 * channels, splits, dweight);
}

/* ---- The gate: (a, b) = depthwise(x), y = gelu(a) b -----------------------------------------------------
 */

/** The normal distribution and density: gelu(a) = a P(a), gelu'(a) = P(a) + a p(a). */
typedef struct normal {
    real distribution, density;
} normal;

DEVICE normal normal_of(real a) {
    normal n;
    n.distribution = (real)0.5 * erfc(-a * (real)0.70710678118654752);
    n.density = exp((real)-0.5 * a * a) * (real)0.39894228040143268;
    return n;
}

/** Both channels of a gate go down their strips together. */
typedef struct row_pair {
    row3 a, b;
} row_pair;

DEVICE row_pair load_pair(const store *a, const store *b, int row, int column, int h, int w) {
    row_pair pair;
    pair.a = load_row3(a, row, column, h, w);
    pair.b = load_row3(b, row, column, h, w);
    return pair;
}

KERNEL(gate_kernel, const real *weight, trainer_planes x, trainer_planes y) {
    FOR_LANES {
        uint32_t strips = strips_of(&x), chunks = (strips + LANES - 1) / LANES;
        uint32_t item = BLOCK % chunks * LANES + (uint32_t)lane;
        if (item >= strips)
            continue;
        strip s = strip_of(&x, BLOCK / chunks, item);
        uint32_t second = s.channel + (uint32_t)y.channels;
        const real *ka = weight + 9 * s.channel, *kb = weight + 9 * second;
        const store *a = image_of(&x, &s, 0), *b = image_of(&x, &s, (uint32_t)y.channels);
        store *to = image_of(&y, &s, 0);
        row_pair above = load_pair(a, b, s.first - 1, s.column, x.h, x.w);
        row_pair here = load_pair(a, b, s.first, s.column, x.h, x.w);
        for (int row = s.first; row < s.end; row++) {
            row_pair below = load_pair(a, b, row + 1, s.column, x.h, x.w);
            real gate = dot3(ka, above.a) + dot3(ka + 3, here.a) + dot3(ka + 6, below.a);
            real value = dot3(kb, above.b) + dot3(kb + 3, here.b) + dot3(kb + 6, below.b);
            put(to + (size_t)row * (uint32_t)x.w + (uint32_t)s.column,
                gate * normal_of(gate).distribution * value);
            above = here;
            here = below;
        }
    }
}

static void device_gate_forward(const real *weight, trainer_planes x, trainer_planes y, real *scratch) {
    (void)scratch;
    LAUNCH(gate_kernel, strip_blocks(&x, y.channels), weight, x, y);
}

/* Writes y, and the gradients of (a, b). */
KERNEL(gate_backward_kernel, const real *weight, trainer_planes x, trainer_planes dy, trainer_planes y,
       trainer_planes dab) {
    FOR_LANES {
        uint32_t strips = strips_of(&x), chunks = (strips + LANES - 1) / LANES;
        uint32_t item = BLOCK % chunks * LANES + (uint32_t)lane;
        if (item >= strips)
            continue;
        strip s = strip_of(&x, BLOCK / chunks, item);
        uint32_t second = s.channel + (uint32_t)y.channels;
        const real *ka = weight + 9 * s.channel, *kb = weight + 9 * second;
        const store *a = image_of(&x, &s, 0), *b = image_of(&x, &s, (uint32_t)y.channels);
        const store *gradient = image_of(&dy, &s, 0);
        store *to = image_of(&y, &s, 0), *da = image_of(&dab, &s, 0);
        store *db = image_of(&dab, &s, (uint32_t)y.channels);
        row_pair above = load_pair(a, b, s.first - 1, s.column, x.h, x.w);
        row_pair here = load_pair(a, b, s.first, s.column, x.h, x.w);
        for (int row = s.first; row < s.end; row++) {
            row_pair below = load_pair(a, b, row + 1, s.column, x.h, x.w);
            size_t at = (size_t)row * (uint32_t)x.w + (uint32_t)s.column;
            real gate = dot3(ka, above.a) + dot3(ka + 3, here.a) + dot3(ka + 6, below.a);
            real value = dot3(kb, above.b) + dot3(kb + 3, here.b) + dot3(kb + 6, below.b);
            normal n = normal_of(gate);
            real d = get(gradient + at), gelu = gate * n.distribution;
            put(to + at, gelu * value);
            put(da + at, d * value * (n.distribution + gate * n.density));
            put(db + at, d * gelu);
            above = here;
            here = below;
        }
    }
}

static size_t gate_scratch(size_t channels, size_t pixels) {
    return channels * trainer_pitch(pixels) + depthwise_scratch(channels);
}

static void device_gate_backward(const real *weight, trainer_planes x, trainer_planes dy, trainer_planes y,
                                 trainer_planes dx, real *dweight, real *scratch) {
    trainer_planes dab = x;
    dab.data = scratch;
    dab.pitch = trainer_pitch(trainer_pixels(&x));
    LAUNCH(gate_backward_kernel, strip_blocks(&x, y.channels), weight, x, dy, y, dab);
    device_depthwise_backward(weight, x, dab, dx, dweight, scratch + (size_t)x.channels * dab.pitch);
}
