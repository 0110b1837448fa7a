/* mirl_restore() on images of every shape and content, through the public header. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mirl.h"

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

/* An interleaved picture with some structure. */
static mirl_image picture(size_t width, size_t height, int channels) {
    mirl_image image = {.width = width,
                        .height = height,
                        .channels = channels,
                        .pixel_stride = channels,
                        .row_stride = (ptrdiff_t)width * channels,
                        .channel_stride = 1};
    size_t count = width * height * (size_t)channels;
    image.data = malloc(count * sizeof *image.data);
    assert_non_null(image.data);
    for (size_t i = 0; i < count; i++)
        image.data[i] = 0.5f + 0.3f * sinf((float)i * 0.37f) + 0.2f * (float)(i * 7919 % 101) / 101 - 0.1f;
    return image;
}

static size_t samples(const mirl_image *image) {
    return image->width * image->height * (size_t)image->channels;
}

static void restore(const mirl_image *in, const mirl_image *out, const mirl_options *options) {
    mirl_error error;
    if (mirl_restore(model, in, out, options, &error))
        fail_msg("%s", error.message);
}

static void every_size(void **state) {
    (void)state;
    static const size_t sizes[][2] = {{1, 1},    {7, 5},   {8, 8},    {1, 300},
                                      {3000, 9}, {65, 33}, {257, 31}, {130, 129}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int channels = 1; channels <= 3; channels += 2) {
            mirl_image in = picture(sizes[i][0], sizes[i][1], channels);
            mirl_image out = picture(sizes[i][0], sizes[i][1], channels);
            restore(&in, &out, NULL);
            bool changed = false;
            for (size_t k = 0; k < samples(&in); k++) {
                assert_true(isfinite(out.data[k]));
                changed |= out.data[k] != in.data[k];
            }
            assert_true(changed);
            free(in.data);
            free(out.data);
        }
}

static void the_same_bits_on_any_number_of_threads(void **state) {
    (void)state;
    static const int tiles[] = {MIRL_TILE_WHOLE, 128};
    mirl_image in = picture(300, 203, 3), one = picture(300, 203, 3), many = picture(300, 203, 3);
    for (int i = 0; i < 2; i++) {
        mirl_options options = mirl_options_default();
        options.tile = tiles[i];
        options.threads = 1;
        restore(&in, &one, &options);
        for (options.threads = 2; options.threads < 8; options.threads += 3) {
            restore(&in, &many, &options);
            assert_memory_equal(one.data, many.data, samples(&in) * sizeof *in.data);
        }
    }
    free(in.data);
    free(one.data);
    free(many.data);
}

static void planes_and_places(void **state) {
    (void)state;
    mirl_image in = picture(90, 50, 3), expected = picture(90, 50, 3), planar = in;
    restore(&in, &expected, NULL);

    planar.data = malloc(samples(&in) * sizeof *in.data);
    planar.pixel_stride = 1;
    planar.row_stride = 90;
    planar.channel_stride = 90 * 50;
    restore(&in, &planar, NULL);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 90 * 50; i++)
            assert_true(planar.data[c * 4500 + i] == expected.data[3 * i + c]);

    restore(&in, &in, NULL);
    assert_memory_equal(in.data, expected.data, samples(&in) * sizeof *in.data);
    free(in.data);
    free(planar.data);
    free(expected.data);
}

static void tiles_in_place(void **state) {
    (void)state;
    mirl_options options = mirl_options_default();
    mirl_image in = picture(300, 290, 3), expected = picture(300, 290, 3);
    options.tile = 128;
    restore(&in, &expected, &options);
    restore(&in, &in, &options);
    assert_memory_equal(in.data, expected.data, samples(&in) * sizeof *in.data);
    free(in.data);
    free(expected.data);
}

/* Of a picture whose halves have nothing in common, tiles make what the whole makes: the correction of one
 * half depends on the other. */
static void tiles_see_the_whole(void **state) {
    (void)state;
    mirl_options options = mirl_options_default();
    mirl_image in = picture(640, 160, 3), whole = picture(640, 160, 3), tiled = picture(640, 160, 3);
    mirl_image left = in, alone = picture(320, 160, 3);
    double apart = 0, apart_alone = 0;
    for (size_t i = 0; i < samples(&in); i++)
        if (i / 3 % 640 >= 320)
            in.data[i] = 0.9f - 0.1f * (float)(i % 3);
    options.tile = MIRL_TILE_WHOLE;
    restore(&in, &whole, &options);
    left.width = 320;
    restore(&left, &alone, &options);
    options.tile = 336;
    restore(&in, &tiled, &options);
    for (size_t y = 0; y < 160; y++)
        for (size_t x = 0; x < 3 * 200; x++) {
            float expected = whole.data[3 * 640 * y + x];
            apart += (double)fabsf(tiled.data[3 * 640 * y + x] - expected);
            apart_alone += (double)fabsf(alone.data[3 * 320 * y + x] - expected);
        }
    if (!(apart < 0.25 * apart_alone))
        fail_msg("tiles differ from the whole by %g, half of it restored alone by %g", apart, apart_alone);
    free(in.data);
    free(whole.data);
    free(tiled.data);
    free(alone.data);
}

/* The mean of columns at..at+count-1. */
static double mean_of_columns(const mirl_image *image, size_t at, size_t count) {
    double sum = 0;
    for (size_t y = 0; y < image->height; y++)
        for (size_t i = 3 * at; i < 3 * (at + count); i++)
            sum += (double)image->data[3 * image->width * y + i];
    return sum / (double)(3 * count * image->height);
}

/* What a tile's edges do to a pale picture, which is taken for hazy, must not be seen where tiles meet: less
 * than half a level of 8 bits. */
static void no_edge_shows_in_haze(void **state) {
    (void)state;
    enum { WIDTH = 384, HEIGHT = 200, SEAM = WIDTH / 2 };
    mirl_model *golden = model;
    mirl_options options = mirl_options_default();
    mirl_image in = picture(WIDTH, HEIGHT, 3), whole = picture(WIDTH, HEIGHT, 3),
               tiled = picture(WIDTH, HEIGHT, 3);
    double bump[2];
    uint32_t random = 1; /* Numerical Recipes' generator */
    for (size_t i = 0; i < samples(&in); i++) {
        const float x = (float)(i / 3 % WIDTH), y = (float)(i / 3 / WIDTH);
        random = random * 1664525u + 1013904223u;
        in.data[i] = 0.76f + 0.04f * sinf(x / 37) * sinf(y / 29) + 0.04f * (float)(random >> 8) / 16777216;
    }
    model = mirl_model_open(MIRL_SOURCE_DIR "/weights/all-in-one.safetensors", NULL);
    assert_non_null(model);
    options.tile = MIRL_TILE_WHOLE;
    restore(&in, &whole, &options);
    options.tile = 224;
    restore(&in, &tiled, &options);
    for (int i = 0; i < 2; i++) {
        const mirl_image *image = i ? &tiled : &whole;
        bump[i] = mean_of_columns(image, SEAM - 8, 16) - mean_of_columns(image, SEAM - 40, 16) / 2 -
                  mean_of_columns(image, SEAM + 24, 16) / 2;
    }
    if (!(fabs(bump[1] - bump[0]) < 0.5 / 255))
        fail_msg("where tiles meet there is a step of %g", bump[1] - bump[0]);
    mirl_model_close(model);
    model = golden;
    free(in.data);
    free(whole.data);
    free(tiled.data);
}

static void strength_mixes(void **state) {
    (void)state;
    mirl_options options = mirl_options_default();
    mirl_image in = picture(40, 40, 3), full = picture(40, 40, 3), half = picture(40, 40, 3);
    restore(&in, &full, NULL);
    options.strength = 0.5f;
    restore(&in, &half, &options);
    for (size_t i = 0; i < samples(&in); i++)
        assert_float_equal(half.data[i], (in.data[i] + full.data[i]) / 2, 1e-6f);
    options.strength = 0;
    restore(&in, &half, &options);
    assert_memory_equal(in.data, half.data, samples(&in) * sizeof *in.data);
    free(in.data);
    free(full.data);
    free(half.data);
}

static void values_outside_keep_their_distance(void **state) {
    (void)state;
    mirl_image in = picture(40, 40, 3), out = picture(40, 40, 3), clipped = picture(40, 40, 3);
    in.data[300] = 1.75f;
    in.data[301] = -3;
    clipped.data[300] = 1;
    clipped.data[301] = 0;
    restore(&in, &out, NULL);
    restore(&clipped, &clipped, NULL);
    for (size_t i = 0; i < samples(&in); i++) {
        float distance = i == 300 ? 0.75f : i == 301 ? -3 : 0;
        assert_float_equal(out.data[i], clipped.data[i] + distance, 1e-6f);
    }
    free(in.data);
    free(out.data);
    free(clipped.data);
}

static void not_a_number_spoils_nothing(void **state) {
    (void)state;
    static const float strange[] = {NAN, INFINITY, -INFINITY};
    mirl_image in = picture(64, 64, 3), out = picture(64, 64, 3);
    for (size_t i = 0; i < samples(&in); i += 97)
        in.data[i] = strange[i % 3];
    restore(&in, &out, NULL);
    for (size_t i = 0; i < samples(&in); i++)
        if (isfinite(in.data[i]))
            assert_true(isfinite(out.data[i]));
        else
            assert_memory_equal(&in.data[i], &out.data[i], sizeof(float));
    for (size_t i = 0; i < samples(&in); i++)
        in.data[i] = NAN;
    restore(&in, &out, NULL);
    assert_true(isnan(out.data[0]));
    free(in.data);
    free(out.data);
}

struct watch {
    double last;
    int calls, most;
};

static bool watch(double done, void *user) {
    struct watch *w = user;
    assert_true(done >= w->last && done <= 1);
    w->last = done;
    return ++w->calls < w->most;
}

static void progress_rises_to_one(void **state) {
    (void)state;
    static const int tiles[] = {MIRL_TILE_WHOLE, 128};
    mirl_image in = picture(300, 200, 3), out = picture(300, 200, 3);
    for (int i = 0; i < 2; i++) {
        struct watch w = {.most = 1 << 30};
        mirl_options options = mirl_options_default();
        options.tile = tiles[i];
        options.progress = watch;
        options.user = &w;
        restore(&in, &out, &options);
        assert_true(w.last > 0.95 && w.calls > 20);
    }
    free(in.data);
    free(out.data);
}

static void a_cancel_leaves_the_output_alone(void **state) {
    (void)state;
    mirl_image in = picture(100, 100, 3), out = picture(100, 100, 3);
    for (int most = 1; most < 100; most += 24) {
        struct watch w = {.most = most};
        mirl_options options = mirl_options_default();
        mirl_error error;
        options.progress = watch;
        options.user = &w;
        assert_int_equal(mirl_restore(model, &in, &out, &options, &error), MIRL_ERROR_CANCELLED);
        assert_int_equal(error.status, MIRL_ERROR_CANCELLED);
        assert_memory_equal(in.data, out.data, samples(&in) * sizeof *in.data);
    }
    free(in.data);
    free(out.data);
}

static void bad_arguments_are_named(void **state) {
    (void)state;
    mirl_image in = picture(16, 16, 3), out = in;
    mirl_options options = mirl_options_default();
    mirl_error error;
    options.strength = 1.5f;
    assert_int_equal(mirl_restore(model, &in, &out, &options, &error), MIRL_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "strength is 1.5"));
    options.strength = NAN;
    assert_int_equal(mirl_restore(model, &in, &out, &options, &error), MIRL_ERROR_ARGUMENT);
    options = mirl_options_default();
    options.tile = 5;
    assert_int_equal(mirl_restore(model, &in, &out, &options, &error), MIRL_ERROR_ARGUMENT);
    options = mirl_options_default();
    options.threads = -1;
    assert_int_equal(mirl_restore(model, &in, &out, &options, &error), MIRL_ERROR_ARGUMENT);
    in.channels = out.channels = 2;
    assert_int_equal(mirl_restore(model, &in, &out, NULL, &error), MIRL_ERROR_ARGUMENT);
    in.channels = out.channels = 3;
    in.width = out.width = 0;
    assert_int_equal(mirl_restore(model, &in, &out, NULL, &error), MIRL_ERROR_ARGUMENT);
    out.width = 16;
    in.width = 15;
    assert_int_equal(mirl_restore(model, &in, &out, NULL, NULL), MIRL_ERROR_ARGUMENT);
    free(in.data);
}

static void a_large_photo_fits_the_budget(void **state) {
    (void)state;
    mirl_options options = mirl_options_default();
    mirl_plan_info plan;
    options.memory = (uint64_t)1 << 30;
    assert_int_equal(mirl_plan(model, 6000, 4000, &options, &plan, NULL), MIRL_OK);
    assert_true(plan.memory <= options.memory);
    assert_true(plan.tiles > 1);
    assert_int_equal(mirl_plan(model, 100, 80, &options, &plan, NULL), MIRL_OK);
    assert_int_equal(plan.tiles, 1);
    assert_int_equal(plan.tile_width, 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size),
        cmocka_unit_test(the_same_bits_on_any_number_of_threads),
        cmocka_unit_test(planes_and_places),
        cmocka_unit_test(tiles_in_place),
        cmocka_unit_test(tiles_see_the_whole),
        cmocka_unit_test(no_edge_shows_in_haze),
        cmocka_unit_test(strength_mixes),
        cmocka_unit_test(values_outside_keep_their_distance),
        cmocka_unit_test(not_a_number_spoils_nothing),
        cmocka_unit_test(progress_rises_to_one),
        cmocka_unit_test(a_cancel_leaves_the_output_alone),
        cmocka_unit_test(bad_arguments_are_named),
        cmocka_unit_test(a_large_photo_fits_the_budget),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
