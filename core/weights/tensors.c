#include "weights/tensors.h"

#include "error.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b) {
    return strcmp(((const mirl_tensor *)a)->name, ((const mirl_tensor *)b)->name);
}

mirl_status mirl_tensors_sort(mirl_tensors *tensors, mirl_error *error) {
    if (tensors->count)
        qsort(tensors->items, tensors->count, sizeof *tensors->items, by_name);
    for (size_t i = 1; i < tensors->count; i++)
        if (strcmp(tensors->items[i - 1].name, tensors->items[i].name) == 0)
            return mirl_fail(error, MIRL_ERROR_FORMAT, "tensor '%.64s' is there twice",
                             tensors->items[i].name);
    return MIRL_OK;
}

mirl_tensor *mirl_tensors_find(const mirl_tensors *tensors, const char *name) {
    mirl_tensor key = {.name = name};
    return tensors->count ? bsearch(&key, tensors->items, tensors->count, sizeof key, by_name) : NULL;
}

const char *mirl_shape_text(int rank, const uint64_t *shape, char *text, size_t size) {
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%" PRIu64, i ? ", " : "", shape[i]);
    if (used < size)
        snprintf(text + used, size - used, "]");
    return text;
}
