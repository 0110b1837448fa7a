/* The cache of decoded images: least recently used goes first. */
#include "trainer/picture_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "trainer/photo.h"

typedef struct entry {
    char *path;
    trainer_picture picture; ///< rgb is NULL if not in memory
    int users;
    bool loading;  ///< some thread decodes it
    uint64_t used; ///< the cache's clock at the last release
} entry;

struct trainer_cache {
    entry *entries;
    uint32_t count, room;
    uint64_t memory, held; ///< bytes
    uint64_t clock;
    pthread_mutex_t lock; ///< over everything but path, width and height
    pthread_cond_t loaded;
};

static uint64_t bytes_of(const trainer_picture *picture) {
    return (uint64_t)picture->width * (uint64_t)picture->height * 3;
}

trainer_cache *trainer_cache_create(uint64_t memory) {
    trainer_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return NULL;
    cache->memory = memory;
    pthread_mutex_init(&cache->lock, NULL);
    pthread_cond_init(&cache->loaded, NULL);
    return cache;
}

void trainer_cache_free(trainer_cache *cache) {
    if (!cache)
        return;
    for (uint32_t i = 0; i < cache->count; i++) {
        free(cache->entries[i].path);
        free(cache->entries[i].picture.rgb);
    }
    free(cache->entries);
    pthread_cond_destroy(&cache->loaded);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

mirl_status trainer_cache_add(trainer_cache *cache, const char *path, uint32_t *index, mirl_error *error) {
    char *copy = strdup(path);
    if (copy && cache->count == cache->room) {
        uint32_t room = cache->room ? 2 * cache->room : 64;
        entry *grown = realloc(cache->entries, room * sizeof *grown);
        if (grown) {
            cache->entries = grown;
            cache->room = room;
        }
    }
    if (!copy || cache->count == cache->room) {
        free(copy);
        return mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for a list of %u images", cache->count + 1);
    }
    *index = cache->count++;
    cache->entries[*index] = (entry){.path = copy};
    return MIRL_OK;
}

/** Work shared by the threads of trainer_cache_check(). */
typedef struct check {
    trainer_cache *cache;
    int min_side;
    uint32_t next, failed_index; ///< the failure reported is the one of the first file, whatever the threads
    mirl_status status;
    mirl_error error;
} check;

static mirl_status check_file(check *work, uint32_t index, bool keep, mirl_error *error) {
    entry *file = &work->cache->entries[index];
    trainer_picture picture = {0, 0, NULL};
    mirl_status status = keep ? trainer_photo_read(file->path, &picture, error)
                              : trainer_photo_size(file->path, &picture.width, &picture.height, error);
    if (status != MIRL_OK)
        return status;
    if (picture.width < work->min_side || picture.height < work->min_side) {
        free(picture.rgb);
        return mirl_fail(error, MIRL_ERROR_FORMAT, "%s is %dx%d pixels, smaller than the crop of %d",
                         file->path, picture.width, picture.height, work->min_side);
    }
    pthread_mutex_lock(&work->cache->lock);
    file->picture = picture;
    work->cache->held += picture.rgb ? bytes_of(&picture) : 0;
    pthread_mutex_unlock(&work->cache->lock);
    return MIRL_OK;
}

static void *check_files(void *user) {
    check *work = user;
    trainer_cache *cache = work->cache;
    pthread_mutex_lock(&cache->lock);
    while (work->next < cache->count && work->status == MIRL_OK) {
        uint32_t index = work->next++;
        bool keep = cache->held < cache->memory;
        pthread_mutex_unlock(&cache->lock);
        mirl_error error;
        mirl_status status = check_file(work, index, keep, &error);
        pthread_mutex_lock(&cache->lock);
        if (status != MIRL_OK && (work->status == MIRL_OK || index < work->failed_index)) {
            work->status = status;
            work->failed_index = index;
            work->error = error;
        }
    }
    pthread_mutex_unlock(&cache->lock);
    return NULL;
}

mirl_status trainer_cache_check(trainer_cache *cache, int threads, int min_side, mirl_error *error) {
    check work = {.cache = cache, .min_side = min_side, .status = MIRL_OK};
    pthread_t helpers[64];
    int helping = 0;
    while (helping < threads - 1 && helping < 64 &&
           pthread_create(&helpers[helping], NULL, check_files, &work) == 0)
        helping++;
    check_files(&work);
    while (helping > 0)
        pthread_join(helpers[--helping], NULL);
    return work.status == MIRL_OK ? MIRL_OK : mirl_fail(error, work.status, "%s", work.error.message);
}

uint32_t trainer_cache_count(const trainer_cache *cache) {
    return cache->count;
}

const char *trainer_cache_path(const trainer_cache *cache, uint32_t index) {
    return cache->entries[index].path;
}

void trainer_cache_size(const trainer_cache *cache, uint32_t index, int *width, int *height) {
    *width = cache->entries[index].picture.width;
    *height = cache->entries[index].picture.height;
}

/** Drops the pictures least recently used until `bytes` more fit, or all that are left are in use. */
static void make_room(trainer_cache *cache, uint64_t bytes) {
    while (cache->held > 0 && cache->held + bytes > cache->memory) {
        entry *oldest = NULL;
        for (uint32_t i = 0; i < cache->count; i++) {
            entry *candidate = &cache->entries[i];
            if (candidate->picture.rgb && candidate->users == 0 &&
                (!oldest || candidate->used < oldest->used))
                oldest = candidate;
        }
        if (!oldest)
            return;
        free(oldest->picture.rgb);
        oldest->picture.rgb = NULL;
        cache->held -= bytes_of(&oldest->picture);
    }
}

/** Decodes the file; the lock is held before and after, not meanwhile. */
static mirl_status load(trainer_cache *cache, entry *file, mirl_error *error) {
    file->loading = true;
    make_room(cache, bytes_of(&file->picture));
    pthread_mutex_unlock(&cache->lock);
    trainer_picture picture;
    mirl_status status = trainer_photo_read(file->path, &picture, error);
    if (status == MIRL_OK &&
        (picture.width != file->picture.width || picture.height != file->picture.height)) {
        free(picture.rgb);
        status =
            mirl_fail(error, MIRL_ERROR_FORMAT, "%s changed from %dx%d to %dx%d pixels during the run",
                      file->path, file->picture.width, file->picture.height, picture.width, picture.height);
    }
    pthread_mutex_lock(&cache->lock);
    file->loading = false;
    if (status == MIRL_OK) {
        file->picture.rgb = picture.rgb;
        cache->held += bytes_of(&picture);
    }
    pthread_cond_broadcast(&cache->loaded);
    return status;
}

mirl_status trainer_cache_acquire(trainer_cache *cache, uint32_t index, const trainer_picture **picture,
                                  mirl_error *error) {
    entry *file = &cache->entries[index];
    mirl_status status = MIRL_OK;
    pthread_mutex_lock(&cache->lock);
    while (file->loading)
        pthread_cond_wait(&cache->loaded, &cache->lock);
    if (!file->picture.rgb)
        status = load(cache, file, error);
    if (status == MIRL_OK) {
        file->users++;
        *picture = &file->picture;
    }
    pthread_mutex_unlock(&cache->lock);
    return status;
}

void trainer_cache_release(trainer_cache *cache, uint32_t index) {
    pthread_mutex_lock(&cache->lock);
    cache->entries[index].users--;
    cache->entries[index].used = ++cache->clock;
    make_room(cache, 0);
    pthread_mutex_unlock(&cache->lock);
}
