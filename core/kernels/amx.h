/* What code on the matrix unit of x86 (AMX) shares. Compiled with -mamx-tile -mamx-bf16 and AVX-512. */
#ifndef MIRL_CORE_KERNELS_AMX_H
#define MIRL_CORE_KERNELS_AMX_H

#include <immintrin.h>
#include <stdint.h>

enum {
    MIRL_AMX_SIDE = 16, ///< rows of a tile, and 32-bit lanes of a row
};

/** What was stored is in memory: the compiler does not know that tiles are loaded from there. */
static inline void mirl_amx_finish_stores(void) {
    __asm__ volatile("" ::: "memory");
}

/** All eight tiles: 16 rows of 64 bytes. To be ended by _tile_release(). */
static inline void mirl_amx_begin(void) {
    struct __attribute__((packed)) {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        config.row_bytes[t] = 64;
        config.rows[t] = MIRL_AMX_SIDE;
    }
    mirl_amx_finish_stores();
    _tile_loadconfig(&config);
}

/** v[r][i] becomes v[i][r]. */
static inline __attribute__((always_inline)) void mirl_amx_turn(__m512 v[MIRL_AMX_SIDE]) {
    __m512 a[MIRL_AMX_SIDE], b[MIRL_AMX_SIDE];
#pragma GCC unroll 8
    for (int i = 0; i < MIRL_AMX_SIDE; i += 2) {
        a[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
        a[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < MIRL_AMX_SIDE; i += 4) {
        b[i] = _mm512_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm512_shuffle_ps(a[i], a[i + 2], 0xee);
        b[i + 2] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        a[i] = _mm512_shuffle_f32x4(b[i], b[i + 4], 0x88);
        a[i + 4] = _mm512_shuffle_f32x4(b[i], b[i + 4], 0xdd);
        a[i + 8] = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0x88);
        a[i + 12] = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0xdd);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        v[i] = _mm512_shuffle_f32x4(a[i], a[i + 8], 0x88);
        v[i + 8] = _mm512_shuffle_f32x4(a[i], a[i + 8], 0xdd);
    }
}

#endif
