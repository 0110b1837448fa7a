#include "fixtures.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

mirl_config small_config(void) {
    return (mirl_config){
        .dim = 4,
        .blocks = {1, 1, 1, 1},
        .refinement = 1,
        .heads = {1, 2, 4, 8},
        .ffn = 1.5,
        .prompt_len = 2,
        .prompt_dims = {4, 4, 4},
        .prompt_sizes = {3, 2, 1},
    };
}

mirl_config tiny_config(void) {
    return (mirl_config){
        .dim = 2,
        .blocks = {1, 1, 1, 1},
        .refinement = 1,
        .heads = {1, 2, 1, 2},
        .ffn = 0.5,
        .prompt_len = 1,
        .prompt_dims = {1, 1, 1},
        .prompt_sizes = {1, 1, 1},
    };
}

mirl_graph *tiny_graph;

int make_tiny_graph(void **state) {
    (void)state;
    mirl_config config = tiny_config();
    tiny_graph = mirl_graph_create(&config, NULL);
    return tiny_graph == NULL;
}

int free_tiny_graph(void **state) {
    (void)state;
    mirl_graph_free(tiny_graph);
    return 0;
}

static double uniform(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) / 9007199254740992.0;
}

float **make_values(const mirl_graph *graph, double sparsity) {
    uint64_t state = 1;
    float **values = calloc((size_t)graph->layer_count, sizeof *values);
    assert_non_null(values);
    for (int i = 0; i < graph->layer_count; i++) {
        const mirl_layer *layer = &graph->layers[i];
        bool prunable = mirl_layer_is_prunable(layer) && layer->kind != MIRL_NORM_WEIGHT;
        values[i] = malloc(layer->count * sizeof **values);
        assert_non_null(values[i]);
        for (size_t k = 0; k < layer->count; k++) {
            values[i][k] = (float)(uniform(&state) - 0.5) / 8;
            if (prunable && uniform(&state) < sparsity)
                values[i][k] = 0;
        }
    }
    return values;
}

void free_values(const mirl_graph *graph, float **values) {
    for (int i = 0; i < graph->layer_count; i++)
        free(values[i]);
    free(values);
}

char *scratch_path(const char *name) {
    char folder[] = "/tmp/mirl-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *path = malloc(strlen(folder) + strlen(name) + 2);
    assert_non_null(path);
    sprintf(path, "%s/%s", folder, name);
    return path;
}

void remove_scratch(char *path) {
    unlink(path);
    *strrchr(path, '/') = 0;
    assert_int_equal(rmdir(path), 0);
    free(path);
}

uint8_t *read_whole(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = malloc(*size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *size, file), *size);
    fclose(file);
    return data;
}
