#include "weights/config.h"

#include "error.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** A field's place: `count` ints, or the one double. */
typedef struct field {
    const char *name;
    int *integers;
    int count; ///< 0: not an array
    double *real;
} field;

enum { FIELDS = 8 };

static void list_fields(mirl_config *config, field fields[FIELDS]) {
    const field all[FIELDS] = {
        {"dim", &config->dim, 0, NULL},
        {"blocks", config->blocks, 4, NULL},
        {"refinement", &config->refinement, 0, NULL},
        {"heads", config->heads, 4, NULL},
        {"ffn", NULL, 0, &config->ffn},
        {"prompt_len", &config->prompt_len, 0, NULL},
        {"prompt_dims", config->prompt_dims, 3, NULL},
        {"prompt_sizes", config->prompt_sizes, 3, NULL},
    };
    memcpy(fields, all, sizeof all);
}

static bool read_integer(const cJSON *item, int *value) {
    if (!cJSON_IsNumber(item) || !(fabs(item->valuedouble) <= 1e6))
        return false;
    *value = (int)item->valuedouble;
    return *value == item->valuedouble;
}

static bool read_field(const cJSON *item, const field *field) {
    if (field->real) {
        *field->real = item->valuedouble;
        return cJSON_IsNumber(item);
    }
    if (!field->count)
        return read_integer(item, field->integers);
    if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) != field->count)
        return false;
    const cJSON *entry = item->child;
    for (int i = 0; i < field->count; i++, entry = entry->next)
        if (!read_integer(entry, &field->integers[i]))
            return false;
    return true;
}

static mirl_status read_fields(const cJSON *object, const field *fields, mirl_error *error) {
    bool seen[FIELDS] = {false};
    if (!cJSON_IsObject(object))
        return mirl_fail(error, MIRL_ERROR_FORMAT, "the configuration in __metadata__ is not a JSON object");
    for (const cJSON *item = object->child; item; item = item->next) {
        int at = 0;
        while (at < FIELDS && strcmp(item->string, fields[at].name) != 0)
            at++;
        if (at == FIELDS || seen[at])
            return mirl_fail(error, MIRL_ERROR_FORMAT, "configuration: '%.32s' is %s", item->string,
                             at < FIELDS ? "there twice" : "not one of its fields");
        seen[at] = true;
        if (!read_field(item, &fields[at]))
            return mirl_fail(error, MIRL_ERROR_FORMAT, "configuration: %s must be %s", fields[at].name,
                             fields[at].real         ? "a number"
                             : !fields[at].count     ? "an integer"
                             : fields[at].count == 3 ? "three integers"
                                                     : "four integers");
    }
    for (int i = 0; i < FIELDS; i++)
        if (!seen[i])
            return mirl_fail(error, MIRL_ERROR_FORMAT, "configuration: %s is missing", fields[i].name);
    return MIRL_OK;
}

mirl_status mirl_config_parse(const char *json, mirl_config *config, mirl_error *error) {
    field fields[FIELDS];
    *config = (mirl_config){0};
    list_fields(config, fields);
    cJSON *object = cJSON_Parse(json);
    mirl_status status = read_fields(object, fields, error);
    cJSON_Delete(object);
    return status;
}

char *mirl_config_print(const mirl_config *config) {
    mirl_config copy = *config;
    field fields[FIELDS];
    list_fields(&copy, fields);
    cJSON *object = cJSON_CreateObject();
    bool whole = object != NULL;
    for (int i = 0; i < FIELDS && whole; i++) {
        cJSON *item = fields[i].real    ? cJSON_CreateNumber(*fields[i].real)
                      : fields[i].count ? cJSON_CreateIntArray(fields[i].integers, fields[i].count)
                                        : cJSON_CreateNumber(*fields[i].integers);
        whole = cJSON_AddItemToObject(object, fields[i].name, item);
        if (!whole)
            cJSON_Delete(item);
    }
    char *text = whole ? cJSON_PrintUnformatted(object) : NULL;
    cJSON_Delete(object);
    return text;
}

/* ---- Deriving ---------------------------------------------------------------------------------------- */

typedef struct shapes {
    const mirl_tensors *tensors;
    const char *prefix;
    mirl_error *error;
    mirl_status status; ///< the first failure; lookups after it return 0
} shapes;

/** Side `axis` of the tensor, which must have that rank. */
static int side(shapes *shapes, const char *name, int rank, int axis) {
    char full[96];
    if (shapes->status)
        return 0;
    snprintf(full, sizeof full, "%s%s", shapes->prefix, name);
    const mirl_tensor *tensor = mirl_tensors_find(shapes->tensors, full);
    if (!tensor) {
        shapes->status =
            mirl_fail(shapes->error, MIRL_ERROR_FORMAT,
                      "has no configuration, and none can be derived: tensor '%s' is missing", full);
        return 0;
    }
    if (tensor->rank != rank || tensor->shape[axis] > 1000000) {
        char text[128];
        shapes->status = mirl_fail(shapes->error, MIRL_ERROR_FORMAT,
                                   "has no configuration, and none can be derived: tensor '%s' has shape %s",
                                   full, mirl_shape_text(tensor->rank, tensor->shape, text, sizeof text));
        return 0;
    }
    return (int)tensor->shape[axis];
}

static int count_blocks(const shapes *shapes, const char *stage) {
    int count = 0;
    char name[96];
    for (; count <= 64; count++) {
        snprintf(name, sizeof name, "%s%s.%d.attn.temperature", shapes->prefix, stage, count);
        if (!mirl_tensors_find(shapes->tensors, name))
            break;
    }
    return count;
}

/** The shortest decimal f with (int)(channels[i] * f) == hidden[i] for all i, or 0. */
static double find_ratio(int count, const int *channels, const int *hidden) {
    double low = 0, step = 1;
    for (int i = 0; i < count; i++)
        if (channels[i] > 0)
            low = fmax(low, (double)hidden[i] / channels[i]);
    for (int digits = 0; digits <= 6; digits++, step *= 10) {
        for (double k = ceil(low * step); k <= ceil(low * step) + 1; k++) {
            double ratio = k / step;
            int fits = 0;
            while (fits < count && (int)(channels[fits] * ratio) == hidden[fits])
                fits++;
            if (fits == count)
                return ratio;
        }
    }
    return 0;
}

mirl_status mirl_config_derive(const mirl_tensors *tensors, const char *prefix, mirl_config *config,
                               mirl_error *error) {
    static const char *const stages[] = {"encoder_level1", "encoder_level2", "encoder_level3", "latent"};
    static const char *const blocks[] = {"encoder_level1.0", "encoder_level2.0", "encoder_level3.0",
                                         "latent.0",         "noise_level1",     "noise_level2",
                                         "noise_level3"};
    shapes shapes = {tensors, prefix, error, MIRL_OK};
    int channels[7], hidden[7];
    char name[64];

    *config = (mirl_config){.dim = side(&shapes, "patch_embed.proj.weight", 4, 0)};
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s.0.attn.temperature", stages[i]);
        config->heads[i] = side(&shapes, name, 3, 0);
        config->blocks[i] = count_blocks(&shapes, stages[i]);
    }
    config->refinement = count_blocks(&shapes, "refinement");
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof name, "%s.ffn.project_out.weight", blocks[i]);
        channels[i] = side(&shapes, name, 4, 0);
        hidden[i] = side(&shapes, name, 4, 1);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "prompt%d.prompt_param", i + 1);
        config->prompt_len = side(&shapes, name, 5, 1);
        config->prompt_dims[i] = side(&shapes, name, 5, 2);
        config->prompt_sizes[i] = side(&shapes, name, 5, 3);
    }
    if (shapes.status)
        return shapes.status;
    config->ffn = find_ratio(7, channels, hidden);
    if (config->ffn == 0)
        return mirl_fail(
            error, MIRL_ERROR_FORMAT,
            "has no configuration, and none can be derived: the hidden sizes of its feed-forwards "
            "are not one ratio of their channels");
    return MIRL_OK;
}
