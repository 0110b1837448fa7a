/* The random streams: published values, independence of names, and moments of the distributions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "trainer/random.h"

static void splitmix64_gives_its_published_numbers(void **state) {
    (void)state;
    trainer_random random = {.state = 1234567};
    assert_true(trainer_random_bits(&random) == 6457827717110365317u);
    assert_true(trainer_random_bits(&random) == 3203168211198807973u);
    assert_true(trainer_random_bits(&random) == 9817491932198370423u);
}

static void streams_differ(void **state) {
    (void)state;
    trainer_random streams[] = {trainer_random_stream(1, 2, 3), trainer_random_stream(1, 3, 2),
                                trainer_random_stream(2, 2, 3), trainer_random_stream(3, 2, 1)};
    uint64_t first[4];
    for (int i = 0; i < 4; i++) {
        first[i] = trainer_random_bits(&streams[i]);
        for (int j = 0; j < i; j++)
            assert_true(first[i] != first[j]);
    }
    trainer_random again = trainer_random_stream(1, 2, 3);
    assert_true(trainer_random_bits(&again) == first[0]);
}

static void distributions_have_their_moments(void **state) {
    (void)state;
    enum { DRAWS = 200000 };
    trainer_random random = trainer_random_stream(7, 0, 0);
    double sum = 0, squares = 0, uniform = 0;
    int counts[6] = {0};
    for (int i = 0; i < DRAWS; i++) {
        double normal = trainer_random_normal(&random);
        sum += normal;
        squares += normal * normal;
        double value = trainer_random_uniform(&random, -1, 3);
        assert_true(value >= -1 && value < 3);
        uniform += value;
        counts[trainer_random_below(&random, 6)]++;
    }
    assert_float_equal(sum / DRAWS, 0, 0.01);
    assert_float_equal(squares / DRAWS, 1, 0.02);
    assert_float_equal(uniform / DRAWS, 1, 0.02);
    for (int i = 0; i < 6; i++)
        assert_float_equal(counts[i], DRAWS / 6.0, 800);
    assert_true(trainer_random_below(&random, 1) == 0);
    assert_true(trainer_random_uniform(&random, 5, 5) == 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splitmix64_gives_its_published_numbers),
        cmocka_unit_test(streams_differ),
        cmocka_unit_test(distributions_have_their_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
