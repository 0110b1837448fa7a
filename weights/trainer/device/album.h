/* The training images in a device's memory, where the batches are made of them: the host only says what each
 * patch is (../patch.h).
 */
#ifndef MIRL_TRAINER_DEVICE_ALBUM_H
#define MIRL_TRAINER_DEVICE_ALBUM_H

#include "trainer/data.h"
#include "trainer/ops.h"

typedef struct trainer_album trainer_album;

/** Copies all images of the data there, for batches of its `batch` patches of `crop` pixels a side. `data`
 * must outlive it. NULL: MIRL_ERROR_MEMORY if they do not fit, or what reading an image gives. */
trainer_album *trainer_album_create(const trainer_ops *ops, trainer_data *data, int batch, int crop,
                                    mirl_error *error);
void trainer_album_free(trainer_album *album);

/** Writes what batch `step` is made of to `patches`, room for `batch` from allocate_host(), and queues that
 * it is copied: the next trainer_album_make() makes this batch. MIRL_ERROR_MEMORY. */
mirl_status trainer_album_choose(trainer_album *album, uint64_t step, trainer_patch *patches,
                                 mirl_error *error);

/** Queues the making of the batch, which can be recorded: degraded, clean [batch][3][crop][crop], as
 * trainer_data_batch() gives them; *difference = sum |degraded - clean|. All lie on the device. */
void trainer_album_make(trainer_album *album, float *degraded, float *clean, double *difference);

#endif
