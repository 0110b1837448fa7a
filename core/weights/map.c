#include "weights/map.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static mirl_status map_descriptor(int file, mirl_map *map, mirl_error *error) {
    struct stat status;
    if (fstat(file, &status))
        return mirl_fail(error, MIRL_ERROR_FILE, "cannot be read: %s", strerror(errno));
    if (!S_ISREG(status.st_mode))
        return mirl_fail(error, MIRL_ERROR_FILE, "is not a regular file");
    if (status.st_size == 0)
        return mirl_fail(error, MIRL_ERROR_FORMAT, "is empty");
    if ((uint64_t)status.st_size > SIZE_MAX / 2)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "is too large to be mapped");
    /* Every byte is about to be checked, so all pages are wanted at once. */
    void *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (data == MAP_FAILED)
        return mirl_fail(error, MIRL_ERROR_FILE, "cannot be mapped: %s", strerror(errno));
    *map = (mirl_map){data, (size_t)status.st_size};
    return MIRL_OK;
}

mirl_status mirl_map_open(const char *path, mirl_map *map, mirl_error *error) {
    *map = (mirl_map){0};
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return mirl_fail(error, MIRL_ERROR_FILE, "cannot be opened: %s", strerror(errno));
    mirl_status status = map_descriptor(file, map, error);
    close(file);
    return status;
}

void mirl_map_close(mirl_map *map) {
    if (map->data)
        munmap((void *)(uintptr_t)map->data, map->size);
    *map = (mirl_map){0};
}
