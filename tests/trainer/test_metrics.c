/* PSNR and SSIM against scikit-image's, and on images whose score is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "golden.h"
#include "trainer/metrics.h"

static void golden_scores(void **state) {
    (void)state;
    golden *file = golden_open("metrics.safetensors");
    assert_non_null(file);
    size_t count;
    const float *clean = golden_tensor(file, "clean", &count), *noisy = golden_tensor(file, "noisy", NULL);
    assert_int_equal(count, 3 * 48 * 64);
    assert_float_equal(trainer_psnr(clean, noisy, 64, 48), atof(golden_metadata(file, "psnr")), 1e-4);
    assert_float_equal(trainer_ssim(clean, noisy, 64, 48), atof(golden_metadata(file, "ssim")), 1e-4);
    golden_close(file);
}

static void known_scores(void **state) {
    (void)state;
    float grey[3 * 7 * 9], brighter[3 * 7 * 9];
    for (int i = 0; i < 3 * 7 * 9; i++) {
        grey[i] = 0.5f;
        brighter[i] = 0.6f;
    }
    assert_true(isinf(trainer_psnr(grey, grey, 9, 7)));
    assert_float_equal(trainer_psnr(grey, brighter, 9, 7), 20, 1e-5);
    assert_float_equal(trainer_ssim(grey, grey, 9, 7), 1, 1e-12);
    // Flat images have no variance: only the term of the means is left.
    assert_float_equal(trainer_ssim(grey, brighter, 9, 7), (2 * 0.5 * 0.6 + 1e-4) / (0.25 + 0.36 + 1e-4),
                       1e-6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_scores),
        cmocka_unit_test(known_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
