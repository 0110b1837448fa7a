/* A result that appears whole or not at all: written beside its place and renamed, removed if cancelled. */
#ifndef MIRL_CLI_OUTPUT_H
#define MIRL_CLI_OUTPUT_H

#include "mirl.h"

#include <stdio.h>

typedef struct output {
    FILE *file;      ///< open for reading and writing
    char *path;      ///< where the result goes
    char *temporary; ///< where it is meanwhile
} output;

/** Makes SIGINT, SIGTERM and SIGHUP ask for an orderly stop. A second one ends the program at once, without
 * leaving a part of a file. A file that outgrows its limit becomes an error of writing. */
void output_catch_signals(void);

/** The signal that asked to stop, or 0. */
int output_stop_signal(void);

/** Opens a file beside `path`. One that exists must be a writable regular file; a link is followed. */
mirl_status output_open(output *output, const char *path, mirl_error *error);

/** Puts the written file in its place; on failure nothing is left of it. */
mirl_status output_commit(output *output, mirl_error *error);

/** Removes what has been written. */
void output_discard(output *output);

#endif
