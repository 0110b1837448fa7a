/* 1x1 and 3x3 convolutions as matrix products. Planes are the columns of a matrix [pixels x channels] for
 * cuBLAS, and a layer's tensor [out][in] that of a matrix [in x out]; so Y = X W^T reads (pixels x in) times
 * (in x out). A 3x3 convolution is a 1x1 one of 9 times as many channels, its input's pixels and their
 * neighbours (`patches`).
 */

/* The same as load_window() for an image of reals. */
DEVICE void load_exact_window(const trainer_planes *x, const strip *s, window *to) {
    const real *image = x->data + s->channel * x->pitch + (size_t)s->image * (uint32_t)(x->h * x->w);
    UNROLLED
    for (int i = 0; i < WINDOW_ROWS; i++) {
        UNROLLED
        for (int j = 0; j < WINDOW_COLUMNS; j++) {
            int row = s->first - 1 + i, column = s->column - 1 + j;
            bool inside = row >= 0 && row < x->h && column >= 0 && column < x->w;
            to->at[i][j] = inside ? image[(size_t)row * (uint32_t)x->w + (uint32_t)column] : 0;
        }
    }
}

KERNEL_OF_RUNS(patches_kernel, trainer_planes x, bool exact, trainer_planes patches) {
    FOR_LANES {
        strip s, to;
        if (!lane_strip(&x, BLOCK, lane, &s))
            continue;
        to = s;
        window from;
        if (exact)
            load_exact_window(&x, &s, &from);
        else
            load_window(&x, &s, 0, PACKED, &from);
        to.channel = 9 * s.channel;
        UNROLLED
        for (int i = 0; i < STRIP; i++) {
            UNROLLED
            for (int t = 0; t < 9; t++) {
                run values;
                UNROLLED
                for (int j = 0; j < RUN; j++)
                    values.at[j] = from.at[i + t / 3][j + t % 3];
                store_row(&patches, &to, strip_at(&patches, &to, (uint32_t)t), i, &values, PACKED);
            }
        }
    }
}

/* [in][out][9] from [out][in][9], each kernel turned by half a turn */
KERNEL(turn_kernel, const real *weight, uint32_t out, uint32_t in, store *turned) {
    FOR_LANES {
        uint32_t v = BLOCK * LANES + (uint32_t)lane, tap = v % 9, o = v / 9 % out, i = v / (9 * out);
        if (i < in)
            put(turned + v, weight[(o * (size_t)in + i) * 9 + 8 - tap]);
    }
}

#ifdef DEVICE_BF16

KERNEL(store_kernel, const real *values, uint32_t count, store *stored) {
    FOR_LANES {
        uint32_t i = BLOCK * LANES + (uint32_t)lane;
        if (i < count)
            put(stored + i, values[i]);
    }
}

/* Parameters as stores, in the room given, where that is another type. */
static const store *store_values(const real *values, size_t count, real *room) {
    LAUNCH(store_kernel, blocks_of(count), values, (uint32_t)count, (store *)room);
    return (const store *)room;
}

#else

static const store *store_values(const real *values, size_t count, real *room) {
    (void)count, (void)room;
    return values;
}

#endif

/* y[rows] = add + weight x[columns], for weights as cuBLAS's second operand; exact: y and add are of reals */
static void multiply_planes(const store *weight, bool transposed, trainer_planes x, const trainer_planes *add,
                            trainer_planes y, bool exact) {
    product p = {0};
    p.transpose_b = transposed;
    p.m = (int)trainer_pixels(&x);
    p.n = y.channels;
    p.k = x.channels;
    p.a.data = x.data;
    p.a.ld = STORES * x.pitch;
    p.b.data = weight;
    p.b.ld = (size_t)(transposed ? y.channels : x.channels);
    p.beta = add ? 1 : 0;
    p.c.data = y.data;
    p.c.ld = exact ? y.pitch : STORES * y.pitch;
    p.exact = exact;
    p.count = p.groups = 1;
    if (add && add->data != y.data)
        copy_planes(*add, y, exact);
    multiply(p);
}

static trainer_planes make_patches(trainer_planes x, bool exact, real *memory) {
    trainer_planes patches = planes_in(x, 9 * x.channels, memory);
    LAUNCH_RUNS(patches_kernel, is_packed(&x) && is_packed(&patches), strip_blocks(&x, x.channels), x, exact,
                patches);
    return patches;
}

static size_t weight_count(const trainer_conv *conv) {
    return (size_t)conv->out * (size_t)conv->in * (size_t)(conv->side * conv->side);
}

/* The room that the layer's weights take in scratch, before the patches. */
static size_t weight_room(const trainer_conv *conv) {
    return (weight_count(conv) + 15) / 16 * 16;
}

static size_t convolution_scratch(size_t in, size_t out, size_t pixels) {
    size_t channels = in > out ? in : out;
    return 9 * channels * pitch_in(pixels) + 9 * in * out + 16;
}

static void device_conv_forward(const trainer_conv *conv, trainer_planes x, const trainer_planes *add,
                                trainer_planes y, real *scratch) {
    const store *weight = store_values(conv->weight, weight_count(conv), scratch);
    if (conv->side == 3)
        x = make_patches(x, conv->from_image, scratch + weight_room(conv));
    multiply_planes(weight, false, x, add, y, conv->to_image);
}

static void device_conv_backward_input(const trainer_conv *conv, trainer_planes dy, const trainer_planes *add,
                                       trainer_planes dx, real *scratch) {
    size_t count = weight_count(conv);
    if (conv->side == 1) {
        multiply_planes(store_values(conv->weight, count, scratch), true, dy, add, dx, false);
        return;
    }
    store *turned = (store *)scratch;
    LAUNCH(turn_kernel, blocks_of(count), conv->weight, (uint32_t)conv->out, (uint32_t)conv->in, turned);
    multiply_planes(turned, false, make_patches(dy, false, scratch + weight_room(conv)), add, dx, false);
}

/* dW^T [in x out] += X^T dY: all weights, also those that a mask holds at zero, whose gradients AdamW drops
 */
static void device_conv_backward_weight(const trainer_conv *conv, trainer_planes x, trainer_planes dy,
                                        real *dweight, real *scratch) {
    product p = {0};
    if (conv->side == 3)
        x = make_patches(x, conv->from_image, scratch);
    p.transpose_a = true;
    p.m = x.channels;
    p.n = dy.channels;
    p.k = (int)trainer_pixels(&x);
    p.a.data = x.data;
    p.a.ld = STORES * x.pitch;
    p.b.data = dy.data;
    p.b.ld = STORES * dy.pitch;
    p.beta = 1;
    p.c.data = dweight;
    p.c.ld = (size_t)x.channels;
    p.exact = true;
    p.count = p.groups = 1;
    multiply(p);
}

/* ---- Convolutions in a row --------------------------------------------------------------------------- */

static void device_conv_depthwise_forward(const trainer_conv *conv, const real *weight, trainer_planes x,
                                          trainer_planes between, trainer_planes y, real *scratch) {
    device_conv_forward(conv, x, NULL, between, scratch);
    device_depthwise_forward(weight, between, y);
}

static void device_conv_gate_conv_forward(const trainer_conv *in, const real *weight, const trainer_conv *out,
                                          trainer_planes x, trainer_planes between, trainer_planes hidden,
                                          trainer_planes add, trainer_planes y, real *scratch) {
    device_conv_forward(in, x, NULL, between, scratch);
    device_gate_forward(weight, between, hidden, scratch);
    device_conv_forward(out, hidden, &add, y, scratch);
}

static void device_conv_depthwise_backward(const trainer_conv *conv, const real *weight, trainer_planes x,
                                           trainer_planes between, trainer_planes dy, trainer_planes dbetween,
                                           trainer_planes dx, real *dconv, real *dweight, real *scratch) {
    device_depthwise_backward(weight, between, dy, dbetween, dweight, scratch);
    device_conv_backward_weight(conv, x, dbetween, dconv, scratch);
    device_conv_backward_input(conv, dbetween, NULL, dx, scratch);
}

static void device_conv_gate_conv_backward(const trainer_conv *in, const real *weight,
                                           const trainer_conv *out, trainer_planes x, trainer_planes between,
                                           trainer_planes dy, trainer_planes hidden, trainer_planes dhidden,
                                           trainer_planes dbetween, trainer_planes dx, real *din,
                                           real *dweight, real *dout, real *scratch) {
    device_conv_backward_input(out, dy, NULL, dhidden, scratch);
    device_gate_backward(weight, between, dhidden, hidden, dbetween, dweight, scratch);
    device_conv_backward_weight(out, hidden, dy, dout, scratch);
    device_conv_backward_weight(in, x, dbetween, din, scratch);
    device_conv_backward_input(in, dbetween, NULL, dx, scratch);
}
