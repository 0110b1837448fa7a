/* The tables that kernels.h hands out, one for each way the kernels are compiled. */
#ifndef MIRL_CORE_KERNELS_TABLES_H
#define MIRL_CORE_KERNELS_TABLES_H

#include "kernels/kernels.h"

extern const mirl_kernels mirl_kernels_plain;
extern const mirl_kernels mirl_kernels_portable;
extern const mirl_kernels mirl_kernels_avx2;
extern const mirl_kernels mirl_kernels_avx512;
extern const mirl_kernels mirl_kernels_vnni;
extern const mirl_kernels mirl_kernels_amx;

/* Whether the processor has AMX with bfloat16 and AVX-512's bytes, and Linux lets this process use it: tiles
 * have to be asked for (Documentation/arch/x86/xstate.rst), once for all threads. x86 only. */
bool mirl_kernels_have_amx(void);

/* dense_cost() of tables whose products cost their multiply-adds. */
static inline double mirl_plain_dense_cost(int rows, int columns) {
    return (double)rows * columns;
}

/* Table amx is avx512 with these (amx.c), x86 only. */
double mirl_amx_dense_cost(int rows, int columns);
void mirl_amx_pack(const float *w, size_t row_pitch, int rows, int columns, float *packed);
void mirl_amx_dense_product(const float *packed, int rows, int columns, const float *in, size_t in_pitch,
                            float *out, size_t out_pitch, size_t pixels, const float *add, size_t add_pitch);
void mirl_amx_dots(const float *a, size_t a_pitch, const float *a_squares, int a_rows, const float *b,
                   size_t b_pitch, const float *b_squares, int b_rows, size_t pixels, float *scratch,
                   float *out, size_t out_pitch, bool add);

#endif
