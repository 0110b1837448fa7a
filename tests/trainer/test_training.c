/* The network's gradients, three AdamW steps and losses against PyTorch's, for every instruction set that
 * this machine has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "trainer/network.h"
#include "trainer/random.h"

enum { SAMPLES = 2, SIDE = 32 };

static const char *const sets[] = {"baseline", "avx2", "avx512", "amx", "twin", "twin-reversed"};

/* The golden network, wider. */
static mirl_graph *wide_graph(void) {
    mirl_graph *graph = golden_graph();
    mirl_config config = graph->config;
    config.dim = 24;
    mirl_graph_free(graph);
    return mirl_graph_create(&config, NULL);
}

static void check_layer(const golden *file, const char *prefix, const mirl_layer *layer, const float *values,
                        double tolerance) {
    char name[96];
    size_t count;
    double largest = 0, worst = 0;

    snprintf(name, sizeof name, "%s.%s", prefix, layer->name);
    const float *expected = golden_tensor(file, name, &count);
    assert_non_null(expected);
    assert_int_equal(count, layer->count);
    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs(expected[i]));
        worst = fmax(worst, fabs((double)expected[i] - values[i]));
    }
    if (worst > tolerance * largest)
        fail_msg("%s: off by %g of the largest, %g", name, worst / largest, largest);
}

static void check_all(const golden *file, const char *prefix, const trainer_network *network,
                      const float *values, double tolerance) {
    for (int i = 0; i < network->graph->layer_count; i++)
        check_layer(file, prefix, &network->graph->layers[i], values + network->at[i], tolerance);
}

static void load_start(const golden *file, const trainer_network *network, float *values) {
    for (int i = 0; i < network->graph->layer_count; i++) {
        const mirl_layer *layer = &network->graph->layers[i];
        char name[96];
        snprintf(name, sizeof name, "start.%s", layer->name);
        const float *start = golden_tensor(file, name, NULL);
        assert_non_null(start);
        memcpy(values + network->at[i], start, layer->count * sizeof *start);
    }
}

/* Three steps on the golden batch, `group` samples at a time. */
static void train(const golden *file, const trainer_ops *ops, int group) {
    mirl_graph *graph = golden_graph();
    trainer_network *network = trainer_network_create(graph, ops, NULL);
    trainer_pass *pass = trainer_pass_create(network, group, SIDE, SIDE, NULL);
    assert_non_null(pass);
    size_t count = network->parameters, image = 3 * SIDE * SIDE;
    float *values = malloc(count * sizeof *values), *gradient = malloc(count * sizeof *gradient);
    float *moment1 = calloc(count, sizeof *moment1), *moment2 = calloc(count, sizeof *moment2);
    const float *clean = golden_tensor(file, "clean", NULL), *noisy = golden_tensor(file, "noisy", NULL);
    double expected[3];
    assert_int_equal(
        sscanf(golden_metadata(file, "losses"), "[%lf, %lf, %lf]", &expected[0], &expected[1], &expected[2]),
        3);
    load_start(file, network, values);

    for (int step = 0; step < 3; step++) {
        double loss = 0;
        trainer_network_values(network, values);
        memset(gradient, 0, count * sizeof *gradient);
        for (int i = 0; i < SAMPLES; i += group)
            loss += trainer_pass_run(pass, values, group, noisy + (size_t)i * image,
                                     clean + (size_t)i * image, SAMPLES * image, gradient);
        assert_float_equal(loss, expected[step], 1e-5);
        if (step == 0)
            check_all(file, "grad", network, gradient, 1e-3);
        trainer_adamw adamw = {2e-4, 0.9, 0.999, 1e-8, 0.01, (uint64_t)step + 1};
        trainer_adamw_factors factors = trainer_adamw_factors_of(&adamw);
        ops->adamw(&factors, count, values, gradient, moment1, moment2, NULL);
    }
    check_all(file, "after3", network, values, 1e-3);
    free(values);
    free(gradient);
    free(moment1);
    free(moment2);
    trainer_pass_free(pass);
    trainer_network_free(network);
    mirl_graph_free(graph);
}

static void agrees_with_pytorch(void **state) {
    (void)state;
    golden *file = golden_open("training.safetensors");
    assert_non_null(file);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        const trainer_ops *ops = trainer_ops_get(sets[i]);
        if (!ops)
            continue;
        train(file, ops, 1);
        train(file, ops, 2);
    }
    golden_close(file);
}

/* One run of the golden batch with this structure; the gradients, to be freed. */
static float *gradients_of(trainer_network *network, const golden *file, const float *values) {
    trainer_pass *pass = trainer_pass_create(network, SAMPLES, SIDE, SIDE, NULL);
    float *gradient = calloc(network->parameters, sizeof *gradient);
    trainer_network_values(network, values);
    trainer_pass_run(pass, values, SAMPLES, golden_tensor(file, "noisy", NULL),
                     golden_tensor(file, "clean", NULL), SAMPLES * 3 * SIDE * SIDE, gradient);
    trainer_pass_free(pass);
    return gradient;
}

static void sparse_products_give_the_dense_gradients(void **state) {
    (void)state;
    golden *file = golden_open("training.safetensors");
    mirl_graph *graph = golden_graph();
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
        const trainer_ops *ops = trainer_ops_get(sets[s]);
        if (!ops || ops->memory) // devices have no sparse products
            continue;
        trainer_network *network = trainer_network_create(graph, ops, NULL);
        size_t count = network->parameters;
        float *values = malloc(count * sizeof *values);
        uint8_t *mask = malloc(count);
        trainer_random random = trainer_random_stream(3, 0, 0);
        load_start(file, network, values);
        for (int l = 0; l < graph->layer_count; l++)
            for (size_t i = network->at[l]; i < network->at[l] + graph->layers[l].count; i++) {
                mask[i] = !mirl_layer_is_prunable(&graph->layers[l]) || trainer_random_below(&random, 4) == 0;
                values[i] = mask[i] ? values[i] : 0;
            }
        float *dense = gradients_of(network, file, values);
        assert_int_equal(trainer_network_structure(network, mask, NULL), MIRL_OK);
        assert_true(network->convs[graph->blocks[0].qkv].sparse);
        float *sparse = gradients_of(network, file, values);
        for (int l = 0; l < graph->layer_count; l++) {
            double largest = 0;
            size_t first = network->at[l], end = first + graph->layers[l].count;
            for (size_t i = first; i < end; i++)
                largest = fmax(largest, fabs(dense[i]));
            for (size_t i = first; i < end; i++)
                if (mask[i])
                    assert_float_equal(dense[i], sparse[i], 1e-4 * largest);
        }
        free(values);
        free(mask);
        free(dense);
        free(sparse);
        trainer_network_free(network);
    }
    mirl_graph_free(graph);
    golden_close(file);
}

/* A network so wide that images are cut into bands and tiles are more than one: its gradients with this
 * table, to be freed. */
static float *wide_gradients(const trainer_ops *ops, int samples) {
    enum { WIDE_SIDE = 64, IMAGE = 3 * WIDE_SIDE * WIDE_SIDE };
    mirl_graph *graph = wide_graph();
    trainer_network *network = trainer_network_create(graph, ops, NULL);
    trainer_pass *pass = trainer_pass_create(network, samples, WIDE_SIDE, WIDE_SIDE, NULL);
    float *values = malloc(network->parameters * sizeof *values);
    float *gradient = calloc(network->parameters, sizeof *gradient);
    float *images = malloc(2 * (size_t)samples * IMAGE * sizeof *images);
    trainer_random random = trainer_random_stream(4, 0, 0);
    assert_non_null(pass);
    for (size_t i = 0; i < 2 * (size_t)samples * IMAGE; i++)
        images[i] = (float)trainer_random_uniform(&random, 0, 1);
    trainer_network_initial(network, 5, values);
    trainer_network_values(network, values);
    trainer_pass_run(pass, values, samples, images, images + samples * IMAGE, (size_t)samples * IMAGE,
                     gradient);
    free(values);
    free(images);
    trainer_pass_free(pass);
    trainer_network_free(network);
    mirl_graph_free(graph);
    return gradient;
}

static void instruction_sets_agree(void **state) {
    (void)state;
    mirl_graph *graph = wide_graph();
    for (int samples = 1; samples <= 3; samples += 2) {
        float *expected = wide_gradients(trainer_ops_get("baseline"), samples);
        for (size_t s = 1; s < sizeof sets / sizeof *sets; s++) {
            const trainer_ops *ops = trainer_ops_get(sets[s]);
            if (!ops || ops->memory) // devices have a test of their own
                continue;
            float *gradient = wide_gradients(ops, samples), *at = gradient;
            const float *wanted = expected;
            for (int l = 0; l < graph->layer_count; l++) {
                double largest = 0, worst = 0;
                for (size_t i = 0; i < graph->layers[l].count; i++, at++, wanted++) {
                    largest = fmax(largest, fabs(*wanted));
                    worst = fmax(worst, fabs((double)*wanted - *at));
                }
                if (!(worst <= 1e-3 * largest))
                    fail_msg("%s, %s: off by %g of the largest, %g", sets[s], graph->layers[l].name,
                             worst / largest, largest);
            }
            free(gradient);
        }
        free(expected);
    }
    mirl_graph_free(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instruction_sets_agree),
        cmocka_unit_test(agrees_with_pytorch),
        cmocka_unit_test(sparse_products_give_the_dense_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
