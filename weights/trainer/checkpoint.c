#include "trainer/state.h"

#include "error.h"
#include "weights/map.h"
#include "weights/replace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

/* The file: the header, the recipe's text, the arrays in the order of list_arrays(). `check` is zlib's crc32
 * of all that follows the field. */
typedef struct header {
    char magic[16];
    uint64_t check;
    uint64_t size; ///< of the file
    uint64_t parameters, recipe_bytes;
    int64_t round, good_round;
    uint64_t step, total_step, judged, log_steps;
    double elapsed, total_elapsed, loss_sum, identity_sum, log_loss, log_identity;
    uint64_t origin_taken, finished;
} header;

static const char MAGIC[16] = "mirl checkpoint";

typedef struct array {
    void *data;
    size_t bytes;
} array;

enum { ARRAYS = 7 };

static void list_arrays(const trainer_state *state, array arrays[ARRAYS]) {
    size_t floats = state->parameters * sizeof(float), bytes = state->parameters;
    const array all[ARRAYS] = {
        {state->values, floats}, {state->origin, floats}, {state->moment1, floats},  {state->moment2, floats},
        {state->good, floats},   {state->mask, bytes},    {state->good_mask, bytes},
    };
    memcpy(arrays, all, sizeof all);
}

mirl_status trainer_state_create(trainer_state *state, size_t parameters, mirl_error *error) {
    *state = (trainer_state){.parameters = parameters, .good_round = -1};
    float **floats[] = {&state->values, &state->origin, &state->moment1, &state->moment2, &state->good};
    bool good = true;

    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        good = (*floats[i] = calloc(parameters, sizeof(float))) && good;
    state->mask = malloc(parameters);
    state->good_mask = malloc(parameters);
    if (!good || !state->mask || !state->good_mask) {
        trainer_state_free(state);
        return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory to train %zu parameters", parameters);
    }
    memset(state->mask, 1, parameters);
    memset(state->good_mask, 1, parameters);
    return MIRL_OK;
}

void trainer_state_free(trainer_state *state) {
    free(state->values);
    free(state->origin);
    free(state->moment1);
    free(state->moment2);
    free(state->good);
    free(state->mask);
    free(state->good_mask);
    *state = (trainer_state){0};
}

static header header_of(const trainer_state *state, size_t recipe_bytes) {
    header head = {
        .parameters = state->parameters,
        .recipe_bytes = recipe_bytes,
        .round = state->round,
        .good_round = state->good_round,
        .step = state->step,
        .total_step = state->total_step,
        .judged = state->judged,
        .log_steps = state->log_steps,
        .elapsed = state->elapsed,
        .total_elapsed = state->total_elapsed,
        .loss_sum = state->loss_sum,
        .identity_sum = state->identity_sum,
        .log_loss = state->log_loss,
        .log_identity = state->log_identity,
        .origin_taken = state->origin_taken,
        .finished = state->finished,
    };
    memcpy(head.magic, MAGIC, sizeof head.magic);
    return head;
}

static uint64_t check_of(const header *head, const char *recipe, const array *arrays) {
    size_t from = offsetof(header, size);
    uLong check = crc32_z(0, (const Bytef *)head + from, sizeof *head - from);
    check = crc32_z(check, (const Bytef *)recipe, head->recipe_bytes);
    for (int i = 0; i < ARRAYS; i++)
        check = crc32_z(check, arrays[i].data, arrays[i].bytes);
    return check;
}

/* Gives the file at `path` a second name, taking the place of what had it. */
static mirl_status keep_previous(const char *path, const char *previous, mirl_error *error) {
    char fresh[1088];
    snprintf(fresh, sizeof fresh, "%s.link", previous);
    unlink(fresh);
    if (link(path, fresh) == 0 && rename(fresh, previous) == 0)
        return MIRL_OK;
    if (errno == ENOENT)
        return MIRL_OK;
    return mirl_fail(error, MIRL_ERROR_FILE, "'%.300s' cannot be kept as the checkpoint before: %s", path,
                     strerror(errno));
}

mirl_status trainer_checkpoint_write(const char *folder, const trainer_state *state, const char *recipe,
                                     mirl_error *error) {
    char path[1024], previous[1040];
    array arrays[ARRAYS];
    header head = header_of(state, strlen(recipe));

    snprintf(path, sizeof path, "%s/checkpoint", folder);
    snprintf(previous, sizeof previous, "%s.previous", path);
    list_arrays(state, arrays);
    head.size = sizeof head + head.recipe_bytes;
    for (int i = 0; i < ARRAYS; i++)
        head.size += arrays[i].bytes;
    head.check = check_of(&head, recipe, arrays);

    mirl_replacement *file = mirl_replace_begin(path, error);
    if (!file)
        return error ? error->status : MIRL_ERROR_FILE;
    mirl_replace_append(file, &head, sizeof head);
    mirl_replace_append(file, recipe, head.recipe_bytes);
    for (int i = 0; i < ARRAYS; i++)
        mirl_replace_append(file, arrays[i].data, arrays[i].bytes);
    mirl_status kept = keep_previous(path, previous, error);
    mirl_status written = mirl_replace_commit(file, kept ? NULL : error);
    return kept ? kept : written;
}

/* ---- Reading ----------------------------------------------------------------------------------------- */

static mirl_status check_header(const mirl_map *map, header *head, mirl_error *error) {
    if (map->size >= sizeof *head)
        memcpy(head, map->data, sizeof *head);
    if (map->size < sizeof *head || memcmp(head->magic, MAGIC, sizeof head->magic) != 0)
        return mirl_fail(error, MIRL_ERROR_FORMAT, "it is not a checkpoint of mirl");
    size_t arrays = head->parameters * (5 * sizeof(float) + 2);
    if (head->size != map->size || head->parameters > map->size || head->recipe_bytes > map->size ||
        head->size != sizeof *head + head->recipe_bytes + arrays)
        return mirl_fail(error, MIRL_ERROR_FORMAT, "its size is not what it says");
    uLong check = crc32_z(0, map->data + offsetof(header, size), map->size - offsetof(header, size));
    if (check != head->check)
        return mirl_fail(error, MIRL_ERROR_FORMAT, "its checksum is wrong");
    return MIRL_OK;
}

static char *copy_recipe(const mirl_map *map, const header *head) {
    char *text = malloc(head->recipe_bytes + 1);
    if (text) {
        memcpy(text, map->data + sizeof *head, head->recipe_bytes);
        text[head->recipe_bytes] = 0;
    }
    return text;
}

static void copy_state(const mirl_map *map, const header *head, trainer_state *state) {
    const uint8_t *from = map->data + sizeof *head + head->recipe_bytes;
    array arrays[ARRAYS];

    list_arrays(state, arrays);
    for (int i = 0; i < ARRAYS; from += arrays[i++].bytes)
        memcpy(arrays[i].data, from, arrays[i].bytes);
    state->round = (int)head->round;
    state->good_round = (int)head->good_round;
    state->step = head->step;
    state->total_step = head->total_step;
    state->judged = head->judged;
    state->log_steps = head->log_steps;
    state->elapsed = head->elapsed;
    state->total_elapsed = head->total_elapsed;
    state->loss_sum = head->loss_sum;
    state->identity_sum = head->identity_sum;
    state->log_loss = head->log_loss;
    state->log_identity = head->log_identity;
    state->origin_taken = head->origin_taken;
    state->finished = head->finished;
}

static mirl_status read_file(const char *path, trainer_state *state, char **recipe, mirl_error *error) {
    mirl_map map;
    header head;
    mirl_status status = mirl_map_open(path, &map, error);

    if (status)
        return status;
    status = check_header(&map, &head, error);
    if (!status && head.parameters != state->parameters)
        status =
            mirl_fail(error, MIRL_ERROR_FORMAT, "it holds a network of %zu parameters, the recipe's has %zu",
                      (size_t)head.parameters, state->parameters);
    if (!status && !(*recipe = copy_recipe(&map, &head)))
        status = mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory to read it");
    if (!status)
        copy_state(&map, &head, state);
    mirl_map_close(&map);
    return status;
}

mirl_status trainer_checkpoint_read(const char *folder, trainer_state *state, char **recipe, char *warning,
                                    size_t warning_size, mirl_error *error) {
    char path[1024], previous[1040];
    mirl_error first, second;

    snprintf(path, sizeof path, "%s/checkpoint", folder);
    snprintf(previous, sizeof previous, "%s.previous", path);
    warning[0] = 0;
    if (!read_file(path, state, recipe, &first))
        return MIRL_OK;
    if (!read_file(previous, state, recipe, &second)) {
        snprintf(warning, warning_size, "%.300s cannot be used (%.300s); going on from the one before", path,
                 first.message);
        return MIRL_OK;
    }
    if (first.status == MIRL_ERROR_FILE && second.status == MIRL_ERROR_FILE)
        return mirl_fail(error, MIRL_ERROR_FILE, "there is no checkpoint in '%.300s'", folder);
    return mirl_fail(error, MIRL_ERROR_FORMAT, "%.250s cannot be used: %.200s", path, first.message);
}
