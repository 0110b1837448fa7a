/* The order in which training patches come: which image or pair, and which noise, is at which place of which
 * batch. data.h says what an epoch is. */
#ifndef MIRL_TRAINER_MIXTURE_H
#define MIRL_TRAINER_MIXTURE_H

#include "trainer/data.h"
#include "trainer/picture_cache.h"

/** What one patch is cut from. */
typedef struct trainer_sample {
    trainer_task task;
    bool pair;              ///< input and target are two images; else input is to be damaged, target == input
    uint32_t input, target; ///< in the cache
    double sigma;           ///< of denoising
} trainer_sample;

typedef struct trainer_mixture trainer_mixture;

/** Lists options->folder/train and adds its images to the cache, which is to be checked afterwards, the
 * mixture with trainer_mixture_check() then. NULL with MIRL_ERROR_ARGUMENT, _FILE, _FORMAT or _MEMORY. */
trainer_mixture *trainer_mixture_create(const trainer_data_options *options, trainer_cache *cache,
                                        mirl_error *error);
void trainer_mixture_free(trainer_mixture *mixture);

/** MIRL_ERROR_FORMAT if the two images of a pair differ in size. */
mirl_status trainer_mixture_check(const trainer_mixture *mixture, const trainer_cache *cache,
                                  mirl_error *error);

uint64_t trainer_mixture_steps(const trainer_mixture *mixture);
bool trainer_mixture_has(const trainer_mixture *mixture, trainer_task task, size_t *sources, bool *pairs);

/** The samples of this rank's part of batch `step`: options.batch of them. Thread-safe. */
void trainer_mixture_batch(trainer_mixture *mixture, uint64_t step, trainer_sample *samples);

#endif
