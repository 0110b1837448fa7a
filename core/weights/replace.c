#include "weights/replace.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct mirl_replacement {
    int descriptor;
    int failure; ///< the first errno
    char *path, *beside;
};

static void destroy(mirl_replacement *file) {
    free(file->path);
    free(file->beside);
    free(file);
}

/** Opens PATH.PID-N.tmp with the first N that is free; the mode is left to the umask. */
static int create_beside(mirl_replacement *file, size_t room) {
    int descriptor = -1;
    for (int n = 0; n < 1000 && descriptor < 0; n++) {
        snprintf(file->beside, room, "%s.%ld-%d.tmp", file->path, (long)getpid(), n);
        descriptor = open(file->beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor < 0 && errno != EEXIST)
            break;
    }
    return descriptor;
}

mirl_replacement *mirl_replace_begin(const char *path, mirl_error *error) {
    size_t room = strlen(path) + 40;
    mirl_replacement *file = calloc(1, sizeof *file);
    if (file) {
        file->path = strdup(path);
        file->beside = malloc(room);
    }
    if (!file || !file->path || !file->beside) {
        if (file)
            destroy(file);
        mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory to write '%s'", path);
        return NULL;
    }
    file->descriptor = create_beside(file, room);
    if (file->descriptor < 0) {
        mirl_fail(error, MIRL_ERROR_FILE, "'%s' cannot be created: %s", path, strerror(errno));
        destroy(file);
        return NULL;
    }
    return file;
}

void mirl_replace_append(mirl_replacement *file, const void *data, size_t bytes) {
    const char *at = data;
    while (bytes && !file->failure) {
        ssize_t written = write(file->descriptor, at, bytes);
        if (written < 0) {
            if (errno != EINTR)
                file->failure = errno;
            continue;
        }
        at += written;
        bytes -= (size_t)written;
    }
}

/** So that the new name survives a power cut. Not every file system can, and the file itself is safe. */
static void sync_folder(char *path) {
    char *slash = strrchr(path, '/');
    if (slash)
        slash[slash == path] = 0;
    int folder = open(slash ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
        fsync(folder);
        close(folder);
    }
}

mirl_status mirl_replace_commit(mirl_replacement *file, mirl_error *error) {
    mirl_status status = MIRL_OK;
    if (!file->failure && fsync(file->descriptor))
        file->failure = errno;
    if (close(file->descriptor) && !file->failure)
        file->failure = errno;
    if (!file->failure && rename(file->beside, file->path))
        file->failure = errno;
    if (file->failure) {
        status = mirl_fail(error, MIRL_ERROR_FILE, "'%s' cannot be written: %s", file->path,
                           strerror(file->failure));
        unlink(file->beside);
    } else {
        sync_folder(file->path);
    }
    destroy(file);
    return status;
}
