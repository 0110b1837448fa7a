/* How images are cut into tiles: every pixel is covered with weight 1, within every budget. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "restore/tiles.h"

static mirl_model *model;

static int open_model(void **state) {
    (void)state;
    model = mirl_model_open(MIRL_TEST_DATA "/golden/lightning.ckpt", NULL);
    return model ? 0 : -1;
}

static int close_model(void **state) {
    (void)state;
    mirl_model_close(model);
    return 0;
}

static void check_direction(const mirl_tiling *tiling) {
    for (size_t at = 0; at < tiling->length; at++) {
        float sum = 0;
        for (size_t i = 0; i < tiling->count; i++) {
            size_t start = mirl_tiling_start(tiling, i);
            if (at >= start && at < start + tiling->size)
                sum += mirl_tiling_weight(tiling, i, at);
        }
        if (sum < 0.9999f || sum > 1.0001f)
            fail_msg("pixel %zu of %zu in tiles of %zu has weight %g", at, tiling->length, tiling->size,
                     (double)sum);
    }
}

static void weights_add_up_to_one(void **state) {
    (void)state;
    for (int tile = 128; tile < 400; tile += 56)
        for (size_t length = 1; length < 1500; length += length < 420 ? 1 : 97) {
            mirl_options options = mirl_options_default();
            mirl_tiles tiles;
            options.tile = tile;
            assert_int_equal(mirl_tiles_plan(&tiles, model, length, 40, &options, 1, NULL), MIRL_OK);
            assert_int_equal(tiles.across.size % 8, 0);
            check_direction(&tiles.across);
        }
}

/* Evenly, in runs: what the middle of a square shows lies in the picture where it lies in the sample, in
 * proportion.
 */
static void samples_cover_the_picture(void **state) {
    (void)state;
    for (int tile = 128; tile < 700; tile += 56)
        for (size_t length = 1; length < 3000; length += 1 + length / 7) {
            mirl_options options = mirl_options_default();
            mirl_tiles tiles;
            size_t run, next = 0, sum = 0;
            options.tile = tile;
            assert_int_equal(mirl_tiles_plan(&tiles, model, length, 40, &options, 1, NULL), MIRL_OK);
            const mirl_tiling *across = &tiles.across;
            assert_true(across->sample % 8 == 0 && across->sample <= across->size);
            for (size_t at = 0; at < across->sample; at++) {
                size_t place = mirl_tiling_sample(across, at, &run);
                assert_true(run > 0 && at + run <= across->sample);
                assert_true(place >= next); /* squares do not overlap */
                next = place + 1;
                sum += 2 * place + 1;
            }
            assert_true(across->count == 1 || next <= length);
            if (across->count > 1)
                assert_float_equal((double)sum / (double)across->sample, (double)length,
                                   0.02 * (double)length);
        }
}

/* Tiles overlap by no more than their number makes necessary. */
static void little_is_computed_twice(void **state) {
    (void)state;
    mirl_options options = mirl_options_default();
    for (options.tile = 128; options.tile < 1600; options.tile += 61)
        for (size_t length = 1700; length < 4100; length += 171) {
            mirl_tiles tiles;
            assert_int_equal(mirl_tiles_plan(&tiles, model, length, 40, &options, 1, NULL), MIRL_OK);
            const mirl_tiling *across = &tiles.across;
            assert_true(across->size <= ((size_t)options.tile + 7) / 8 * 8);
            assert_true(across->count * across->size <
                        length + (across->count - 1) * MIRL_TILE_OVERLAP + 8 * across->count);
        }
}

/* The automatic cut, of pictures of any shape. */
static void automatic_cuts_compute_few_pixels(void **state) {
    (void)state;
    const mirl_options options = mirl_options_default();
    for (size_t width = 400; width < 7000; width += width / 5)
        for (size_t height = 400; height < 7000; height += height / 4) {
            mirl_tiles tiles;
            assert_int_equal(mirl_tiles_plan(&tiles, model, width, height, &options, 1, NULL), MIRL_OK);
            const mirl_tiling *across = &tiles.across, *down = &tiles.down;
            const size_t count = across->count * down->count, tile = across->size * down->size;
            if (width * height <= (size_t)1000 * 1000)
                assert_int_equal(count, 1);
            if (count > 1) {
                assert_true(tile <= 768 * 768 && across->sample * down->sample <= 320 * 320);
                assert_true((double)(count * tile) < 1.16 * (double)(width * height));
            }
        }
}

static void budgets_are_kept(void **state) {
    (void)state;
    mirl_options options = mirl_options_default();
    mirl_tiles tiles, other;
    for (options.memory = 32 << 20; options.memory < (uint64_t)4 << 30; options.memory *= 2) {
        assert_int_equal(mirl_tiles_plan(&tiles, model, 6000, 4000, &options, 2, NULL), MIRL_OK);
        assert_true(tiles.memory <= options.memory);
        assert_true(tiles.threads >= 1);
        /* The cut must not depend on the threads: the result would. */
        assert_int_equal(mirl_tiles_plan(&other, model, 6000, 4000, &options, 64, NULL), MIRL_OK);
        assert_memory_equal(&tiles.across, &other.across, sizeof tiles.across);
        assert_true(other.memory <= options.memory);
    }
}

static void too_small_a_budget_is_said(void **state) {
    (void)state;
    mirl_options options = mirl_options_default();
    mirl_error error;
    mirl_tiles tiles;
    options.memory = 1 << 20;
    assert_int_equal(mirl_tiles_plan(&tiles, model, 6000, 4000, &options, 2, &error), MIRL_ERROR_MEMORY);
    assert_non_null(strstr(error.message, "MiB"));
    options.tile = MIRL_TILE_WHOLE;
    options.memory = 64 << 20;
    assert_int_equal(mirl_tiles_plan(&tiles, model, 6000, 4000, &options, 2, &error), MIRL_ERROR_MEMORY);
    options.memory = 0;
    assert_int_equal(mirl_tiles_plan(&tiles, model, 6000, 4000, &options, 2, &error), MIRL_OK);
    assert_int_equal(tiles.across.count * tiles.down.count, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_add_up_to_one),    cmocka_unit_test(samples_cover_the_picture),
        cmocka_unit_test(little_is_computed_twice), cmocka_unit_test(automatic_cuts_compute_few_pixels),
        cmocka_unit_test(budgets_are_kept),         cmocka_unit_test(too_small_a_budget_is_said),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
