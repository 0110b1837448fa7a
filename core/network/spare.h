/* The memory of a model's last run, kept for the next: the system clears fresh pages, which takes a small
 * image longer than reusing them.
 */
#ifndef MIRL_CORE_NETWORK_SPARE_H
#define MIRL_CORE_NETWORK_SPARE_H

#include <stddef.h>

/** Thread-safe; holds one piece of memory at most. */
typedef struct mirl_spare mirl_spare;

enum { MIRL_SPARE_MOST = 128 << 20 }; ///< bytes: larger pieces go back to the system at once

/** NULL if memory runs out. */
mirl_spare *mirl_spare_create(void);
void mirl_spare_free(mirl_spare *spare);

/** `bytes` bytes, aligned to a page, that hold finite floats. NULL if memory runs out. */
void *mirl_spare_take(mirl_spare *spare, size_t bytes);

/** Gives them back. Until they are taken again, the system may have them for others. */
void mirl_spare_leave(mirl_spare *spare, void *memory, size_t bytes);

#endif
