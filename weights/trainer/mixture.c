/* Epochs: each task's sources are run through a number of times an epoch, and the whole is shuffled. */
#include "trainer/mixture.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "error.h"
#include "trainer/layout.h"

enum { CLEAN_REPEATS = 3, EPOCHS_KEPT = 2, MAX_PATCHES = 1 << 30 };

/** Published repetitions; those of JPEG pairs are ours. */
static const uint32_t pair_repeats[TRAINER_TASKS] = {0, 120, 1, CLEAN_REPEATS};

typedef struct source {
    uint32_t input, target;
} source;

typedef struct task_plan {
    source *sources; ///< NULL: the task is not trained
    uint32_t count;
    uint32_t variants; ///< sigmas of denoising, else 1
    bool pairs;
    uint32_t quota; ///< patches an epoch
} task_plan;

/** The shuffled order of an epoch's patches. */
typedef struct order {
    uint64_t epoch; ///< UINT64_MAX: none yet
    uint32_t *places;
} order;

struct trainer_mixture {
    task_plan tasks[TRAINER_TASKS];
    uint32_t patches; ///< an epoch's, over all tasks
    uint32_t batch, rank, ranks;
    uint64_t seed;
    double sigmas[TRAINER_SIGMAS];
    order orders[EPOCHS_KEPT];
    pthread_mutex_t lock; ///< over orders
};

static mirl_status add_source(task_plan *plan, const char *input, const char *target, trainer_cache *cache,
                              mirl_error *error) {
    source *grown = realloc(plan->sources, (plan->count + 1) * sizeof *grown);
    if (!grown)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for a list of images");
    plan->sources = grown;
    source *added = &plan->sources[plan->count++];
    mirl_status status = trainer_cache_add(cache, target, &added->target, error);
    if (status == MIRL_OK && input)
        return trainer_cache_add(cache, input, &added->input, error);
    added->input = added->target;
    return status;
}

/** Tasks that were asked for, or those with a share, or all that have images. */
static void choose_tasks(const trainer_data_options *options, const trainer_layout *layout, bool *chosen) {
    bool asked = false, shared = false;
    for (int task = 0; task < TRAINER_TASKS; task++) {
        asked = asked || options->tasks[task];
        shared = shared || options->mix[task] > 0;
    }
    for (int task = 0; task < TRAINER_TASKS; task++)
        chosen[task] = asked ? options->tasks[task] : options->mix[task] > 0;
    for (size_t i = 0; !asked && !shared && i < layout->count; i++)
        chosen[layout->sets[i].task] = true;
}

static mirl_status add_pairs(trainer_mixture *mixture, const trainer_layout *layout, const bool *chosen,
                             trainer_cache *cache, mirl_error *error) {
    mirl_status status = MIRL_OK;
    for (size_t i = 0; i < layout->count; i++) {
        const trainer_set *set = &layout->sets[i];
        if (!chosen[set->task] || set->task == TRAINER_DENOISE)
            continue;
        task_plan *plan = &mixture->tasks[set->task];
        plan->pairs = true;
        for (size_t k = 0; status == MIRL_OK && k < set->count; k++)
            status = add_source(plan, set->items[k].input, set->items[k].target, cache, error);
    }
    return status;
}

/** Clean images: those of denoise sets, or, if there are none, the targets of all pairs. */
static mirl_status add_clean(task_plan *plan, const trainer_layout *layout, trainer_cache *cache,
                             mirl_error *error) {
    bool denoise = layout->count > 0 && layout->sets[0].task == TRAINER_DENOISE;
    mirl_status status = MIRL_OK;
    for (size_t i = 0; i < layout->count; i++) {
        const trainer_set *set = &layout->sets[i];
        for (size_t k = 0; status == MIRL_OK && k < set->count && (set->task == TRAINER_DENOISE) == denoise;
             k++)
            status = add_source(plan, NULL, set->items[k].target, cache, error);
    }
    return status;
}

static mirl_status add_sources(trainer_mixture *mixture, const trainer_layout *layout, const bool *chosen,
                               trainer_cache *cache, mirl_error *error) {
    mirl_status status = add_pairs(mixture, layout, chosen, cache, error);
    const task_plan *clean = NULL;
    for (int task = 0; status == MIRL_OK && task < TRAINER_TASKS; task++) {
        task_plan *plan = &mixture->tasks[task];
        if (!chosen[task] || plan->pairs)
            continue;
        if (!clean) {
            status = add_clean(plan, layout, cache, error);
        } else { // the same images, without listing them again
            plan->sources = calloc(clean->count, sizeof *plan->sources);
            if (!plan->sources)
                return mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for a list of %u images", clean->count);
            plan->count = clean->count;
            for (uint32_t i = 0; i < clean->count; i++)
                plan->sources[i] = clean->sources[i];
        }
        clean = plan;
    }
    return status;
}

/** Patches an epoch: the published repetitions, or shares of as many. */
static mirl_status set_quotas(trainer_mixture *mixture, const trainer_data_options *options,
                              mirl_error *error) {
    double quotas[TRAINER_TASKS] = {0}, total = 0, shares = 0;
    for (int task = 0; task < TRAINER_TASKS; task++) {
        task_plan *plan = &mixture->tasks[task];
        plan->variants = task == TRAINER_DENOISE ? (uint32_t)options->ranges.sigma_count : 1;
        quotas[task] =
            (double)plan->count * (plan->pairs ? pair_repeats[task] : CLEAN_REPEATS * plan->variants);
        total += quotas[task];
        shares += plan->count ? options->mix[task] : 0;
    }
    for (int task = 0; task < TRAINER_TASKS; task++) {
        if (shares > 0)
            quotas[task] = mixture->tasks[task].count ? total * options->mix[task] / shares : 0;
        if (quotas[task] > MAX_PATCHES || total > MAX_PATCHES)
            return mirl_fail(error, MIRL_ERROR_ARGUMENT, "an epoch of %.0f patches; at most %d are possible",
                             total, MAX_PATCHES);
        mixture->tasks[task].quota = (uint32_t)lround(quotas[task]);
        mixture->patches += mixture->tasks[task].quota;
    }
    if (mixture->patches < mixture->batch * mixture->ranks)
        return mirl_fail(error, MIRL_ERROR_ARGUMENT,
                         "%s/train gives %u patches an epoch, less than a batch of %u", options->folder,
                         mixture->patches, mixture->batch * mixture->ranks);
    return MIRL_OK;
}

static mirl_status make_orders(trainer_mixture *mixture, mirl_error *error) {
    for (int i = 0; i < EPOCHS_KEPT; i++) {
        mixture->orders[i].epoch = UINT64_MAX;
        mixture->orders[i].places = malloc(mixture->patches * sizeof(uint32_t));
        if (!mixture->orders[i].places)
            return mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for the order of %u patches",
                             mixture->patches);
    }
    return MIRL_OK;
}

trainer_mixture *trainer_mixture_create(const trainer_data_options *options, trainer_cache *cache,
                                        mirl_error *error) {
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/train", options->folder);
    trainer_layout *layout = trainer_layout_read(folder, error);
    if (!layout)
        return NULL;
    trainer_mixture *mixture = calloc(1, sizeof *mixture);
    if (!mixture) {
        trainer_layout_free(layout);
        mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for the training data");
        return NULL;
    }
    pthread_mutex_init(&mixture->lock, NULL);
    mixture->batch = (uint32_t)options->batch;
    mixture->rank = (uint32_t)options->rank;
    mixture->ranks = (uint32_t)options->ranks;
    mixture->seed = options->seed;
    for (int i = 0; i < TRAINER_SIGMAS; i++)
        mixture->sigmas[i] = options->ranges.sigmas[i];
    bool chosen[TRAINER_TASKS];
    choose_tasks(options, layout, chosen);
    mirl_status status = add_sources(mixture, layout, chosen, cache, error);
    if (status == MIRL_OK)
        status = set_quotas(mixture, options, error);
    if (status == MIRL_OK)
        status = make_orders(mixture, error);
    trainer_layout_free(layout);
    if (status == MIRL_OK)
        return mixture;
    trainer_mixture_free(mixture);
    return NULL;
}

void trainer_mixture_free(trainer_mixture *mixture) {
    if (!mixture)
        return;
    for (int task = 0; task < TRAINER_TASKS; task++)
        free(mixture->tasks[task].sources);
    for (int i = 0; i < EPOCHS_KEPT; i++)
        free(mixture->orders[i].places);
    pthread_mutex_destroy(&mixture->lock);
    free(mixture);
}

mirl_status trainer_mixture_check(const trainer_mixture *mixture, const trainer_cache *cache,
                                  mirl_error *error) {
    for (int task = 0; task < TRAINER_TASKS; task++) {
        const task_plan *plan = &mixture->tasks[task];
        for (uint32_t i = 0; plan->pairs && i < plan->count; i++) {
            int width, height, target_width, target_height;
            trainer_cache_size(cache, plan->sources[i].input, &width, &height);
            trainer_cache_size(cache, plan->sources[i].target, &target_width, &target_height);
            if (width != target_width || height != target_height)
                return mirl_fail(error, MIRL_ERROR_FORMAT, "%s is %dx%d pixels, but its target %s is %dx%d",
                                 trainer_cache_path(cache, plan->sources[i].input), width, height,
                                 trainer_cache_path(cache, plan->sources[i].target), target_width,
                                 target_height);
        }
    }
    return MIRL_OK;
}

uint64_t trainer_mixture_steps(const trainer_mixture *mixture) {
    return mixture->patches / (mixture->batch * mixture->ranks);
}

bool trainer_mixture_has(const trainer_mixture *mixture, trainer_task task, size_t *sources, bool *pairs) {
    const task_plan *plan = &mixture->tasks[task];
    *sources = plan->count;
    *pairs = plan->pairs;
    return plan->quota > 0;
}

/** The order of an epoch, by Fisher and Yates. The lock is held. */
static const uint32_t *order_of(trainer_mixture *mixture, uint64_t epoch) {
    order *kept = &mixture->orders[epoch % EPOCHS_KEPT];
    if (kept->epoch != epoch) {
        trainer_random random = trainer_random_stream(mixture->seed, epoch, UINT64_MAX);
        for (uint32_t i = 0; i < mixture->patches; i++) {
            uint32_t other = (uint32_t)trainer_random_below(&random, i + 1);
            kept->places[i] = kept->places[other];
            kept->places[other] = i;
        }
        kept->epoch = epoch;
    }
    return kept->places;
}

static trainer_sample sample_at(const trainer_mixture *mixture, uint64_t epoch, uint32_t place) {
    int task = 0;
    while (place >= mixture->tasks[task].quota)
        place -= mixture->tasks[task++].quota;
    const task_plan *plan = &mixture->tasks[task];
    // Counted on over the epochs, so that a quota under the number of sources reaches all in the end.
    uint64_t turn = epoch * plan->quota + place;
    const source *from = &plan->sources[turn % plan->count];
    return (trainer_sample){
        .task = (trainer_task)task,
        .pair = plan->pairs,
        .input = from->input,
        .target = from->target,
        .sigma = mixture->sigmas[turn / plan->count % plan->variants],
    };
}

void trainer_mixture_batch(trainer_mixture *mixture, uint64_t step, trainer_sample *samples) {
    uint64_t steps = trainer_mixture_steps(mixture), epoch = step / steps;
    uint64_t first = (step % steps * mixture->ranks + mixture->rank) * mixture->batch;
    pthread_mutex_lock(&mixture->lock);
    const uint32_t *places = order_of(mixture, epoch);
    for (uint32_t i = 0; i < mixture->batch; i++)
        samples[i] = sample_at(mixture, epoch, places[first + i]);
    pthread_mutex_unlock(&mixture->lock);
}
