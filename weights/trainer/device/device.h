/* Where the trainer computes: the processor's cores, or a GPU.
 */
#ifndef MIRL_TRAINER_DEVICE_DEVICE_H
#define MIRL_TRAINER_DEVICE_DEVICE_H

#include "trainer/ops.h"

/** The table for "cpu", "cuda", or "auto": cuda if this build has it and there is a device. `name` receives
 * what it is in words. NULL with MIRL_ERROR_ARGUMENT and a sentence. */
const trainer_ops *trainer_device_open(const char *device, trainer_precision precision, char *name,
                                       size_t name_size, mirl_error *error);

/** The precision called "float32", "tf32" or "bf16"; false: there is none such. */
bool trainer_precision_find(const char *text, trainer_precision *precision);

#endif
