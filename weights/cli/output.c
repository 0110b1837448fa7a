/* Files written beside their place and renamed. */
#define _GNU_SOURCE /* asprintf() */
#include "output.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static volatile sig_atomic_t stop_signal;
static const char *volatile being_written; /* for the signal handler */

static void on_signal(int number) {
    if (stop_signal) {
        if (being_written)
            unlink(being_written);
        _exit(128 + number);
    }
    stop_signal = number;
}

void output_catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction before;
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
    signal(SIGXFSZ, SIG_IGN);
}

int output_stop_signal(void) {
    return stop_signal;
}

static mirl_status fail(const char *path, const char *reason, mirl_error *error) {
    return mirl_fail(error, MIRL_ERROR_FILE, "'%s' cannot be written: %s", path, reason);
}

/* The mode that a new file would get, or that of the file to be replaced. */
static mirl_status check_target(const char *path, mode_t *mode, mirl_error *error) {
    struct stat about;

    if (stat(path, &about)) {
        mode_t mask = umask(0);
        umask(mask);
        *mode = 0666 & ~mask;
        return errno == ENOENT ? MIRL_OK : fail(path, strerror(errno), error);
    }
    *mode = about.st_mode & 07777;
    if (S_ISDIR(about.st_mode))
        return fail(path, "it is a folder", error);
    if (!S_ISREG(about.st_mode))
        return fail(path, "it is not a regular file", error);
    if (access(path, W_OK))
        return fail(path, strerror(errno), error);
    return MIRL_OK;
}

/* Frees what the structure owns, and it is all zero again. */
static void forget(output *output) {
    being_written = NULL;
    free(output->path);
    free(output->temporary);
    *output = (struct output){0};
}

mirl_status output_open(output *output, const char *path, mirl_error *error) {
    mode_t mode;
    mirl_status status = check_target(path, &mode, error);
    if (status)
        return status;

    char *real = realpath(path, NULL);
    *output = (struct output){.path = real ? real : strdup(path)};
    const char *slash = output->path ? strrchr(output->path, '/') : NULL;
    int folder = slash ? (int)(slash + 1 - output->path) : 0;
    if (!output->path || asprintf(&output->temporary, "%.*s.mirl-XXXXXX", folder, output->path) < 0) {
        output->temporary = NULL;
        forget(output);
        return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory to write '%s'", path);
    }
    int descriptor = mkostemp(output->temporary, O_CLOEXEC);
    if (descriptor < 0) {
        forget(output);
        return fail(path, strerror(errno), error);
    }
    being_written = output->temporary;
    output->file = fdopen(descriptor, "w+b");
    if (!output->file || fchmod(descriptor, mode)) {
        if (!output->file)
            close(descriptor);
        output_discard(output);
        return fail(path, strerror(errno), error);
    }
    return MIRL_OK;
}

/* Why writing failed some time ago: the reason is lost, so tries again. */
static const char *find_reason(FILE *file) {
    static const char block[65536];
    int descriptor = fileno(file);

    lseek(descriptor, 0, SEEK_END);
    for (int i = 0; i < 2; i++)
        if (write(descriptor, block, sizeof block) < 0)
            return strerror(errno);
    return "a part of it was not written";
}

mirl_status output_commit(output *output, mirl_error *error) {
    mirl_status status = MIRL_OK;

    if (ferror(output->file))
        status = fail(output->path, find_reason(output->file), error);
    else if (fflush(output->file) || fsync(fileno(output->file)))
        status = fail(output->path, strerror(errno), error);
    if (fclose(output->file) && !status)
        status = fail(output->path, strerror(errno), error);
    output->file = NULL;
    if (!status && rename(output->temporary, output->path))
        status = fail(output->path, strerror(errno), error);
    if (status)
        output_discard(output);
    else
        forget(output);
    return status;
}

void output_discard(output *output) {
    int saved = errno;
    if (output->file)
        fclose(output->file);
    if (output->temporary)
        unlink(output->temporary);
    forget(output);
    errno = saved;
}
