/* Scoring: one job an image, taken by threads in turn; means are formed in the order of the images. */
#define _GNU_SOURCE // asprintf, sched_getaffinity
#include "trainer/eval.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "trainer/layout.h"
#include "trainer/metrics.h"
#include "trainer/photo.h"
#include "trainer/picture.h"
#include "weights/weights.h"

enum { GRID = 16, MAX_THREADS = 256 };

/** One image to restore. */
typedef struct job {
    const trainer_item *item;
    const trainer_score *set;
    trainer_image_score *score;
} job;

typedef struct evaluation {
    const mirl_model *model;
    const trainer_eval_options *options;
    mirl_options restore;
    job *jobs;
    size_t count;
    size_t next, done, failed; ///< failed: the first job that did, if status is not MIRL_OK
    mirl_status status;
    mirl_error error;
    pthread_mutex_t lock; ///< over the four above
} evaluation;

trainer_eval_options trainer_eval_options_default(void) {
    return (trainer_eval_options){.sigmas = {15, 25, 50}, .sigma_count = 3};
}

void trainer_score_label(const trainer_score *score, char *text, size_t size) {
    if (score->task == TRAINER_DENOISE)
        snprintf(text, size, "%s σ%g", score->set, score->sigma);
    else
        snprintf(text, size, "%s", score->set);
}

void trainer_scores_free(trainer_scores *scores) {
    if (!scores)
        return;
    for (size_t i = 0; i < scores->count; i++) {
        for (size_t k = 0; k < scores->sets[i].count; k++)
            free(scores->sets[i].images[k].name);
        free(scores->sets[i].images);
        free(scores->sets[i].set);
    }
    free(scores->sets);
    free(scores);
}

static mirl_status no_memory(mirl_error *error) {
    return mirl_fail(error, MIRL_ERROR_MEMORY, "no memory to score images");
}

/** The middle of a picture, multiples of GRID a side. */
static trainer_rectangle middle(const trainer_picture *picture) {
    int cut_x = picture->width % GRID, cut_y = picture->height % GRID;
    return (trainer_rectangle){cut_x / 2, cut_y / 2, picture->width - cut_x, picture->height - cut_y};
}

/** The images of a job as planes, in one piece of memory: clean, input, restored. */
typedef struct planes {
    size_t width, height;
    float *clean, *input, *restored;
} planes;

static mirl_status make_planes(const job *todo, uint64_t seed, const trainer_picture *target,
                               const trainer_picture *input, planes *p, mirl_error *error) {
    trainer_rectangle from = middle(target);
    p->width = (size_t)from.width;
    p->height = (size_t)from.height;
    size_t pixels = p->width * p->height;
    uint8_t *rgb = malloc(pixels * 3);
    p->clean = malloc(9 * pixels * sizeof(float));
    if (!rgb || !p->clean) {
        free(rgb);
        return no_memory(error);
    }
    p->input = p->clean + 3 * pixels;
    p->restored = p->input + 3 * pixels;
    trainer_picture_cut(target, from, rgb);
    trainer_picture_to_planes(rgb, pixels, p->clean);
    if (input) {
        trainer_picture_cut(input, from, rgb);
    } else {
        trainer_random random =
            trainer_random_stream(seed, (uint64_t)(todo->set->sigma * 1000),
                                  trainer_random_name(todo->item->name, strlen(todo->item->name)));
        trainer_degrade_noise(rgb, pixels * 3, todo->set->sigma, &random, rgb);
    }
    trainer_picture_to_planes(rgb, pixels, p->input);
    free(rgb);
    return MIRL_OK;
}

static mirl_status read_planes(const job *todo, uint64_t seed, planes *p, mirl_error *error) {
    trainer_picture target = {0, 0, NULL}, input = {0, 0, NULL};
    mirl_status status = trainer_photo_read(todo->item->target, &target, error);
    if (status == MIRL_OK && todo->item->input)
        status = trainer_photo_read(todo->item->input, &input, error);
    if (status == MIRL_OK && input.rgb && (input.width != target.width || input.height != target.height))
        status = mirl_fail(error, MIRL_ERROR_FORMAT, "%s is %dx%d pixels, but its target %s is %dx%d",
                           todo->item->input, input.width, input.height, todo->item->target, target.width,
                           target.height);
    if (status == MIRL_OK)
        status = make_planes(todo, seed, &target, input.rgb ? &input : NULL, p, error);
    free(target.rgb);
    free(input.rgb);
    return status;
}

static mirl_status save(const job *todo, const char *folder, const planes *p, mirl_error *error) {
    char *path, sigma[24] = "";
    if (todo->set->task == TRAINER_DENOISE)
        snprintf(sigma, sizeof sigma, "_%g", todo->set->sigma);
    if (asprintf(&path, "%s/%s/%s/%s%s.png", folder, trainer_task_name(todo->set->task), todo->set->set,
                 todo->item->name, sigma) < 0)
        return no_memory(error);
    trainer_picture picture = {(int)p->width, (int)p->height, malloc(p->width * p->height * 3)};
    mirl_status status = picture.rgb ? MIRL_OK : no_memory(error);
    if (status == MIRL_OK)
        status = trainer_make_folders(path, error);
    if (status == MIRL_OK) {
        trainer_picture_from_planes(p->restored, p->width * p->height, picture.rgb);
        status = trainer_photo_write(path, &picture, error);
    }
    free(picture.rgb);
    free(path);
    return status;
}

static mirl_image image_of(const planes *p, float *data) {
    return (mirl_image){
        data, p->width, p->height, 3, 1, (ptrdiff_t)p->width, (ptrdiff_t)(p->width * p->height)};
}

static void hand_out(evaluation *all, const job *todo, const planes *p) {
    trainer_result result = {
        todo->set,  (size_t)(todo->score - todo->set->images), p->width, p->height, p->clean, p->input,
        p->restored};
    pthread_mutex_lock(&all->lock);
    all->options->result(&result, all->options->result_user);
    pthread_mutex_unlock(&all->lock);
}

static mirl_status score(evaluation *all, const job *todo, mirl_error *error) {
    planes p = {0};
    mirl_status status = read_planes(todo, all->options->seed, &p, error);
    if (status == MIRL_OK && all->options->restore) {
        status =
            all->options->restore(all->options->restore_user, p.input, p.restored, p.width, p.height, error);
    } else if (status == MIRL_OK) {
        mirl_image in = image_of(&p, p.input), out = image_of(&p, p.restored);
        status = mirl_restore(all->model, &in, &out, &all->restore, error);
    }
    if (status == MIRL_OK) {
        for (size_t i = 0; i < 3 * p.width * p.height; i++)
            p.restored[i] = p.restored[i] < 0 ? 0 : p.restored[i] > 1 ? 1 : p.restored[i];
        todo->score->figures = (trainer_figures){
            .psnr = trainer_psnr(p.clean, p.restored, p.width, p.height),
            .ssim = trainer_ssim(p.clean, p.restored, p.width, p.height),
            .input_psnr = trainer_psnr(p.clean, p.input, p.width, p.height),
            .input_ssim = trainer_ssim(p.clean, p.input, p.width, p.height),
        };
        if (all->options->result)
            hand_out(all, todo, &p);
        if (all->options->save)
            status = save(todo, all->options->save, &p, error);
    }
    free(p.clean);
    return status;
}

static void *work(void *user) {
    evaluation *all = user;
    pthread_mutex_lock(&all->lock);
    while (all->next < all->count && all->status == MIRL_OK) {
        size_t index = all->next++;
        mirl_error error;
        pthread_mutex_unlock(&all->lock);
        mirl_status status = score(all, &all->jobs[index], &error);
        pthread_mutex_lock(&all->lock);
        all->done++;
        if (status == MIRL_OK && all->options->progress &&
            !all->options->progress(all->done, all->count, all->options->user))
            status = mirl_fail(&error, MIRL_ERROR_CANCELLED, "scoring was stopped");
        if (status != MIRL_OK && (all->status == MIRL_OK || index < all->failed)) {
            all->status = status;
            all->failed = index;
            all->error = error;
        }
    }
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

/** Adds the set's images; a denoising set with this sigma. */
static mirl_status add_set(const trainer_set *set, double sigma, size_t limit, trainer_scores *scores,
                           mirl_error *error) {
    trainer_score *added = &scores->sets[scores->count++];
    added->task = set->task;
    added->sigma = sigma;
    added->count = limit && limit < set->count ? limit : set->count;
    added->images = calloc(added->count, sizeof *added->images);
    added->set = strdup(set->name);
    if (!added->images || !added->set) {
        added->count = 0;
        return no_memory(error);
    }
    return MIRL_OK;
}

static bool wanted(const trainer_eval_options *options, trainer_task task) {
    bool any = false;
    for (int i = 0; i < TRAINER_TASKS; i++)
        any = any || options->tasks[i];
    return !any || options->tasks[task];
}

/** All sets to score, without their figures, and their jobs. */
static trainer_scores *list(const trainer_eval_options *options, const trainer_layout *layout,
                            evaluation *all, mirl_error *error) {
    trainer_scores *scores = calloc(1, sizeof *scores);
    size_t images = 0;
    for (size_t i = 0; i < layout->count; i++)
        images += layout->sets[i].count * TRAINER_SIGMAS;
    all->jobs = calloc(images, sizeof *all->jobs);
    if (scores)
        scores->sets = calloc(layout->count * TRAINER_SIGMAS, sizeof *scores->sets);
    mirl_status status = scores && scores->sets && all->jobs ? MIRL_OK : no_memory(error);
    for (size_t i = 0; i < layout->count; i++) {
        const trainer_set *set = &layout->sets[i];
        int repeats = set->task == TRAINER_DENOISE ? options->sigma_count : 1;
        for (int r = 0; status == MIRL_OK && wanted(options, set->task) && r < repeats; r++) {
            double sigma = set->task == TRAINER_DENOISE ? options->sigmas[r] : 0;
            status = add_set(set, sigma, options->limit, scores, error);
            trainer_score *added = &scores->sets[scores->count - 1];
            for (size_t k = 0; status == MIRL_OK && k < added->count; k++) {
                const trainer_item *item = &set->items[k * set->count / added->count];
                added->images[k].name = strdup(item->name);
                all->jobs[all->count++] = (job){item, added, &added->images[k]};
                if (!added->images[k].name)
                    status = no_memory(error);
            }
        }
    }
    if (status == MIRL_OK && all->count == 0)
        status =
            mirl_fail(error, MIRL_ERROR_ARGUMENT, "%s has no images of the tasks to score", options->folder);
    if (status == MIRL_OK)
        return scores;
    trainer_scores_free(scores);
    return NULL;
}

static int threads_to_use(int asked) {
    cpu_set_t cpus;
    if (asked == 0)
        asked = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    return asked < MAX_THREADS ? asked : MAX_THREADS;
}

/** Checks the sizes of all images and shares threads and memory: as many images at a time as fit. */
static mirl_status share(evaluation *all, int *workers, mirl_error *error) {
    size_t largest = 0, width = GRID, height = GRID;
    for (size_t i = 0; i < all->count; i++) {
        trainer_picture size = {0, 0, NULL};
        mirl_status status = trainer_photo_size(all->jobs[i].item->target, &size.width, &size.height, error);
        if (status != MIRL_OK)
            return status;
        trainer_rectangle part = middle(&size);
        if (part.width == 0 || part.height == 0)
            return mirl_fail(error, MIRL_ERROR_FORMAT, "%s is %dx%d pixels; at least %d a side are scored",
                             all->jobs[i].item->target, size.width, size.height, GRID);
        if ((size_t)part.width * (size_t)part.height > largest) {
            width = (size_t)part.width;
            height = (size_t)part.height;
            largest = width * height;
        }
    }
    int threads = threads_to_use(all->options->threads);
    uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    all->restore = mirl_options_default();
    all->restore.tile = MIRL_TILE_WHOLE;
    all->restore.memory = all->options->memory ? all->options->memory : machine / 2;
    mirl_plan_info plan;
    for (*workers = threads < (int)all->count ? threads : (int)all->count;; --*workers) {
        all->restore.threads = threads / *workers;
        if (all->options->restore)
            return MIRL_OK;
        mirl_status status = mirl_plan(all->model, width, height, &all->restore, &plan, error);
        if (status != MIRL_OK || *workers == 1 || plan.memory * (uint64_t)*workers <= all->restore.memory)
            return status;
    }
}

static void form_means(trainer_score *set) {
    trainer_figures sum = {0};
    for (size_t i = 0; i < set->count; i++) {
        sum.psnr += set->images[i].figures.psnr;
        sum.ssim += set->images[i].figures.ssim;
        sum.input_psnr += set->images[i].figures.input_psnr;
        sum.input_ssim += set->images[i].figures.input_ssim;
    }
    double count = (double)set->count;
    set->means =
        (trainer_figures){sum.psnr / count, sum.ssim / count, sum.input_psnr / count, sum.input_ssim / count};
}

static mirl_status run(evaluation *all, mirl_error *error) {
    int workers = 1;
    mirl_status status = share(all, &workers, error);
    if (status != MIRL_OK)
        return status;
    pthread_t helpers[MAX_THREADS];
    int helping = 0;
    pthread_mutex_init(&all->lock, NULL);
    while (helping < workers - 1 && pthread_create(&helpers[helping], NULL, work, all) == 0)
        helping++;
    work(all);
    while (helping > 0)
        pthread_join(helpers[--helping], NULL);
    pthread_mutex_destroy(&all->lock);
    return all->status == MIRL_OK ? MIRL_OK : mirl_fail(error, all->status, "%s", all->error.message);
}

trainer_scores *trainer_eval(const mirl_model *model, const trainer_eval_options *options,
                             mirl_error *error) {
    trainer_layout *layout = trainer_layout_read(options->folder, error);
    if (!layout)
        return NULL;
    evaluation all = {.model = model, .options = options, .status = MIRL_OK};
    trainer_scores *scores = list(options, layout, &all, error);
    if (scores && run(&all, error) != MIRL_OK) {
        trainer_scores_free(scores);
        scores = NULL;
    }
    for (size_t i = 0; scores && i < scores->count; i++)
        form_means(&scores->sets[i]);
    free(all.jobs);
    trainer_layout_free(layout);
    return scores;
}

trainer_scores *trainer_eval_values(const mirl_graph *graph, float *const *values,
                                    const trainer_eval_options *options, mirl_error *error) {
    const char *parent = getenv("TMPDIR");
    char *path;
    if (asprintf(&path, "%s/mirl-eval-XXXXXX", parent && *parent ? parent : "/tmp") < 0) {
        no_memory(error);
        return NULL;
    }
    trainer_scores *scores = NULL;
    int file = mkstemp(path);
    if (file < 0) {
        mirl_fail(error, MIRL_ERROR_FILE, "cannot make %s: %s", path, strerror(errno));
    } else {
        close(file);
        if (mirl_weights_write(path, graph, values, MIRL_F32, NULL, error) == MIRL_OK) {
            mirl_model *model = mirl_model_open(path, error);
            if (model)
                scores = trainer_eval(model, options, error);
            mirl_model_close(model);
        }
        unlink(path);
    }
    free(path);
    return scores;
}
