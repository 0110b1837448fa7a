/* Patches and the queue of batches made ahead of time. */
#include "trainer/data.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "trainer/mixture.h"
#include "trainer/picture.h"
#include "trainer/picture_cache.h"

typedef enum slot_state { EMPTY, WORKING, READY } slot_state;

/** Room for one batch; batch `step` is made in slot step % ahead. */
typedef struct slot {
    slot_state state;
    uint64_t step;
    float *degraded, *clean;
    mirl_status status;
    mirl_error error;
} slot;

struct trainer_data {
    trainer_data_options options;
    trainer_cache *cache;
    trainer_mixture *mixture;
    size_t batch_floats;
    slot *slots;
    uint64_t first, next; ///< the step that is wanted next; the next that nobody makes yet
    bool stop;
    pthread_mutex_t lock; ///< over slots, first, next, stop
    pthread_cond_t changed;
    pthread_t *workers;
    int working;
};

trainer_data_options trainer_data_options_default(void) {
    return (trainer_data_options){
        .crop = 64,
        .batch = 8,
        .ranks = 1,
        .ranges = trainer_ranges_default(),
        .threads = 1,
        .ahead = 4,
        .memory = (uint64_t)1 << 30,
    };
}

static trainer_patch plan_patch(const trainer_data *data, uint64_t step, int index,
                                const trainer_sample *sample) {
    const trainer_data_options *options = &data->options;
    uint64_t place = (uint64_t)options->rank * (uint64_t)options->batch + (uint64_t)index;
    trainer_random random = trainer_random_stream(options->seed, step, place);
    trainer_patch patch = {.input = sample->input,
                           .target = sample->target,
                           .pair = sample->pair,
                           .from = {0, 0, options->crop, options->crop}};
    int width, height;
    trainer_cache_size(data->cache, sample->target, &width, &height);
    patch.from.x = (int)trainer_random_below(&random, (uint64_t)(width - options->crop + 1));
    patch.from.y = (int)trainer_random_below(&random, (uint64_t)(height - options->crop + 1));
    patch.turn = 1 + (int)trainer_random_below(&random, TRAINER_TURNS - 1);
    patch.damage = trainer_damage_draw(sample->task, &options->ranges, random);
    patch.damage.sigma = sample->sigma;
    return patch;
}

mirl_status trainer_data_patches(trainer_data *data, uint64_t step, trainer_patch *patches,
                                 mirl_error *error) {
    size_t batch = (size_t)data->options.batch;
    trainer_sample *samples = malloc(batch * sizeof *samples);
    if (!samples)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for a batch of %zu patches", batch);
    trainer_mixture_batch(data->mixture, step, samples);
    for (size_t i = 0; i < batch; i++)
        patches[i] = plan_patch(data, step, (int)i, &samples[i]);
    free(samples);
    return MIRL_OK;
}

static void turn_patch(const uint8_t *rgb, int side, int turn, uint8_t *turned) {
    for (int y = 0; y < side; y++) {
        for (int x = 0; x < side; x++) {
            int u, v;
            trainer_turn_from(turn, side, x, y, &u, &v);
            memcpy(turned + ((size_t)y * (size_t)side + (size_t)x) * 3,
                   rgb + ((size_t)v * (size_t)side + (size_t)u) * 3, 3);
        }
    }
}

/** Rain falls on the patch after it was turned, and so falls down; all else happens to the picture. */
static mirl_status damage_patch(const trainer_patch *patch, const trainer_picture *picture,
                                const uint8_t *turned_clean, uint8_t *scratch, uint8_t *turned,
                                mirl_error *error) {
    int side = patch->from.width;
    if (patch->damage.task == TRAINER_DERAIN) {
        trainer_picture whole = {side, side, (uint8_t *)turned_clean};
        return trainer_damage_apply(&patch->damage, &whole, (trainer_rectangle){0, 0, side, side}, turned,
                                    error);
    }
    mirl_status status = trainer_damage_apply(&patch->damage, picture, patch->from, scratch, error);
    if (status == MIRL_OK)
        turn_patch(scratch, side, patch->turn, turned);
    return status;
}

/** scratch: 3 * crop * crop * 3 bytes. */
static mirl_status make_patch(trainer_data *data, const trainer_patch *patch, uint8_t *scratch,
                              float *degraded, float *clean, mirl_error *error) {
    size_t pixels = (size_t)patch->from.width * (size_t)patch->from.height;
    uint8_t *straight = scratch, *turned_clean = scratch + pixels * 3, *turned = scratch + pixels * 6;
    const trainer_picture *target, *input;
    mirl_status status = trainer_cache_acquire(data->cache, patch->target, &target, error);
    if (status != MIRL_OK)
        return status;
    trainer_picture_cut(target, patch->from, straight);
    turn_patch(straight, patch->from.width, patch->turn, turned_clean);
    if (!patch->pair) {
        status = damage_patch(patch, target, turned_clean, straight, turned, error);
    } else if ((status = trainer_cache_acquire(data->cache, patch->input, &input, error)) == MIRL_OK) {
        trainer_picture_cut(input, patch->from, straight);
        turn_patch(straight, patch->from.width, patch->turn, turned);
        trainer_cache_release(data->cache, patch->input);
    }
    trainer_cache_release(data->cache, patch->target);
    if (status == MIRL_OK) {
        trainer_picture_to_planes(turned_clean, pixels, clean);
        trainer_picture_to_planes(turned, pixels, degraded);
    }
    return status;
}

static mirl_status make_batch(trainer_data *data, uint64_t step, float *degraded, float *clean,
                              mirl_error *error) {
    size_t batch = (size_t)data->options.batch,
           pixels = (size_t)data->options.crop * (size_t)data->options.crop;
    trainer_patch *patches = malloc(batch * sizeof *patches);
    uint8_t *scratch = malloc(9 * pixels);
    mirl_status status = MIRL_OK;
    if (!patches || !scratch)
        status = mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for a batch of %zu patches", batch);
    else
        status = trainer_data_patches(data, step, patches, error);
    for (size_t i = 0; status == MIRL_OK && i < batch; i++)
        status =
            make_patch(data, &patches[i], scratch, degraded + i * 3 * pixels, clean + i * 3 * pixels, error);
    free(scratch);
    free(patches);
    return status;
}

static void *work(void *user) {
    trainer_data *data = user;
    uint64_t ahead = (uint64_t)data->options.ahead;
    pthread_mutex_lock(&data->lock);
    while (!data->stop) {
        slot *room = &data->slots[data->next % ahead];
        if (data->next >= data->first + ahead || room->state != EMPTY) {
            pthread_cond_wait(&data->changed, &data->lock);
            continue;
        }
        room->step = data->next++;
        room->state = WORKING;
        pthread_mutex_unlock(&data->lock);
        room->status = make_batch(data, room->step, room->degraded, room->clean, &room->error);
        pthread_mutex_lock(&data->lock);
        // The reader may have gone elsewhere meanwhile.
        bool wanted = room->step >= data->first && room->step < data->next;
        room->state = wanted ? READY : EMPTY;
        pthread_cond_broadcast(&data->changed);
    }
    pthread_mutex_unlock(&data->lock);
    return NULL;
}

static mirl_status make_slots(trainer_data *data, mirl_error *error) {
    size_t ahead = (size_t)data->options.ahead, side = (size_t)data->options.crop;
    data->batch_floats = (size_t)data->options.batch * 3 * side * side;
    data->slots = calloc(ahead, sizeof *data->slots);
    for (size_t i = 0; data->slots && i < ahead; i++) {
        data->slots[i].degraded = malloc(data->batch_floats * sizeof(float));
        data->slots[i].clean = malloc(data->batch_floats * sizeof(float));
        if (!data->slots[i].degraded || !data->slots[i].clean)
            return mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for %zu batches ahead", ahead);
    }
    return data->slots ? MIRL_OK : mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for %zu batches", ahead);
}

static mirl_status start_workers(trainer_data *data, mirl_error *error) {
    if (data->working > 0)
        return MIRL_OK;
    if (!data->workers)
        data->workers = calloc((size_t)data->options.threads, sizeof *data->workers);
    if (!data->workers)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for %d data threads", data->options.threads);
    while (data->working < data->options.threads) {
        if (pthread_create(&data->workers[data->working], NULL, work, data) != 0)
            return mirl_fail(error, MIRL_ERROR_MEMORY, "no data thread could be started");
        data->working++;
    }
    return MIRL_OK;
}

static mirl_status check_options(const trainer_data_options *options, mirl_error *error) {
    const struct {
        const char *name;
        int value, low, high;
    } checks[] = {
        {"crop", options->crop, 8, 1024},
        {"batch", options->batch, 1, 4096},
        {"number of ranks", options->ranks, 1, 4096},
        {"rank", options->rank, 0, options->ranks - 1},
        {"number of data threads", options->threads, 1, 64},
        {"number of batches ahead", options->ahead, 1, 256},
    };
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        if (checks[i].value < checks[i].low || checks[i].value > checks[i].high)
            return mirl_fail(error, MIRL_ERROR_ARGUMENT, "the %s is %d; it must lie within %d..%d",
                             checks[i].name, checks[i].value, checks[i].low, checks[i].high);
    if (options->crop % 8 != 0)
        return mirl_fail(error, MIRL_ERROR_ARGUMENT, "the crop is %d; it must be a multiple of 8",
                         options->crop);
    if (!options->folder)
        return mirl_fail(error, MIRL_ERROR_ARGUMENT, "no folder of training data is given");
    for (int task = 0; task < TRAINER_TASKS; task++)
        if (!(options->mix[task] >= 0 && options->mix[task] <= 1e9))
            return mirl_fail(error, MIRL_ERROR_ARGUMENT, "the share of %s is %g; it must lie within 0..1e9",
                             trainer_task_name((trainer_task)task), options->mix[task]);
    return trainer_ranges_check(&options->ranges, error);
}

trainer_data *trainer_data_open(const trainer_data_options *options, mirl_error *error) {
    if (check_options(options, error) != MIRL_OK)
        return NULL;
    trainer_data *data = calloc(1, sizeof *data);
    if (!data) {
        mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for the training data");
        return NULL;
    }
    data->options = *options;
    pthread_mutex_init(&data->lock, NULL);
    pthread_cond_init(&data->changed, NULL);
    data->cache = trainer_cache_create(options->memory);
    mirl_status status = MIRL_OK;
    if (!data->cache)
        status = mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for the training data");
    else if (!(data->mixture = trainer_mixture_create(options, data->cache, error)))
        status = MIRL_ERROR_FILE;
    if (status == MIRL_OK)
        status = trainer_cache_check(
            data->cache, options->threads,
            options->crop > options->least_side ? options->crop : options->least_side, error);
    if (status == MIRL_OK)
        status = trainer_mixture_check(data->mixture, data->cache, error);
    if (status == MIRL_OK)
        status = make_slots(data, error);
    if (status == MIRL_OK)
        return data;
    trainer_data_close(data);
    return NULL;
}

void trainer_data_close(trainer_data *data) {
    if (!data)
        return;
    pthread_mutex_lock(&data->lock);
    data->stop = true;
    pthread_cond_broadcast(&data->changed);
    pthread_mutex_unlock(&data->lock);
    while (data->working > 0)
        pthread_join(data->workers[--data->working], NULL);
    for (int i = 0; data->slots && i < data->options.ahead; i++) {
        free(data->slots[i].degraded);
        free(data->slots[i].clean);
    }
    free(data->slots);
    free(data->workers);
    trainer_mixture_free(data->mixture);
    trainer_cache_free(data->cache);
    pthread_cond_destroy(&data->changed);
    pthread_mutex_destroy(&data->lock);
    free(data);
}

/** Lets the queue go on from `step`. The lock is held. */
static void seek(trainer_data *data, uint64_t step) {
    data->first = data->next = step;
    for (int i = 0; i < data->options.ahead; i++)
        if (data->slots[i].state == READY)
            data->slots[i].state = EMPTY;
    pthread_cond_broadcast(&data->changed);
}

mirl_status trainer_data_batch(trainer_data *data, uint64_t step, float *degraded, float *clean,
                               mirl_error *error) {
    if (start_workers(data, error) != MIRL_OK)
        return MIRL_ERROR_MEMORY;
    pthread_mutex_lock(&data->lock);
    if (step != data->first)
        seek(data, step);
    slot *wanted = &data->slots[step % (uint64_t)data->options.ahead];
    while (wanted->state != READY || wanted->step != step)
        pthread_cond_wait(&data->changed, &data->lock);
    pthread_mutex_unlock(&data->lock); // a ready slot is left alone until it is taken
    mirl_status status = wanted->status;
    if (status == MIRL_OK) {
        memcpy(degraded, wanted->degraded, data->batch_floats * sizeof(float));
        memcpy(clean, wanted->clean, data->batch_floats * sizeof(float));
    } else {
        mirl_fail(error, status, "%s", wanted->error.message);
    }
    pthread_mutex_lock(&data->lock);
    wanted->state = EMPTY;
    data->first = step + 1;
    pthread_cond_broadcast(&data->changed);
    pthread_mutex_unlock(&data->lock);
    return status;
}

/** The part of a path below train/. */
static const char *below(const trainer_data *data, uint32_t index) {
    return trainer_cache_path(data->cache, index) + strlen(data->options.folder) + strlen("/train/");
}

void trainer_data_describe(trainer_data *data, uint64_t step, char *text, size_t size) {
    if (size == 0)
        return;
    text[0] = '\0';
    trainer_patch *patches = malloc((size_t)data->options.batch * sizeof *patches);
    bool planned = patches && trainer_data_patches(data, step, patches, NULL) == MIRL_OK;
    size_t used = 0;
    for (int i = 0; planned && i < data->options.batch && used < size; i++) {
        const trainer_patch *patch = &patches[i];
        char damage[160] = "pair";
        if (!patch->pair)
            trainer_damage_describe(&patch->damage, damage, sizeof damage);
        int length = snprintf(text + used, size - used, "%s: %s at %d,%d turn %d, %s\n",
                              trainer_task_name(patch->damage.task), below(data, patch->input), patch->from.x,
                              patch->from.y, patch->turn, damage);
        used += (size_t)length;
    }
    free(patches);
}

trainer_cache *trainer_data_images(trainer_data *data) {
    return data->cache;
}

uint64_t trainer_data_steps_per_epoch(const trainer_data *data) {
    return trainer_mixture_steps(data->mixture);
}

bool trainer_data_has(const trainer_data *data, trainer_task task, size_t *sources, bool *pairs) {
    return trainer_mixture_has(data->mixture, task, sources, pairs);
}
