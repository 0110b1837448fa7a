/* The network against the golden files: every module's output, for each instruction set, for dense and sparse
 * storage, and for several thread counts, which must not change a bit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "golden.h"
#include "network/network.h"

enum { WIDTH = 56, HEIGHT = 40 };

struct tester {
    golden *file;
    int compared;
    double worst;
};

static double compare(const mirl_map *map, const float *expected) {
    double worst = 0;
    for (int c = 0; c < map->channels; c++)
        for (size_t y = 0; y < map->height; y++)
            for (size_t x = 0; x < map->width; x++)
                worst = fmax(worst, fabs((double)*mirl_map_at(map, c, x, y) - (double)*expected++));
    return worst;
}

static void compare_tap(const char *module, const mirl_map *result, void *user) {
    struct tester *tester = user;
    char name[80];
    snprintf(name, sizeof name, "tap.%s", module);
    const float *expected = golden_tensor(tester->file, name, NULL);
    if (!expected)
        return;
    double worst = compare(result, expected);
    if (!(worst <= 2e-5))
        fail_msg("%s differs by %g", module, worst);
    tester->compared++;
    tester->worst = fmax(tester->worst, worst);
}

/* Runs the golden image; the correction goes to `result`, 3 * HEIGHT * WIDTH floats. With a reference there
 * are no taps. */
static void run(const mirl_model *model, int threads, struct tester *tester, mirl_reference *reference,
                float *result) {
    const mirl_part all = {{0, WIDTH}, {0, HEIGHT}};
    const float *image = golden_tensor(tester->file, "input", NULL);
    mirl_error error;
    mirl_network *network = mirl_network_create(model, WIDTH, HEIGHT, threads, &error);
    mirl_team *team = mirl_team_create(threads, NULL, NULL);
    assert_non_null(network);
    assert_non_null(team);
    for (int c = 0; c < 3; c++)
        for (size_t y = 0; y < HEIGHT; y++)
            memcpy(mirl_map_at(mirl_network_image(network), c, 0, y),
                   image + (size_t)(c * HEIGHT + (int)y) * WIDTH, WIDTH * sizeof *image);
    assert_true(reference ? mirl_network_run_part(network, team, 1, reference, all)
                          : mirl_network_run(network, team, 1, compare_tap, tester));
    for (int c = 0; c < 3; c++)
        for (size_t y = 0; y < HEIGHT; y++)
            memcpy(result + (size_t)(c * HEIGHT + (int)y) * WIDTH,
                   mirl_map_at(mirl_network_image(network), c, 0, y), WIDTH * sizeof *result);
    mirl_team_free(team);
    mirl_network_free(network);
}

static const char golden_weights[] = MIRL_TEST_DATA "/golden/lightning.ckpt";

static mirl_model *open_golden(const mirl_kernels *kernels) {
    mirl_error error;
    mirl_model *model = mirl_model_open_for(kernels, golden_weights, &error);
    if (!model)
        fail_msg("%s", error.message);
    return model;
}

static void assert_result(const struct tester *tester, const float *result) {
    const float *expected = golden_tensor(tester->file, "result", NULL);
    const float *image = golden_tensor(tester->file, "input", NULL);
    for (int i = 0; i < 3 * HEIGHT * WIDTH; i++)
        assert_float_equal(image[i] + result[i], expected[i], 2e-5f);
}

static void golden_taps(void **state) {
    (void)state;
    struct tester tester = {.file = golden_open("forward.safetensors")};
    assert_non_null(tester.file);
    float *results[2] = {malloc(3 * HEIGHT * WIDTH * sizeof(float)),
                         malloc(3 * HEIGHT * WIDTH * sizeof(float))};

    for (const mirl_kernels *const *table = mirl_kernels_all(); *table; table++) {
        for (int dense = 0; dense < 2; dense++) {
            static const int threads[] = {1, 2, 5};
            mirl_kernels kernels = **table;
            kernels.sparse_cost =
                dense ? INFINITY : 0; /* all matrices alike; sparse ones are cut into parts */
            mirl_model *model = open_golden(&kernels);
            for (int i = 0; i < 3; i++) {
                tester.compared = 0;
                run(model, threads[i], &tester, NULL, results[i > 0]);
                assert_int_equal(tester.compared, 14);
                if (i > 0)
                    assert_memory_equal(results[0], results[1], 3 * HEIGHT * WIDTH * sizeof(float));
            }
            assert_result(&tester, results[0]);
            mirl_reference *reference = mirl_reference_create(model);
            for (int i = 0; i < 2; i++) { /* finds what the whole has in common, and takes it */
                assert_int_equal(reference->known, i);
                run(model, 2, &tester, reference, results[1]);
                assert_memory_equal(results[0], results[1], 3 * HEIGHT * WIDTH * sizeof(float));
            }
            mirl_reference_free(reference);
            mirl_model_close(model);
        }
    }
    printf("largest difference from the golden taps: %g\n", tester.worst);

    free(results[0]);
    free(results[1]);
    golden_close(tester.file);
}

static bool stop(double done, void *user) {
    int *calls = user;
    assert_true(done >= 0 && done <= 1);
    return ++*calls < 5;
}

static void a_cancel_stops_the_run(void **state) {
    (void)state;
    int calls = 0;
    mirl_model *model = open_golden(mirl_kernels_best());
    mirl_network *network = mirl_network_create(model, WIDTH, HEIGHT, 2, NULL);
    mirl_team *team = mirl_team_create(2, stop, &calls);
    assert_false(mirl_network_run(network, team, 1, NULL, NULL));
    assert_true(mirl_team_cancelled(team));
    assert_int_equal(calls, 5);
    mirl_team_free(team);
    mirl_network_free(network);
    mirl_model_close(model);
}

/* Packed, the values are there once: an open model neither keeps the file in memory nor minds what happens
 * to it. */
static void a_model_keeps_no_file_mapped(void **state) {
    (void)state;
    char path[] = "/tmp/mirl-test-XXXXXX", line[512];
    mirl_weights *golden = mirl_weights_open(golden_weights, NULL);
    const mirl_graph *graph = mirl_weights_graph(golden);
    float **values = calloc((size_t)graph->layer_count, sizeof *values);
    assert_true(close(mkstemp(path)) == 0);
    for (int i = 0; i < graph->layer_count; i++) {
        values[i] = malloc(graph->layers[i].count * sizeof **values);
        mirl_weights_values(golden, i, values[i]);
    }
    assert_int_equal(mirl_weights_write(path, graph, values, MIRL_F32, NULL, NULL), MIRL_OK);

    mirl_model *model = mirl_model_open(path, NULL);
    assert_non_null(model);
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps))
        assert_null(strstr(line, path));
    fclose(maps);
    assert_int_equal(truncate(path, 0), 0);
    mirl_model_info info;
    mirl_model_get_info(model, &info);
    assert_true(info.alive > 0 && info.metadata[0] == '{');

    mirl_model_close(model);
    unlink(path);
    for (int i = 0; i < graph->layer_count; i++)
        free(values[i]);
    free(values);
    mirl_weights_close(golden);
}

static float *take(mirl_spare *spare, size_t bytes, size_t expected) {
    float *memory = mirl_spare_take(spare, &bytes);
    assert_non_null(memory);
    assert_int_equal(bytes, expected);
    return memory;
}

static void memory_is_kept_for_the_next_run(void **state) {
    (void)state;
    const size_t bytes = 1 << 20, large = MIRL_SPARE_MOST + (size_t)4096;
    mirl_spare *spare = mirl_spare_create();
    float *first = take(spare, bytes, bytes), *second = take(spare, bytes, bytes);
    assert_true(first != second);
    mirl_spare_leave(spare, first, bytes);
    mirl_spare_leave(spare, second, bytes); /* takes the place of the first */
    assert_ptr_equal(take(spare, bytes / 2, bytes), second);
    second[100] = 1;
    mirl_spare_leave(spare, second, bytes);
    float *other =
        take(spare, bytes / 2 - 4096, bytes / 2 - 4096); /* what is kept would be too large: fresh */
    assert_true(other[100] == 0);
    mirl_spare_leave(spare, other, bytes / 2 - 4096);
    other = take(spare, large, large);
    mirl_spare_leave(spare, other, large); /* not kept */
    other = take(spare, bytes, bytes);
    assert_true(other[100] == 0);
    mirl_spare_leave(spare, other, bytes);
    mirl_spare_free(spare);
}

static void a_network_turns_to_other_sizes(void **state) {
    (void)state;
    mirl_model *model = open_golden(mirl_kernels_best());
    mirl_network *network = mirl_network_create(model, 64, 64, 1, NULL);
    assert_non_null(network);
    const float *memory = mirl_network_image(network)->data;
    assert_int_equal(mirl_network_resize(network, 40, 32, NULL), MIRL_OK);
    const mirl_map *image = mirl_network_image(network);
    assert_ptr_equal(image->data, memory);
    assert_true(image->width == 40 && image->height == 32);
    assert_int_equal(mirl_network_resize(network, 640, 320, NULL), MIRL_OK); /* in more memory */
    mirl_team *team = mirl_team_create(1, NULL, NULL);
    for (int c = 0; c < 3; c++)
        for (size_t y = 0; y < 320; y++)
            memset(mirl_map_at(image, c, 0, y), 0, 640 * sizeof(float));
    assert_true(mirl_network_run(network, team, 1, NULL, NULL));
    mirl_team_free(team);
    mirl_network_free(network);
    mirl_model_close(model);
}

/* What lies between an image's pixels in memory does not matter, be it no number. */
static void memory_may_hold_anything(void **state) {
    (void)state;
    struct tester tester = {.file = golden_open("forward.safetensors")};
    static float result[3 * HEIGHT * WIDTH];

    for (const mirl_kernels *const *table = mirl_kernels_all(); *table; table++) {
        mirl_model *model = open_golden(*table);
        size_t bytes = mirl_network_bytes(model, WIDTH, HEIGHT, 2);
        float *memory = mirl_spare_take(model->spare, &bytes);
        for (size_t i = 0; i < bytes / sizeof *memory; i++)
            memory[i] = NAN;
        mirl_spare_leave(model->spare, memory, bytes);
        run(model, 2, &tester, NULL, result);
        assert_result(&tester, result);
        mirl_model_close(model);
    }
    golden_close(tester.file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_taps),
        cmocka_unit_test(memory_is_kept_for_the_next_run),
        cmocka_unit_test(memory_may_hold_anything),
        cmocka_unit_test(a_network_turns_to_other_sizes),
        cmocka_unit_test(a_cancel_stops_the_run),
        cmocka_unit_test(a_model_keeps_no_file_mapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
