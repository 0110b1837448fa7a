/* MIR-L's data layout: which images and pairs lie in a train/ or test/ folder. data.h shows the layout. */
#ifndef MIRL_TRAINER_LAYOUT_H
#define MIRL_TRAINER_LAYOUT_H

#include "trainer/degrade.h"

/** One clean image, or one pair. */
typedef struct trainer_item {
    char *name;   ///< without folder and ending; of a pair, its <n>
    char *input;  ///< path of the damaged image; NULL in denoise sets
    char *target; ///< path of the clean image
} trainer_item;

/** The images of one folder <task>/<name>, in the order of their names' bytes. */
typedef struct trainer_set {
    trainer_task task;
    char *name;
    trainer_item *items;
    size_t count; ///< at least 1
} trainer_set;

/** All sets, tasks in the order of trainer_task, sets of a task by name. */
typedef struct trainer_layout {
    trainer_set *sets;
    size_t count;
} trainer_layout;

/** Lists `folder`, which is the layout's train/ or test/. A task's folder may be missing; sets without images
 * are left out. NULL with MIRL_ERROR_FILE (no such folder, nothing in it), _FORMAT (half a pair, or a name
 * that the layout does not know) or _MEMORY. Free with trainer_layout_free(). */
trainer_layout *trainer_layout_read(const char *folder, mirl_error *error);
void trainer_layout_free(trainer_layout *layout);

/** What the damaged images of a pair task are called after <n>: "_rainy", "_hazy", "_jpeg". */
const char *trainer_layout_suffix(trainer_task task);

/** Makes the folders on the way to the file `path`. MIRL_ERROR_FILE. */
mirl_status trainer_make_folders(const char *path, mirl_error *error);

#endif
