/* The tables that kernels.h hands out, one for each way the kernels are compiled. */
#ifndef MIRL_CORE_KERNELS_TABLES_H
#define MIRL_CORE_KERNELS_TABLES_H

#include "kernels/kernels.h"

extern const mirl_kernels mirl_kernels_plain;
extern const mirl_kernels mirl_kernels_portable;
extern const mirl_kernels mirl_kernels_avx2;
extern const mirl_kernels mirl_kernels_avx512;

#endif
