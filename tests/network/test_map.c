/* Maps in bands, against what lies at each pixel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "network/map.h"

enum { CHANNELS = 5, HEIGHT = 6, MOST = 400 };

static const size_t widths[] = {1, 8, 64, 95, 96, 100, 200, 256, 333};

static float value_at(int channel, size_t x, size_t y) {
    return (float)(1 + channel + 10 * (int)(x + 1000 * y));
}

/* A map of zeros. */
static mirl_map map_of(size_t width) {
    mirl_map map = mirl_map_shape(CHANNELS, width, HEIGHT, mirl_map_band(width));
    map.data = calloc(mirl_map_floats(&map), sizeof *map.data);
    return map;
}

static bool inside(const mirl_map *map, ptrdiff_t x, ptrdiff_t y) {
    return x >= 0 && x < (ptrdiff_t)map->width && y >= 0 && y < (ptrdiff_t)map->height;
}

/* Writes value_at() to a rectangle of channels first..first+map->channels-1. */
static void scatter(const mirl_map *map, int first, size_t x, size_t y, size_t columns, size_t rows) {
    const size_t pitch = columns * rows;
    float *in = malloc((size_t)map->channels * pitch * sizeof *in);
    for (int c = 0; c < map->channels; c++)
        for (size_t r = 0; r < rows; r++)
            for (size_t i = 0; i < columns; i++)
                in[(size_t)c * pitch + r * columns + i] = value_at(first + c, x + i, y + r);
    mirl_map_scatter(map, x, y, columns, rows, in, pitch);
    free(in);
}

static void assert_whole(const mirl_map *map, int first) {
    for (int c = 0; c < map->channels; c++)
        for (size_t y = 0; y < map->height; y++)
            for (size_t x = 0; x < map->width; x++)
                assert_float_equal(*mirl_map_at(map, c, x, y), value_at(first + c, x, y), 0);
}

static void assert_gathered(const mirl_map *map, ptrdiff_t x, ptrdiff_t y, size_t columns, size_t rows) {
    static float out[CHANNELS * MOST * (HEIGHT + 2)];
    const size_t pitch = columns * rows;
    mirl_map_gather(map, x, y, columns, rows, out, pitch);
    for (int c = 0; c < map->channels; c++)
        for (size_t r = 0; r < rows; r++)
            for (size_t i = 0; i < columns; i++) {
                const ptrdiff_t at = x + (ptrdiff_t)i, row = y + (ptrdiff_t)r;
                assert_float_equal(out[(size_t)c * pitch + r * columns + i],
                                   inside(map, at, row) ? value_at(c, (size_t)at, (size_t)row) : 0, 0);
            }
}

static void assert_sides(const mirl_map *map, int first) {
    float sides[CHANNELS * 2 * (HEIGHT + 2)];
    const size_t rows = HEIGHT + 2, pitch = 2 * rows;
    for (size_t x = 0, columns; x < map->width; x += columns) {
        columns = mirl_map_run(map, x, map->width - x);
        mirl_map_gather_sides(map, x, -1, columns, rows, sides, pitch);
        for (int c = 0; c < map->channels; c++)
            for (size_t r = 0; r < rows; r++)
                for (int side = 0; side < 2; side++) {
                    const ptrdiff_t at = (ptrdiff_t)(side ? x + columns : x - 1), y = (ptrdiff_t)r - 1;
                    assert_float_equal(sides[(size_t)c * pitch + 2 * r + (size_t)side],
                                       inside(map, at, y) ? value_at(first + c, (size_t)at, (size_t)y) : 0,
                                       0);
                }
    }
}

/* In rectangles that mind no band. */
static void what_is_scattered_is_there(void **state) {
    (void)state;
    static const size_t steps[] = {1, 7, 16, 50, 64, MOST};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (size_t j = 0; j < sizeof steps / sizeof *steps; j++) {
            mirl_map map = map_of(widths[i]);
            for (size_t x = 0; x < map.width; x += steps[j])
                for (size_t y = 0; y < HEIGHT; y += 4)
                    scatter(&map, 0, x, y, steps[j] < map.width - x ? steps[j] : map.width - x,
                            y + 4 < HEIGHT ? 4 : HEIGHT - y);
            assert_whole(&map, 0);
            assert_sides(&map, 0);
            free(map.data);
        }
}

static void rectangles_may_lie_outside(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        mirl_map map = map_of(widths[i]);
        const ptrdiff_t width = (ptrdiff_t)map.width;
        scatter(&map, 0, 0, 0, map.width, HEIGHT);
        for (ptrdiff_t x = -3; x < width + 2; x += 13)
            assert_gathered(&map, x, -1, 70, HEIGHT + 2);
        assert_gathered(&map, -1, 2, map.width + 2, 3);
        assert_gathered(&map, -80, 0, 70, 2);
        free(map.data);
    }
}

/* Channels of a map are a map, and the others are left alone. */
static void channels_are_maps(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        mirl_map map = map_of(widths[i]), before = mirl_map_channels(map, 0, 2),
                 after = mirl_map_channels(mirl_map_channels(map, 1, 4), 1, 3);
        scatter(&after, 2, 0, 0, map.width, HEIGHT);
        scatter(&before, 0, 0, 0, map.width, HEIGHT);
        assert_whole(&map, 0);
        assert_sides(&map, 0);
        assert_sides(&before, 0);
        assert_sides(&after, 2);
        free(map.data);
    }
}

/* What is asked for ahead is the rows, each line once, and nothing else. */
static void what_is_ahead_is_asked_for(void **state) {
    (void)state;
    mirl_map map = map_of(256), part = mirl_map_channels(map, 1, 3);
    for (size_t steps = 1; steps < 100; steps += 7) {
        mirl_ahead ahead = mirl_map_ahead(&part, 64, 2, 3, steps);
        const float *expected = mirl_map_at(&part, 0, 64, 2);
        assert_ptr_equal(ahead.next, expected);
        for (size_t i = 0; i < steps; i++)
            mirl_ahead_step(&ahead);
        assert_ptr_equal(ahead.next, expected + 2 * part.row + 3 * part.pitch);
        assert_true(ahead.left == 0 && ahead.rows == 0);
    }
    mirl_ahead none = mirl_map_ahead(&part, 64, HEIGHT, 0, 5);
    mirl_ahead_step(&none);
    assert_null(none.next);
    free(map.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_scattered_is_there),
        cmocka_unit_test(rectangles_may_lie_outside),
        cmocka_unit_test(channels_are_maps),
        cmocka_unit_test(what_is_ahead_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
