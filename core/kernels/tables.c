/* Which tables of kernels this processor runs. */
#include "kernels/tables.h"

#include <string.h>

#ifdef MIRL_X86
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* Each needs what those after it need, so that what a processor runs is the list from some place on. */
static const mirl_kernels *const tables[] = {
#ifdef MIRL_X86
    &mirl_kernels_amx,      &mirl_kernels_vnni,  &mirl_kernels_avx512,
    &mirl_kernels_avx2,
#endif
    &mirl_kernels_portable, &mirl_kernels_plain, NULL,
};

#ifdef MIRL_X86
bool mirl_kernels_have_amx(void) {
    enum { LEAF = 7, BF16 = 1 << 22, TILE = 1 << 24, REQUEST = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d;
    return __builtin_cpu_supports("avx512bw") && __get_cpuid_count(LEAF, 0, &a, &b, &c, &d) && (d & BF16) &&
           (d & TILE) && syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}
#endif

const mirl_kernels *const *mirl_kernels_all(void) {
#ifdef MIRL_X86
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl");
    const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
    const bool amx = vnni && mirl_kernels_have_amx();
    return tables + !amx + !vnni + !avx512 + !avx2;
#else
    return tables;
#endif
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
