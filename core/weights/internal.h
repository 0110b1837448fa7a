/* What the readers of the formats and the accessors of weights.h share. */
#ifndef MIRL_CORE_WEIGHTS_INTERNAL_H
#define MIRL_CORE_WEIGHTS_INTERNAL_H

#include "weights/map.h"
#include "weights/tensors.h"
#include "weights/weights.h"

#include <cjson/cJSON.h>

/** One layer as it lies in memory; no pointer is aligned. Sparse: CSR. */
typedef struct mirl_stored {
    mirl_type type;
    bool sparse;
    const uint8_t *values;  ///< f32, f16 or i8
    const uint8_t *scales;  ///< f32 [rows] with MIRL_I8, else NULL
    const uint8_t *rows;    ///< sparse: u32 [rows + 1], where each row begins in columns and values
    const uint8_t *columns; ///< sparse: u16 [alive], rising in each row
    size_t alive;
} mirl_stored;

struct mirl_weights {
    mirl_graph *graph;
    mirl_stored *stored; ///< one a layer
    cJSON *metadata;     ///< an object of strings
    char *metadata_text;
    uint64_t file_size;
    mirl_map map;      ///< empty if the weights were read from the caller's memory
    uint8_t **buffers; ///< decoded or loaded data that stored points into
    size_t buffer_count;
};

/** The tensors that hold one layer: dense, or rows, columns and values; scales with I8. Others are NULL. */
typedef struct mirl_binding {
    mirl_tensor *dense, *rows, *columns, *values, *scales;
} mirl_binding;

/** True for convolution and linear weights: what may be stored sparse or as I8. */
bool mirl_layer_is_matrix(const mirl_layer *layer);

/** Allocates a buffer that lives as long as the weights; at least one byte. NULL if memory runs out. */
uint8_t *mirl_weights_allocate(mirl_weights *weights, size_t bytes);

/** First half of a reader: makes the graph from `config` (JSON; NULL: derived from the shapes) and finds
 * every layer's tensors. Checks names, types and shapes, and that nothing is missing or left over. Touches no
 * data. *bindings gets one entry a layer, to be freed with free(); NULL on failure. */
mirl_status mirl_bind_layers(mirl_weights *weights, const mirl_tensors *tensors, const char *config,
                             mirl_binding **bindings, mirl_error *error);

/** Second half: checks all values, with every tensor's data in memory that outlives the weights. */
mirl_status mirl_bind_values(mirl_weights *weights, const mirl_binding *bindings, mirl_error *error);

/** Reads any of the formats from memory that outlives the weights. Messages do not name a file. */
mirl_weights *mirl_weights_read(const uint8_t *file, size_t size, mirl_error *error);

#endif
