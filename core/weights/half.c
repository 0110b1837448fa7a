#include "weights/half.h"

#include "weights/tensors.h"

#include <string.h>

static float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t to_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/** A subnormal gets the implied bit that it lacks and loses its value again, which is exact. */
static float decode(uint16_t half) {
    uint32_t magnitude = (uint32_t)(half & 0x7fff) << 13;
    float value = from_bits(magnitude + 0x38000000);
    if ((half & 0x7c00) == 0)
        value = from_bits(magnitude + 0x38800000) - 0x1p-14f;
    else if ((half & 0x7c00) == 0x7c00)
        value = from_bits(magnitude | 0x7f800000);
    return from_bits(to_bits(value) | (uint32_t)(half & 0x8000) << 16);
}

void mirl_f16_decode_portable(const uint8_t *halves, size_t count, float *values) {
    const mirl_unaligned_u16 *from = (const mirl_unaligned_u16 *)halves;
    for (size_t i = 0; i < count; i++)
        values[i] = decode(from[i]);
}

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx2,f16c"))) static void decode_f16c(const mirl_unaligned_u16 *halves, size_t count,
                                                             float *values) {
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        _mm256_storeu_ps(values + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)(halves + i))));
    for (; i < count; i++)
        values[i] = _cvtsh_ss(halves[i]);
}
#endif

void mirl_f16_decode(const uint8_t *halves, size_t count, float *values) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) { /* every processor with AVX2 has F16C */
        decode_f16c((const mirl_unaligned_u16 *)halves, count, values);
        return;
    }
#endif
    mirl_f16_decode_portable(halves, count, values);
}

void mirl_bf16_decode(const uint8_t *halves, size_t count, float *values) {
    const mirl_unaligned_u16 *from = (const mirl_unaligned_u16 *)halves;
    for (size_t i = 0; i < count; i++)
        values[i] = from_bits((uint32_t)from[i] << 16);
}

uint16_t mirl_f16_encode(float value) {
    uint32_t bits = to_bits(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    bits &= 0x7fffffff;
    if (bits >= 0x477ff000) /* 65520 and all that rounds up with it; infinities; NaN */
        return sign | (bits > 0x7f800000 ? 0x7e00 : 0x7c00);
    if (bits < 0x38800000) {
        /* Below 2^-14 the steps are 2^-24: adding 0.5 lets the float unit round at that bit. */
        uint32_t rounded = to_bits(from_bits(bits) + 0.5f) - 0x3f000000;
        return sign | (uint16_t)rounded;
    }
    uint32_t odd = bits >> 13 & 1;
    return sign | (uint16_t)((bits - 0x38000000 + 0xfff + odd) >> 13);
}
