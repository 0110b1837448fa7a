/* Decoded images of a data set: kept in memory up to a limit, decoded again when they were dropped. */
#ifndef MIRL_TRAINER_PICTURE_CACHE_H
#define MIRL_TRAINER_PICTURE_CACHE_H

#include "trainer/degrade.h"

typedef struct trainer_cache trainer_cache;

/** An empty cache of at most `memory` bytes of pixels (what is in use at the time comes on top). NULL if
 * memory runs out. */
trainer_cache *trainer_cache_create(uint64_t memory);
void trainer_cache_free(trainer_cache *cache);

/** Adds a file; *index counts from 0. The path is copied. Before trainer_cache_check(). MIRL_ERROR_MEMORY. */
mirl_status trainer_cache_add(trainer_cache *cache, const char *path, uint32_t *index, mirl_error *error);

/** Reads all files on `threads` threads: decodes them, and, once the memory is full, reads only the headers.
 * MIRL_ERROR_FORMAT also for an image of a side under min_side. */
mirl_status trainer_cache_check(trainer_cache *cache, int threads, int min_side, mirl_error *error);

/** How many files there are. */
uint32_t trainer_cache_count(const trainer_cache *cache);

/** Path and size, known after trainer_cache_check(). */
const char *trainer_cache_path(const trainer_cache *cache, uint32_t index);
void trainer_cache_size(const trainer_cache *cache, uint32_t index, int *width, int *height);

/** The pixels, which stay until trainer_cache_release(). Thread-safe. MIRL_ERROR_FILE, _FORMAT (also if the
 * size has changed) or _MEMORY. */
mirl_status trainer_cache_acquire(trainer_cache *cache, uint32_t index, const trainer_picture **picture,
                                  mirl_error *error);
void trainer_cache_release(trainer_cache *cache, uint32_t index);

#endif
