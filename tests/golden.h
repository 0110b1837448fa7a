/* Reads golden files (safetensors) for tests: whole, trusted, little-endian. */
#ifndef MIRL_TESTS_GOLDEN_H
#define MIRL_TESTS_GOLDEN_H

#include <stddef.h>

typedef struct golden golden;

/** Opens tests/golden/<name>; NULL if it cannot be read. */
golden *golden_open(const char *name);
void golden_close(golden *file);

/** The tensor's values (F32 or U8, by the file's own dtype) inside the file's memory, and their number (count
 * may be NULL). NULL if there is no such tensor. */
const void *golden_tensor(const golden *file, const char *name, size_t *count);

/** A string of __metadata__, or NULL. */
const char *golden_metadata(const golden *file, const char *key);

#endif
