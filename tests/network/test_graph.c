/* The graph descriptor: published names, shapes and counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "network/graph.h"

static void paper_has_the_published_parameters(void **state) {
    (void)state;
    mirl_config config = mirl_config_paper();
    mirl_graph *graph = mirl_graph_create(&config, NULL);
    assert_non_null(graph);
    assert_int_equal(graph->parameters, 35376967);
    int layer = mirl_graph_find(graph, "noise_level3.attn.qkv.weight");
    assert_true(layer >= 0);
    assert_int_equal(graph->layers[layer].rows, 3 * 704);
    assert_int_equal(graph->layers[layer].columns, 704);
    assert_int_equal(graph->layers[layer].scale, 8);
    mirl_graph_free(graph);
}

static void cost_is_the_published_cost(void **state) {
    (void)state;
    mirl_config config = mirl_config_paper();
    mirl_graph *graph = mirl_graph_create(&config, NULL);
    double macs = mirl_graph_attention_macs(graph);
    assert_float_equal(macs * 65536 / 1e9, 14.6, 0.05);
    for (int i = 0; i < graph->layer_count; i++)
        macs += mirl_layer_macs_per_value(&graph->layers[i]) * (double)graph->layers[i].count;
    assert_float_equal(macs * 65536 / 1e9, 172.7, 0.1);
    mirl_graph_free(graph);
}

static void a_bad_configuration_is_named(void **state) {
    (void)state;
    mirl_error error;
    mirl_config config = mirl_config_paper();
    config.heads[3] = 7;
    assert_null(mirl_graph_create(&config, &error));
    assert_int_equal(error.status, MIRL_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "384 channels of the latent"));
    config = mirl_config_paper();
    config.refinement = 0;
    assert_null(mirl_graph_create(&config, &error));
    assert_non_null(strstr(error.message, "refinement"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paper_has_the_published_parameters),
        cmocka_unit_test(cost_is_the_published_cost),
        cmocka_unit_test(a_bad_configuration_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
