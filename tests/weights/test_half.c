/* 16-bit floats: every one of them, and rounding between any two neighbours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "weights/half.h"

enum { HALVES = 65536, INFINITE = 0x7c00 };

/** By the definition of binary16. */
static double value_of(unsigned half) {
    int exponent = (int)(half >> 10 & 31), mantissa = (int)(half & 1023);
    double magnitude = exponent == 31  ? (mantissa ? NAN : INFINITY)
                       : exponent == 0 ? ldexp(mantissa, -24)
                                       : ldexp(1024 + mantissa, exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
}

static void check_decoded(const float *values) {
    for (unsigned half = 0; half < HALVES; half++) {
        double expected = value_of(half);
        bool same = isnan(expected)
                        ? isnan(values[half])
                        : values[half] == expected && (signbit(values[half]) != 0) == (half >= 0x8000);
        if (!same)
            fail_msg("half %04x is %g, it should be %g", half, (double)values[half], expected);
    }
}

static void every_half_is_decoded_exactly(void **state) {
    (void)state;
    static uint8_t halves[1 + 2 * HALVES]; /* one byte off any alignment */
    static float values[HALVES];
    for (unsigned half = 0; half < HALVES; half++) {
        halves[1 + 2 * half] = (uint8_t)half;
        halves[2 + 2 * half] = (uint8_t)(half >> 8);
    }
    mirl_f16_decode(halves + 1, HALVES, values);
    check_decoded(values);
    memset(values, 0, sizeof values);
    mirl_f16_decode_portable(halves + 1, HALVES, values);
    check_decoded(values);
    for (size_t count = 0; count < 20; count++) { /* no value beyond the last */
        values[count] = 42;
        mirl_f16_decode(halves + 1, count, values);
        assert_true(values[count] == 42);
    }
    mirl_bf16_decode(halves + 1, HALVES, values);
    for (unsigned half = 0; half < HALVES; half++) {
        uint32_t bits;
        memcpy(&bits, &values[half], sizeof bits);
        assert_int_equal(bits, half << 16);
    }
}

static void encoding_takes_the_nearest(void **state) {
    (void)state;
    for (unsigned half = 0; half < INFINITE; half++) {
        double low = value_of(half), high = half + 1 < INFINITE ? value_of(half + 1) : 65536;
        float middle = (float)((low + high) / 2);
        unsigned even = half % 2 ? half + 1 : half;
        assert_int_equal(mirl_f16_encode((float)low), half);
        assert_int_equal(mirl_f16_encode(-(float)low), half | 0x8000);
        assert_int_equal(mirl_f16_encode(middle), even);
        assert_int_equal(mirl_f16_encode(nextafterf(middle, 0)), half);
        assert_int_equal(mirl_f16_encode(nextafterf(middle, INFINITY)), half + 1);
    }
    assert_int_equal(mirl_f16_encode(INFINITY), INFINITE);
    assert_int_equal(mirl_f16_encode(-1e30f), INFINITE | 0x8000);
    assert_int_equal(mirl_f16_encode(1e-30f), 0);
    assert_true(mirl_f16_encode(NAN) > INFINITE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_is_decoded_exactly),
        cmocka_unit_test(encoding_takes_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
