/* Every operation's backward against finite differences of its forward, in double precision: the sources are
 * those of the trainer, compiled once more with real = double.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/ops.h"
#include "trainer/random.h"

#ifndef TEST_OPS
#define TEST_OPS trainer_ops_double
#endif
extern const trainer_ops TEST_OPS;

enum { TENSORS = 8, PROBES = 60, SCRATCH = 1 << 20, ARRAYS = 1024 };

static const trainer_ops *const ops = &TEST_OPS;
static trainer_random source;
static real scratch[SCRATCH];
static real *arrays[ARRAYS]; ///< all that random_values() gave
static int array_count;

/* What an operation reads, with the gradient that its backward has given. */
typedef struct tensor {
    real *values, *gradient;
    size_t count;
    trainer_planes planes; ///< if it is no parameter
} tensor;

typedef struct problem problem;
struct problem {
    tensor in[TENSORS];
    int inputs;
    trainer_planes y;
    real *weights; ///< the sum weights * y is what is differentiated
    int heads;
    real *maps, *mean, *mix;
    trainer_conv conv, second;
    trainer_planes between, hidden;
    trainer_prompt prompt;
    void (*forward)(problem *);
};

static real *random_values(size_t count) {
    real *values = calloc(count + 2 * TRAINER_SLACK, sizeof *values);
    assert_true(array_count < ARRAYS);
    arrays[array_count++] = values;
    for (size_t i = 0; i < count + 2 * TRAINER_SLACK; i++)
        values[i] = trainer_random_normal(&source);
    return values + TRAINER_SLACK;
}

static trainer_planes random_planes(int channels, int n, int h, int w) {
    trainer_planes planes = {NULL, channels, n, h, w, trainer_pitch((size_t)(n * h * w))};
    planes.data = random_values((size_t)channels * planes.pitch);
    return planes;
}

static trainer_planes like(trainer_planes planes) {
    return random_planes(planes.channels, planes.n, planes.h, planes.w);
}

/* Adds a parameter, or planes, to what is differentiated; its gradient is zero. */
static tensor *parameter(problem *p, size_t count) {
    tensor *t = &p->in[p->inputs++];
    t->values = random_values(count);
    t->gradient = random_values(count);
    memset(t->gradient, 0, count * sizeof *t->gradient);
    t->count = count;
    return t;
}

static tensor *input(problem *p, int channels, int n, int h, int w) {
    trainer_planes planes = {NULL, channels, n, h, w, trainer_pitch((size_t)(n * h * w))};
    tensor *t = parameter(p, (size_t)channels * planes.pitch);
    planes.data = t->values;
    t->planes = planes;
    return t;
}

static trainer_planes gradient_of(const tensor *t) {
    trainer_planes planes = t->planes;
    planes.data = t->gradient;
    return planes;
}

static real objective(problem *p) {
    real sum = 0;
    p->forward(p);
    for (int c = 0; c < p->y.channels; c++)
        for (size_t i = 0; i < trainer_pixels(&p->y); i++)
            sum += p->y.data[(size_t)c * p->y.pitch + i] * p->weights[(size_t)c * p->y.pitch + i];
    return sum;
}

/* A planes' value that exists: not one of the pitch's. */
static size_t existing(const tensor *t, size_t i) {
    return !t->planes.data
               ? i
               : i / t->planes.pitch * t->planes.pitch + i % t->planes.pitch % trainer_pixels(&t->planes);
}

static void check(problem *p, real tolerance) {
    const real step = 1e-5;
    for (int k = 0; k < p->inputs; k++) {
        const tensor *t = &p->in[k];
        real largest = 0;
        for (size_t i = 0; i < t->count; i++)
            largest = fmax(largest, fabs(t->gradient[existing(t, i)]));
        assert_true(largest > 0);
        for (int probe = 0; probe < PROBES; probe++) {
            size_t i = existing(t, trainer_random_below(&source, t->count));
            real kept = t->values[i];
            t->values[i] = kept + step;
            real above = objective(p);
            t->values[i] = kept - step;
            real below = objective(p);
            t->values[i] = kept;
            real expected = (above - below) / (2 * step);
            if (fabs(expected - t->gradient[i]) > tolerance * largest)
                fail_msg("input %d, value %zu: %.12g, by differences %.12g", k, i, t->gradient[i], expected);
        }
    }
}

static problem begin(trainer_planes y, void (*forward)(problem *)) {
    problem p = {.y = y, .forward = forward};
    p.weights = like(y).data;
    return p;
}

static trainer_planes weights_of(const problem *p) {
    trainer_planes planes = p->y;
    planes.data = p->weights;
    return planes;
}

/* ---- The operations ---------------------------------------------------------------------------------- */

static void conv_forward(problem *p) {
    trainer_conv_values(&p->conv, p->in[0].values);
    ops->conv_forward(&p->conv, p->in[1].planes, &p->in[2].planes, p->y, scratch);
}

/* Where masked, weights are zero and have no gradient. */
static void check_conv(int out, int in, int side, int h, int w, bool masked) {
    masked = masked && !ops->memory; // a device computes all gradients, and drops them afterwards
    problem p = begin(random_planes(out, 2, h, w), conv_forward);
    size_t count = (size_t)(out * in * side * side);
    tensor *weight = parameter(&p, count), *x = input(&p, in, 2, h, w), *add = input(&p, out, 2, h, w);
    uint8_t *mask = malloc(count);
    trainer_planes d = weights_of(&p);

    for (size_t i = 0; i < count; i++)
        mask[i] = !masked || trainer_random_below(&source, 4) == 0;
    assert_int_equal(trainer_conv_structure(&p.conv, out, in, side, masked ? mask : NULL, 0.9, false, NULL),
                     MIRL_OK);
    assert_int_equal(p.conv.sparse, masked);
    trainer_conv_values(&p.conv, weight->values);
    ops->conv_backward_weight(&p.conv, x->planes, d, weight->gradient, scratch);
    ops->conv_backward_input(&p.conv, d, NULL, gradient_of(x), scratch);
    memcpy(add->gradient, p.weights, add->count * sizeof *add->gradient);
    check(&p, 1e-7);
    for (size_t i = 0; i < count; i++)
        assert_true(mask[i] || weight->gradient[i] == 0);
    free(mask);
    trainer_conv_free(&p.conv);
}

static void convolutions(void **state) {
    (void)state;
    check_conv(11, 13, 1, 5, 7, false);
    check_conv(16, 8, 1, 8, 8, false);
    check_conv(11, 13, 1, 6, 12, true);
    check_conv(3, 5, 3, 5, 7, false);
    check_conv(9, 4, 3, 8, 8, true);
}

static void depthwise_forward(problem *p) {
    ops->depthwise_forward(p->in[0].values, p->in[1].planes, p->y);
}

static void depthwise(void **state) {
    (void)state;
    static const int sizes[][2] = {{5, 7}, {8, 8}, {3, 17}, {1, 1}, {4, 2}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        problem p = begin(random_planes(3, 2, sizes[i][0], sizes[i][1]), depthwise_forward);
        tensor *weight = parameter(&p, 27), *x = input(&p, 3, 2, sizes[i][0], sizes[i][1]);
        ops->depthwise_backward(weight->values, x->planes, weights_of(&p), gradient_of(x), weight->gradient,
                                scratch);
        check(&p, 1e-7);
    }
}

static void gate_forward(problem *p) {
    ops->gate_forward(p->in[0].values, p->in[1].planes, p->y, scratch);
}

static void gate(void **state) {
    (void)state;
    problem p = begin(random_planes(3, 2, 5, 9), gate_forward);
    tensor *weight = parameter(&p, 54), *x = input(&p, 6, 2, 5, 9);
    trainer_planes again = like(p.y);
    ops->gate_backward(weight->values, x->planes, weights_of(&p), again, gradient_of(x), weight->gradient,
                       scratch);
    check(&p, 1e-7);
    gate_forward(&p);
    for (int c = 0; c < 3; c++)
        for (size_t i = 0; i < trainer_pixels(&again); i++)
            assert_true(again.data[(size_t)c * again.pitch + i] == p.y.data[(size_t)c * p.y.pitch + i]);
}

static void dense(trainer_conv *conv, int out, int in) {
    assert_int_equal(trainer_conv_structure(conv, out, in, 1, NULL, 0, false, NULL), MIRL_OK);
}

static void conv_depthwise_forward(problem *p) {
    trainer_conv_values(&p->conv, p->in[0].values);
    ops->conv_depthwise_forward(&p->conv, p->in[1].values, p->in[2].planes, p->between, p->y, scratch);
}

/* Shapes of chains: channels before and between, images and their size. The first are cut into bands of rows,
 * the others are several to a band. */
static const struct {
    int in, between, n, h, w;
} chain_shapes[] = {{1, 420, 2, 24, 40}, {3, 6, 3, 5, 7}, {4, 8, 1, 8, 8}};

static void conv_depthwise(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof chain_shapes / sizeof *chain_shapes; i++) {
        int in = chain_shapes[i].in, out = chain_shapes[i].between;
        int n = chain_shapes[i].n, h = chain_shapes[i].h, w = chain_shapes[i].w;
        problem p = begin(random_planes(out, n, h, w), conv_depthwise_forward);
        tensor *conv = parameter(&p, (size_t)(out * in)), *weight = parameter(&p, (size_t)(9 * out));
        tensor *x = input(&p, in, n, h, w);
        trainer_planes between = p.between = like(p.y);
        dense(&p.conv, out, in);
        conv_depthwise_forward(&p);
        ops->conv_depthwise_backward(&p.conv, weight->values, x->planes, between, weights_of(&p), like(p.y),
                                     gradient_of(x), conv->gradient, weight->gradient, scratch);
        check(&p, 1e-7);
        trainer_conv_free(&p.conv);
    }
}

static void feed_forward(problem *p) {
    trainer_conv_values(&p->conv, p->in[0].values);
    trainer_conv_values(&p->second, p->in[2].values);
    ops->conv_gate_conv_forward(&p->conv, p->in[1].values, &p->second, p->in[3].planes, p->between, p->hidden,
                                p->in[3].planes, p->y, scratch);
}

/* Its input is also what is added to its result. */
static void conv_gate_conv(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof chain_shapes / sizeof *chain_shapes; i++) {
        int in = chain_shapes[i].in, wide = chain_shapes[i].between;
        int n = chain_shapes[i].n, h = chain_shapes[i].h, w = chain_shapes[i].w;
        problem p = begin(random_planes(in, n, h, w), feed_forward);
        tensor *first = parameter(&p, (size_t)(wide * in)), *weight = parameter(&p, (size_t)(9 * wide));
        tensor *second = parameter(&p, (size_t)(in * wide / 2)), *x = input(&p, in, n, h, w);
        trainer_planes dx = gradient_of(x), dy = weights_of(&p);
        p.between = random_planes(wide, n, h, w);
        p.hidden = random_planes(wide / 2, n, h, w);
        dense(&p.conv, wide, in);
        dense(&p.second, in, wide / 2);
        feed_forward(&p);
        ops->conv_gate_conv_backward(&p.conv, weight->values, &p.second, x->planes, p.between, dy, p.hidden,
                                     like(p.hidden), like(p.between), dx, first->gradient, weight->gradient,
                                     second->gradient, scratch);
        for (int c = 0; c < in; c++)
            for (size_t k = 0; k < trainer_pixels(&dx); k++)
                dx.data[(size_t)c * dx.pitch + k] += dy.data[(size_t)c * dy.pitch + k];
        check(&p, 1e-7);
        trainer_conv_free(&p.conv);
        trainer_conv_free(&p.second);
    }
}

static void norm_forward(problem *p) {
    ops->norm_forward(p->in[0].values, p->in[1].values, p->in[2].planes, p->y);
}

static void norm(void **state) {
    (void)state;
    problem p = begin(random_planes(7, 2, 5, 9), norm_forward);
    tensor *weight = parameter(&p, 7), *bias = parameter(&p, 7), *x = input(&p, 7, 2, 5, 9);
    ops->norm_backward(weight->values, x->planes, weights_of(&p), gradient_of(x), weight->gradient,
                       bias->gradient, scratch);
    check(&p, 1e-7);
}

static void attention_forward(problem *p) {
    ops->attention_forward(p->in[0].values, p->heads, p->in[1].planes, p->maps, p->y, scratch);
}

static void attention(void **state) {
    (void)state;
    for (int heads = 1; heads <= 3; heads++) {
        int channels = heads * 5;
        problem p = begin(random_planes(channels, 2, 5, 7), attention_forward);
        tensor *temperature = parameter(&p, (size_t)heads), *qkv = input(&p, 3 * channels, 2, 5, 7);
        p.heads = heads;
        p.maps = random_values((size_t)(2 * heads * (2 * 25 + 10)));
        attention_forward(&p);
        ops->attention_backward(temperature->values, heads, qkv->planes, p.maps, weights_of(&p),
                                gradient_of(qkv), temperature->gradient, scratch);
        check(&p, 1e-7);
    }
}

static void prompt_forward(problem *p) {
    ops->prompt_forward(&p->prompt, p->in[3].planes, p->mean, p->mix, p->y, scratch);
}

static void prompt(void **state) {
    (void)state;
    for (int size = 3; size <= 9; size += 3) {
        problem p = begin(random_planes(4, 2, 6, 5), prompt_forward);
        size_t values = (size_t)(3 * 4 * size * size);
        tensor *param = parameter(&p, values), *linear = parameter(&p, 3 * 6), *bias = parameter(&p, 3);
        tensor *x = input(&p, 6, 2, 6, 5);
        p.prompt = (trainer_prompt){6, 4, size, 3, param->values, linear->values, bias->values};
        p.mean = random_values(2 * 6);
        p.mix = random_values(2 * 3);
        prompt_forward(&p);
        ops->prompt_backward(&p.prompt, p.mean, p.mix, weights_of(&p), gradient_of(x), param->gradient,
                             linear->gradient, bias->gradient, scratch);
        check(&p, 1e-7);
    }
}

static void shuffle_forward(problem *p) {
    ops->shuffle(p->in[0].planes, p->y);
}

static void unshuffle_forward(problem *p) {
    ops->unshuffle(p->in[0].planes, p->y);
}

static void shuffles(void **state) {
    (void)state;
    problem up = begin(random_planes(3, 2, 6, 10), shuffle_forward);
    tensor *narrow = input(&up, 12, 2, 3, 5);
    ops->unshuffle(weights_of(&up), gradient_of(narrow));
    check(&up, 1e-9);
    problem down = begin(random_planes(12, 2, 3, 5), unshuffle_forward);
    tensor *wide = input(&down, 3, 2, 6, 10);
    ops->shuffle(weights_of(&down), gradient_of(wide));
    check(&down, 1e-9);
}

static real loss_of(trainer_planes y, trainer_planes target, real scale, trainer_planes dy) {
    double sum = 0;
    ops->loss(y, target, scale, dy, &sum, scratch);
    return sum;
}

static void loss(void **state) {
    (void)state;
    trainer_planes y = random_planes(3, 2, 4, 5), target = like(y), dy = like(y), ignored = like(y);
    real start = loss_of(y, target, 0.5, dy);
    for (int c = 0; c < 3; c++)
        for (size_t i = 0; i < trainer_pixels(&y); i++) {
            real *value = &y.data[(size_t)c * y.pitch + i];
            *value += 1e-6;
            real change = (loss_of(y, target, 0, ignored) - start) / 1e-6;
            *value -= 1e-6;
            assert_float_equal(0.5 * change, dy.data[(size_t)c * y.pitch + i], 1e-6);
        }
}

static int seed(void **state) {
    (void)state;
    source = trainer_random_stream(11, 0, 0);
    return 0;
}

static int free_arrays(void **state) {
    (void)state;
    while (array_count > 0)
        free(arrays[--array_count]);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions),   cmocka_unit_test(depthwise),      cmocka_unit_test(gate),
        cmocka_unit_test(conv_depthwise), cmocka_unit_test(conv_gate_conv), cmocka_unit_test(norm),
        cmocka_unit_test(attention),      cmocka_unit_test(prompt),         cmocka_unit_test(shuffles),
        cmocka_unit_test(loss),
    };
    return cmocka_run_group_tests(tests, seed, free_arrays);
}
