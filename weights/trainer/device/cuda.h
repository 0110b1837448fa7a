/* The GPU: opened once a process, one device. Built with -DMIRL_CUDA=ON.
 */
#ifndef MIRL_TRAINER_DEVICE_CUDA_H
#define MIRL_TRAINER_DEVICE_CUDA_H

#include "trainer/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Opens the first device that CUDA offers; matrix products in `precision`. May be called again, which
 * changes the precision of products recorded or queued from then on. Writes the device's name and memory.
 * NULL with MIRL_ERROR_ARGUMENT: there is no device, or it fails. */
const trainer_ops *trainer_cuda_open(trainer_precision precision, char *name, size_t name_size,
                                     mirl_error *error);

#ifdef __cplusplus
}
#endif

#endif
