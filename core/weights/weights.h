/* Network weights in files: ours (safetensors with pruned tensors as CSR), plain safetensors state dicts,
 * and PyTorch Lightning checkpoints. Formats: FORMAT.md.
 */
#ifndef MIRL_CORE_WEIGHTS_WEIGHTS_H
#define MIRL_CORE_WEIGHTS_WEIGHTS_H

#include "network/graph.h"

/** How values are stored in a file. */
typedef enum mirl_type {
    MIRL_F32,
    MIRL_F16,
    MIRL_I8, ///< with one float32 scale a row: value = stored * scale
} mirl_type;

/** An opened and completely checked file. Unchangeable, thread-safe. */
typedef struct mirl_weights mirl_weights;

/** Opens a file of any of the formats, told apart by content. Everything in it is checked before this
 * returns: afterwards no other function here can fail or read outside the file. NULL on failure. */
mirl_weights *mirl_weights_open(const char *path, mirl_error *error);
void mirl_weights_close(mirl_weights *weights);

/** Gives up the values and the file: from here on mirl_weights_values() and mirl_weights_row() must not be
 * called. The exception to "unchangeable": no other thread may be using the weights. */
void mirl_weights_drop_values(mirl_weights *weights);

/** Owned by the weights. */
const mirl_graph *mirl_weights_graph(const mirl_weights *weights);

/** The file's __metadata__ as a JSON object, "{}" if there is none. Owned by the weights. */
const char *mirl_weights_metadata(const mirl_weights *weights);

/** One string of __metadata__ ("task", ...), "" if absent. Owned by the weights. */
const char *mirl_weights_metadata_get(const mirl_weights *weights, const char *key);

uint64_t mirl_weights_file_size(const mirl_weights *weights);

/** How the layer is stored, and how many of its values are not zero. */
mirl_type mirl_weights_type(const mirl_weights *weights, int layer);
bool mirl_weights_is_sparse(const mirl_weights *weights, int layer);
size_t mirl_weights_alive(const mirl_weights *weights, int layer);

/** What pruning has left of all layers. */
mirl_remains mirl_weights_remains(const mirl_weights *weights);

/** All values of the layer, decoded, zeros included: layer.count floats in published order. */
void mirl_weights_values(const mirl_weights *weights, int layer, float *values);

/** The non-zero values of one row (output channel) in rising columns; either pointer may be NULL. Room for
 * layer.columns entries always suffices. Returns their number. Works on sparse and dense storage. */
size_t mirl_weights_row(const mirl_weights *weights, int layer, int row, uint16_t *columns, float *values);

/** Writes one of our files: beside `path` and renamed, never half a file. values[i] holds layer i's
 * layer.count floats. Every convolution or linear weight is stored sparse or dense, whichever is smaller, as
 * `type`; all other layers are dense f32. `metadata` is a JSON object whose values are strings (may be NULL);
 * "config" in it is replaced by the graph's configuration. */
mirl_status mirl_weights_write(const char *path, const mirl_graph *graph, float *const *values,
                               mirl_type type, const char *metadata, mirl_error *error);

#endif
