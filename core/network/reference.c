#include "network/reference.h"

#include <stdlib.h>

size_t mirl_reference_map_floats(const mirl_block *block) {
    int size = block->channels / block->heads;
    return (size_t)block->heads * mirl_packed(size, size);
}

/* Shares are few: each prompt's stand padded behind the maps. */
static size_t floats_of(const mirl_graph *graph) {
    size_t floats = 3 * mirl_padded((size_t)graph->config.prompt_len);
    for (int i = 0; i < graph->block_count; i++)
        floats += mirl_padded(mirl_reference_map_floats(&graph->blocks[i]));
    return floats;
}

uint64_t mirl_reference_bytes(const mirl_model *model) {
    return (uint64_t)floats_of(model->graph) * sizeof(float);
}

mirl_reference *mirl_reference_create(const mirl_model *model) {
    const mirl_graph *graph = model->graph;
    mirl_reference *reference = calloc(1, sizeof *reference);
    float *at = aligned_alloc(MIRL_ALIGN, mirl_reference_bytes(model));
    float **maps = calloc((size_t)graph->block_count, sizeof *maps);

    if (!reference || !at || !maps) {
        free(reference);
        free(at);
        free(maps);
        return NULL;
    }
    reference->maps = maps;
    for (int i = 0; i < 3; i++, at += mirl_padded((size_t)graph->config.prompt_len))
        reference->shares[i] = at;
    for (int i = 0; i < graph->block_count; i++) {
        maps[i] = at;
        at += mirl_padded(mirl_reference_map_floats(&graph->blocks[i]));
    }
    return reference;
}

void mirl_reference_free(mirl_reference *reference) {
    if (!reference)
        return;
    free(reference->shares[0]); /* where the memory begins */
    free(reference->maps);
    free(reference);
}
