/* PyTorch's zipped files: Lightning checkpoints, and state dicts saved alone. */
#ifndef MIRL_CORE_WEIGHTS_CHECKPOINT_H
#define MIRL_CORE_WEIGHTS_CHECKPOINT_H

#include "weights/internal.h"

/** True if the file begins as a zip archive does. */
bool mirl_is_checkpoint(const uint8_t *file, size_t size);

/** Reads a checkpoint into empty weights: graph and checked layers, copied from the file. Everything around
 * the state dict is skipped. */
mirl_status mirl_checkpoint_read(mirl_weights *weights, const uint8_t *file, size_t size, mirl_error *error);

#endif
