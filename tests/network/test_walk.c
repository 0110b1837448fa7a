/* How images are cut for stages that look at neighbours: every pixel once, in units that end together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "network/stages.h"

static const size_t widths[] = {1, 8, 64, 72, 128, 256, 320, 480, 520, 528, 544, 600, 704, 1088};
static const size_t heights[] = {1, 8, 40, 64, 128, 256, 320, 704};

#define FOR_SIZES(width, height)                                                                             \
    for (size_t i_ = 0; i_ < sizeof widths / sizeof *widths; i_++)                                           \
        for (size_t j_ = 0, width = widths[i_], height = heights[0];                                         \
             j_ < sizeof heights / sizeof *heights && (height = heights[j_], true); j_++)

static void units_cover_the_image_once(void **state) {
    (void)state;
    FOR_SIZES(width, height) {
        mirl_walk walk = mirl_walk_plan(width, height, 144);
        size_t pixels = 0, x = 0, y = 0;
        for (size_t unit = 0; unit < mirl_walk_units(&walk); unit++) {
            mirl_region region = mirl_walk_region(&walk, unit);
            assert_true(region.x == x && region.y == y && region.columns > 0 && region.rows > 0);
            assert_true(region.columns <= walk.band_columns && region.rows <= walk.chunk_rows);
            pixels += region.columns * region.rows;
            x += region.columns;
            if (x == width) {
                x = 0;
                y += region.rows;
            }
        }
        assert_int_equal(pixels, width * height);
    }
}

/* Two or four threads have as many units each, if there are rows enough. */
static void tall_images_are_shared_evenly(void **state) {
    (void)state;
    FOR_SIZES(width, height) {
        mirl_walk walk = mirl_walk_plan(width, height, 144);
        if (height >= 384)
            assert_int_equal(mirl_walk_units(&walk) % 4, 0);
        else if (height >= 192)
            assert_int_equal(mirl_walk_units(&walk) % 2, 0);
    }
}

static void strips_stay_small(void **state) {
    (void)state;
    static const int channels[] = {8, 96, 510, 2042};
    for (size_t c = 0; c < sizeof channels / sizeof *channels; c++)
        FOR_SIZES(width, height) {
            mirl_walk walk = mirl_walk_plan(width, height, channels[c]);
            size_t pixels = walk.strip_rows * (walk.band_columns + 2);
            assert_true(walk.strip_rows >= 1 && (walk.strip_rows <= height || walk.strip_rows == 2));
            assert_true(pixels <= 396 && (pixels * (size_t)channels[c] <= 256 << 10 || walk.strip_rows <= 2));
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_cover_the_image_once),
        cmocka_unit_test(tall_images_are_shared_evenly),
        cmocka_unit_test(strips_stay_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
