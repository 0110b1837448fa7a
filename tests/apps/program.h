/* Runs the real program in a folder of its own, and makes weights for it. */
#ifndef MIRL_TEST_PROGRAM_H
#define MIRL_TEST_PROGRAM_H

#include <stddef.h>

/** How a run of the program ended. */
typedef struct program_run {
    int code;            ///< exit code; 1000 + the signal's number if one killed it
    char out[64 * 1024]; ///< standard output
    char err[16 * 1024]; ///< standard error
} program_run;

/** Makes a folder under /tmp, goes there and points the lookup of weights to it. cmocka group functions. */
int program_enter(void **state);
int program_leave(void **state);

/** Runs `mirl` with the words of `format` (split at spaces) as arguments; /bin/sh is not involved. The result
 * is valid until the next call. */
const program_run *program(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** The same, in a child that first calls prepare(). */
const program_run *program_prepared(void (*prepare)(void), const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** The same, sending `signal` once the file `when` exists. */
const program_run *program_cancelled(int signal, const char *when, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Writes a small network called `path` with random weights from a fixed seed. The output layer's are scaled
 * by `output`: with 0, restoring changes nothing. */
void program_make_weights(const char *path, float output);

#endif
