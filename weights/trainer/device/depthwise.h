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

/* ---- The gate: (a, b) = depthwise(x), y = gelu(a) b -------------------------------------------------- */

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

/* The gate's backward goes through tiles of an image, with a frame of two pixels: the gradients of a and b in
 * a tile and one pixel around it need x one pixel further, and stay in shared memory. */
enum {
    TILE_ROWS = 16,
    TILE_COLUMNS = 32,
    TILE_INNER = (TILE_ROWS + 2) * (TILE_COLUMNS + 2),
    TILE_OUTER = (TILE_ROWS + 4) * (TILE_COLUMNS + 4)
};

/** A tile of one image of the channels `channel` and `channel` + half of them. */
typedef struct tile {
    uint32_t channel, image;
    int row, column, rows, columns; ///< its first pixel, and its sides
} tile;

DEVICE uint32_t tiles_of(const trainer_planes *x) {
    return (uint32_t)(x->n * ((x->h + TILE_ROWS - 1) / TILE_ROWS) *
                      ((x->w + TILE_COLUMNS - 1) / TILE_COLUMNS));
}

DEVICE tile tile_of(const trainer_planes *x, uint32_t channel, uint32_t item) {
    uint32_t high = (uint32_t)(x->h + TILE_ROWS - 1) / TILE_ROWS;
    uint32_t wide = (uint32_t)(x->w + TILE_COLUMNS - 1) / TILE_COLUMNS;
    tile t;
    t.channel = channel;
    t.image = item / (high * wide);
    t.row = (int)(item / wide % high) * TILE_ROWS;
    t.column = (int)(item % wide) * TILE_COLUMNS;
    t.rows = x->h - t.row < TILE_ROWS ? x->h - t.row : TILE_ROWS;
    t.columns = x->w - t.column < TILE_COLUMNS ? x->w - t.column : TILE_COLUMNS;
    return t;
}

DEVICE store *tile_image(const trainer_planes *x, const tile *t, uint32_t above) {
    return plane_of(x, t->channel + above) + (size_t)t->image * (uint32_t)(x->h * x->w);
}

/* values[row][column] of the tile and a frame of two pixels; zero outside the image */
DEVICE void load_tile(const trainer_planes *x, const tile *t, uint32_t above, int lane, real *values) {
    const store *image = tile_image(x, t, above);
    int columns = t->columns + 4, count = (t->rows + 4) * columns;
    for (int i = lane; i < count; i += LANES) {
        int row = t->row - 2 + i / columns, column = t->column - 2 + i % columns;
        bool inside = row >= 0 && row < x->h && column >= 0 && column < x->w;
        values[i] = inside ? get(image + (size_t)row * (uint32_t)x->w + (uint32_t)column) : 0;
    }
}

/* Around values[0], rows `columns` apart, row by row as dot3() does; turned: with the kernel turned by half a
 * turn. */
DEVICE real dot9(const real *k, const real *values, int columns, bool turned) {
    real sum = 0;
    UNROLLED
    for (int row = 0; row < 3; row++) {
        const real *at = values + (row - 1) * columns;
        const real *own = k + (turned ? 8 - 3 * row : 3 * row);
        sum += turned ? own[0] * at[-1] + own[-1] * at[0] + own[-2] * at[1]
                      : own[0] * at[-1] + own[1] * at[0] + own[2] * at[1];
    }
    return sum;
}

/* The gradients of a and b in the tile and a frame of one pixel, from x in a frame of two; and y in the tile.
 */
DEVICE void tile_gradients(const trainer_planes *dy, const trainer_planes *y, const tile *t, const real *ka,
                           const real *kb, int lane, const real *xa, const real *xb, real *da, real *db) {
    int columns = t->columns + 2, count = (t->rows + 2) * columns;
    for (int i = lane; i < count; i += LANES) {
        int r = i / columns - 1, c = i % columns - 1, row = t->row + r, column = t->column + c;
        real gradient_a = 0, gradient_b = 0;
        if (row >= 0 && row < y->h && column >= 0 && column < y->w) {
            size_t at = (size_t)row * (uint32_t)y->w + (uint32_t)column;
            int from = (r + 2) * (columns + 2) + c + 2;
            real gate = dot9(ka, xa + from, columns + 2, false),
                 value = dot9(kb, xb + from, columns + 2, false);
            real d = get(tile_image(dy, t, 0) + at);
            normal n = normal_of(gate);
            gradient_a = d * value * (n.distribution + gate * n.density);
            gradient_b = d * gate * n.distribution;
            if (r >= 0 && r < t->rows && c >= 0 && c < t->columns)
                put(tile_image(y, t, 0) + at, gate * n.distribution * value);
        }
        da[i] = gradient_a;
        db[i] = gradient_b;
    }
}

/* dx of one channel in the tile, from d in a frame of one pixel; adds to the kernel's gradient. */
DEVICE void tile_backward(const trainer_planes *dx, const tile *t, uint32_t above, const real *k, int lane,
                          const real *x, const real *d, real *sums) {
    store *to = tile_image(dx, t, above);
    int columns = t->columns, inner = columns + 2;
    for (int i = lane; i < t->rows * columns; i += LANES) {
        int r = i / columns, c = i % columns;
        const real *around = d + (r + 1) * inner + c + 1;
        real pixel = x[(r + 2) * (columns + 4) + c + 2];
        put(to + (size_t)(t->row + r) * (uint32_t)dx->w + (uint32_t)(t->column + c),
            dot9(k, around, inner, true));
        UNROLLED
        for (int tap = 0; tap < 9; tap++)
            sums[tap] += pixel * around[(1 - tap / 3) * inner + 1 - tap % 3];
    }
}

/* Block = channel * splits + split of its tiles; leaves partial[channel of x][tap][split]. */
KERNEL(gate_backward_kernel, const real *weight, trainer_planes x, trainer_planes dy, trainer_planes y,
       trainer_planes dx, uint32_t splits, uint32_t length, real *partial) {
    SHARED(real, xa, TILE_OUTER);
    SHARED(real, xb, TILE_OUTER);
    SHARED(real, da, TILE_INNER);
    SHARED(real, db, TILE_INNER);
    SHARED(real, part, LANES);
    PRIVATE_ARRAY(real, sums, 18);
    uint32_t channel = BLOCK / splits, half = (uint32_t)y.channels, first = BLOCK % splits * length;
    uint32_t tiles = tiles_of(&x), end = first + length < tiles ? first + length : tiles;
    const real *ka = weight + 9 * channel, *kb = weight + 9 * (channel + half);
    FOR_LANES {
        UNROLLED
        for (int t = 0; t < 18; t++)
            OWN(sums)[t] = 0;
    }
    for (uint32_t item = first; item < end; item++) {
        tile t = tile_of(&x, channel, item);
        FOR_LANES {
            load_tile(&x, &t, 0, lane, xa);
            load_tile(&x, &t, half, lane, xb);
        }
        BARRIER;
        FOR_LANES {
            tile_gradients(&dy, &y, &t, ka, kb, lane, xa, xb, da, db);
        }
        BARRIER;
        FOR_LANES {
            tile_backward(&dx, &t, 0, ka, lane, xa, da, OWN(sums));
            tile_backward(&dx, &t, half, kb, lane, xb, db, OWN(sums) + 9);
        }
        BARRIER;
    }
    UNROLLED
    for (int t = 0; t < 18; t++) {
        FOR_LANES {
            part[lane] = OWN(sums)[t];
        }
        sum_block(part);
        FOR_LANES {
            if (lane == 0)
                partial[((channel + (uint32_t)(t / 9) * half) * 9 + (uint32_t)(t % 9)) * splits +
                        BLOCK % splits] = part[0];
        }
        BARRIER;
    }
}

static void device_gate_backward(const real *weight, trainer_planes x, trainer_planes dy, trainer_planes y,
                                 trainer_planes dx, real *dweight, real *scratch) {
    size_t tiles = (size_t)(x.n * ((x.h + TILE_ROWS - 1) / TILE_ROWS)) *
                   (size_t)((x.w + TILE_COLUMNS - 1) / TILE_COLUMNS);
    uint32_t splits = splits_for((size_t)y.channels, tiles * TILE_ROWS * TILE_COLUMNS);
    LAUNCH(gate_backward_kernel, (size_t)y.channels * splits, weight, x, dy, y, dx, splits,
           split_length(tiles, splits), scratch);
    add_partials(scratch, 9 * (size_t)x.channels, splits, dweight);
}
