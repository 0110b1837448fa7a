/* Training data: patches cut from a folder of images in MIR-L's layout, in the published mixture or another,
 * with degradations made on the fly where there are no pairs.
 *
 *     train/denoise/<set>/<name>.{jpg,jpeg,png,bmp}                clean images
 *     train/derain/<set>/{input/<n>_rainy.*, target/<n>_gt.*}      pairs
 *     train/dehaze/<set>/{input/<n>_hazy.*,  target/<n>_gt.*}      pairs
 *     train/dejpeg/<set>/{input/<n>_jpeg.*,  target/<n>_gt.*}      pairs
 *
 * A task without pairs takes its clean images from train/denoise (or, without that folder, from the targets
 * of the pairs) and damages them with trainer_damage_apply().
 *
 * An epoch is the shuffled union of: each clean image 3 times for each sigma; each rain pair 120 times; each
 * haze pair once; each JPEG pair, and each clean image for a task without pairs, 3 times. With a mix it is as
 * long, and every task has its share of it. A last partial batch is dropped.
 */
#ifndef MIRL_TRAINER_DATA_H
#define MIRL_TRAINER_DATA_H

#include "trainer/patch.h"
#include "trainer/picture_cache.h"

typedef struct trainer_data_options {
    const char *folder;        ///< the one that holds train/
    bool tasks[TRAINER_TASKS]; ///< to train; none set: those with a share in mix, or else those with images
    double mix[TRAINER_TASKS]; ///< share of each task (any scale, >= 0); all 0: the published repetitions
    int crop;                  ///< side of a patch, pixels, a multiple of 8, 8..1024
    int batch;                 ///< patches a batch, 1..4096
    int least_side;            ///< of an image, pixels; as much as the crop in any case
    int rank, ranks; ///< this process makes part `rank` of `ranks` of batches of ranks * batch; 0, 1
    uint64_t seed;
    trainer_ranges ranges;
    int threads;     ///< that decode and damage images, 1..64
    int ahead;       ///< batches kept ready, 1..256
    uint64_t memory; ///< bytes for decoded images; others are decoded again each time they are needed
} trainer_data_options;

/** Denoising and whatever else has a folder, published repetitions and ranges, crop 64, batch 8, one thread,
 * 4 batches ahead, 1 GiB. `folder` is NULL and must be set. */
trainer_data_options trainer_data_options_default(void);

typedef struct trainer_data trainer_data;

/** Lists and checks all files (every one is decoded, or, beyond `memory`, its header is read). NULL with
 * MIRL_ERROR_ARGUMENT (an option), _FILE (no such folder, no images, an image that cannot be read), _FORMAT
 * (an image smaller than the crop, a pair of different sizes or without its other half) or _MEMORY. Free with
 * trainer_data_close(). */
trainer_data *trainer_data_open(const trainer_data_options *options, mirl_error *error);
void trainer_data_close(trainer_data *data);

/** Writes batch number `step`: options.batch patches, [batch][3][crop][crop], values k/255 in 0..1. What it
 * holds depends on the files, the options (threads, ahead and memory excepted) and `step` only. Batches are
 * ready ahead of time as long as steps are asked for in rising order, which begins with the first call; any
 * other step also works. To be called from one thread at a time. MIRL_ERROR_FILE if an image can no longer be
 * read; _MEMORY. */
mirl_status trainer_data_batch(trainer_data *data, uint64_t step, float *degraded, float *clean,
                               mirl_error *error);

/** What batch `step` is made of: options.batch patches, for whoever makes them (device/album.h). Thread-safe.
 * MIRL_ERROR_MEMORY. */
mirl_status trainer_data_patches(trainer_data *data, uint64_t step, trainer_patch *patches,
                                 mirl_error *error);

/** The images that patches name; they belong to the data. */
trainer_cache *trainer_data_images(trainer_data *data);

/** Writes what batch `step` is made of, a line a patch: the task, the files, the place and the damage; cut to
 * size bytes, zero-terminated. */
void trainer_data_describe(trainer_data *data, uint64_t step, char *text, size_t size);

/** Whole batches in an epoch, at least 1. */
uint64_t trainer_data_steps_per_epoch(const trainer_data *data);

/** Whether the task is trained, and from how many clean images or pairs; pairs tells which. */
bool trainer_data_has(const trainer_data *data, trainer_task task, size_t *sources, bool *pairs);

#endif
