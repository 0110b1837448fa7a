/* Writes the seeds of the fuzz targets: make-corpus FOLDER fills FOLDER/weights and FOLDER/checkpoint, which
 * must exist. All hold the tiny network. */
#include "fuzz.h"

#include "checkpoints.h"
#include "fixtures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *folder;

static void save(const char *name, const void *prefix, size_t prefix_size, const void *data, size_t size) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(prefix, 1, prefix_size, file) != prefix_size || fwrite(data, 1, size, file) != size ||
        fclose(file)) {
        perror(path);
        exit(1);
    }
}

static void save_weights(const char *name, const mirl_graph *graph, mirl_type type, double sparsity) {
    char path[1024];
    mirl_error error;
    float **values = make_values(graph, sparsity);
    snprintf(path, sizeof path, "%s/weights/%s", folder, name);
    if (mirl_weights_write(path, graph, values, type, "{\"task\":\"none\"}", &error)) {
        fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
    free_values(graph, values);
}

/** A dense state dict without a configuration, all zeros. */
static void save_plain(const char *name, const mirl_graph *graph, const char *dtype, size_t item_size) {
    bytes file = {0};
    char entry[256];
    size_t at = 0;
    put(&file, "\0\0\0\0\0\0\0\0{", 9);
    for (int i = 0; i < graph->layer_count; i++) {
        const mirl_layer *layer = &graph->layers[i];
        snprintf(entry, sizeof entry, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "", layer->name,
                 dtype);
        put_opcodes(&file, entry);
        for (int k = 0; k < layer->rank; k++) {
            snprintf(entry, sizeof entry, "%s%d", k ? "," : "", layer->shape[k]);
            put_opcodes(&file, entry);
        }
        snprintf(entry, sizeof entry, "],\"data_offsets\":[%zu,%zu]}", at, at + layer->count * item_size);
        put_opcodes(&file, entry);
        at += layer->count * item_size;
    }
    put_opcodes(&file, "}");
    uint64_t length = file.size - 8;
    memcpy(file.data, &length, sizeof length);
    uint8_t *zeros = calloc(at, 1);
    put(&file, zeros, at);
    save(name, "", 0, file.data, file.size);
    free(zeros);
    free(file.data);
}

static void save_checkpoints(const mirl_graph *graph) {
    static const uint8_t modes[] = {FUZZ_ARCHIVE, FUZZ_DICT, FUZZ_PICKLE};
    bytes full = state_dict(graph, "", "FloatStorage"), half = state_dict(graph, "net.", "HalfStorage");
    uint8_t *storage = calloc(graph->parameters, 2);
    bytes archive = make_archive(&half, storage, graph->parameters * 2);
    save("checkpoint/archive", &modes[0], 1, archive.data, archive.size);
    save("checkpoint/dict", &modes[1], 1, full.data, full.size);

    bytes pickle = {0};
    const int shape[] = {2, 3};
    put_opcodes(&pickle, "\x80\x02}q\1(");
    put_string(&pickle, "half");
    put_tensor(&pickle, "HalfStorage", "9", 6, 0, 2, shape, (int64_t[]){1, 2});
    put_string(&pickle, "rest");
    put_opcodes(&pickle, "](KkM12J1234\x8a\2ABG12345678\x88\x89NU\1xh\1)\x85NN\x86NNN\x87"
                         "e");
    put_string(&pickle, "state_dict");
    put_opcodes(&pickle, "ccollections\nOrderedDict\n)R}Nb0cpathlib\nPath\n(");
    put_string(&pickle, "x");
    put_opcodes(&pickle, "tRK\1Nsu.");
    save("checkpoint/pickle", &modes[2], 1, pickle.data, pickle.size);
    free(pickle.data);
    free(archive.data);
    free(storage);
    free(half.data);
    free(full.data);
}

int main(int count, char **arguments) {
    mirl_config config = tiny_config();
    mirl_graph *graph = mirl_graph_create(&config, NULL);
    if (count != 2 || !graph || graph->parameters * 4 != FUZZ_STORAGE) {
        fprintf(stderr, "usage: %s FOLDER\n", arguments[0]);
        return 2;
    }
    folder = arguments[1];
    save_weights("sparse-f16", graph, MIRL_F16, 0.97);
    save_weights("sparse-i8", graph, MIRL_I8, 0.97);
    save_weights("dense-i8", graph, MIRL_I8, 0);
    save_plain("weights/plain-f16", graph, "F16", 2);
    save_plain("weights/plain-bf16", graph, "BF16", 2);
    save_checkpoints(graph);
    mirl_graph_free(graph);
    return 0;
}
