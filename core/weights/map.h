/* A whole file in memory, mapped and read-only. */
#ifndef MIRL_CORE_WEIGHTS_MAP_H
#define MIRL_CORE_WEIGHTS_MAP_H

#include "mirl.h"

typedef struct mirl_map {
    const uint8_t *data;
    size_t size; ///< bytes
} mirl_map;

/** Maps a regular, non-empty file. MIRL_ERROR_FILE on failure, with *map zeroed. Messages do not name the
 * path. A file that another program shortens while it is mapped ends this one; ours are only ever replaced
 * whole, and models keep none mapped. */
mirl_status mirl_map_open(const char *path, mirl_map *map, mirl_error *error);

/** A zeroed map is allowed. */
void mirl_map_close(mirl_map *map);

#endif
