/* Arrays of 16-bit floats, in files at any address. */
#ifndef MIRL_CORE_WEIGHTS_HALF_H
#define MIRL_CORE_WEIGHTS_HALF_H

#include <stddef.h>
#include <stdint.h>

/** IEEE binary16 to float, exactly. */
void mirl_f16_decode(const uint8_t *halves, size_t count, float *values);

/** The same without special instructions. */
void mirl_f16_decode_portable(const uint8_t *halves, size_t count, float *values);

/** bfloat16 to float, exactly. */
void mirl_bf16_decode(const uint8_t *halves, size_t count, float *values);

/** The nearest binary16, ties to even; beyond 65519.99 it is an infinity (bits 0x7c00), which is for the
 * caller to refuse. */
uint16_t mirl_f16_encode(float value);

#endif
