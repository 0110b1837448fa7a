/* Which tables of kernels this processor runs. */
#include "kernels/tables.h"

#include <string.h>

/* A list for each kind of processor that is told apart, so that nothing has to be filled in at run time. */
static const mirl_kernels *const with_none[] = {&mirl_kernels_portable, &mirl_kernels_plain, NULL};
#ifdef MIRL_X86
static const mirl_kernels *const with_avx2[] = {&mirl_kernels_avx2, &mirl_kernels_portable,
                                                &mirl_kernels_plain, NULL};
static const mirl_kernels *const with_avx512[] = {&mirl_kernels_avx512, &mirl_kernels_avx2,
                                                  &mirl_kernels_portable, &mirl_kernels_plain, NULL};
#endif

const mirl_kernels *const *mirl_kernels_all(void) {
#ifdef MIRL_X86
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return with_avx512;
    if (avx2)
        return with_avx2;
#endif
    return with_none;
}

const mirl_kernels *mirl_kernels_best(void) {
    return mirl_kernels_all()[0];
}

const mirl_kernels *mirl_kernels_find(const char *name) {
    for (const mirl_kernels *const *k = mirl_kernels_all(); *k; k++)
        if (strcmp((*k)->name, name) == 0)
            return *k;
    return NULL;
}
