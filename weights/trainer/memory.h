/* The memory of a device that operations may run on, and the order of what happens there.
 *
 * Everything is queued: operations and the functions below happen one after the other, in the order of the
 * calls, and only wait(), download() and status() wait for them. All calls come from one thread at a time. A
 * device that fails keeps its first failure for status(); until then calls after it do nothing of use.
 */
#ifndef MIRL_TRAINER_MEMORY_H
#define MIRL_TRAINER_MEMORY_H

#include "mirl.h"

#include <stddef.h>

typedef struct trainer_recording trainer_recording;

enum { TRAINER_MARKS = 2 };

typedef struct trainer_memory {
    void *(*allocate)(size_t bytes); ///< NULL: there is not as much
    void (*release)(void *memory);

    /** Memory of the host from which and to which copies can be queued. */
    void *(*allocate_host)(size_t bytes);
    void (*release_host)(void *memory);

    void (*clear)(void *memory, size_t bytes);
    void (*copy)(void *to, const void *from, size_t bytes); ///< in any direction, host memory as above
    /* From and to any memory of the host; they wait. */
    void (*upload)(void *to, const void *from, size_t bytes);
    void (*download)(void *to, const void *from, size_t bytes);

    /** Queues all that work(user) queues: the first times by calling it, later as it was then, without
     * calling it. *recording is NULL at first. Free with forget(). */
    void (*run)(trainer_recording **recording, void (*work)(void *user), void *user);
    void (*forget)(trainer_recording *recording);

    /** A place in the queue, 0..TRAINER_MARKS-1, to wait for. False: the device has failed before it. */
    void (*mark)(int mark);
    bool (*wait)(int mark);

    /** Waits for everything. MIRL_ERROR_MEMORY, or MIRL_ERROR_FILE with what the device says. */
    mirl_status (*status)(mirl_error *error);
} trainer_memory;

#endif
