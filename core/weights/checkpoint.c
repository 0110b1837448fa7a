#include "weights/checkpoint.h"

#include "error.h"
#include "weights/pickle.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

/** Where a tensor's values lie. */
typedef struct view {
    const char *key; ///< of its storage
    uint64_t stored; ///< values in the storage
    uint64_t offset, strides[MIRL_MAX_RANK];
    size_t item_size; ///< bytes; 0 if no network uses the type
} view;

typedef struct reader {
    mirl_weights *weights;
    zip_t *archive;
    char *root;       ///< "archive/", what all entries begin with
    uint64_t bytes;   ///< read from its entries so far
    uint8_t **loaded; ///< storages that were read, one an entry of the archive
    mirl_pickle pickle;
    mirl_tensors tensors; ///< the state dict; tensor->source is its view
    view *views;
    mirl_error *error;
} reader;

bool mirl_is_checkpoint(const uint8_t *file, size_t size) {
    return size >= 4 && memcmp(file, "PK\3\4", 4) == 0;
}

static mirl_status out_of_memory(const reader *reader) {
    return mirl_fail(reader->error, MIRL_ERROR_MEMORY, "not enough memory for the checkpoint");
}

/* ---- The archive ------------------------------------------------------------------------------------- */

static mirl_status open_archive(reader *reader, const uint8_t *file, size_t size) {
    zip_error_t cause;
    zip_error_init(&cause);
    zip_source_t *source = zip_source_buffer_create(file, size, 0, &cause);
    if (source)
        reader->archive = zip_open_from_source(source, ZIP_RDONLY, &cause);
    mirl_status status = MIRL_OK;
    if (!reader->archive) {
        if (source)
            zip_source_free(source);
        status = mirl_fail(reader->error, MIRL_ERROR_FORMAT, "is not a whole zip archive: %s",
                           zip_error_strerror(&cause));
    }
    zip_error_fini(&cause);
    return status;
}

/** Reads a stored entry into a buffer of the weights. */
static mirl_status read_entry(reader *reader, uint64_t index, uint8_t **data, uint64_t *size) {
    zip_stat_t entry;
    if (zip_stat_index(reader->archive, index, 0, &entry))
        return mirl_fail(reader->error, MIRL_ERROR_FORMAT, "its zip entry %" PRIu64 " cannot be read: %s",
                         index, zip_strerror(reader->archive));
    const zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if ((entry.valid & needed) != needed || entry.comp_method != ZIP_CM_STORE ||
        entry.encryption_method != ZIP_EM_NONE)
        return mirl_fail(reader->error, MIRL_ERROR_FORMAT,
                         "its zip entry '%.80s' is compressed or encrypted; PyTorch stores entries plainly",
                         entry.name);
    /* Entries that overlap could ask for any amount of memory. */
    if (entry.size > reader->weights->file_size - reader->bytes)
        return mirl_fail(reader->error, MIRL_ERROR_FORMAT, "its zip entries are larger than the file");
    reader->bytes += entry.size;
    *size = entry.size;
    *data = mirl_weights_allocate(reader->weights, (size_t)entry.size);
    if (!*data)
        return out_of_memory(reader);
    zip_file_t *file = zip_fopen_index(reader->archive, index, 0);
    /* One byte more than there should be, so that the end is seen and the checksum checked. */
    uint8_t beyond;
    bool whole = file && zip_fread(file, *data, entry.size) == (zip_int64_t)entry.size &&
                 zip_fread(file, &beyond, 1) == 0;
    mirl_status status = MIRL_OK;
    if (!whole)
        status = mirl_fail(reader->error, MIRL_ERROR_FORMAT, "its zip entry '%.80s' is damaged: %s",
                           entry.name, file ? zip_file_strerror(file) : zip_strerror(reader->archive));
    if (file)
        zip_fclose(file);
    return status;
}

/** Finds <root>/data.pkl, whatever the root is called. */
static mirl_status find_pickle(reader *reader, uint64_t *index) {
    static const char ending[] = "/data.pkl";
    zip_int64_t entries = zip_get_num_entries(reader->archive, 0);
    for (zip_int64_t i = 0; i < entries; i++) {
        const char *name = zip_get_name(reader->archive, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
        size_t length = name ? strlen(name) : 0;
        if (length < sizeof ending || strcmp(name + length - sizeof ending + 1, ending) != 0)
            continue;
        if (reader->root)
            return mirl_fail(reader->error, MIRL_ERROR_FORMAT, "holds more than one data.pkl");
        reader->root = strndup(name, length - sizeof ending + 2);
        if (!reader->root)
            return out_of_memory(reader);
        *index = (uint64_t)i;
    }
    if (!reader->root)
        return mirl_fail(reader->error, MIRL_ERROR_FORMAT,
                         "is a zip archive but no checkpoint: it has no data.pkl");
    return MIRL_OK;
}

/** The entry "<root><name>", -1 if there is none. */
static zip_int64_t locate(const reader *reader, const char *folder, const char *name) {
    size_t room = strlen(reader->root) + strlen(folder) + strlen(name) + 1;
    char *path = malloc(room);
    if (!path)
        return -1;
    snprintf(path, room, "%s%s%s", reader->root, folder, name);
    zip_int64_t index = zip_name_locate(reader->archive, path, ZIP_FL_ENC_RAW);
    free(path);
    return index;
}

static mirl_status check_byte_order(reader *reader) {
    zip_int64_t index = locate(reader, "", "byteorder");
    uint8_t *text;
    uint64_t size;
    if (index < 0)
        return MIRL_OK;
    mirl_status status = read_entry(reader, (uint64_t)index, &text, &size);
    if (!status && (size != 6 || memcmp(text, "little", 6) != 0))
        status = mirl_fail(reader->error, MIRL_ERROR_FORMAT, "its byte order must be little");
    return status;
}

/* ---- The state dict ---------------------------------------------------------------------------------- */

static bool is_kind(const mirl_pickle_value *value, mirl_pickle_kind kind) {
    return value && value->kind == kind;
}

/** A number that is not negative and fits a tensor. */
static bool read_natural(const mirl_pickle_value *value, uint64_t *number) {
    if (!is_kind(value, MIRL_PICKLE_INTEGER) || value->integer < 0)
        return false;
    *number = (uint64_t)value->integer;
    return true;
}

static bool read_storage(const mirl_pickle_value *storage, mirl_tensor *tensor, view *view) {
    static const struct {
        const char *name;
        mirl_dtype dtype;
        size_t size;
    } classes[] = {{"torch.FloatStorage", MIRL_DTYPE_F32, 4},
                   {"torch.HalfStorage", MIRL_DTYPE_F16, 2},
                   {"torch.BFloat16Storage", MIRL_DTYPE_BF16, 2}};
    if (!is_kind(storage, MIRL_PICKLE_STORAGE) || storage->count != 5)
        return false;
    const mirl_pickle_value *tag = mirl_pickle_at(storage, 0), *class = mirl_pickle_at(storage, 1);
    const mirl_pickle_value *key = mirl_pickle_at(storage, 2);
    if (!is_kind(tag, MIRL_PICKLE_STRING) || strcmp(tag->text, "storage") != 0 ||
        !is_kind(class, MIRL_PICKLE_GLOBAL) || !is_kind(key, MIRL_PICKLE_STRING) ||
        !read_natural(mirl_pickle_at(storage, 4), &view->stored))
        return false;
    view->key = key->text;
    tensor->dtype = MIRL_DTYPE_OTHER;
    tensor->dtype_name = class->text;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strcmp(class->text, classes[i].name) == 0) {
            tensor->dtype = classes[i].dtype;
            view->item_size = classes[i].size;
        }
    return true;
}

/** Shape and strides: two tuples of the same length. */
static bool read_extent(const mirl_pickle_value *shape, const mirl_pickle_value *strides, mirl_tensor *tensor,
                        view *view) {
    if (!is_kind(shape, MIRL_PICKLE_TUPLE) || !is_kind(strides, MIRL_PICKLE_TUPLE) ||
        shape->count != strides->count || shape->count > MIRL_MAX_RANK)
        return false;
    tensor->rank = (int)shape->count;
    tensor->count = 1;
    for (int i = 0; i < tensor->rank; i++)
        if (!read_natural(mirl_pickle_at(shape, (size_t)i), &tensor->shape[i]) ||
            !read_natural(mirl_pickle_at(strides, (size_t)i), &view->strides[i]) ||
            __builtin_mul_overflow(tensor->count, tensor->shape[i], &tensor->count))
            return false;
    return !__builtin_mul_overflow(tensor->count, view->item_size, &tensor->bytes);
}

static mirl_status read_tensor(const reader *reader, const mirl_pickle_item *item, mirl_tensor *tensor,
                               view *view) {
    char text[128];
    if (!is_kind(item->key, MIRL_PICKLE_STRING))
        return mirl_fail(reader->error, MIRL_ERROR_FORMAT,
                         "its state dict has %s for a name, it must be a string",
                         mirl_pickle_describe(item->key, text, sizeof text));
    const char *name = item->key->text;
    const mirl_pickle_value *value = item->value;
    if (value->kind != MIRL_PICKLE_TENSOR)
        return mirl_fail(reader->error, MIRL_ERROR_FORMAT,
                         "its state dict: '%.80s' is %s, it must be a tensor", name,
                         mirl_pickle_describe(value, text, sizeof text));
    tensor->name = name;
    if (!read_storage(mirl_pickle_at(value, 0), tensor, view) ||
        !read_natural(mirl_pickle_at(value, 1), &view->offset) ||
        !read_extent(mirl_pickle_at(value, 2), mirl_pickle_at(value, 3), tensor, view))
        return mirl_fail(reader->error, MIRL_ERROR_FORMAT,
                         "its state dict: '%.80s' has no sound storage, offset, shape or strides", name);
    return MIRL_OK;
}

/** The dictionary under "state_dict", or the top one itself. */
static mirl_status find_state_dict(const reader *reader, const mirl_pickle_value **found) {
    char text[128];
    const mirl_pickle_value *root = reader->pickle.root;
    *found = is_kind(root, MIRL_PICKLE_DICT) ? mirl_pickle_get(root, "state_dict") : root;
    if (!*found)
        *found = root;
    if (!is_kind(*found, MIRL_PICKLE_DICT))
        return mirl_fail(reader->error, MIRL_ERROR_FORMAT, "its state dict is %s, it must be a dictionary",
                         mirl_pickle_describe(*found, text, sizeof text));
    return MIRL_OK;
}

static mirl_status read_state_dict(reader *reader) {
    const mirl_pickle_value *state;
    mirl_status status = find_state_dict(reader, &state);
    if (status)
        return status;
    reader->tensors.items = calloc(state->count + 1, sizeof *reader->tensors.items);
    reader->views = calloc(state->count + 1, sizeof *reader->views);
    if (!reader->tensors.items || !reader->views)
        return out_of_memory(reader);
    for (const mirl_pickle_item *item = state->first; item && !status; item = item->next) {
        size_t at = reader->tensors.count++;
        reader->tensors.items[at].source = at;
        status = read_tensor(reader, item, &reader->tensors.items[at], &reader->views[at]);
    }
    return status ? status : mirl_tensors_sort(&reader->tensors, reader->error);
}

/* ---- Values ------------------------------------------------------------------------------------------ */

/** Every value of the view lies within the storage. */
static bool is_inside(const mirl_tensor *tensor, const view *view) {
    uint64_t last = view->offset, reach;
    for (int i = 0; i < tensor->rank; i++)
        if (__builtin_mul_overflow(tensor->shape[i] - 1, view->strides[i], &reach) ||
            __builtin_add_overflow(last, reach, &last))
            return false;
    return last < view->stored;
}

static bool is_contiguous(const mirl_tensor *tensor, const view *view) {
    uint64_t stride = 1;
    for (int i = tensor->rank; i-- > 0; stride *= tensor->shape[i])
        if (tensor->shape[i] != 1 && view->strides[i] != stride)
            return false;
    return true;
}

static void gather(const mirl_tensor *tensor, const view *view, const uint8_t *storage, uint8_t *values) {
    uint64_t index[MIRL_MAX_RANK] = {0}, from = view->offset;
    for (uint64_t done = 0; done < tensor->count; done++, values += view->item_size) {
        memcpy(values, storage + from * view->item_size, view->item_size);
        for (int i = tensor->rank; i-- > 0;) {
            from += view->strides[i];
            if (++index[i] < tensor->shape[i])
                break;
            from -= view->strides[i] * tensor->shape[i];
            index[i] = 0;
        }
    }
}

static mirl_status load_storage(reader *reader, const mirl_tensor *tensor, const view *view,
                                uint8_t **storage) {
    zip_int64_t index = locate(reader, "data/", view->key);
    uint64_t size;
    if (index < 0)
        return mirl_fail(reader->error, MIRL_ERROR_FORMAT,
                         "the storage '%.32s' of '%.80s' is not in the archive", view->key, tensor->name);
    zip_stat_t entry;
    if (zip_stat_index(reader->archive, (zip_uint64_t)index, 0, &entry) ||
        entry.size / view->item_size != view->stored || entry.size % view->item_size)
        return mirl_fail(reader->error, MIRL_ERROR_FORMAT,
                         "the storage '%.32s' of '%.80s' does not have the size that its pickle says",
                         view->key, tensor->name);
    mirl_status status = MIRL_OK;
    if (!reader->loaded[index])
        status = read_entry(reader, (uint64_t)index, &reader->loaded[index], &size);
    *storage = reader->loaded[index];
    return status;
}

static mirl_status load_tensor(reader *reader, mirl_tensor *tensor) {
    const view *view = &reader->views[tensor->source];
    uint8_t *storage = NULL;
    if (!is_inside(tensor, view))
        return mirl_fail(reader->error, MIRL_ERROR_FORMAT, "tensor '%.80s' reaches beyond its storage",
                         tensor->name);
    mirl_status status = load_storage(reader, tensor, view, &storage);
    if (status)
        return status;
    if (is_contiguous(tensor, view)) {
        tensor->data = storage + view->offset * view->item_size;
        return MIRL_OK;
    }
    uint8_t *values = mirl_weights_allocate(reader->weights, (size_t)tensor->bytes);
    if (!values)
        return out_of_memory(reader);
    gather(tensor, view, storage, values);
    tensor->data = values;
    return MIRL_OK;
}

static mirl_status load_layers(reader *reader, const mirl_binding *bindings) {
    const mirl_graph *graph = reader->weights->graph;
    mirl_status status = MIRL_OK;
    /* Views could share one small storage; bounding them by the file bounds the memory that they take. */
    if (graph->parameters > reader->weights->file_size / 2)
        return mirl_fail(reader->error, MIRL_ERROR_FORMAT, "is too short for its %zu parameters",
                         graph->parameters);
    reader->loaded = calloc((size_t)zip_get_num_entries(reader->archive, 0), sizeof *reader->loaded);
    if (!reader->loaded)
        return out_of_memory(reader);
    for (int i = 0; i < graph->layer_count && !status; i++)
        status = load_tensor(reader, bindings[i].dense);
    return status;
}

static mirl_status read_layers(reader *reader) {
    mirl_binding *bindings;
    mirl_status status = mirl_bind_layers(reader->weights, &reader->tensors, NULL, &bindings, reader->error);
    if (!status)
        status = load_layers(reader, bindings);
    if (!status)
        status = mirl_bind_values(reader->weights, bindings, reader->error);
    free(bindings);
    return status;
}

mirl_status mirl_checkpoint_read(mirl_weights *weights, const uint8_t *file, size_t size, mirl_error *error) {
    reader reader = {.weights = weights, .error = error};
    uint8_t *pickle = NULL;
    uint64_t index = 0, length = 0;
    mirl_status status = open_archive(&reader, file, size);
    if (!status)
        status = find_pickle(&reader, &index);
    if (!status)
        status = check_byte_order(&reader);
    if (!status)
        status = read_entry(&reader, index, &pickle, &length);
    if (!status)
        status = mirl_pickle_read(pickle, (size_t)length, &reader.pickle, error);
    if (!status)
        status = read_state_dict(&reader);
    if (!status)
        status = read_layers(&reader);
    mirl_pickle_free(&reader.pickle);
    free(reader.tensors.items);
    free(reader.views);
    free(reader.loaded);
    free(reader.root);
    if (reader.archive)
        zip_discard(reader.archive);
    return status;
}
