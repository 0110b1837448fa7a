/* The memory of a model's last run, kept for the next: the system clears fresh pages, which costs some
 * percent of a small image's time.
 */
#ifndef MIRL_CORE_NETWORK_SPARE_H
#define MIRL_CORE_NETWORK_SPARE_H

#include <stddef.h>

/** Thread-safe; holds one piece of memory at most. */
typedef struct mirl_spare mirl_spare;

enum { MIRL_SPARE_MOST = 384 << 20 }; ///< bytes: larger pieces go back to the system at once

/** NULL if memory runs out. */
mirl_spare *mirl_spare_create(void);
void mirl_spare_free(mirl_spare *spare);

/** At least *bytes bytes, aligned to a page, that hold zeros or an earlier run's floats; *bytes becomes how
 * many, at most twice what was asked for. NULL if memory runs out. */
void *mirl_spare_take(mirl_spare *spare, size_t *bytes);

/** Gives them all back. Until they are taken again, the system may have them for others. */
void mirl_spare_leave(mirl_spare *spare, void *memory, size_t bytes);

#endif
