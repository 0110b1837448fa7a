#define _DEFAULT_SOURCE /* madvise */
#include "network/spare.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

struct mirl_spare {
    pthread_mutex_t mutex;
    void *memory; /* or NULL */
    size_t bytes;
};

mirl_spare *mirl_spare_create(void) {
    mirl_spare *spare = calloc(1, sizeof *spare);
    if (spare)
        pthread_mutex_init(&spare->mutex, NULL);
    return spare;
}

/* Puts other memory, or none, in the place of what is kept, and returns that. */
static void *exchange(mirl_spare *spare, void *memory, size_t *bytes) {
    pthread_mutex_lock(&spare->mutex);
    void *kept = spare->memory;
    size_t kept_bytes = spare->bytes;
    spare->memory = memory;
    spare->bytes = *bytes;
    pthread_mutex_unlock(&spare->mutex);
    *bytes = kept_bytes;
    return kept;
}

void mirl_spare_free(mirl_spare *spare) {
    if (!spare)
        return;
    if (spare->memory)
        munmap(spare->memory, spare->bytes);
    pthread_mutex_destroy(&spare->mutex);
    free(spare);
}

void *mirl_spare_take(mirl_spare *spare, size_t *bytes) {
    size_t kept_bytes = 0;
    void *memory = exchange(spare, NULL, &kept_bytes);

    if (memory && kept_bytes >= *bytes && kept_bytes / 2 <= *bytes) {
        *bytes = kept_bytes;
        return memory;
    }
    if (memory)
        munmap(memory, kept_bytes);
    memory = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
#ifdef MADV_HUGEPAGE
    madvise(memory, *bytes, MADV_HUGEPAGE); /* strips touch many places at a time */
#endif
    return memory;
}

void mirl_spare_leave(mirl_spare *spare, void *memory, size_t bytes) {
    if (bytes <= MIRL_SPARE_MOST) {
#ifdef MADV_FREE
        madvise(memory, bytes, MADV_FREE);
#endif
        memory = exchange(spare, memory, &bytes);
    }
    if (memory)
        munmap(memory, bytes);
}
