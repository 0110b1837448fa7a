/* How images are cut for stages that look at neighbours: every pixel once, in units that end together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

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
        mirl_walk walk = mirl_walk_plan(mirl_kernels_best(), width, height, 144);
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
        mirl_walk walk = mirl_walk_plan(mirl_kernels_best(), width, height, 144);
        if (height >= 384)
            assert_int_equal(mirl_walk_units(&walk) % 4, 0);
        else if (height >= 192)
            assert_int_equal(mirl_walk_units(&walk) % 2, 0);
    }
}

static void strips_stay_small(void **state) {
    (void)state;
    static const int channels[] = {8, 96, 510, 2042};
    const size_t most = mirl_kernels_best()->strip_floats;
    assert_true(most <= 256 << 10);
    for (size_t c = 0; c < sizeof channels / sizeof *channels; c++)
        FOR_SIZES(width, height) {
            mirl_walk walk = mirl_walk_plan(mirl_kernels_best(), width, height, channels[c]);
            size_t pixels = walk.strip_rows * (walk.band_columns + 2);
            assert_true(walk.strip_rows >= 2 && (walk.strip_rows <= height || walk.strip_rows == 2));
            assert_true(pixels <= 396 && (pixels * (size_t)channels[c] <= most || walk.strip_rows <= 2));
            for (size_t unit = 0; unit < mirl_walk_units(&walk); unit++) {
                const mirl_region region = mirl_walk_region(&walk, unit);
                const size_t rows = mirl_walk_strip_rows(&walk, &region);
                assert_true(rows >= walk.strip_rows && rows <= 2 * walk.strip_rows);
                assert_true(rows * (region.columns + 2) <= pixels);
                assert_true(walk.strip_rows % 2 || rows % 2 == 0);
                assert_true(region.columns < walk.band_columns || rows == walk.strip_rows);
            }
        }
}

static float value_at(int channel, ptrdiff_t x, ptrdiff_t y) {
    return (float)(1 + channel + 3 * (x + 2000 * y));
}

static void fill_map(const mirl_map *map) {
    for (int c = 0; c < map->channels; c++)
        for (size_t y = 0; y < map->height; y++)
            for (size_t x = 0; x < map->width; x++)
                *mirl_map_at(map, c, x, y) = value_at(c, (ptrdiff_t)x, (ptrdiff_t)y);
    mirl_map_keep_sides(map, 0, 0, map->width, map->height);
}

/* A strip of rows y..y+rows-1 of the region, as the map was. */
static void assert_strip(const mirl_map *map, const mirl_region *region, ptrdiff_t y, size_t rows,
                         const float *strip, size_t pitch) {
    const ptrdiff_t columns = (ptrdiff_t)region->columns;
    for (int c = 0; c < map->channels; c++, strip += pitch)
        for (size_t r = 0; r < rows; r++)
            for (ptrdiff_t x = -1; x <= columns; x++) {
                const ptrdiff_t at = (ptrdiff_t)region->x + x, row = y + (ptrdiff_t)r;
                const bool inside =
                    at >= 0 && at < (ptrdiff_t)map->width && row >= 0 && row < (ptrdiff_t)map->height;
                const size_t place = x < 0          ? rows * region->columns + 2 * r
                                     : x == columns ? rows * region->columns + 2 * r + 1
                                                    : r * region->columns + (size_t)x;
                assert_float_equal(strip[place], inside ? value_at(c, at, row) : 0, 0);
            }
}

/* A unit sees its neighbours as they were, after all of them have been overwritten. */
static void edges_are_kept(void **state) {
    (void)state;
    enum { CHANNELS = 3 };
    FOR_SIZES(width, height) {
        if (width > 320 || height > 320)
            continue;
        mirl_walk walk = mirl_walk_plan(mirl_kernels_best(), width, height, 144);
        const size_t pitch = mirl_pitch(walk.strip_rows * (walk.band_columns + 2));
        mirl_map map = mirl_map_shape(CHANNELS, width, height, walk.band_columns);
        map.data = malloc(mirl_map_floats(&map) * sizeof(float));
        float *strip = malloc(CHANNELS * pitch * sizeof *strip);
        mirl_arena count = {0};
        mirl_edges_take(&count, &walk, CHANNELS);
        mirl_arena arena = {malloc(count.used * sizeof(float)), 0};
        mirl_edges edges = mirl_edges_take(&arena, &walk, CHANNELS);

        fill_map(&map);
        for (size_t unit = 0; unit < mirl_walk_units(&walk); unit++) {
            mirl_region region = mirl_walk_region(&walk, unit);
            for (size_t y = 0; y < region.rows; y += 5)
                mirl_edges_keep(&edges, &map, &region, region.y + y,
                                region.rows - y < 5 ? region.rows - y : 5);
        }
        for (size_t unit = 0; unit < mirl_walk_units(&walk); unit++) {
            mirl_region region = mirl_walk_region(&walk, unit);
            const size_t most = mirl_walk_strip_rows(&walk, &region);
            for (ptrdiff_t y = (ptrdiff_t)region.y - 1, end = y + (ptrdiff_t)region.rows + 2; y < end;
                 y += (ptrdiff_t)most) {
                const size_t rows = end - y < (ptrdiff_t)most ? (size_t)(end - y) : most;
                for (size_t r = 0, from = 0; r < rows; r++) {
                    const float *row = mirl_edges_row(&edges, &map, &region, y + (ptrdiff_t)r, &from);
                    assert_true((row != NULL) ==
                                (y + (ptrdiff_t)r >= 0 && y + (ptrdiff_t)r < (ptrdiff_t)height));
                    for (int c = 0; c < CHANNELS; c++)
                        for (size_t x = 0; x < region.columns; x++)
                            strip[(size_t)c * pitch + r * region.columns + x] =
                                row ? row[(size_t)c * from + x] : 0;
                }
                mirl_edges_gather_sides(&edges, &region, y, rows, strip + rows * region.columns, pitch);
                assert_strip(&map, &region, y, rows, strip, pitch);
            }
            for (int c = 0; c < CHANNELS; c++)
                for (size_t y = 0; y < region.rows; y++)
                    memset(mirl_map_at(&map, c, region.x, region.y + y), 0, region.columns * sizeof(float));
        }
        free(map.data);
        free(strip);
        free(arena.base);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_cover_the_image_once),
        cmocka_unit_test(tall_images_are_shared_evenly),
        cmocka_unit_test(strips_stay_small),
        cmocka_unit_test(edges_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
