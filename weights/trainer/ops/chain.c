/* Operations in a row that share what is in cache: a 1x1 convolution and the depthwise one behind it, and the
 * feed-forward, convolution, gate, convolution. A band of an image's rows goes through all of them, so that
 * what lies between stays in the second-level cache and is kept only where the backward asks for it.
 * Depthwise convolutions read a row above and below their band: what they read is always computed a row
 * ahead.
 */
#include "trainer/ops/internal.h"

static int least(int a, int b) {
    return a < b ? a : b;
}

/* How images are cut into bands: of so many rows, or of so many whole images. */
typedef struct cut {
    int n, h, w, rows, images;
} cut;

/* A band: rows first..end-1 of an image, or of several images all rows; and how far what depthwise
 * convolutions read is computed before it and after it. */
typedef struct band {
    int image, images, first, end, before, after;
} band;

static cut cut_of(const trainer_planes *x, int channels) {
    cut c = {.n = x->n, .h = x->h, .w = x->w};
    trainer_band_size(channels, x->n, x->h, x->w, &c.rows, &c.images);
    return c;
}

/* The next one, beginning with {0}; false after the last. */
static bool next_band(const cut *c, band *b) {
    if (b->end == (b->images ? c->h : 0)) {
        int image = b->image + b->images;
        *b = (band){.image = image, .images = least(c->images, c->n - image)};
    }
    b->first = b->end;
    b->before = b->after;
    b->end = least(b->first + c->rows, c->h);
    b->after = least(b->end + 1, c->h);
    return b->images > 0;
}

/* Pixel of the tensor that the row is first of. */
static size_t pixel_at(const cut *c, const band *b, int row) {
    return ((size_t)b->image * (size_t)c->h + (size_t)row) * (size_t)c->w;
}

/* Pixels of so many rows of the band's images. */
static size_t pixels_of(const cut *c, const band *b, int rows) {
    return (size_t)b->images * (size_t)rows * (size_t)c->w;
}

static size_t image_of(const cut *c) {
    return (size_t)c->h * (size_t)c->w;
}

static trainer_rows rows_of(const cut *c, const band *b) {
    return (trainer_rows){b->end - b->first, b->first > 0, b->end < c->h};
}

/* The same channels from pixel `at` on. */
static trainer_planes from_pixel(trainer_planes planes, size_t at) {
    planes.data += at;
    return planes;
}

/* Scratch is handed out front to back. */
static trainer_planes take_rows(real **scratch, int channels, int rows, int w) {
    trainer_planes planes = {*scratch + TRAINER_SLACK,         channels, 1, rows, w,
                             trainer_pitch((size_t)(rows * w))};
    *scratch += (size_t)channels * planes.pitch + TRAINER_SLACK;
    return planes;
}

static ptrdiff_t *take_offsets(real **scratch, const trainer_planes *planes) {
    ptrdiff_t *offset = (ptrdiff_t *)*scratch;
    for (int k = 0; k < planes->channels; k++)
        offset[k] = (ptrdiff_t)((size_t)k * planes->pitch);
    *scratch = (real *)(offset + (planes->channels + 7) / 8 * 8);
    return offset;
}

/* Rows for what is a product's operand. Tiles go on up to the next 16 pixels and channels: zeros stand there.
 */
static trainer_planes take_operand(real **scratch, const trainer_matrix *matrix, int channels, int rows,
                                   int w) {
    int some = (channels + TRAINER_SPLIT - 1) / TRAINER_SPLIT * TRAINER_SPLIT;
    trainer_planes planes = take_rows(scratch, matrix->split ? some : channels, rows, w);
    int first = w % TRAINER_SPLIT ? 0 : channels;
    memset(planes.data + (size_t)first * planes.pitch, 0,
           (size_t)(planes.channels - first) * planes.pitch * sizeof *planes.data);
    planes.channels = channels;
    return planes;
}

/* x as the matrix wants it: itself, or split into `room`. */
static trainer_planes operand_of(const trainer_matrix *matrix, trainer_planes x, size_t pixels,
                                 trainer_planes room) {
    if (!matrix->split)
        return x;
    for (int c = 0; c < x.channels; c++) {
        const real *from = x.data + (size_t)c * x.pitch;
        real *to = room.data + (size_t)c * room.pitch;
        size_t p = 0;
        for (; p + LANES <= pixels; p += LANES)
            store_operand(to + p, load(from + p), 0, true);
        if (p < pixels)
            store_operand(to + p, load(from + p), (int)(pixels - p), true);
    }
    return room;
}

/* y = add + matrix x, for an operand x, on pixels from where the tensors begin. */
static void multiply(const trainer_matrix *matrix, trainer_planes x, const ptrdiff_t *offset,
                     const trainer_planes *add, trainer_planes y, size_t pixels) {
    const real *plus = add ? add->data : NULL;
    size_t pitch = add ? add->pitch : 0;
#if SPLIT
    if (matrix->split) {
        OP(product_operand)(matrix, x.data, x.pitch, plus, pitch, y.data, y.pitch, pixels);
        return;
    }
#endif
    OP(product)(matrix, x.data, offset, plus, pitch, y.data, y.pitch, pixels);
}

/* What a convolution's weights get from its input and the gradient of its output, of which one is an operand.
 */
typedef struct gradients {
    trainer_planes dy, x;
    const ptrdiff_t *offset_dy, *offset_x;
    bool operand_dy;
} gradients;

/* dweight += dy x^T */
static void multiply_weight(const trainer_conv *conv, const gradients *g, size_t pixels, real *dweight) {
    trainer_planes dy = g->dy, x = g->x;
    size_t pitch = (size_t)conv->in;
    if (conv->sparse) {
        OP(dots_alive)(&conv->forward, dy.data, dy.pitch, x.data, g->offset_x, pixels, dweight);
        return;
    }
#if SPLIT
    if (g->operand_dy)
        OP(dots_operand)
    (dy.data, dy.pitch, conv->out, x.data, g->offset_x, conv->in, false, pixels, dweight, pitch);
    else OP(dots_operand)(x.data, x.pitch, conv->in, dy.data, g->offset_dy, conv->out, true, pixels, dweight,
                          pitch);
#else
    OP(dots)(dy.data, dy.pitch, conv->out, x.data, g->offset_x, conv->in, pixels, dweight, pitch);
#endif
}

/* Of planes that go on to two rows behind the band, or from one above it to one behind it: moves the last two
 * to where the next band has its first two. */
static void carry(trainer_planes planes, const band *b) {
    size_t row = (size_t)planes.w;
    for (int c = 0; c < planes.channels; c++, planes.data += planes.pitch)
        memcpy(planes.data, planes.data + (size_t)(b->end - b->first) * row, 2 * row * sizeof *planes.data);
}

/* From x to what the depthwise convolution reads, two rows more than the band. */
typedef struct front {
    const trainer_conv *conv;
    trainer_planes x, room, between;
    ptrdiff_t *offset;
} front;

static front take_front(real **scratch, const trainer_conv *conv, const trainer_planes *x, const cut *c) {
    int rows = c->rows * c->images + 2;
    front f = {.conv = conv, .x = *x};
    f.room = take_operand(scratch, &conv->forward, x->channels, rows, x->w);
    f.between = take_rows(scratch, conv->out, rows, x->w);
    f.offset = take_offsets(scratch, x);
    return f;
}

/* The band's images' rows from..to-1 become between's rows `at` and so on. */
static void run_front(const front *f, const cut *c, const band *b, int from, int to, int at) {
    trainer_planes x = from_pixel(f->x, pixel_at(c, b, from));
    size_t pixels = pixels_of(c, b, to - from);
    if (to > from)
        multiply(&f->conv->forward, operand_of(&f->conv->forward, x, pixels, f->room), f->offset, NULL,
                 from_pixel(f->between, (size_t)(at * c->w)), pixels);
}

/* Channel c of the planes, in image i of the band, from `row` on. */
static real *channel_at(const trainer_planes *planes, const cut *c, int channel, int i, int row) {
    return planes->data + (size_t)channel * planes->pitch + (size_t)i * image_of(c) +
           (size_t)row * (size_t)c->w;
}

void OP(conv_depthwise_forward)(const trainer_conv *conv, const real *weight, trainer_planes x,
                                trainer_planes between, trainer_planes y, real *scratch) {
    const cut cut = cut_of(&x, y.channels);
    front f = take_front(&scratch, conv, &x, &cut);

    (void)between;
    for (band b = {0}; next_band(&cut, &b); carry(f.between, &b)) {
        trainer_planes to = from_pixel(y, pixel_at(&cut, &b, b.first));
        run_front(&f, &cut, &b, b.before, b.after, b.before - b.first + 1);
        for (int c = 0; c < y.channels; c++)
            for (int i = 0; i < b.images; i++)
                OP(depthwise_rows)
        (weight + 9 * c, channel_at(&f.between, &cut, c, i, 1), cut.w, rows_of(&cut, &b),
         channel_at(&to, &cut, c, i, 0));
    }
}

void OP(conv_depthwise_backward)(const trainer_conv *conv, const real *weight, trainer_planes x,
                                 trainer_planes between, trainer_planes dy, trainer_planes dbetween,
                                 trainer_planes dx, real *dconv, real *dweight, real *scratch) {
    const cut cut = cut_of(&x, dy.channels);
    front f = take_front(&scratch, conv, &x, &cut);

    (void)between;
    dbetween = take_operand(&scratch, &conv->backward, dy.channels, cut.rows * cut.images, cut.w);
    ptrdiff_t *offset_d = take_offsets(&scratch, &dbetween);
    for (band b = {0}; next_band(&cut, &b);) {
        size_t at = pixel_at(&cut, &b, b.first), pixels = pixels_of(&cut, &b, b.end - b.first);
        trainer_planes from = from_pixel(dy, at);
        run_front(&f, &cut, &b, b.first, b.end, 0);
        for (int c = 0; c < dy.channels; c++)
            for (int i = 0; i < b.images; i++)
                OP(depthwise_rows_backward)
        (weight + 9 * c, channel_at(&f.between, &cut, c, i, 0), channel_at(&from, &cut, c, i, 0), cut.w,
         rows_of(&cut, &b), channel_at(&dbetween, &cut, c, i, 0), conv->backward.split, dweight + 9 * c);
        gradients g = {dbetween, from_pixel(x, at), NULL, f.offset, true};
        multiply_weight(conv, &g, pixels, dconv);
        multiply(&conv->backward, dbetween, offset_d, NULL, from_pixel(dx, at), pixels);
    }
}

void OP(conv_gate_conv_forward)(const trainer_conv *in, const real *weight, const trainer_conv *out,
                                trainer_planes x, trainer_planes between, trainer_planes hidden,
                                trainer_planes add, trainer_planes y, real *scratch) {
    const cut cut = cut_of(&x, in->out);
    front f = take_front(&scratch, in, &x, &cut);

    (void)between;
    hidden = take_operand(&scratch, &out->forward, out->in, cut.rows * cut.images, cut.w);
    ptrdiff_t *offset_hidden = take_offsets(&scratch, &hidden);
    for (band b = {0}; next_band(&cut, &b); carry(f.between, &b)) {
        size_t at = pixel_at(&cut, &b, b.first);
        trainer_planes plus = from_pixel(add, at);
        run_front(&f, &cut, &b, b.before, b.after, b.before - b.first + 1);
        for (int c = 0; c < hidden.channels; c++)
            for (int i = 0; i < b.images; i++)
                OP(gate_rows)
        (weight + 9 * c, weight + 9 * (c + hidden.channels), channel_at(&f.between, &cut, c, i, 1),
         channel_at(&f.between, &cut, c + hidden.channels, i, 1), cut.w, rows_of(&cut, &b),
         channel_at(&hidden, &cut, c, i, 0), out->forward.split, scratch);
        multiply(&out->forward, hidden, offset_hidden, &plus, from_pixel(y, at),
                 pixels_of(&cut, &b, b.end - b.first));
    }
}

/* The band-sized tensors of the feed-forward's backward; between here goes from the band's first row to two
 * rows behind it. dgate is the gradient of the depthwise convolution's result in one pair of channels of one
 * image, from the row above the band to the row below it; edge keeps the two rows of each channel that the
 * next band needs again. */
typedef struct feed_band {
    front front;
    trainer_planes dy, hidden, dhidden, dgate, edge, dbetween;
    ptrdiff_t *offset_dy, *offset_hidden, *offset_d;
    bool hidden_as_pairs, dbetween_as_pairs;
} feed_band;

static feed_band take_feed_band(real *scratch, const trainer_conv *in, const trainer_conv *out,
                                const trainer_planes *x, const trainer_planes *dy, const cut *c) {
    int rows = c->rows * c->images;
    feed_band f = {.hidden_as_pairs = out->backward.split, .dbetween_as_pairs = in->backward.split};
    f.front = take_front(&scratch, in, x, c);
    f.dy = take_operand(&scratch, &out->backward, dy->channels, rows + 1, x->w);
    f.hidden = take_operand(&scratch, &out->backward, out->in, rows + 1, x->w);
    f.dhidden = take_rows(&scratch, out->in, rows + 1, x->w);
    f.dgate = take_rows(&scratch, 2, c->rows + 2, x->w);
    f.edge = take_rows(&scratch, in->out, 2, x->w);
    f.dbetween = take_operand(&scratch, &in->backward, in->out, rows, x->w);
    f.offset_dy = take_offsets(&scratch, dy);
    f.offset_hidden = take_offsets(&scratch, &f.hidden);
    f.offset_d = take_offsets(&scratch, &f.dbetween);
    return f;
}

/* From dhidden to hidden, for the rows that the band needs and the one before had not, and to dbetween: the
 * channels c and c + hidden's in image i of the band. */
static void gate_band_backward(const feed_band *f, const cut *cut, const band *b, const real *weight, int c,
                               int i, real *dweight) {
    const trainer_planes *between = &f->front.between;
    int second = c + f->hidden.channels, new = b->before - b->first, w = cut->w;
    size_t row = (size_t)w, kept = 2 * row * sizeof(real), last = (size_t)(b->end - b->first) * row;
    trainer_rows rows = {b->after - b->before, b->before > 0, b->after < cut->h};
    real *da = f->dgate.data, *db = da + f->dgate.pitch;
    real *edge_a = f->edge.data + (size_t)c * f->edge.pitch;
    real *edge_b = f->edge.data + (size_t)second * f->edge.pitch;
    size_t at = (size_t)(new + 1) * row;

    memcpy(da, edge_a, kept);
    memcpy(db, edge_b, kept);
    OP(gate_rows_backward)
    (weight + 9 * c, weight + 9 * second, channel_at(between, cut, c, i, new),
     channel_at(between, cut, second, i, new), w, rows, channel_at(&f->dhidden, cut, c, i, 0),
     channel_at(&f->hidden, cut, c, i, 0), f->hidden_as_pairs, da + at, db + at);
    OP(depthwise_rows_backward)
    (weight + 9 * c, channel_at(between, cut, c, i, 0), da + row, w, rows_of(cut, b),
     channel_at(&f->dbetween, cut, c, i, 0), f->dbetween_as_pairs, dweight + 9 * c);
    OP(depthwise_rows_backward)
    (weight + 9 * second, channel_at(between, cut, second, i, 0), db + row, w, rows_of(cut, b),
     channel_at(&f->dbetween, cut, second, i, 0), f->dbetween_as_pairs, dweight + 9 * second);
    memcpy(edge_a, da + last, kept);
    memcpy(edge_b, db + last, kept);
}

void OP(conv_gate_conv_backward)(const trainer_conv *in, const real *weight, const trainer_conv *out,
                                 trainer_planes x, trainer_planes between, trainer_planes dy,
                                 trainer_planes hidden, trainer_planes dhidden, trainer_planes dbetween,
                                 trainer_planes dx, real *din, real *dweight, real *dout, real *scratch) {
    const cut cut = cut_of(&x, in->out);
    feed_band f = take_feed_band(scratch, in, out, &x, &dy, &cut);

    (void)between, (void)hidden, (void)dhidden, (void)dbetween;
    for (band b = {0}; next_band(&cut, &b); carry(f.front.between, &b)) {
        size_t at = pixel_at(&cut, &b, b.first), pixels = pixels_of(&cut, &b, b.after - b.before);
        trainer_planes dnew = from_pixel(dy, pixel_at(&cut, &b, b.before));
        int from = b.first ? least(b.before + 1, cut.h) : 0;
        run_front(&f.front, &cut, &b, from, least(b.after + 1, cut.h), from - b.first);
        multiply(&out->backward, operand_of(&out->backward, dnew, pixels, f.dy), f.offset_dy, NULL, f.dhidden,
                 pixels);
        for (int c = 0; c < f.hidden.channels; c++)
            for (int i = 0; i < b.images; i++)
                gate_band_backward(&f, &cut, &b, weight, c, i, dweight);
        gradients g = {dnew, f.hidden, f.offset_dy, f.offset_hidden, false};
        multiply_weight(out, &g, pixels, dout);

        pixels = pixels_of(&cut, &b, b.end - b.first);
        g = (gradients){f.dbetween, from_pixel(x, at), NULL, f.front.offset, true};
        multiply_weight(in, &g, pixels, din);
        multiply(&in->backward, f.dbetween, f.offset_d, NULL, from_pixel(dx, at), pixels);
    }
}
