/* The network's configuration in files: as JSON, and as what the shapes of a state dict say. */
#ifndef MIRL_CORE_WEIGHTS_CONFIG_H
#define MIRL_CORE_WEIGHTS_CONFIG_H

#include "network/graph.h"
#include "weights/tensors.h"

/** Reads {"dim": .., "blocks": [..4], "refinement": .., "heads": [..4], "ffn": .., "prompt_len": ..,
 * "prompt_dims": [..3], "prompt_sizes": [..3]}: every field, no other. Ranges are mirl_graph_create()'s to
 * check. MIRL_ERROR_FORMAT on failure. */
mirl_status mirl_config_parse(const char *json, mirl_config *config, mirl_error *error);

/** The same as text, to be freed with free(). NULL if memory runs out. */
char *mirl_config_print(const mirl_config *config);

/** Derives the configuration from the shapes of a dense state dict whose names begin with `prefix`. ffn is
 * the shortest decimal that gives every hidden size. MIRL_ERROR_FORMAT on failure. */
mirl_status mirl_config_derive(const mirl_tensors *tensors, const char *prefix, mirl_config *config,
                               mirl_error *error);

#endif
