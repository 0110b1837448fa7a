#include "trainer/device/device.h"

#include "error.h"
#include "trainer/device/cuda.h"

#include <stdio.h>
#include <string.h>

bool trainer_precision_find(const char *text, trainer_precision *precision) {
    static const char *const names[] = {"float32", "tf32", "bf16"};
    for (int i = 0; i < 3; i++)
        if (strcmp(text, names[i]) == 0) {
            *precision = (trainer_precision)i;
            return true;
        }
    return false;
}

const trainer_ops *trainer_device_open(const char *device, trainer_precision precision, char *name,
                                       size_t name_size, mirl_error *error) {
    bool automatic = strcmp(device, "auto") == 0, cuda = strcmp(device, "cuda") == 0;

    if (!automatic && !cuda && strcmp(device, "cpu") != 0) {
        mirl_fail(error, MIRL_ERROR_ARGUMENT, "'%.40s' is no device; there are cpu, cuda and auto", device);
        return NULL;
    }
#ifdef MIRL_CUDA
    if (automatic || cuda) {
        const trainer_ops *ops = trainer_cuda_open(precision, name, name_size, error);
        if (ops || cuda)
            return ops;
    }
#else
    (void)precision;
    if (cuda) {
        mirl_fail(error, MIRL_ERROR_ARGUMENT,
                  "this mirl was built without CUDA; build it with -DMIRL_CUDA=ON, or use --device cpu");
        return NULL;
    }
#endif
    const trainer_ops *ops = trainer_ops_get(NULL);
    snprintf(name, name_size, "the processor (%s)", ops->name);
    return ops;
}
