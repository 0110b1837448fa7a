/* Masks: both published scopes against NumPy's, exactly, and what the compute scope promises.
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
#include "trainer/masks.h"
#include "trainer/random.h"

static const void *layer_tensor(const golden *file, const char *what, int round, const char *layer) {
    char name[96];
    snprintf(name, sizeof name, "%s%d.%s", what, round, layer);
    return golden_tensor(file, name, NULL);
}

static void check_scope(const golden *file, const mirl_graph *graph, trainer_scope scope) {
    float *values = calloc(graph->parameters, sizeof *values);
    uint8_t *mask = malloc(graph->parameters);
    memset(mask, 1, graph->parameters);
    for (int round = 1; round <= 2; round++) {
        size_t first = 0;
        for (int i = 0; i < graph->layer_count; first += graph->layers[i++].count) {
            const mirl_layer *layer = &graph->layers[i];
            const float *trained = layer_tensor(file, "trained", round, layer->name);
            assert_int_equal(trained != NULL, mirl_layer_is_prunable(layer));
            for (size_t v = 0; trained && v < layer->count; v++)
                values[first + v] = mask[first + v] ? trained[v] : 0;
        }
        assert_int_equal(trainer_prune(graph, scope, 20, 0, values, mask, NULL), MIRL_OK);
        first = 0;
        for (int i = 0; i < graph->layer_count; first += graph->layers[i++].count) {
            const mirl_layer *layer = &graph->layers[i];
            const uint8_t *expected = layer_tensor(file, trainer_scope_name(scope), round, layer->name);
            for (size_t v = 0; v < layer->count; v++)
                assert_int_equal(mask[first + v], expected ? expected[v] : 1);
        }
    }
    free(values);
    free(mask);
}

static void published_scopes_agree_exactly(void **state) {
    (void)state;
    golden *file = golden_open("pruning.safetensors");
    mirl_graph *graph = golden_graph();
    assert_non_null(file);
    check_scope(file, graph, TRAINER_GLOBAL);
    check_scope(file, graph, TRAINER_LAYERWISE);
    mirl_graph_free(graph);
    golden_close(file);
}

static double magnitude_left(const mirl_graph *graph, const float *values, const uint8_t *mask) {
    double sum = 0;
    for (size_t i = 0; i < graph->parameters; i++)
        sum += mask[i] ? fabs(values[i]) : 0;
    return sum;
}

static void compute_saves_multiply_adds(void **state) {
    (void)state;
    mirl_graph *graph = golden_graph();
    size_t count = graph->parameters;
    float *values = malloc(count * sizeof *values);
    uint8_t *global = malloc(count), *equal = malloc(count), *compute = malloc(count);
    trainer_random random = trainer_random_stream(5, 0, 0);
    double all = 0;
    memset(global, 1, count);
    memset(compute, 1, count);
    memset(equal, 1, count);
    for (size_t i = 0; i < count; i++)
        all += fabs(values[i] = (float)trainer_random_normal(&random));

    assert_int_equal(trainer_prune(graph, TRAINER_GLOBAL, 30, 0, values, global, NULL), MIRL_OK);
    assert_int_equal(trainer_prune(graph, TRAINER_COMPUTE, 30, 0, values, equal, NULL), MIRL_OK);
    assert_int_equal(trainer_prune(graph, TRAINER_COMPUTE, 30, 0.2, values, compute, NULL), MIRL_OK);
    assert_memory_equal(global, equal, count);
    mirl_remains one = trainer_remains_of(graph, global), other = trainer_remains_of(graph, compute);
    assert_int_equal(one.alive, other.alive);
    assert_true(other.macs < 0.98 * one.macs);
    double given_up = all - magnitude_left(graph, values, global);
    double given_up_compute = all - magnitude_left(graph, values, compute);
    assert_true(given_up_compute <= 1.2 * given_up * (1 + 1e-5));
    assert_true(given_up_compute > 1.15 * given_up);
    free(values);
    free(global);
    free(equal);
    free(compute);
    mirl_graph_free(graph);
}

static void quantiles_are_numpys(void **state) {
    (void)state;
    float values[] = {5, 1, 4, 2, 3, 3};
    assert_float_equal(trainer_quantile(values, 6, 0.5), 3, 0);
    assert_float_equal(trainer_quantile(values, 6, 0.1), 1.5, 1e-12);
    assert_float_equal(trainer_quantile(values, 6, 0.9), 4.5, 1e-12);
    assert_float_equal(trainer_quantile(values, 1, 0.3), values[0], 0);
}

static void bad_percents_are_refused(void **state) {
    (void)state;
    mirl_graph *graph = golden_graph();
    float *values = calloc(graph->parameters, sizeof *values);
    uint8_t *mask = calloc(graph->parameters, 1);
    mirl_error error;
    assert_int_equal(trainer_prune(graph, TRAINER_GLOBAL, 100, 0, values, mask, &error), MIRL_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "percent is 100"));
    assert_int_equal(trainer_prune(graph, TRAINER_GLOBAL, 20, 0, values, mask, &error), MIRL_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "no weight is left"));
    free(values);
    free(mask);
    mirl_graph_free(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_scopes_agree_exactly),
        cmocka_unit_test(compute_saves_multiply_adds),
        cmocka_unit_test(quantiles_are_numpys),
        cmocka_unit_test(bad_percents_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
