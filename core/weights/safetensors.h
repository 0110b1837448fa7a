/* The safetensors container: a length, a JSON header, raw arrays. It knows nothing of networks. */
#ifndef MIRL_CORE_WEIGHTS_SAFETENSORS_H
#define MIRL_CORE_WEIGHTS_SAFETENSORS_H

#include "weights/map.h"
#include "weights/tensors.h"

#include <cjson/cJSON.h>

enum { MIRL_SAFETENSORS_HEADER_MAX = 8 << 20 }; ///< bytes; the largest network's header has 3 MB

typedef struct mirl_safetensors {
    mirl_tensors tensors; ///< their data lies in the file
    cJSON *header;        ///< owns the tensors' names
    cJSON *metadata;      ///< `__metadata__`, an object of strings within header, or NULL
    mirl_map map;         ///< only after mirl_safetensors_open()
} mirl_safetensors;

/** Reads and checks the container: the header's length and JSON, every dtype, shape and offset; the arrays
 * must fill the rest of the file without overlap or hole. `file` must outlive *container. On failure
 * (MIRL_ERROR_FORMAT, _MEMORY) *container is zeroed; otherwise free with mirl_safetensors_close(). */
mirl_status mirl_safetensors_parse(const uint8_t *file, size_t size, mirl_safetensors *container,
                                   mirl_error *error);

/** Maps a file and parses it. For tensors that are no network, such as a test's expectations. */
mirl_status mirl_safetensors_open(const char *path, mirl_safetensors *container, mirl_error *error);

void mirl_safetensors_close(mirl_safetensors *container);

#endif
