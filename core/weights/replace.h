/* Files that appear whole or not at all: written beside their place and renamed. */
#ifndef MIRL_CORE_WEIGHTS_REPLACE_H
#define MIRL_CORE_WEIGHTS_REPLACE_H

#include "mirl.h"

typedef struct mirl_replacement mirl_replacement;

/** Creates a file beside `path`. NULL on failure (MIRL_ERROR_FILE, _MEMORY). */
mirl_replacement *mirl_replace_begin(const char *path, mirl_error *error);

/** Appends. A failure is kept for mirl_replace_commit(). */
void mirl_replace_append(mirl_replacement *file, const void *data, size_t bytes);

/** Makes the file durable and gives it its name, taking the place of what had it; on failure
 * (MIRL_ERROR_FILE) removes it. Frees `file` either way. */
mirl_status mirl_replace_commit(mirl_replacement *file, mirl_error *error);

#endif
