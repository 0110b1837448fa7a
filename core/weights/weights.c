/* Opening weights files of any format, and giving out what they hold. */
#include "weights/weights.h"

#include "error.h"
#include "weights/checkpoint.h"
#include "weights/half.h"
#include "weights/internal.h"
#include "weights/safetensors.h"

#include <stdlib.h>
#include <string.h>

/* ---- Opening ----------------------------------------------------------------------------------------- */

uint8_t *mirl_weights_allocate(mirl_weights *weights, size_t bytes) {
    uint8_t **buffers = realloc(weights->buffers, (weights->buffer_count + 1) * sizeof *weights->buffers);
    if (!buffers)
        return NULL;
    weights->buffers = buffers;
    uint8_t *buffer = malloc(bytes ? bytes : 1);
    if (buffer)
        buffers[weights->buffer_count++] = buffer;
    return buffer;
}

static mirl_status read_safetensors(mirl_weights *weights, const uint8_t *file, size_t size,
                                    mirl_error *error) {
    mirl_safetensors container;
    mirl_binding *bindings = NULL;
    if (size >= 4 && memcmp(file, "\x80\x02\x8a\x0a", 4) == 0)
        return mirl_fail(
            error, MIRL_ERROR_FORMAT,
            "is a PyTorch file from before version 1.6; saved again by a newer one it can be read");
    mirl_status status = mirl_safetensors_parse(file, size, &container, error);
    if (status)
        return status;
    const char *config = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(container.metadata, "config"));
    status = mirl_bind_layers(weights, &container.tensors, config, &bindings, error);
    if (!status)
        status = mirl_bind_values(weights, bindings, error);
    if (!status && container.metadata)
        weights->metadata = cJSON_DetachItemViaPointer(container.header, container.metadata);
    free(bindings);
    mirl_safetensors_close(&container);
    return status;
}

static mirl_status keep_metadata(mirl_weights *weights, mirl_error *error) {
    if (!weights->metadata)
        weights->metadata = cJSON_CreateObject();
    weights->metadata_text = cJSON_PrintUnformatted(weights->metadata);
    if (!weights->metadata_text)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for its metadata");
    return MIRL_OK;
}

mirl_weights *mirl_weights_read(const uint8_t *file, size_t size, mirl_error *error) {
    mirl_weights *weights = calloc(1, sizeof *weights);
    if (!weights) {
        mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory");
        return NULL;
    }
    weights->file_size = size;
    mirl_status status = mirl_is_checkpoint(file, size) ? mirl_checkpoint_read(weights, file, size, error)
                                                        : read_safetensors(weights, file, size, error);
    if (!status)
        status = keep_metadata(weights, error);
    if (status) {
        mirl_weights_close(weights);
        return NULL;
    }
    return weights;
}

/** Length of the well-formed UTF-8 sequence of printable text that begins here, 0 if there is none. */
static size_t printable(const unsigned char *text) {
    static const struct {
        unsigned char mask, lead, length;
        uint32_t least;
    } forms[] = {
        {0x80, 0x00, 1, 0x20}, {0xe0, 0xc0, 2, 0xa0}, {0xf0, 0xe0, 3, 0x800}, {0xf8, 0xf0, 4, 0x10000}};
    for (size_t i = 0; i < 4; i++) {
        if ((*text & forms[i].mask) != forms[i].lead)
            continue;
        uint32_t code = (uint32_t)(*text & ~forms[i].mask);
        for (size_t k = 1; k < forms[i].length; k++) {
            if ((text[k] & 0xc0) != 0x80)
                return 0;
            code = code << 6 | (text[k] & 0x3f);
        }
        bool text_like =
            code >= forms[i].least && code != 0x7f && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
        return text_like ? forms[i].length : 0;
    }
    return 0;
}

/** Files choose the names in messages: whatever is not printable text becomes a question mark. */
static void make_printable(char *text) {
    unsigned char *at = (unsigned char *)text;
    while (*at) {
        size_t length = printable(at);
        if (!length)
            *at = '?';
        at += length ? length : 1;
    }
}

mirl_weights *mirl_weights_open(const char *path, mirl_error *error) {
    mirl_map map;
    mirl_error cause;
    mirl_weights *weights = NULL;
    if (!mirl_map_open(path, &map, &cause)) {
        weights = mirl_weights_read(map.data, map.size, &cause);
        if (weights)
            weights->map = map;
        else
            mirl_map_close(&map);
    }
    if (!weights) {
        mirl_fail(error, cause.status, "%.200s: %s", path, cause.message);
        if (error)
            make_printable(error->message);
    }
    return weights;
}

void mirl_weights_drop_values(mirl_weights *weights) {
    for (size_t i = 0; i < weights->buffer_count; i++)
        free(weights->buffers[i]);
    weights->buffer_count = 0;
    mirl_map_close(&weights->map);
}

void mirl_weights_close(mirl_weights *weights) {
    if (!weights)
        return;
    mirl_weights_drop_values(weights);
    free(weights->buffers);
    free(weights->stored);
    cJSON_free(weights->metadata_text);
    cJSON_Delete(weights->metadata);
    mirl_graph_free(weights->graph);
    free(weights);
}

/* ---- Accessors --------------------------------------------------------------------------------------- */

const mirl_graph *mirl_weights_graph(const mirl_weights *weights) {
    return weights->graph;
}

const char *mirl_weights_metadata(const mirl_weights *weights) {
    return weights->metadata_text;
}

const char *mirl_weights_metadata_get(const mirl_weights *weights, const char *key) {
    const char *value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(weights->metadata, key));
    return value ? value : "";
}

uint64_t mirl_weights_file_size(const mirl_weights *weights) {
    return weights->file_size;
}

mirl_type mirl_weights_type(const mirl_weights *weights, int layer) {
    return weights->stored[layer].type;
}

bool mirl_weights_is_sparse(const mirl_weights *weights, int layer) {
    return weights->stored[layer].sparse;
}

size_t mirl_weights_alive(const mirl_weights *weights, int layer) {
    return weights->stored[layer].alive;
}

mirl_remains mirl_weights_remains(const mirl_weights *weights) {
    mirl_remains remains = mirl_remains_begin(weights->graph);
    for (int i = 0; i < weights->graph->layer_count; i++)
        mirl_remains_add(&remains, &weights->graph->layers[i], weights->stored[i].alive);
    return remains;
}

/** Values first..first+count-1 of the layer, all of the same row if there are scales. */
static void decode(const mirl_stored *stored, size_t first, size_t count, float scale, float *values) {
    switch (stored->type) {
    case MIRL_F32:
        memcpy(values, stored->values + first * sizeof *values, count * sizeof *values);
        break;
    case MIRL_F16:
        mirl_f16_decode(stored->values + first * 2, count, values);
        break;
    case MIRL_I8:
        for (size_t i = 0; i < count; i++)
            values[i] = (float)(int8_t)stored->values[first + i] * scale;
        break;
    }
}

static float scale_of(const mirl_stored *stored, int row) {
    return stored->scales ? ((const mirl_unaligned_float *)stored->scales)[row] : 1;
}

static size_t sparse_row(const mirl_stored *stored, int row, uint16_t *columns, float *values) {
    const mirl_unaligned_u32 *starts = (const mirl_unaligned_u32 *)stored->rows + row;
    size_t first = starts[0], count = starts[1] - first;
    if (columns)
        memcpy(columns, stored->columns + first * sizeof *columns, count * sizeof *columns);
    if (values)
        decode(stored, first, count, scale_of(stored, row), values);
    return count;
}

static size_t dense_row(const mirl_stored *stored, int row, size_t length, uint16_t *columns, float *values) {
    enum { CHUNK = 256 };
    float chunk[CHUNK];
    size_t alive = 0;
    for (size_t done = 0; done < length; done += CHUNK) {
        size_t count = length - done < CHUNK ? length - done : CHUNK;
        decode(stored, (size_t)row * length + done, count, scale_of(stored, row), chunk);
        for (size_t i = 0; i < count; i++) {
            if (columns)
                columns[alive] = (uint16_t)(done + i);
            if (values)
                values[alive] = chunk[i];
            alive += chunk[i] != 0;
        }
    }
    return alive;
}

size_t mirl_weights_row(const mirl_weights *weights, int layer, int row, uint16_t *columns, float *values) {
    const mirl_stored *stored = &weights->stored[layer];
    const mirl_layer *shape = &weights->graph->layers[layer];
    if (stored->sparse)
        return sparse_row(stored, row, columns, values);
    return dense_row(stored, row, shape->count / (size_t)shape->rows, columns, values);
}

static void scatter_row(const mirl_stored *stored, int row, float *values) {
    enum { CHUNK = 256 };
    float chunk[CHUNK];
    const mirl_unaligned_u32 *starts = (const mirl_unaligned_u32 *)stored->rows + row;
    const mirl_unaligned_u16 *columns = (const mirl_unaligned_u16 *)stored->columns;
    for (size_t done = starts[0]; done < starts[1]; done += CHUNK) {
        size_t count = starts[1] - done < CHUNK ? starts[1] - done : CHUNK;
        decode(stored, done, count, scale_of(stored, row), chunk);
        for (size_t i = 0; i < count; i++)
            values[columns[done + i]] = chunk[i];
    }
}

void mirl_weights_values(const mirl_weights *weights, int layer, float *values) {
    const mirl_stored *stored = &weights->stored[layer];
    const mirl_layer *shape = &weights->graph->layers[layer];
    size_t length = shape->count / (size_t)shape->rows;
    if (!stored->sparse && !stored->scales) {
        decode(stored, 0, shape->count, 1, values);
        return;
    }
    if (stored->sparse)
        memset(values, 0, shape->count * sizeof *values);
    for (int row = 0; row < shape->rows; row++) {
        if (stored->sparse)
            scatter_row(stored, row, values + (size_t)row * length);
        else
            decode(stored, (size_t)row * length, length, scale_of(stored, row),
                   values + (size_t)row * length);
    }
}
