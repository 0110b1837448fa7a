/* The progress bar on a terminal, and messages that do not disturb it. */
#ifndef MIRL_CLI_PROGRESS_H
#define MIRL_CLI_PROGRESS_H

#include <stdbool.h>

/** Starts a bar on standard error if that is a terminal and `wanted`; otherwise nothing is ever drawn.
 * One at a time. */
void progress_begin(bool wanted);

/** Draws the bar, at most ten times a second. `label` says what is being worked on; `done` is the share of
 * everything that is done, 0..1; time left follows from the time since the first call with done > 0. */
void progress_show(const char *label, double done);

/** Removes the bar. */
void progress_end(void);

/** Prints "mirl COMMAND: sentence" to standard error, clear of the bar. */
void progress_say(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
