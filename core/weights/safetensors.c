#include "weights/safetensors.h"

#include "error.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    mirl_dtype dtype;
    int size;
} dtypes[] = {
    {"F32", MIRL_DTYPE_F32, 4},    {"F16", MIRL_DTYPE_F16, 2},       {"BF16", MIRL_DTYPE_BF16, 2},
    {"I8", MIRL_DTYPE_I8, 1},      {"U16", MIRL_DTYPE_U16, 2},       {"U32", MIRL_DTYPE_U32, 4},
    {"F64", MIRL_DTYPE_OTHER, 8},  {"I64", MIRL_DTYPE_OTHER, 8},     {"U64", MIRL_DTYPE_OTHER, 8},
    {"I32", MIRL_DTYPE_OTHER, 4},  {"I16", MIRL_DTYPE_OTHER, 2},     {"U8", MIRL_DTYPE_OTHER, 1},
    {"BOOL", MIRL_DTYPE_OTHER, 1}, {"F8_E4M3", MIRL_DTYPE_OTHER, 1}, {"F8_E5M2", MIRL_DTYPE_OTHER, 1},
};

/** A JSON number that is an integer from 0 to 2^53. */
static bool read_natural(const cJSON *item, uint64_t *value) {
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= 9007199254740992.0))
        return false;
    *value = (uint64_t)item->valuedouble;
    return (double)*value == item->valuedouble;
}

static mirl_status read_dtype(const cJSON *item, mirl_tensor *tensor, int *size, mirl_error *error) {
    const char *name = cJSON_GetStringValue(item);
    if (!name)
        return mirl_fail(error, MIRL_ERROR_FORMAT, "tensor '%.64s' has no dtype", tensor->name);
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, name) == 0) {
            tensor->dtype = dtypes[i].dtype;
            tensor->dtype_name = dtypes[i].name;
            *size = dtypes[i].size;
            return MIRL_OK;
        }
    return mirl_fail(error, MIRL_ERROR_FORMAT, "tensor '%.64s' has the unknown dtype '%.32s'", tensor->name,
                     name);
}

static mirl_status read_shape(const cJSON *item, mirl_tensor *tensor, mirl_error *error) {
    if (!cJSON_IsArray(item))
        return mirl_fail(error, MIRL_ERROR_FORMAT, "tensor '%.64s' has no shape", tensor->name);
    tensor->count = 1;
    for (const cJSON *side = item->child; side; side = side->next) {
        if (tensor->rank == MIRL_MAX_RANK)
            return mirl_fail(error, MIRL_ERROR_FORMAT, "tensor '%.64s' has more than %d dimensions",
                             tensor->name, MIRL_MAX_RANK);
        uint64_t value;
        if (!read_natural(side, &value))
            return mirl_fail(error, MIRL_ERROR_FORMAT, "tensor '%.64s': its shape must be natural numbers",
                             tensor->name);
        tensor->shape[tensor->rank++] = value;
        if (__builtin_mul_overflow(tensor->count, value, &tensor->count))
            return mirl_fail(error, MIRL_ERROR_FORMAT, "tensor '%.64s': its shape is too large",
                             tensor->name);
    }
    return MIRL_OK;
}

/** One entry of the header; tensor->source gets the offset of its data. */
static mirl_status read_tensor(const cJSON *entry, const uint8_t *data, uint64_t size, mirl_tensor *tensor,
                               mirl_error *error) {
    const cJSON *dtype = NULL, *shape = NULL, *offsets = NULL;
    *tensor = (mirl_tensor){.name = entry->string};
    if (!cJSON_IsObject(entry))
        return mirl_fail(error, MIRL_ERROR_FORMAT, "tensor '%.64s' must be an object in the header",
                         tensor->name);
    for (const cJSON *field = entry->child; field; field = field->next) {
        const cJSON **known = strcmp(field->string, "dtype") == 0          ? &dtype
                              : strcmp(field->string, "shape") == 0        ? &shape
                              : strcmp(field->string, "data_offsets") == 0 ? &offsets
                                                                           : NULL;
        if (!known || *known)
            return mirl_fail(error, MIRL_ERROR_FORMAT, "tensor '%.64s' has %s '%.32s'", tensor->name,
                             known ? "two fields" : "an unknown field", field->string);
        *known = field;
    }
    int item_size = 0;
    mirl_status status = read_dtype(dtype, tensor, &item_size, error);
    if (!status)
        status = read_shape(shape, tensor, error);
    if (status)
        return status;

    uint64_t begin, end;
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        !read_natural(offsets->child, &begin) || !read_natural(offsets->child->next, &end))
        return mirl_fail(error, MIRL_ERROR_FORMAT, "tensor '%.64s': data_offsets must be two natural numbers",
                         tensor->name);
    if (begin > end || end > size)
        return mirl_fail(error, MIRL_ERROR_FORMAT,
                         "tensor '%.64s' lies at bytes %" PRIu64 " to %" PRIu64 ", the file has %" PRIu64
                         " bytes of data",
                         tensor->name, begin, end, size);
    tensor->bytes = end - begin;
    if (tensor->count > size || tensor->count * (uint64_t)item_size != tensor->bytes) {
        char text[128];
        return mirl_fail(error, MIRL_ERROR_FORMAT,
                         "tensor '%.64s' has %" PRIu64 " bytes, its shape %s of %s wants another number",
                         tensor->name, tensor->bytes,
                         mirl_shape_text(tensor->rank, tensor->shape, text, sizeof text), tensor->dtype_name);
    }
    tensor->data = data + begin;
    tensor->source = (size_t)begin;
    return MIRL_OK;
}

static int by_offset(const void *a, const void *b) {
    const mirl_tensor *x = a, *y = b;
    if (x->source != y->source)
        return x->source < y->source ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/** The arrays must follow each other from the first byte of data to the last. */
static mirl_status check_layout(mirl_tensors *tensors, uint64_t size, mirl_error *error) {
    uint64_t end = 0;
    if (tensors->count)
        qsort(tensors->items, tensors->count, sizeof *tensors->items, by_offset);
    for (size_t i = 0; i < tensors->count; i++) {
        const mirl_tensor *tensor = &tensors->items[i];
        if (tensor->source != end)
            return mirl_fail(error, MIRL_ERROR_FORMAT,
                             "tensor '%.64s' begins at byte %zu of the data, it must begin at %" PRIu64
                             " where the one before ends",
                             tensor->name, tensor->source, end);
        end += tensor->bytes;
    }
    if (end != size)
        return mirl_fail(error, MIRL_ERROR_FORMAT,
                         "the tensors have %" PRIu64 " bytes, the file holds %" PRIu64 " bytes of data", end,
                         size);
    return MIRL_OK;
}

static mirl_status check_metadata(const cJSON *metadata, mirl_error *error) {
    if (!cJSON_IsObject(metadata))
        return mirl_fail(error, MIRL_ERROR_FORMAT, "__metadata__ must be an object");
    for (const cJSON *item = metadata->child; item; item = item->next)
        if (!cJSON_IsString(item))
            return mirl_fail(error, MIRL_ERROR_FORMAT, "__metadata__: '%.64s' must be a string",
                             item->string);
    return MIRL_OK;
}

static mirl_status read_entries(mirl_safetensors *container, const uint8_t *data, uint64_t size,
                                mirl_error *error) {
    size_t entries = (size_t)cJSON_GetArraySize(container->header);
    container->tensors.items = malloc((entries + 1) * sizeof *container->tensors.items);
    if (!container->tensors.items)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for its list of tensors");
    for (cJSON *entry = container->header->child; entry; entry = entry->next) {
        mirl_status status = MIRL_OK;
        if (strcmp(entry->string, "__metadata__") != 0) {
            mirl_tensor *tensor = &container->tensors.items[container->tensors.count++];
            status = read_tensor(entry, data, size, tensor, error);
        } else if (container->metadata) {
            status = mirl_fail(error, MIRL_ERROR_FORMAT, "__metadata__ is there twice");
        } else {
            status = check_metadata(entry, error);
            container->metadata = entry;
        }
        if (status)
            return status;
    }
    mirl_status status = check_layout(&container->tensors, size, error);
    return status ? status : mirl_tensors_sort(&container->tensors, error);
}

/** cJSON needs a zero at the end to be sure never to look past it. */
static mirl_status parse_header(const uint8_t *text, size_t length, cJSON **header, mirl_error *error) {
    char *copy = malloc(length + 1);
    if (!copy)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for its header");
    memcpy(copy, text, length);
    copy[length] = 0;
    const char *end = NULL;
    *header = cJSON_ParseWithLengthOpts(copy, length + 1, &end, false);
    bool whole = *header && strspn(end, " \t\r\n") == (size_t)(copy + length - end);
    free(copy);
    if (!whole || !cJSON_IsObject(*header))
        return mirl_fail(error, MIRL_ERROR_FORMAT, "its header is not a JSON object");
    return MIRL_OK;
}

mirl_status mirl_safetensors_parse(const uint8_t *file, size_t size, mirl_safetensors *container,
                                   mirl_error *error) {
    uint64_t length;
    *container = (mirl_safetensors){0};
    if (size < sizeof length)
        return mirl_fail(error, MIRL_ERROR_FORMAT, "is too short for a safetensors file");
    memcpy(&length, file, sizeof length);
    if (length > MIRL_SAFETENSORS_HEADER_MAX || length > size - sizeof length)
        return mirl_fail(
            error, MIRL_ERROR_FORMAT,
            "is not a safetensors file, or is cut short: its header would have %" PRIu64 " bytes", length);
    mirl_status status = parse_header(file + sizeof length, (size_t)length, &container->header, error);
    if (!status)
        status = read_entries(container, file + sizeof length + length, size - sizeof length - length, error);
    if (status)
        mirl_safetensors_close(container);
    return status;
}

mirl_status mirl_safetensors_open(const char *path, mirl_safetensors *container, mirl_error *error) {
    mirl_map map;
    *container = (mirl_safetensors){0};
    mirl_status status = mirl_map_open(path, &map, error);
    if (!status)
        status = mirl_safetensors_parse(map.data, map.size, container, error);
    if (status)
        mirl_map_close(&map);
    else
        container->map = map;
    return status;
}

void mirl_safetensors_close(mirl_safetensors *container) {
    free(container->tensors.items);
    cJSON_Delete(container->header);
    mirl_map_close(&container->map);
    *container = (mirl_safetensors){0};
}
