/* Writing our weights files. */
#include "error.h"
#include "weights/config.h"
#include "weights/half.h"
#include "weights/internal.h"
#include "weights/replace.h"

#include <cjson/cJSON.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

/** One tensor of the file to be. */
typedef struct array {
    char name[80];
    const char *dtype;
    int item_size;
    int rank;
    uint64_t shape[5];
    size_t bytes;
    void *data;
} array;

typedef struct writer {
    array *arrays; ///< room for four a layer
    size_t count;
    mirl_error *error;
} writer;

/** Appends an array with uninitialised data. NULL if memory runs out. */
static void *add_array(writer *writer, const mirl_layer *layer, const char *suffix, const char *dtype,
                       int item_size, int rank, const uint64_t *shape) {
    array *array = &writer->arrays[writer->count];
    snprintf(array->name, sizeof array->name, "%s%s", layer->name, suffix);
    array->dtype = dtype;
    array->item_size = item_size;
    array->rank = rank;
    array->bytes = (size_t)item_size;
    for (int i = 0; i < rank; i++) {
        array->shape[i] = shape[i];
        array->bytes *= (size_t)shape[i];
    }
    array->data = malloc(array->bytes ? array->bytes : 1);
    if (array->data)
        writer->count++;
    return array->data;
}

static const char *dtype_name(mirl_type type) {
    return type == MIRL_F32 ? "F32" : type == MIRL_F16 ? "F16" : "I8";
}

static int item_size(mirl_type type) {
    return type == MIRL_F32 ? 4 : type == MIRL_F16 ? 2 : 1;
}

/* ---- Encoding ---------------------------------------------------------------------------------------- */

/** Symmetric: the largest magnitude of the row becomes 127. */
static float row_scale(const float *values, size_t count) {
    float largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmaxf(largest, fabsf(values[i]));
    return fmaxf(largest / 127, FLT_MIN);
}

static int8_t encode_i8(float value, float scale) {
    return (int8_t)fmaxf(-127, fminf(127, rintf(value / scale)));
}

/** Encodes a layer's values densely as `type`: `encoded` has room for them, `scales` for one float a row. */
static mirl_status encode(const writer *writer, const mirl_layer *layer, const float *values, mirl_type type,
                          void *encoded, float *scales) {
    size_t length = layer->count / (size_t)layer->rows;
    for (size_t i = 0; i < layer->count; i++)
        if (!isfinite(values[i]))
            return mirl_fail(writer->error, MIRL_ERROR_ARGUMENT, "'%s': value %zu is not finite", layer->name,
                             i);
    if (type == MIRL_F32)
        memcpy(encoded, values, layer->count * sizeof *values);
    for (size_t i = 0; type == MIRL_F16 && i < layer->count; i++) {
        uint16_t half = mirl_f16_encode(values[i]);
        if ((half & 0x7fff) >= 0x7c00)
            return mirl_fail(writer->error, MIRL_ERROR_ARGUMENT,
                             "'%s': value %zu is %g, too large for float16; float32 would hold it",
                             layer->name, i, (double)values[i]);
        ((uint16_t *)encoded)[i] = half;
    }
    for (size_t row = 0; type == MIRL_I8 && row < (size_t)layer->rows; row++) {
        scales[row] = row_scale(values + row * length, length);
        if (scales[row] > FLT_MAX / 128)
            return mirl_fail(writer->error, MIRL_ERROR_ARGUMENT, "'%s': row %zu is too large for int8",
                             layer->name, row);
        for (size_t i = row * length; i < (row + 1) * length; i++)
            ((int8_t *)encoded)[i] = encode_i8(values[i], scales[row]);
    }
    return MIRL_OK;
}

static bool is_zero(const void *encoded, mirl_type type, size_t at) {
    if (type == MIRL_F32)
        return ((const float *)encoded)[at] == 0;
    if (type == MIRL_F16)
        return (((const uint16_t *)encoded)[at] & 0x7fff) == 0;
    return ((const int8_t *)encoded)[at] == 0;
}

static size_t count_alive(const void *encoded, mirl_type type, size_t count) {
    size_t alive = 0;
    for (size_t i = 0; i < count; i++)
        alive += !is_zero(encoded, type, i);
    return alive;
}

/* ---- Layers to arrays -------------------------------------------------------------------------------- */

static mirl_status out_of_memory(const writer *writer) {
    return mirl_fail(writer->error, MIRL_ERROR_MEMORY, "not enough memory to write the weights");
}

static mirl_status add_dense(writer *writer, const mirl_layer *layer, const void *encoded, mirl_type type) {
    uint64_t shape[5];
    for (int i = 0; i < layer->rank; i++)
        shape[i] = (uint64_t)layer->shape[i];
    void *data = add_array(writer, layer, "", dtype_name(type), item_size(type), layer->rank, shape);
    if (!data)
        return out_of_memory(writer);
    memcpy(data, encoded, layer->count * (size_t)item_size(type));
    return MIRL_OK;
}

static mirl_status add_sparse(writer *writer, const mirl_layer *layer, const void *encoded, mirl_type type,
                              size_t alive) {
    size_t size = (size_t)item_size(type), length = (size_t)layer->columns, at = 0;
    uint64_t starts = (uint64_t)layer->rows + 1, count = alive;
    uint32_t *rows = add_array(writer, layer, ".rows", "U32", 4, 1, &starts);
    uint16_t *columns = rows ? add_array(writer, layer, ".columns", "U16", 2, 1, &count) : NULL;
    char *values =
        columns ? add_array(writer, layer, ".values", dtype_name(type), (int)size, 1, &count) : NULL;
    if (!values)
        return out_of_memory(writer);
    for (size_t row = 0; row < (size_t)layer->rows; row++) {
        rows[row] = (uint32_t)at;
        for (size_t column = 0; column < length; column++) {
            size_t from = row * length + column;
            if (is_zero(encoded, type, from))
                continue;
            columns[at] = (uint16_t)column;
            memcpy(values + at++ * size, (const char *)encoded + from * size, size);
        }
    }
    rows[layer->rows] = (uint32_t)at;
    return MIRL_OK;
}

static mirl_status add_encoded(writer *writer, const mirl_layer *layer, const float *values, mirl_type type,
                               void *encoded, float *scales) {
    mirl_status status = encode(writer, layer, values, type, encoded, scales);
    if (status)
        return status;
    uint64_t rows = (uint64_t)layer->rows;
    if (type == MIRL_I8) {
        float *data = add_array(writer, layer, ".scales", "F32", 4, 1, &rows);
        if (!data)
            return out_of_memory(writer);
        memcpy(data, scales, rows * sizeof *scales);
    }
    size_t size = (size_t)item_size(type), alive = count_alive(encoded, type, layer->count);
    bool sparse = mirl_layer_is_matrix(layer) && layer->columns <= 65536 &&
                  4 * (rows + 1) + alive * (2 + size) < layer->count * size;
    return sparse ? add_sparse(writer, layer, encoded, type, alive) : add_dense(writer, layer, encoded, type);
}

static mirl_status add_layer(writer *writer, const mirl_layer *layer, const float *values, mirl_type type) {
    if (!mirl_layer_is_matrix(layer))
        type = MIRL_F32;
    void *encoded = malloc(layer->count * (size_t)item_size(type));
    float *scales = malloc((size_t)layer->rows * sizeof *scales);
    mirl_status status =
        encoded && scales ? add_encoded(writer, layer, values, type, encoded, scales) : out_of_memory(writer);
    free(scales);
    free(encoded);
    return status;
}

/* ---- The file ---------------------------------------------------------------------------------------- */

/** The caller's metadata with the graph's configuration; NULL on failure. */
static cJSON *make_metadata(const writer *writer, const mirl_graph *graph, const char *text) {
    cJSON *metadata = text ? cJSON_Parse(text) : cJSON_CreateObject();
    char *config = mirl_config_print(&graph->config);
    bool strings = cJSON_IsObject(metadata);
    for (const cJSON *item = strings ? metadata->child : NULL; item; item = item->next)
        strings = strings && cJSON_IsString(item);
    if (!strings || !config) {
        if (strings || (!text && !metadata))
            out_of_memory(writer);
        else
            mirl_fail(writer->error, MIRL_ERROR_ARGUMENT, "the metadata must be a JSON object of strings");
        cJSON_Delete(metadata);
        metadata = NULL;
    } else {
        while (cJSON_HasObjectItem(metadata, "config"))
            cJSON_DeleteItemFromObject(metadata, "config");
        if (!cJSON_AddStringToObject(metadata, "config", config)) {
            out_of_memory(writer);
            cJSON_Delete(metadata);
            metadata = NULL;
        }
    }
    cJSON_free(config);
    return metadata;
}

static bool describe_array(cJSON *header, const array *array, uint64_t begin) {
    double shape[5], offsets[] = {(double)begin, (double)(begin + array->bytes)};
    for (int i = 0; i < array->rank; i++)
        shape[i] = (double)array->shape[i];
    cJSON *entry = cJSON_AddObjectToObject(header, array->name);
    return entry && cJSON_AddStringToObject(entry, "dtype", array->dtype) &&
           cJSON_AddItemToObject(entry, "shape", cJSON_CreateDoubleArray(shape, array->rank)) &&
           cJSON_AddItemToObject(entry, "data_offsets", cJSON_CreateDoubleArray(offsets, 2));
}

static char *print_header(const writer *writer, const mirl_graph *graph, const char *metadata_text) {
    cJSON *metadata = make_metadata(writer, graph, metadata_text);
    if (!metadata)
        return NULL;
    cJSON *header = cJSON_CreateObject();
    bool whole = cJSON_AddItemToObject(header, "__metadata__", metadata);
    if (!whole)
        cJSON_Delete(metadata);
    uint64_t at = 0;
    for (size_t i = 0; i < writer->count && whole; i++) {
        whole = describe_array(header, &writer->arrays[i], at);
        at += writer->arrays[i].bytes;
    }
    char *text = whole ? cJSON_PrintUnformatted(header) : NULL;
    cJSON_Delete(header);
    if (!text)
        out_of_memory(writer);
    return text;
}

/** Larger items first, so that every array lies at a multiple of its item's size. */
static int by_item_size(const void *a, const void *b) {
    const array *x = a, *y = b;
    if (x->item_size != y->item_size)
        return y->item_size - x->item_size;
    return strcmp(x->name, y->name);
}

static mirl_status write_file(const char *path, const writer *writer, const char *header) {
    static const char spaces[ALIGNMENT] = "                                                               ";
    mirl_replacement *file = mirl_replace_begin(path, writer->error);
    if (!file)
        return MIRL_ERROR_FILE;
    uint64_t length = strlen(header), padding = (ALIGNMENT - (8 + length) % ALIGNMENT) % ALIGNMENT;
    uint64_t padded = length + padding;
    mirl_replace_append(file, &padded, sizeof padded);
    mirl_replace_append(file, header, length);
    mirl_replace_append(file, spaces, padding);
    for (size_t i = 0; i < writer->count; i++)
        mirl_replace_append(file, writer->arrays[i].data, writer->arrays[i].bytes);
    return mirl_replace_commit(file, writer->error);
}

mirl_status mirl_weights_write(const char *path, const mirl_graph *graph, float *const *values,
                               mirl_type type, const char *metadata, mirl_error *error) {
    writer writer = {calloc((size_t)graph->layer_count * 4, sizeof *writer.arrays), 0, error};
    mirl_status status = writer.arrays ? MIRL_OK : out_of_memory(&writer);
    for (int i = 0; i < graph->layer_count && !status; i++)
        status = add_layer(&writer, &graph->layers[i], values[i], type);
    if (!status) {
        mirl_error cause = {.status = MIRL_OK};
        writer.error = &cause;
        qsort(writer.arrays, writer.count, sizeof *writer.arrays, by_item_size);
        char *header = print_header(&writer, graph, metadata);
        if (header)
            write_file(path, &writer, header);
        cJSON_free(header);
        status = cause.status;
        if (status)
            mirl_fail(error, status, "%s", cause.message);
    }
    for (size_t i = 0; i < writer.count; i++)
        free(writer.arrays[i].data);
    free(writer.arrays);
    return status;
}
