#include "fuzz.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void require(bool true_here, const char *what) {
    if (true_here)
        return;
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

static void check_layer(const mirl_weights *weights, int layer) {
    const mirl_layer *shape = &mirl_weights_graph(weights)->layers[layer];
    size_t length = shape->count / (size_t)shape->rows, alive = 0;
    float *values = malloc(shape->count * sizeof *values), *row = malloc(length * sizeof *row);
    uint16_t *columns = malloc(length * sizeof *columns);
    require(values && row && columns, "out of memory");
    mirl_weights_values(weights, layer, values);
    for (size_t i = 0; i < shape->count; i++)
        require(isfinite(values[i]), "a value is not finite");
    for (int r = 0; length <= 65536 && r < shape->rows; r++) {
        size_t count = mirl_weights_row(weights, layer, r, columns, row);
        alive += count;
        for (size_t i = 0; i < count; i++) {
            require(columns[i] < length && (i == 0 || columns[i - 1] < columns[i]), "columns do not rise");
            require(row[i] != 0 && row[i] == values[(size_t)r * length + columns[i]],
                    "row and values differ");
        }
    }
    require(length > 65536 || alive == mirl_weights_alive(weights, layer), "wrong number of values alive");
    free(columns);
    free(row);
    free(values);
}

void fuzz_weights(const uint8_t *file, size_t size) {
    mirl_error error = {.status = MIRL_OK, .message = ""};
    mirl_weights *weights = mirl_weights_read(file, size, &error);
    if (!weights) {
        require(error.status == MIRL_ERROR_FORMAT || error.status == MIRL_ERROR_MEMORY,
                "refused with no reason");
        require(error.message[0] != 0, "refused without a word");
        return;
    }
    for (int i = 0; i < mirl_weights_graph(weights)->layer_count; i++)
        check_layer(weights, i);
    require(mirl_weights_metadata(weights)[0] == '{', "metadata is no object");
    mirl_weights_close(weights);
}
