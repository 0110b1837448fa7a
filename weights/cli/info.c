/* `mirl info`: what a weights file is, how sparse each layer is, and what it costs. */
#include "commands.h"
#include "options.h"
#include "weights/weights.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

char *find_weights(const char *name, mirl_error *error) {
    struct stat status;
    if (name && stat(name, &status) == 0 && S_ISREG(status.st_mode)) {
        char *copy = strdup(name);
        if (copy)
            return copy;
    }
    return mirl_weights_find(name, error);
}

static const char *kind_name(mirl_layer_kind kind) {
    static const char *const names[] = {"1x1 convolution", "3x3 convolution", "depthwise 3x3",
                                        "norm scale",      "norm bias",       "temperature",
                                        "prompt",          "linear weight",   "linear bias"};
    return names[kind];
}

static const char *type_name(mirl_type type) {
    static const char *const names[] = {"f32", "f16", "i8"};
    return names[type];
}

static double share(size_t part, size_t whole) {
    return whole ? (double)part / (double)whole : 0;
}

static cJSON *describe_layer(const mirl_weights *weights, int index) {
    const mirl_layer *layer = &mirl_weights_graph(weights)->layers[index];
    size_t alive = mirl_weights_alive(weights, index);
    cJSON *object = cJSON_CreateObject();

    cJSON_AddStringToObject(object, "name", layer->name);
    cJSON_AddStringToObject(object, "kind", kind_name(layer->kind));
    cJSON_AddItemToObject(object, "shape", cJSON_CreateIntArray(layer->shape, layer->rank));
    cJSON_AddStringToObject(object, "type", type_name(mirl_weights_type(weights, index)));
    cJSON_AddBoolToObject(object, "sparse", mirl_weights_is_sparse(weights, index));
    cJSON_AddNumberToObject(object, "values", (double)layer->count);
    cJSON_AddNumberToObject(object, "alive", (double)alive);
    cJSON_AddNumberToObject(object, "sparsity", 1 - share(alive, layer->count));
    cJSON_AddNumberToObject(object, "macs", mirl_layer_macs(layer, alive));
    return object;
}

static int print_json(const char *path, const mirl_weights *weights) {
    const mirl_graph *graph = mirl_weights_graph(weights);
    const mirl_config *config = &graph->config;
    mirl_remains sums = mirl_weights_remains(weights);
    cJSON *object = cJSON_CreateObject(), *layers;

    cJSON_AddStringToObject(object, "file", path);
    cJSON_AddNumberToObject(object, "bytes", (double)mirl_weights_file_size(weights));
    cJSON_AddStringToObject(object, "task", mirl_weights_metadata_get(weights, "task"));
    cJSON *shape = cJSON_AddObjectToObject(object, "config");
    cJSON_AddNumberToObject(shape, "dim", config->dim);
    cJSON_AddItemToObject(shape, "blocks", cJSON_CreateIntArray(config->blocks, 4));
    cJSON_AddNumberToObject(shape, "refinement", config->refinement);
    cJSON_AddItemToObject(shape, "heads", cJSON_CreateIntArray(config->heads, 4));
    cJSON_AddNumberToObject(shape, "ffn", config->ffn);
    cJSON_AddNumberToObject(shape, "prompt_len", config->prompt_len);
    cJSON_AddItemToObject(shape, "prompt_dims", cJSON_CreateIntArray(config->prompt_dims, 3));
    cJSON_AddItemToObject(shape, "prompt_sizes", cJSON_CreateIntArray(config->prompt_sizes, 3));
    cJSON_AddNumberToObject(object, "parameters", (double)graph->parameters);
    cJSON_AddNumberToObject(object, "prunable", (double)sums.prunable);
    cJSON_AddNumberToObject(object, "alive", (double)sums.alive);
    cJSON_AddNumberToObject(object, "sparsity", 1 - share(sums.alive, sums.prunable));
    cJSON_AddNumberToObject(object, "dense_macs", sums.dense_macs);
    cJSON_AddNumberToObject(object, "macs", sums.macs);
    cJSON_AddItemToObject(object, "metadata", cJSON_Parse(mirl_weights_metadata(weights)));
    layers = cJSON_AddArrayToObject(object, "layers");
    for (int i = 0; i < graph->layer_count; i++)
        cJSON_AddItemToArray(layers, describe_layer(weights, i));

    char *text = cJSON_Print(object);
    cJSON_Delete(object);
    if (!text) {
        fprintf(stderr, "mirl info: not enough memory\n");
        return EXIT_MEMORY;
    }
    puts(text);
    cJSON_free(text);
    return EXIT_OK;
}

static void print_metadata(const mirl_weights *weights) {
    cJSON *metadata = cJSON_Parse(mirl_weights_metadata(weights)), *entry;

    cJSON_ArrayForEach(entry, metadata) {
        if (cJSON_IsString(entry) && strcmp(entry->string, "config") != 0)
            printf("%-14s %s\n", entry->string, entry->valuestring);
    }
    cJSON_Delete(metadata);
}

static void print_layers(const mirl_weights *weights) {
    const mirl_graph *graph = mirl_weights_graph(weights);

    printf("\n%-46s %-16s %-18s %4s %-6s %8s %9s %9s\n", "layer", "kind", "shape", "type", "stored", "values",
           "sparsity", "macs");
    for (int i = 0; i < graph->layer_count; i++) {
        const mirl_layer *layer = &graph->layers[i];
        size_t alive = mirl_weights_alive(weights, i);
        char shape[64];
        int length = 0;
        for (int axis = 0; axis < layer->rank; axis++)
            length += snprintf(shape + length, sizeof shape - (size_t)length, "%s%d", axis ? "x" : "",
                               layer->shape[axis]);
        printf("%-46s %-16s %-18s %4s %-6s %8zu %8.2f%% %9.1f\n", layer->name, kind_name(layer->kind), shape,
               type_name(mirl_weights_type(weights, i)),
               mirl_weights_is_sparse(weights, i) ? "sparse" : "dense", layer->count,
               100 * (1 - share(alive, layer->count)), mirl_layer_macs(layer, alive));
    }
}

static void print_text(const char *path, const mirl_weights *weights) {
    const mirl_graph *graph = mirl_weights_graph(weights);
    const mirl_config *config = &graph->config;
    const int *blocks = config->blocks, *heads = config->heads;
    mirl_remains sums = mirl_weights_remains(weights);

    printf("%-14s %s\n", "file", path);
    printf("%-14s %" PRIu64 " bytes\n", "size", mirl_weights_file_size(weights));
    print_metadata(weights);
    printf("%-14s dim %d, blocks %d %d %d %d, refinement %d, heads %d %d %d %d, ffn %g, "
           "%d prompts of %d %d %d at %d %d %d\n",
           "network", config->dim, blocks[0], blocks[1], blocks[2], blocks[3], config->refinement, heads[0],
           heads[1], heads[2], heads[3], config->ffn, config->prompt_len, config->prompt_dims[0],
           config->prompt_dims[1], config->prompt_dims[2], config->prompt_sizes[0], config->prompt_sizes[1],
           config->prompt_sizes[2]);
    printf("%-14s %zu, %zu prunable, %zu of them left (%.2f%% pruned)\n", "parameters", graph->parameters,
           sums.prunable, sums.alive, 100 * (1 - share(sums.alive, sums.prunable)));
    printf("%-14s %.0f a pixel, %.0f if nothing were pruned\n", "multiply-adds", sums.macs, sums.dense_macs);
    print_layers(weights);
}

int command_info(int argc, char **argv) {
    bool json = false;
    const option_entry options[] = {
        {.name = "json", .kind = OPTION_FLAG, .value = &json, .help = "print JSON"},
        {0},
    };
    const command_line line = {
        .name = "info",
        .operands = "[FILE|NAME]",
        .help =
            "Says what a weights file is: its task and where it comes from, the network, the sparsity of\n"
            "each layer and the multiply-adds a pixel costs. Without a name: the default weights.",
        .notes = "exit codes: 0 done, 2 wrong command line, 3 the weights cannot be found or opened, 4 not\n"
                 "enough memory.",
        .options = options,
        .operands_max = 1,
    };
    int status, first = options_read(&line, argc, argv, &status);
    if (first < 0)
        return status;

    mirl_error error;
    char *path = find_weights(argv[first], &error);
    mirl_weights *weights = path ? mirl_weights_open(path, &error) : NULL;
    if (!weights) {
        fprintf(stderr, "mirl info: %s\n", error.message);
        status = error.status == MIRL_ERROR_MEMORY ? EXIT_MEMORY : EXIT_WEIGHTS;
    } else if (json) {
        status = print_json(path, weights);
    } else {
        print_text(path, weights);
    }
    mirl_weights_close(weights);
    free(path);
    return status;
}
