#include "checkpoints.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

void put(bytes *to, const void *data, size_t size) {
    if (to->size + size > to->room) {
        to->room = (to->size + size) * 2;
        to->data = realloc(to->data, to->room);
        if (!to->data)
            abort();
    }
    if (size)
        memcpy(to->data + to->size, data, size);
    to->size += size;
}

void put_opcodes(bytes *to, const char *opcodes) {
    put(to, opcodes, strlen(opcodes));
}

void put_string(bytes *to, const char *text) {
    uint32_t length = (uint32_t)strlen(text);
    put(to, "X", 1);
    put(to, &length, sizeof length);
    put(to, text, length);
}

void put_integer(bytes *to, int64_t integer) {
    int32_t number = (int32_t)integer;
    if (number == integer) {
        put(to, "J", 1);
        put(to, &number, sizeof number);
    } else {
        put(to, "\x8a\x08", 2);
        put(to, &integer, sizeof integer);
    }
}

void put_tensor(bytes *to, const char *storage, const char *key, size_t stored, size_t offset, int rank,
                const int *shape, const int64_t *strides) {
    char class[64];
    snprintf(class, sizeof class, "ctorch\n%s\n", storage);
    put_opcodes(to, "ctorch._utils\n_rebuild_tensor_v2\n((");
    put_string(to, "storage");
    put_opcodes(to, class);
    put_string(to, key);
    put_string(to, "cpu");
    put_integer(to, (int64_t)stored);
    put_opcodes(to, "tQ");
    put_integer(to, (int64_t)offset);
    put_opcodes(to, "(");
    for (int i = 0; i < rank; i++)
        put_integer(to, shape[i]);
    put_opcodes(to, "t(");
    for (int i = 0; i < rank; i++) {
        int64_t stride = 1;
        for (int k = i + 1; k < rank; k++)
            stride *= shape[k];
        put_integer(to, strides ? strides[i] : stride);
    }
    put_opcodes(to, "t\x89"
                    "ccollections\nOrderedDict\n)RtR");
}

void put_layers(bytes *to, const mirl_graph *graph, const char *prefix, const char *storage, size_t stored) {
    size_t offset = 0;
    for (int i = 0; i < graph->layer_count; i++) {
        const mirl_layer *layer = &graph->layers[i];
        char name[96];
        snprintf(name, sizeof name, "%s%s", prefix, layer->name);
        put_string(to, name);
        put_tensor(to, storage, "0", stored, offset, layer->rank, layer->shape, NULL);
        offset += layer->count;
    }
}

bytes state_dict(const mirl_graph *graph, const char *prefix, const char *storage) {
    bytes pickle = {0};
    put_opcodes(&pickle, "\x80\x02}(");
    put_layers(&pickle, graph, prefix, storage, graph->parameters);
    put_opcodes(&pickle, "u.");
    return pickle;
}

static void add_entry(zip_t *archive, const char *name, const void *data, size_t size) {
    zip_source_t *source = zip_source_buffer(archive, data, size, 0);
    zip_int64_t index = source ? zip_file_add(archive, name, source, ZIP_FL_ENC_UTF_8) : -1;
    if (index < 0 || zip_set_file_compression(archive, (zip_uint64_t)index, ZIP_CM_STORE, 0) ||
        zip_file_set_mtime(archive, (zip_uint64_t)index, 0, 0))
        abort();
}

bytes make_archive(const bytes *pickle, const void *storage, size_t storage_size) {
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(NULL, 0, 0, &error);
    zip_t *archive = source ? zip_open_from_source(source, ZIP_TRUNCATE, &error) : NULL;
    if (!archive)
        abort();
    zip_source_keep(source);
    add_entry(archive, "archive/data.pkl", pickle->data, pickle->size);
    add_entry(archive, "archive/data/0", storage, storage_size);
    add_entry(archive, "archive/byteorder", "little", 6);
    zip_stat_t status;
    if (zip_close(archive) || zip_source_stat(source, &status) || zip_source_open(source))
        abort();
    bytes whole = {malloc(status.size), status.size, status.size};
    if (!whole.data || zip_source_read(source, whole.data, whole.size) != (zip_int64_t)whole.size)
        abort();
    zip_source_close(source);
    zip_source_free(source);
    zip_error_fini(&error);
    return whole;
}
