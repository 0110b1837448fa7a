/* From named tensors to checked layers. */
#include "error.h"
#include "weights/config.h"
#include "weights/half.h"
#include "weights/internal.h"

#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Names, types and shapes ------------------------------------------------------------------------- */

bool mirl_layer_is_matrix(const mirl_layer *layer) {
    return layer->kind == MIRL_CONV1 || layer->kind == MIRL_CONV3 || layer->kind == MIRL_DEPTHWISE ||
           layer->kind == MIRL_LINEAR_WEIGHT;
}

typedef struct binder {
    const mirl_tensors *tensors;
    const char *prefix;
    bool *used; ///< one a tensor
    mirl_error *error;
} binder;

/** The tensor "<prefix><layer><suffix>", which then counts as used; NULL if there is none. */
static mirl_tensor *take(binder *binder, const mirl_layer *layer, const char *suffix) {
    char name[96];
    snprintf(name, sizeof name, "%s%s%s", binder->prefix, layer->name, suffix);
    mirl_tensor *tensor = mirl_tensors_find(binder->tensors, name);
    if (tensor)
        binder->used[tensor - binder->tensors->items] = true;
    return tensor;
}

static mirl_status check_shape(const mirl_tensor *tensor, int rank, const uint64_t *shape,
                               mirl_error *error) {
    if (tensor->rank == rank && memcmp(tensor->shape, shape, (size_t)rank * sizeof *shape) == 0)
        return MIRL_OK;
    char is[128], wanted[128];
    return mirl_fail(error, MIRL_ERROR_FORMAT, "tensor '%.80s' has shape %s, it must be %s", tensor->name,
                     mirl_shape_text(tensor->rank, tensor->shape, is, sizeof is),
                     mirl_shape_text(rank, shape, wanted, sizeof wanted));
}

static mirl_status check_vector(const mirl_tensor *tensor, mirl_dtype dtype, const char *dtype_name,
                                uint64_t count, mirl_error *error) {
    if (tensor->dtype != dtype)
        return mirl_fail(error, MIRL_ERROR_FORMAT, "tensor '%.80s' holds %s, it must hold %s", tensor->name,
                         tensor->dtype_name, dtype_name);
    return check_shape(tensor, 1, &count, error);
}

/** The dtype of values, dense or sparse; I8 needs scales beside it, the others none. */
static mirl_status check_values_type(binder *binder, const mirl_layer *layer, const mirl_tensor *values,
                                     mirl_binding *binding) {
    bool dense = values == binding->dense;
    if (values->dtype == MIRL_DTYPE_I8 && mirl_layer_is_matrix(layer)) {
        binding->scales = take(binder, layer, ".scales");
        if (!binding->scales)
            return mirl_fail(binder->error, MIRL_ERROR_FORMAT, "tensor '%s.scales' is missing", layer->name);
        return check_vector(binding->scales, MIRL_DTYPE_F32, "F32", (uint64_t)layer->rows, binder->error);
    }
    if (values->dtype == MIRL_DTYPE_F32 || values->dtype == MIRL_DTYPE_F16 ||
        (values->dtype == MIRL_DTYPE_BF16 && dense))
        return MIRL_OK;
    return mirl_fail(binder->error, MIRL_ERROR_FORMAT, "tensor '%.80s' holds %s, it must hold F32, F16%s",
                     values->name, values->dtype_name,
                     !dense                        ? " or I8"
                     : mirl_layer_is_matrix(layer) ? ", BF16 or I8"
                                                   : " or BF16");
}

static mirl_status bind_dense(binder *binder, const mirl_layer *layer, mirl_binding *binding) {
    uint64_t shape[5];
    for (int i = 0; i < layer->rank; i++)
        shape[i] = (uint64_t)layer->shape[i];
    mirl_status status = check_values_type(binder, layer, binding->dense, binding);
    return status ? status : check_shape(binding->dense, layer->rank, shape, binder->error);
}

static mirl_status bind_sparse(binder *binder, const mirl_layer *layer, mirl_binding *binding) {
    binding->rows = take(binder, layer, ".rows");
    binding->columns = take(binder, layer, ".columns");
    binding->values = take(binder, layer, ".values");
    if (!binding->rows && !binding->columns && !binding->values)
        return mirl_fail(binder->error, MIRL_ERROR_FORMAT, "tensor '%s%s' is missing", binder->prefix,
                         layer->name);
    if (!binding->rows || !binding->columns || !binding->values)
        return mirl_fail(binder->error, MIRL_ERROR_FORMAT, "tensor '%s.%s' is missing", layer->name,
                         !binding->rows      ? "rows"
                         : !binding->columns ? "columns"
                                             : "values");
    if (!mirl_layer_is_matrix(layer) || layer->columns > 65536)
        return mirl_fail(binder->error, MIRL_ERROR_FORMAT, "tensor '%s' must be stored dense", layer->name);
    uint64_t alive = binding->columns->count;
    mirl_status status =
        check_vector(binding->rows, MIRL_DTYPE_U32, "U32", (uint64_t)layer->rows + 1, binder->error);
    if (!status)
        status = check_vector(binding->columns, MIRL_DTYPE_U16, "U16", alive, binder->error);
    if (!status)
        status = check_values_type(binder, layer, binding->values, binding);
    return status ? status : check_shape(binding->values, 1, &alive, binder->error);
}

static mirl_status check_left_over(const binder *binder) {
    size_t prefix = strlen(binder->prefix);
    for (size_t i = 0; i < binder->tensors->count; i++) {
        const char *name = binder->tensors->items[i].name;
        if (binder->used[i])
            continue;
        if (strncmp(name, binder->prefix, prefix) == 0 && mirl_graph_is_unused_name(name + prefix))
            continue;
        return mirl_fail(binder->error, MIRL_ERROR_FORMAT, "tensor '%.80s' is not part of the network", name);
    }
    return MIRL_OK;
}

/** The network's prefix in published checkpoints, if it is there. */
static const char *find_prefix(const mirl_tensors *tensors) {
    return mirl_tensors_find(tensors, "net.patch_embed.proj.weight") ? "net." : "";
}

static mirl_status bind_all(mirl_weights *weights, binder *binder, mirl_binding *bindings) {
    mirl_status status = MIRL_OK;
    for (int i = 0; i < weights->graph->layer_count && !status; i++) {
        const mirl_layer *layer = &weights->graph->layers[i];
        bindings[i].dense = take(binder, layer, "");
        status = bindings[i].dense ? bind_dense(binder, layer, &bindings[i])
                                   : bind_sparse(binder, layer, &bindings[i]);
    }
    return status ? status : check_left_over(binder);
}

mirl_status mirl_bind_layers(mirl_weights *weights, const mirl_tensors *tensors, const char *config_json,
                             mirl_binding **bindings, mirl_error *error) {
    binder binder = {tensors, find_prefix(tensors), NULL, error};
    mirl_config config;
    *bindings = NULL;
    mirl_status status = config_json ? mirl_config_parse(config_json, &config, error)
                                     : mirl_config_derive(tensors, binder.prefix, &config, error);
    if (status)
        return status;
    mirl_error cause;
    weights->graph = mirl_graph_create(&config, &cause);
    if (!weights->graph) /* what is a caller's mistake there is the file's here */
        return mirl_fail(error, cause.status == MIRL_ERROR_MEMORY ? MIRL_ERROR_MEMORY : MIRL_ERROR_FORMAT,
                         "%s", cause.message);
    binder.used = calloc(tensors->count + 1, sizeof *binder.used);
    *bindings = calloc((size_t)weights->graph->layer_count, sizeof **bindings);
    if (binder.used && *bindings)
        status = bind_all(weights, &binder, *bindings);
    else
        status = mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for its list of layers");
    free(binder.used);
    if (status) {
        free(*bindings);
        *bindings = NULL;
    }
    return status;
}

/* ---- Values ------------------------------------------------------------------------------------------ */

/** How many values are zero and whether any is infinite or NaN: written so that compilers vectorize it. */
static size_t count_zeros_f32(const uint8_t *data, size_t count, bool *finite) {
    const mirl_unaligned_u32 *values = (const mirl_unaligned_u32 *)data;
    uint32_t wild = 0;
    size_t zeros = 0;
    for (size_t done = 0; done < count;) {
        size_t end = count - done < 65536 ? count : done + 65536;
        uint32_t found = 0;
        for (; done < end; done++) {
            uint32_t magnitude = values[done] & 0x7fffffff;
            found += magnitude == 0;
            wild |= magnitude >= 0x7f800000;
        }
        zeros += found;
    }
    *finite = !wild;
    return zeros;
}

static size_t count_zeros_f16(const uint8_t *data, size_t count, bool *finite) {
    const mirl_unaligned_u16 *values = (const mirl_unaligned_u16 *)data;
    uint16_t wild = 0;
    size_t zeros = 0;
    for (size_t done = 0; done < count;) {
        size_t end = count - done < 32768 ? count : done + 32768;
        uint16_t found = 0;
        for (; done < end; done++) {
            uint16_t magnitude = values[done] & 0x7fff;
            found = (uint16_t)(found + (magnitude == 0));
            wild |= magnitude >= 0x7c00;
        }
        zeros += found;
    }
    *finite = !wild;
    return zeros;
}

static size_t count_zeros_i8(const uint8_t *data, size_t count) {
    size_t zeros = 0;
    for (size_t i = 0; i < count; i++)
        zeros += data[i] == 0;
    return zeros;
}

static mirl_status check_scales(const mirl_tensor *tensor, mirl_error *error) {
    const mirl_unaligned_float *scales = (const mirl_unaligned_float *)tensor->data;
    for (uint64_t i = 0; i < tensor->count; i++)
        if (!(scales[i] >= FLT_MIN && scales[i] <= FLT_MAX / 128))
            return mirl_fail(error, MIRL_ERROR_FORMAT,
                             "tensor '%.80s': scale %" PRIu64 " is %g, it must be positive and normal",
                             tensor->name, i, (double)scales[i]);
    return MIRL_OK;
}

/** Row starts from 0 to the number of values, never falling. */
static mirl_status check_rows(const mirl_tensor *tensor, uint64_t alive, mirl_error *error) {
    const mirl_unaligned_u32 *starts = (const mirl_unaligned_u32 *)tensor->data;
    uint64_t last = tensor->count - 1;
    if (starts[0] != 0 || starts[last] != alive)
        return mirl_fail(error, MIRL_ERROR_FORMAT,
                         "tensor '%.80s' goes from %" PRIu32 " to %" PRIu32 ", it must go from 0 to %" PRIu64,
                         tensor->name, starts[0], starts[last], alive);
    for (uint64_t i = 0; i < last; i++)
        if (starts[i] > starts[i + 1])
            return mirl_fail(error, MIRL_ERROR_FORMAT, "tensor '%.80s' falls after row %" PRIu64,
                             tensor->name, i);
    return MIRL_OK;
}

/** Columns in range, and rising within each row: all falls are counted first, then those at row starts. */
static mirl_status check_columns(const mirl_tensor *tensor, const mirl_tensor *rows, int limit,
                                 mirl_error *error) {
    const mirl_unaligned_u16 *columns = (const mirl_unaligned_u16 *)tensor->data;
    const mirl_unaligned_u32 *starts = (const mirl_unaligned_u32 *)rows->data;
    size_t count = (size_t)tensor->count;
    uint16_t largest = 0;
    size_t falls = 0;
    for (size_t i = 0; i < count; i++)
        largest = columns[i] > largest ? columns[i] : largest;
    if (count && largest >= limit)
        return mirl_fail(error, MIRL_ERROR_FORMAT, "tensor '%.80s' holds column %d, there are %d",
                         tensor->name, largest, limit);
    for (size_t done = 1; done < count;) {
        size_t end = count - done < 32768 ? count : done + 32768;
        uint16_t found = 0;
        for (; done < end; done++)
            found = (uint16_t)(found + (columns[done] <= columns[done - 1]));
        falls += found;
    }
    for (uint64_t row = 1; row + 1 < rows->count; row++) {
        uint32_t start = starts[row];
        if (start != starts[row - 1] && start < count && columns[start] <= columns[start - 1])
            falls--;
    }
    if (falls)
        return mirl_fail(error, MIRL_ERROR_FORMAT, "tensor '%.80s' must rise within each row", tensor->name);
    return MIRL_OK;
}

/** bfloat16 has no place in mirl_type: it becomes float32. */
static mirl_status widen(mirl_weights *weights, const mirl_tensor *tensor, mirl_stored *stored,
                         mirl_error *error) {
    uint8_t *values = mirl_weights_allocate(weights, (size_t)tensor->count * sizeof(float));
    if (!values)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for tensor '%.80s'", tensor->name);
    mirl_bf16_decode(tensor->data, (size_t)tensor->count, (float *)(void *)values);
    stored->values = values;
    return MIRL_OK;
}

static mirl_status check_values(const mirl_tensor *tensor, mirl_stored *stored, mirl_error *error) {
    size_t zeros, count = (size_t)tensor->count;
    bool finite = true;
    if (stored->type == MIRL_F32)
        zeros = count_zeros_f32(stored->values, count, &finite);
    else if (stored->type == MIRL_F16)
        zeros = count_zeros_f16(stored->values, count, &finite);
    else
        zeros = count_zeros_i8(stored->values, count);
    if (!finite)
        return mirl_fail(error, MIRL_ERROR_FORMAT, "tensor '%.80s' holds an infinity or NaN", tensor->name);
    if (stored->sparse && zeros)
        return mirl_fail(error, MIRL_ERROR_FORMAT, "tensor '%.80s' holds a zero, which it must leave out",
                         tensor->name);
    stored->alive = count - zeros;
    return MIRL_OK;
}

static mirl_status bind_layer(mirl_weights *weights, const mirl_layer *layer, const mirl_binding *binding,
                              mirl_stored *stored, mirl_error *error) {
    const mirl_tensor *values = binding->dense ? binding->dense : binding->values;
    mirl_status status = MIRL_OK;
    stored->sparse = !binding->dense;
    stored->values = values->data;
    stored->type = values->dtype == MIRL_DTYPE_F16  ? MIRL_F16
                   : values->dtype == MIRL_DTYPE_I8 ? MIRL_I8
                                                    : MIRL_F32;
    if (values->dtype == MIRL_DTYPE_BF16)
        status = widen(weights, values, stored, error);
    if (!status && binding->scales) {
        stored->scales = binding->scales->data;
        status = check_scales(binding->scales, error);
    }
    if (!status && stored->sparse) {
        stored->rows = binding->rows->data;
        stored->columns = binding->columns->data;
        status = check_rows(binding->rows, binding->columns->count, error);
        if (!status)
            status = check_columns(binding->columns, binding->rows, layer->columns, error);
    }
    return status ? status : check_values(values, stored, error);
}

mirl_status mirl_bind_values(mirl_weights *weights, const mirl_binding *bindings, mirl_error *error) {
    const mirl_graph *graph = weights->graph;
    mirl_status status = MIRL_OK;
    weights->stored = calloc((size_t)graph->layer_count, sizeof *weights->stored);
    if (!weights->stored)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for its list of layers");
    for (int i = 0; i < graph->layer_count && !status; i++)
        status = bind_layer(weights, &graph->layers[i], &bindings[i], &weights->stored[i], error);
    return status;
}
