/* Reads golden files (safetensors) for tests: whole, trusted, little-endian. */
#ifndef MIRL_TESTS_GOLDEN_H
#define MIRL_TESTS_GOLDEN_H

#include <stddef.h>

#include "network/graph.h"

typedef struct golden golden;

/** Opens <name> in the folder that the environment's MIRL_GOLDEN names, or in tests/golden; NULL if it cannot
 * be read. */
golden *golden_open(const char *name);
void golden_close(golden *file);

/** The tensor's values (F32 or U8, by the file's own dtype) inside the file's memory, and their number (count
 * may be NULL). NULL if there is no such tensor. */
const void *golden_tensor(const golden *file, const char *name, size_t *count);

/** The network that training.safetensors and pruning.safetensors are of; NULL if it cannot be read. */
mirl_graph *golden_graph(void);

/** A string of __metadata__, or NULL. */
const char *golden_metadata(const golden *file, const char *key);

#endif
