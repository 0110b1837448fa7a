/* A device's operations against the processor's plain ones, on sizes that take many blocks and partial sums;
 * the golden gradients, AdamW and masks through the team that drives a device; and a run that changes from
 * one to the other. usage: test-trainer-device twin|twin-reversed|twin-bf16|cuda|cuda-bf16; 77: there is no
 * such device, and why.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "golden.h"
#include "network/model.h"
#include "scenes.h"
#include "trainer/device/device.h"
#include "trainer/device/restorer.h"
#include "trainer/pass.h"
#include "trainer/random.h"
#include "trainer/rounds.h"
#include "trainer/team.h"
#include "weights/weights.h"

enum { ARRAYS = 64, SKIPPED = 77, SAMPLES = 2, SIDE = 32 };

static const trainer_ops *device, *plain;
static const trainer_memory *memory;
static bool bf16;               ///< the device's planes are of halves (device/kernel.h)
static double tolerance = 1e-5; ///< of the largest value
static trainer_random source;

/** The same values for both. */
typedef struct array {
    float *host, *there;
    size_t count;
} array;

static array arrays[ARRAYS];
static int array_count;

static float *upload(const float *values, size_t count) {
    float *there = memory->allocate(count * sizeof *values);
    assert_non_null(there);
    memory->upload(there, values, count * sizeof *values);
    return there;
}

static array *new_array(size_t count, bool output) {
    assert_true(array_count < ARRAYS);
    array *a = &arrays[array_count++];
    a->count = count;
    a->host = malloc((count + 2 * TRAINER_SLACK) * sizeof *a->host);
    for (size_t i = 0; i < count + 2 * TRAINER_SLACK; i++)
        a->host[i] = output ? NAN : (float)trainer_random_normal(&source);
    a->there = upload(a->host, count + 2 * TRAINER_SLACK);
    a->host += TRAINER_SLACK;
    a->there += TRAINER_SLACK;
    return a;
}

static void free_arrays(void) {
    mirl_error error;
    if (memory->status(&error))
        fail_msg("%s", error.message);
    while (array_count > 0) {
        array *a = &arrays[--array_count];
        free(a->host - TRAINER_SLACK);
        memory->release(a->there - TRAINER_SLACK);
    }
}

/** Planes for both. */
typedef struct pair {
    trainer_planes host, there;
    array *values;
    bool exact; ///< of floats on the device in any case
} pair;

/* The upper half of a float, rounded to even. */
static uint16_t half_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return isnan(value) ? 0x7fc0 : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float whole_of(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Both get the values that halves can hold. */
static void round_planes(pair *p) {
    size_t pitch = p->host.pitch;
    uint16_t *halves = malloc(p->values->count * sizeof(float));
    for (size_t i = 0; i < p->values->count; i++) {
        halves[i / pitch * 2 * pitch + i % pitch] = half_of(p->host.data[i]);
        p->host.data[i] = whole_of(half_of(p->host.data[i]));
    }
    memory->upload(p->there.data, halves, p->values->count * sizeof(float));
    free(halves);
}

static pair planes(int channels, int n, int h, int w, bool output, bool exact) {
    trainer_planes shape = {NULL, channels, n, h, w, trainer_pitch((size_t)(n * h * w))};
    pair p = {shape, shape, new_array((size_t)channels * shape.pitch, output), exact || !bf16};
    p.host.data = p.values->host;
    p.there.data = p.values->there;
    if (!p.exact)
        round_planes(&p);
    return p;
}

static pair in(int channels, int n, int h, int w) {
    return planes(channels, n, h, w, false, false);
}

static pair out(int channels, int n, int h, int w) {
    return planes(channels, n, h, w, true, false);
}

static void check_values(const char *what, const float *expected, const float *values, size_t count) {
    double largest = 0, worst = 0;
    for (size_t i = 0; i < count; i++) {
        assert_true(isfinite(expected[i]));
        largest = fmax(largest, fabs(expected[i]));
        worst = isfinite(values[i]) ? fmax(worst, fabs((double)expected[i] - values[i])) : INFINITY;
    }
    assert_true(largest > 0);
    if (!(worst <= tolerance * largest))
        fail_msg("%s: off by %g of the largest, %g", what, worst / largest, largest);
}

static void check_array(const char *what, const array *a) {
    float *values = malloc(a->count * sizeof *values);
    memory->download(values, a->there, a->count * sizeof *values);
    check_values(what, a->host, values, a->count);
    free(values);
}

static void check_planes(const char *what, const pair *p) {
    size_t pixels = trainer_pixels(&p->host), channels = (size_t)p->host.channels, pitch = p->host.pitch;
    float *there = malloc(p->values->count * sizeof *there);
    float *values = malloc(2 * channels * pixels * sizeof *values), *expected = values + channels * pixels;
    memory->download(there, p->there.data, p->values->count * sizeof *there);
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < pixels; i++) {
            uint16_t half = ((const uint16_t *)(there + c * pitch))[i];
            expected[c * pixels + i] = p->host.data[c * pitch + i];
            values[c * pixels + i] = p->exact ? there[c * pitch + i] : whole_of(half);
        }
    check_values(what, expected, values, channels * pixels);
    free(there);
    free(values);
}

/* Scratch for both, filled with what is no number. */
static array *scratch(void) {
    return new_array((size_t)1 << 22, true);
}

typedef struct size {
    int n, h, w;
} size;

static const size sizes[] = {{3, 40, 56}, {2, 5, 7}, {1, 8, 1}, {2, 64, 64}};
#define FOR_SIZES for (const size *s = sizes; s < sizes + sizeof sizes / sizeof *sizes; s++)

/* ---- Operations -------------------------------------------------------------------------------------- */

static void check_conv(int rows, int columns, int side, const size *s) {
    size_t count = (size_t)(rows * columns * side * side);
    array *weight = new_array(count, false), *dweight = new_array(count, false), *room = scratch();
    pair x = in(columns, s->n, s->h, s->w), dy = in(rows, s->n, s->h, s->w), add = in(rows, s->n, s->h, s->w);
    pair y = out(rows, s->n, s->h, s->w), dx = out(columns, s->n, s->h, s->w);
    trainer_conv conv = {0}, there = {.out = rows, .in = columns, .side = side, .weight = weight->there};
    assert_int_equal(trainer_conv_structure(&conv, rows, columns, side, NULL, 0, plain->split, NULL),
                     MIRL_OK);
    trainer_conv_values(&conv, weight->host);

    plain->conv_forward(&conv, x.host, &add.host, y.host, room->host);
    device->conv_forward(&there, x.there, &add.there, y.there, room->there);
    check_planes("conv_forward", &y);
    plain->conv_forward(&conv, x.host, &y.host, y.host, room->host);
    device->conv_forward(&there, x.there, &y.there, y.there, room->there);
    check_planes("conv_forward in place", &y);
    plain->conv_forward(&conv, x.host, NULL, y.host, room->host);
    device->conv_forward(&there, x.there, NULL, y.there, room->there);
    check_planes("conv_forward alone", &y);
    plain->conv_backward_input(&conv, dy.host, NULL, dx.host, room->host);
    device->conv_backward_input(&there, dy.there, NULL, dx.there, room->there);
    check_planes("conv_backward_input", &dx);
    plain->conv_backward_weight(&conv, x.host, dy.host, dweight->host, room->host);
    device->conv_backward_weight(&there, x.there, dy.there, dweight->there, room->there);
    check_array("conv_backward_weight", dweight);
    trainer_conv_free(&conv);
    free_arrays();
}

static void convolutions(void **state) {
    (void)state;
    FOR_SIZES {
        check_conv(24, 16, 1, s);
        check_conv(19, 13, 1, s);
        check_conv(5, 8, 3, s);
        check_conv(3, 4, 3, s);
    }
}

static void depthwise(void **state) {
    (void)state;
    FOR_SIZES {
        array *weight = new_array(9 * 5, false), *dweight = new_array(9 * 5, false), *room = scratch();
        pair x = in(5, s->n, s->h, s->w), dy = in(5, s->n, s->h, s->w);
        pair y = out(5, s->n, s->h, s->w), dx = out(5, s->n, s->h, s->w);
        plain->depthwise_forward(weight->host, x.host, y.host);
        device->depthwise_forward(weight->there, x.there, y.there);
        check_planes("depthwise_forward", &y);
        plain->depthwise_backward(weight->host, x.host, dy.host, dx.host, dweight->host, room->host);
        device->depthwise_backward(weight->there, x.there, dy.there, dx.there, dweight->there, room->there);
        check_planes("depthwise_backward, input", &dx);
        check_array("depthwise_backward, weight", dweight);
        free_arrays();
    }
}

static void gate(void **state) {
    (void)state;
    FOR_SIZES {
        array *weight = new_array(9 * 10, false), *dweight = new_array(9 * 10, false), *room = scratch();
        pair x = in(10, s->n, s->h, s->w), dy = in(5, s->n, s->h, s->w);
        pair y = out(5, s->n, s->h, s->w), again = out(5, s->n, s->h, s->w), dx = out(10, s->n, s->h, s->w);
        plain->gate_forward(weight->host, x.host, y.host, room->host);
        device->gate_forward(weight->there, x.there, y.there, room->there);
        check_planes("gate_forward", &y);
        plain->gate_backward(weight->host, x.host, dy.host, again.host, dx.host, dweight->host, room->host);
        device->gate_backward(weight->there, x.there, dy.there, again.there, dx.there, dweight->there,
                              room->there);
        check_planes("gate_backward, result", &again);
        check_planes("gate_backward, input", &dx);
        check_array("gate_backward, weight", dweight);
        free_arrays();
    }
}

static void norm(void **state) {
    (void)state;
    FOR_SIZES {
        array *weight = new_array(21, false), *bias = new_array(21, false), *room = scratch();
        array *dweight = new_array(21, false), *dbias = new_array(21, false);
        pair x = in(21, s->n, s->h, s->w), dy = in(21, s->n, s->h, s->w);
        pair y = out(21, s->n, s->h, s->w), dx = in(21, s->n, s->h, s->w);
        plain->norm_forward(weight->host, bias->host, x.host, y.host);
        device->norm_forward(weight->there, bias->there, x.there, y.there);
        check_planes("norm_forward", &y);
        plain->norm_backward(weight->host, x.host, dy.host, dx.host, dweight->host, dbias->host, room->host);
        device->norm_backward(weight->there, x.there, dy.there, dx.there, dweight->there, dbias->there,
                              room->there);
        check_planes("norm_backward, input", &dx);
        check_array("norm_backward, weight", dweight);
        check_array("norm_backward, bias", dbias);
        free_arrays();
    }
}

static void check_attention(int heads, int d, const size *s) {
    int channels = heads * d;
    array *temperature = new_array((size_t)heads, false), *dtemperature = new_array((size_t)heads, false);
    array *room = scratch(), *maps = new_array((size_t)(s->n * heads * (2 * d * d + 2 * d)), true);
    pair qkv = in(3 * channels, s->n, s->h, s->w), dy = in(channels, s->n, s->h, s->w);
    pair y = out(channels, s->n, s->h, s->w), dqkv = out(3 * channels, s->n, s->h, s->w);
    plain->attention_forward(temperature->host, heads, qkv.host, maps->host, y.host, room->host);
    device->attention_forward(temperature->there, heads, qkv.there, maps->there, y.there, room->there);
    check_planes("attention_forward", &y);
    check_array("attention_forward, maps", maps);
    plain->attention_backward(temperature->host, heads, qkv.host, maps->host, dy.host, dqkv.host,
                              dtemperature->host, room->host);
    device->attention_backward(temperature->there, heads, qkv.there, maps->there, dy.there, dqkv.there,
                               dtemperature->there, room->there);
    check_planes("attention_backward, input", &dqkv);
    check_array("attention_backward, temperature", dtemperature);
    free_arrays();
}

static void attention(void **state) {
    (void)state;
    FOR_SIZES {
        check_attention(1, 16, s);
        check_attention(4, 5, s);
    }
}

static void prompt(void **state) {
    (void)state;
    for (int side = 4; side <= 64; side *= 4) {
        const int features = 40, channels = 3, length = 5, n = 3, h = 24, w = 16;
        size_t values = (size_t)(channels * side * side);
        array *param = new_array(5 * values, false), *dparam = new_array(5 * values, false),
              *room = scratch();
        array *linear = new_array(5 * 40, false), *dlinear = new_array(5 * 40, false);
        array *bias = new_array(5, false), *dbias = new_array(5, false);
        array *mean = new_array(3 * 40, true), *mix = new_array(3 * 5, true);
        pair x = in(features, n, h, w), picture = out(channels, n, h, w), dpicture = in(channels, n, h, w);
        pair dx = in(features, n, h, w);
        trainer_prompt host = {features, channels, side, length, param->host, linear->host, bias->host};
        trainer_prompt there = {features, channels, side, length, param->there, linear->there, bias->there};
        plain->prompt_forward(&host, x.host, mean->host, mix->host, picture.host, room->host);
        device->prompt_forward(&there, x.there, mean->there, mix->there, picture.there, room->there);
        check_array("prompt_forward, mean", mean);
        check_array("prompt_forward, mix", mix);
        check_planes("prompt_forward", &picture);
        plain->prompt_backward(&host, mean->host, mix->host, dpicture.host, dx.host, dparam->host,
                               dlinear->host, dbias->host, room->host);
        device->prompt_backward(&there, mean->there, mix->there, dpicture.there, dx.there, dparam->there,
                                dlinear->there, dbias->there, room->there);
        check_planes("prompt_backward, input", &dx);
        check_array("prompt_backward, param", dparam);
        check_array("prompt_backward, linear", dlinear);
        check_array("prompt_backward, bias", dbias);
        free_arrays();
    }
}

static void pixels(void **state) {
    (void)state;
    FOR_SIZES {
        size_t count = (size_t)(3 * s->n * s->h * s->w);
        array *images = new_array(count, false), *back = new_array(count, true), *room = scratch();
        pair packed = planes(3, s->n, s->h, s->w, true, true),
             target = planes(3, s->n, s->h, s->w, false, true);
        pair dy = out(3, s->n, s->h, s->w), narrow = in(8, s->n, s->h, s->w);
        pair wide = out(2, s->n, 2 * s->h, 2 * s->w), again = out(8, s->n, s->h, s->w);
        double expected = 3, sum = 3, *there = memory->allocate(sizeof sum);
        plain->pack(images->host, packed.host);
        device->pack(images->there, packed.there);
        check_planes("pack", &packed);
        plain->unpack(packed.host, back->host);
        device->unpack(packed.there, back->there);
        check_array("unpack", back);
        plain->shuffle(narrow.host, wide.host);
        device->shuffle(narrow.there, wide.there);
        check_planes("shuffle", &wide);
        plain->unshuffle(wide.host, again.host);
        device->unshuffle(wide.there, again.there);
        check_planes("unshuffle", &again);
        memory->upload(there, &sum, sizeof sum);
        plain->loss(packed.host, target.host, 0.25f, dy.host, &expected, room->host);
        device->loss(packed.there, target.there, 0.25f, dy.there, there, room->there);
        memory->download(&sum, there, sizeof sum);
        assert_float_equal(sum, expected, 1e-9 * expected);
        check_planes("loss", &dy);
        memory->release(there);
        free_arrays();
    }
}

static void adamw(void **state) {
    (void)state;
    const size_t count = 1000;
    array *values = new_array(count, false), *gradient = new_array(count, false);
    array *moment1 = new_array(count, false), *moment2 = new_array(count, false);
    uint8_t mask[1000], *mask_there = memory->allocate(sizeof mask);
    for (size_t i = 0; i < count; i++) {
        mask[i] = (uint8_t)trainer_random_below(&source, 2);
        moment2->host[i] *= moment2->host[i];
    }
    memory->upload(moment2->there, moment2->host, count * sizeof *moment2->host);
    memory->upload(mask_there, mask, sizeof mask);
    for (uint64_t step = 1; step < 4; step++) {
        trainer_adamw settings = {1e-2, 0.9, 0.999, 1e-8, 0.01, step};
        trainer_adamw_factors factors = trainer_adamw_factors_of(&settings);
        trainer_adamw_factors *there = memory->allocate(sizeof factors);
        memory->upload(there, &factors, sizeof factors);
        plain->adamw(&factors, count, values->host, gradient->host, moment1->host, moment2->host, mask);
        device->adamw(there, count, values->there, gradient->there, moment1->there, moment2->there,
                      mask_there);
        check_array("adamw, values", values);
        check_array("adamw, moment 1", moment1);
        check_array("adamw, moment 2", moment2);
        memory->release(there);
    }
    memory->release(mask_there);
    free_arrays();
}

/* ---- Steps ------------------------------------------------------------------------------------------- */

/** The golden batch, and a team that stands at its start. */
typedef struct golden_run {
    golden *file;
    mirl_graph *graph;
    trainer_network *network;
    trainer_team *team;
    float *values, *moment1, *moment2;
    uint8_t *mask;
} golden_run;

static golden_run golden_begin(void) {
    golden_run run = {.file = golden_open("training.safetensors"), .graph = golden_graph()};
    char name[96];
    run.network = trainer_network_create(run.graph, device, NULL);
    run.team = trainer_team_create(run.network, 1, SAMPLES, SIDE, SAMPLES, NULL);
    size_t count = run.network->parameters;
    run.values = malloc(count * sizeof *run.values);
    run.moment1 = calloc(count, sizeof *run.moment1);
    run.moment2 = calloc(count, sizeof *run.moment2);
    run.mask = malloc(count);
    memset(run.mask, 1, count);
    for (int i = 0; i < run.graph->layer_count; i++) {
        snprintf(name, sizeof name, "start.%s", run.graph->layers[i].name);
        memcpy(run.values + run.network->at[i], golden_tensor(run.file, name, NULL),
               run.graph->layers[i].count * sizeof *run.values);
    }
    trainer_team_push(run.team, run.values, run.moment1, run.moment2, run.mask);
    return run;
}

static void golden_end(golden_run *run) {
    trainer_team_free(run->team);
    trainer_network_free(run->network);
    mirl_graph_free(run->graph);
    golden_close(run->file);
    free(run->values);
    free(run->moment1);
    free(run->moment2);
    free(run->mask);
}

/* Returns the batch's loss, or that of the one before. */
static double golden_step(golden_run *run, uint64_t step) {
    trainer_adamw settings = {2e-4, 0.9, 0.999, 1e-8, 0.01, step};
    double loss = trainer_team_gradients(run->team, run->values, golden_tensor(run->file, "noisy", NULL),
                                         golden_tensor(run->file, "clean", NULL), 1);
    trainer_team_step(run->team, &settings, run->values, run->moment1, run->moment2, run->mask);
    return loss;
}

static void golden_pull(golden_run *run) {
    mirl_error error;
    if (trainer_team_pull(run->team, run->values, run->moment1, run->moment2, &error))
        fail_msg("%s", error.message);
}

static int compare_doubles(const void *a, const void *b) {
    double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

/* Every layer's values * scale against PyTorch's, ||difference|| / ||PyTorch's||: the worst and the median.
 */
static double golden_distance(const golden_run *run, const char *prefix, const float *values, double scale,
                              double *median) {
    double distances[512] = {0};
    int layers = run->graph->layer_count;
    assert_true(layers <= 512);
    for (int i = 0; i < layers; i++) {
        const mirl_layer *layer = &run->graph->layers[i];
        char name[96];
        double difference = 0, norm = 0;
        snprintf(name, sizeof name, "%s.%s", prefix, layer->name);
        const float *expected = golden_tensor(run->file, name, NULL);
        for (size_t k = 0; k < layer->count; k++) {
            double d = values[run->network->at[i] + k] * scale - expected[k];
            difference += d * d;
            norm += (double)expected[k] * expected[k];
        }
        if (!isfinite(difference))
            fail_msg("%s holds what is no number", name);
        distances[i] = sqrt(difference / norm);
    }
    qsort(distances, (size_t)layers, sizeof *distances, compare_doubles);
    *median = distances[layers / 2];
    return distances[layers - 1];
}

/** How far each layer's gradient, the median layer's, and values and losses after three steps may be off. */
typedef struct golden_bounds {
    double gradients, median, values;
} golden_bounds;

/* PyTorch's gradients, which the first moments show after one step, and its values and losses after three. */
static void golden_steps_with(trainer_precision precision, const char *name, golden_bounds bounds) {
    char text[200];
    double expected[3], losses[4], median, ignored;

    if (strncmp(device->name, "cuda", 4) == 0)
        assert_non_null(trainer_device_open("cuda", precision, text, sizeof text, NULL));
    golden_run run = golden_begin();
    assert_int_equal(sscanf(golden_metadata(run.file, "losses"), "[%lf, %lf, %lf]", &expected[0],
                            &expected[1], &expected[2]),
                     3);
    losses[0] = golden_step(&run, 1);
    golden_pull(&run);
    double gradients = golden_distance(&run, "grad", run.moment1, 1 / 0.1, &median);
    losses[1] = golden_step(&run, 2);
    losses[2] = golden_step(&run, 3);
    golden_pull(&run);
    double values = golden_distance(&run, "after3", run.values, 1, &ignored);
    // The loss is one batch late, but for the first.
    losses[3] = golden_step(&run, 4);
    print_message("%s: gradients are off by %.2g (median %.2g), values by %.2g, losses by %.2g %.2g %.2g\n",
                  name, gradients, median, values, losses[0] - expected[0], losses[2] - expected[1],
                  losses[3] - expected[2]);
    assert_true(gradients <= bounds.gradients && median <= bounds.median);
    assert_true(values <= bounds.values);
    for (int step = 0; step < 3; step++)
        assert_float_equal(losses[step ? step + 1 : 0], expected[step], bounds.values);
    golden_end(&run);
}

static void golden_steps(void **state) {
    (void)state;
    if (bf16) {
        // As far as PyTorch's own bf16 autocast is off on this batch: 0.23 and 0.066.
        golden_steps_with(TRAINER_BF16, "bf16", (golden_bounds){0.25, 0.07, 0.01});
        return;
    }
    // PyTorch is off by 0.067 and 0.014 with the factors of its convolutions rounded to TF32, by 0.007 and
    // 0.002 with those of attention, too.
    if (strcmp(device->name, "cuda") == 0)
        golden_steps_with(TRAINER_TF32, "tf32", (golden_bounds){0.07, 0.015, 1e-3});
    // Last: the tests that follow are in float32, too.
    golden_steps_with(TRAINER_FLOAT32, "float32", (golden_bounds){1e-5, 1e-5, 1e-5});
}

/* Masked weights stay at zero and have no moments, whatever their gradients. */
static void masks_hold(void **state) {
    (void)state;
    golden_run run = golden_begin();
    size_t held = 0;
    for (size_t i = 0; i < run.network->parameters; i++) {
        run.mask[i] = (uint8_t)(i % 3 > 0);
        run.values[i] = run.mask[i] ? run.values[i] : 0;
    }
    trainer_team_push(run.team, run.values, run.moment1, run.moment2, run.mask);
    for (uint64_t step = 1; step <= 3; step++)
        golden_step(&run, step);
    golden_pull(&run);
    for (size_t i = 0; i < run.network->parameters; i++) {
        if (run.mask[i])
            continue;
        held++;
        assert_true(run.values[i] == 0 && run.moment1[i] == 0 && run.moment2[i] == 0);
    }
    assert_true(held > run.network->parameters / 4);
    golden_end(&run);
}

/* Operations write no further than scratch() says, and read nothing there that they have not written: it is
 * full of what is no number, and so is the room behind it. */
static void check_room(int n, int h, int w) {
    enum { GUARD = 1 << 16 };
    mirl_graph *graph = golden_graph();
    trainer_network *network = trainer_network_create(graph, device, NULL);
    trainer_pass *pass = trainer_pass_create(network, n, h, w, NULL);
    size_t room = device->scratch(graph, n, h, w), count = network->parameters,
           images = (size_t)(n * 3 * h * w);
    array *space = new_array(room + GUARD, true), *values = new_array(count, false);
    array *noisy = new_array(images, false), *clean = new_array(images, false),
          *gradient = new_array(count, true);
    double sum = 0, *sum_there = memory->allocate(sizeof sum);

    trainer_network_initial(network, 3, values->host);
    memory->upload(values->there, values->host, count * sizeof *values->host);
    memory->clear(gradient->there, count * sizeof *gradient->host);
    memory->clear(sum_there, sizeof sum);
    trainer_network_values(network, values->there);
    pass->scratch = space->there;
    trainer_pass_gradients(pass, values->there, n, noisy->there, clean->there, images, gradient->there,
                           sum_there);
    memory->download(space->host, space->there, (room + GUARD) * sizeof *space->host);
    memory->download(gradient->host, gradient->there, count * sizeof *gradient->host);
    for (size_t i = room; i < room + GUARD; i++)
        assert_true(isnan(space->host[i]));
    for (size_t i = 0; i < count; i++)
        assert_true(isfinite(gradient->host[i]));
    memory->release(sum_there);
    free_arrays();
    trainer_pass_free(pass);
    trainer_network_free(network);
    mirl_graph_free(graph);
}

static void the_room_suffices(void **state) {
    (void)state;
    check_room(1, 8, 8);
    check_room(2, 32, 32);
    check_room(3, 16, 40);
}

/* ---- Runs -------------------------------------------------------------------------------------------- */

static char *folder, data_folder[512];

/* Two rounds of few steps in folder/name, on the device or the processor; `stop_after` < 0: to the end. */
typedef struct stopping {
    int left;
    volatile sig_atomic_t stop;
} stopping;

static void count_down(const trainer_progress *progress, void *user) {
    stopping *s = user;
    (void)progress;
    s->stop = s->left-- == 0;
}

static char last_said[400]; ///< of who makes the batches

static void hear(const char *sentence, void *user) {
    (void)user;
    if (strstr(sentence, "makes the batches"))
        snprintf(last_said, sizeof last_said, "%s", sentence);
}

static trainer_ending run_in(const char *name, const trainer_ops *ops, int stop_after) {
    char path[512];
    mirl_error error;
    trainer_recipe recipe = trainer_recipe_default();
    stopping s = {.left = stop_after};
    assert_int_equal(trainer_recipe_read(&recipe, MIRL_SOURCE_DIR "/weights/recipes/tiny.recipe", &error),
                     MIRL_OK);
    assert_int_equal(
        trainer_recipe_parse(&recipe,
                             "rounds = 1\nround = 8 steps\nwarmup = 2\nlog_steps = 1\nbatch = 2\n"
                             "reset = rewind=3\ncrop = 16\nlast_crop = 24\nlast_batch = 2\n",
                             "test", &error),
        MIRL_OK);
    memcpy(recipe.data_folder, data_folder, sizeof data_folder);
    recipe.threads = 1;
    if (trainer_recipe_check(&recipe, &error))
        fail_msg("%s", error.message);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    mkdir(path, 0777);
    trainer_run_options options = {
        .recipe = &recipe, .folder = path, .ops = ops, .resume = true, .say = hear};
    if (stop_after >= 0) {
        options.progress = count_down;
        options.stop = &s.stop;
        options.user = &s;
    }
    trainer_ending ending = trainer_run(&options, &error);
    if (ending == TRAINER_FAILED || ending == TRAINER_REFUSED)
        fail_msg("%s", error.message);
    return ending;
}

/* All values of a run's result; to be freed. */
static float *result_of(const char *name, const char *file, size_t *count) {
    char path[600];
    mirl_error error;
    snprintf(path, sizeof path, "%s/%s/%s.safetensors", folder, name, file);
    mirl_weights *weights = mirl_weights_open(path, &error);
    if (!weights)
        fail_msg("%s", error.message);
    const mirl_graph *graph = mirl_weights_graph(weights);
    float *values = malloc(graph->parameters * sizeof *values), *at = values;
    for (int i = 0; i < graph->layer_count; at += graph->layers[i++].count)
        mirl_weights_values(weights, i, at);
    *count = graph->parameters;
    mirl_weights_close(weights);
    return values;
}

static void check_runs(const char *name, const char *file, double bound) {
    size_t count, same;
    float *expected = result_of("processor", file, &count), *values = result_of(name, file, &same);
    assert_int_equal(count, same);
    double usual = tolerance;
    tolerance = bf16 ? 0.1 : bound; // AdamW makes much of little
    check_values(name, expected, values, count);
    tolerance = usual;
    free(expected);
    free(values);
}

/* The device, but for what follows: its batches are counted, and there may be no room for images. */
static trainer_ops counted;
static trainer_memory filled;
static int batches_made;
enum { IMAGES = 3, WIDTH = 40, HEIGHT = 32, IMAGE_BYTES = IMAGES * WIDTH * HEIGHT * 3, STEPS = 16 };

static void count_batch(const trainer_patch *patches, int count, int crop, const trainer_picture *pictures,
                        void *room, float *degraded, float *clean, double *difference) {
    batches_made++;
    device->patches(patches, count, crop, pictures, room, degraded, clean, difference);
}

static void *all_but_images(size_t bytes) {
    return bytes == IMAGE_BYTES ? NULL : memory->allocate(bytes);
}

/* Rounds, pruning and rewinding on the device end where the processor's do, wherever each part was trained.
 */
static void runs_change_devices(void **state) {
    (void)state;
    folder = scene_folder();
    snprintf(data_folder, sizeof data_folder, "%s/data", folder);
    scene_write_clean(folder, IMAGES, WIDTH, HEIGHT);
    assert_int_equal(run_in("processor", plain, -1), TRAINER_COMPLETE);
    assert_int_equal(run_in("device", device, -1), TRAINER_COMPLETE);
    check_runs("device", "round-0", 1e-3);
    check_runs("device", "tiny", 1e-3);
    assert_int_equal(run_in("there", plain, 5), TRAINER_STOPPED);
    assert_int_equal(run_in("there", device, -1), TRAINER_COMPLETE);
    check_runs("there", "tiny", 1e-3);
    assert_int_equal(run_in("back", device, 10), TRAINER_STOPPED);
    assert_int_equal(run_in("back", plain, -1), TRAINER_COMPLETE);
    check_runs("back", "tiny", 1e-3);

    counted = *device;
    counted.patches = count_batch;
    last_said[0] = '\0';
    assert_int_equal(run_in("counted", &counted, -1), TRAINER_COMPLETE);
    check_runs("counted", "tiny", 1e-3);
    assert_string_equal(last_said, "");
    // CUDA queues the first batch, records the second and replays that; the last round's are others.
    int made = strncmp(device->name, "twin", 4) == 0 ? STEPS : 2 * 2;
    assert_int_equal(batches_made, made);
    filled = *memory;
    filled.allocate = all_but_images;
    counted.memory = &filled;
    assert_int_equal(run_in("filled", &counted, -1), TRAINER_COMPLETE);
    check_runs("filled", "tiny", 1e-3);
    assert_int_equal(batches_made, made);
    assert_string_equal(last_said, "the 3 training images (0 MiB) do not fit into the device's memory: the "
                                   "processor makes the batches");
    scene_remove(folder);
}

/* Whole images through the device, against the program's own way in full float32, in sizes that change; the
 * last one is several bands wide. */
static void images_are_restored(void **state) {
    (void)state;
    static const int shapes[][2] = {{32, 48}, {32, 48}, {56, 16}, {200, 24}};
    const char *path = MIRL_SOURCE_DIR "/weights/all-in-one.safetensors";
    mirl_error error;
    mirl_model *model = mirl_model_open_for(mirl_kernels_find("portable"), path, &error);
    trainer_restorer *restorer = trainer_restorer_open(path, device, &error);
    mirl_options options = mirl_options_default();
    if (!model || !restorer)
        fail_msg("%s", error.message);
    options.tile = MIRL_TILE_WHOLE;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        size_t width = (size_t)shapes[i][0], height = (size_t)shapes[i][1], count = 3 * width * height;
        float *input = malloc(3 * count * sizeof *input), *expected = input + count,
              *restored = expected + count;
        for (size_t v = 0; v < count; v++)
            input[v] = (float)trainer_random_uniform(&source, 0, 1);
        mirl_image from = {input, width, height, 3, 1, (ptrdiff_t)width, (ptrdiff_t)(width * height)};
        mirl_image to = from;
        to.data = expected;
        if (mirl_restore(model, &from, &to, &options, &error) ||
            trainer_restorer_run(restorer, input, restored, width, height, &error))
            fail_msg("%s", error.message);
        check_values("a restored image", expected, restored, count);
        free(input);
    }
    trainer_restorer_close(restorer);
    mirl_model_close(model);
}

static int seed(void **state) {
    (void)state;
    source = trainer_random_stream(17, 0, 0);
    return 0;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions),
        cmocka_unit_test(depthwise),
        cmocka_unit_test(gate),
        cmocka_unit_test(norm),
        cmocka_unit_test(attention),
        cmocka_unit_test(prompt),
        cmocka_unit_test(pixels),
        cmocka_unit_test(adamw),
        cmocka_unit_test(golden_steps),
        cmocka_unit_test(masks_hold),
        cmocka_unit_test(the_room_suffices),
        cmocka_unit_test(runs_change_devices),
        cmocka_unit_test(images_are_restored),
    };
    const char *name = argc > 1 ? argv[1] : "twin";
    char text[200];
    mirl_error error;
    bf16 = strstr(name, "bf16");
    tolerance = bf16 ? 2e-2 : 1e-5;
    plain = trainer_ops_get("baseline");
    device =
        strncmp(name, "twin", 4) == 0
            ? trainer_ops_get(name)
            : trainer_device_open("cuda", bf16 ? TRAINER_BF16 : TRAINER_FLOAT32, text, sizeof text, &error);
    if (!device) {
        printf("skipped: %s\n", error.message);
        return SKIPPED;
    }
    memory = device->memory;
    return cmocka_run_group_tests(tests, seed, NULL);
}
