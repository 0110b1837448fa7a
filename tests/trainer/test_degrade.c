/* Damage: what each kind must do to a picture, and that it is the same for the same numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "scenes.h"
#include "trainer/degrade.h"

enum { WIDTH = 150, HEIGHT = 110, SAMPLES = WIDTH * HEIGHT * 3 };

static const trainer_rectangle whole = {0, 0, WIDTH, HEIGHT};

static void apply(const trainer_damage *damage, const trainer_picture *picture, trainer_rectangle rectangle,
                  uint8_t *rgb) {
    assert_int_equal(trainer_damage_apply(damage, picture, rectangle, rgb, NULL), MIRL_OK);
}

static void noise_is_clipped_and_truncated(void **state) {
    (void)state;
    enum { COUNT = 90000 };
    uint8_t *clean = malloc(COUNT), *noisy = malloc(COUNT);
    trainer_random random = trainer_random_stream(1, 2, 3);
    memset(clean, 128, COUNT);
    trainer_degrade_noise(clean, COUNT, 15, &random, noisy);
    double sum = 0, squares = 0;
    for (int i = 0; i < COUNT; i++) {
        sum += noisy[i] - 128;
        squares += (noisy[i] - 128) * (noisy[i] - 128);
    }
    // Truncation takes half a step off the mean.
    assert_float_equal(sum / COUNT, -0.5, 0.2);
    assert_float_equal(sqrt(squares / COUNT - sum / COUNT * (sum / COUNT)), 15, 0.15);
    memset(clean, 250, COUNT);
    trainer_degrade_noise(clean, COUNT, 50, &random, noisy);
    int white = 0;
    for (int i = 0; i < COUNT; i++)
        white += noisy[i] == 255;
    assert_float_equal((double)white / COUNT, 0.4602, 0.01); // P(N > 5/50)
    free(clean);
    free(noisy);
}

static void every_kind_repeats_and_differs_by_seed(void **state) {
    (void)state;
    trainer_picture picture = scene_make(WIDTH, HEIGHT, 5);
    uint8_t *first = malloc(SAMPLES), *again = malloc(SAMPLES), *other = malloc(SAMPLES);
    trainer_ranges ranges = trainer_ranges_default();
    for (int task = 0; task < TRAINER_TASKS; task++) {
        trainer_damage damage =
            trainer_damage_draw((trainer_task)task, &ranges, trainer_random_stream(9, 0, 1));
        apply(&damage, &picture, whole, first);
        apply(&damage, &picture, whole, again);
        assert_memory_equal(first, again, SAMPLES);
        damage = trainer_damage_draw((trainer_task)task, &ranges, trainer_random_stream(10, 0, 1));
        apply(&damage, &picture, whole, other);
        assert_memory_not_equal(first, other, SAMPLES);
        double psnr = scene_psnr(picture.rgb, first, SAMPLES);
        assert_true(psnr > 5 && psnr < 45);
    }
    free(first);
    free(again);
    free(other);
    free(picture.rgb);
}

static void rain_only_brightens(void **state) {
    (void)state;
    trainer_picture picture = scene_make(WIDTH, HEIGHT, 6);
    uint8_t *rainy = malloc(SAMPLES);
    trainer_ranges ranges = trainer_ranges_default();
    trainer_damage damage = trainer_damage_draw(TRAINER_DERAIN, &ranges, trainer_random_stream(1, 0, 0));
    apply(&damage, &picture, whole, rainy);
    int brighter = 0;
    for (int i = 0; i < SAMPLES; i++) {
        assert_true(rainy[i] >= picture.rgb[i]);
        brighter += rainy[i] > picture.rgb[i];
    }
    assert_true(brighter > SAMPLES / 100 && brighter < SAMPLES * 9 / 10);
    damage.rain_density = 0;
    apply(&damage, &picture, whole, rainy);
    assert_memory_equal(rainy, picture.rgb, SAMPLES);
    free(rainy);
    free(picture.rgb);
}

/** A wide streak straight down is as bright along a column as its profile says. */
static void streaks_fall_at_their_angle(void **state) {
    (void)state;
    trainer_picture black = {WIDTH, HEIGHT, calloc(1, SAMPLES)};
    uint8_t *rainy = malloc(SAMPLES);
    trainer_damage damage = {.task = TRAINER_DERAIN,
                             .rain_layers = 1,
                             .rain_length = 60,
                             .rain_width = 1,
                             .rain_density = 10,
                             .rain_brightness = 0.8};
    damage.random = trainer_random_stream(4, 0, 0);
    double down[2];
    for (int tilted = 0; tilted < 2; tilted++) {
        damage.rain_angle = tilted ? 75 : 0;
        apply(&damage, &black, whole, rainy);
        double along_columns = 0, along_rows = 0; // differences are small along the streaks
        for (int y = 0; y + 1 < HEIGHT; y++) {
            for (int x = 0; x + 1 < WIDTH; x++) {
                int at = (y * WIDTH + x) * 3;
                along_columns += abs(rainy[at] - rainy[at + WIDTH * 3]);
                along_rows += abs(rainy[at] - rainy[at + 3]);
            }
        }
        down[tilted] = along_rows / along_columns;
    }
    assert_true(down[0] > 4);
    assert_true(down[1] < 0.5);
    free(rainy);
    free(black.rgb);
}

static void haze_follows_its_formula(void **state) {
    (void)state;
    trainer_picture picture = scene_make(WIDTH, HEIGHT, 7);
    uint8_t *hazy = malloc(SAMPLES), *part = malloc(SAMPLES);
    trainer_ranges ranges = trainer_ranges_default();
    trainer_damage damage = trainer_damage_draw(TRAINER_DEHAZE, &ranges, trainer_random_stream(2, 0, 0));
    apply(&damage, &picture, whole, hazy);
    double top = 0, bottom = 0;
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        // The three channels of a pixel share one t = (I - A) / (J - A) between exp(-beta) and 1.
        double least = 1, most = 0, transmission = 0, airlight = damage.haze_airlight * 255;
        for (int channel = 0; channel < 3; channel++) {
            double contrast = picture.rgb[3 * i + channel] - airlight;
            if (fabs(contrast) < 60)
                continue;
            transmission = (hazy[3 * i + channel] - airlight) / contrast;
            least = fmin(least, transmission);
            most = fmax(most, transmission);
        }
        if (most == 0)
            continue;
        assert_true(most - least < 0.03);
        assert_true(least > exp(-damage.haze_beta) - 0.02);
        *(i < WIDTH * HEIGHT / 2 ? &top : &bottom) += transmission;
    }
    assert_true(top < bottom);
    trainer_rectangle rectangle = {30, 20, 64, 48};
    apply(&damage, &picture, rectangle, part);
    for (int y = 0; y < rectangle.height; y++)
        assert_memory_equal(part + y * 64 * 3, hazy + ((20 + y) * WIDTH + 30) * 3, 64 * 3);
    free(hazy);
    free(part);
    free(picture.rgb);
}

static void jpeg_quality_orders_the_damage(void **state) {
    (void)state;
    trainer_picture picture = scene_make(WIDTH, HEIGHT, 8);
    uint8_t *compressed = malloc(SAMPLES);
    double before = 0;
    trainer_damage damage = {.task = TRAINER_DEJPEG, .jpeg_full_chroma = true};
    for (int quality = 10; quality <= 90; quality += 40) {
        damage.jpeg_quality = quality;
        apply(&damage, &picture, whole, compressed);
        double psnr = scene_psnr(picture.rgb, compressed, SAMPLES);
        assert_true(psnr > before + 2 && psnr < 60);
        before = psnr;
    }
    damage.jpeg_full_chroma = false;
    apply(&damage, &picture, whole, compressed);
    assert_true(scene_psnr(picture.rgb, compressed, SAMPLES) < before);
    free(compressed);
    free(picture.rgb);
}

/** Steps across a column of pixels are large on the lines of the grid of blocks: these lie elsewhere in other
 * crops, and every eighth pixel. */
static void jpeg_grid_lies_anywhere(void **state) {
    (void)state;
    trainer_picture picture = scene_make(WIDTH, HEIGHT, 9);
    for (int i = 0; i < WIDTH * HEIGHT; i++) // a ramp: blocks of low quality become steps
        memset(picture.rgb + 3 * i, i % WIDTH, 3);
    uint8_t part[64 * 64 * 3];
    bool seen[8] = {false};
    for (uint64_t seed = 0; seed < 64; seed++) {
        trainer_damage damage = {.task = TRAINER_DEJPEG, .jpeg_quality = 10, .jpeg_full_chroma = true};
        damage.random = trainer_random_stream(seed, 0, 0);
        apply(&damage, &picture, (trainer_rectangle){40, 30, 64, 64}, part);
        for (int x = 8; x < 24; x++) {
            if (part[3 * x] != part[3 * (x - 1)]) {
                seen[x % 8] = true;
                break;
            }
        }
    }
    for (int i = 0; i < 8; i++)
        assert_true(seen[i]);
    free(picture.rgb);
}

static void ranges_are_checked(void **state) {
    (void)state;
    mirl_error error;
    trainer_ranges ranges = trainer_ranges_default();
    assert_int_equal(trainer_ranges_check(&ranges, NULL), MIRL_OK);
    ranges.jpeg_quality = (trainer_range){0, 60};
    assert_int_equal(trainer_ranges_check(&ranges, &error), MIRL_ERROR_ARGUMENT);
    assert_string_equal(error.message, "JPEG quality 0..60 must lie within 1..100, the lower first");
    ranges = trainer_ranges_default();
    ranges.rain_angle = (trainer_range){20, NAN};
    assert_int_equal(trainer_ranges_check(&ranges, &error), MIRL_ERROR_ARGUMENT);
    ranges = trainer_ranges_default();
    ranges.sigmas[1] = 300;
    assert_int_equal(trainer_ranges_check(&ranges, &error), MIRL_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "sigma 300"));
    ranges.sigma_count = 0;
    assert_int_equal(trainer_ranges_check(&ranges, &error), MIRL_ERROR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_is_clipped_and_truncated),
        cmocka_unit_test(every_kind_repeats_and_differs_by_seed),
        cmocka_unit_test(rain_only_brightens),
        cmocka_unit_test(streaks_fall_at_their_angle),
        cmocka_unit_test(haze_follows_its_formula),
        cmocka_unit_test(jpeg_quality_orders_the_damage),
        cmocka_unit_test(jpeg_grid_lies_anywhere),
        cmocka_unit_test(ranges_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
