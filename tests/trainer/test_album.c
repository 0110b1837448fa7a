/* Batches that a device makes of images in its memory, against those of the host. usage: test-trainer-album
 * twin|twin-reversed|cuda; 77: there is no such device, and why.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenes.h"
#include "trainer/device/album.h"
#include "trainer/device/device.h"

enum { CROP = 40, BATCH = 6, FLOATS = BATCH * 3 * CROP * CROP, SKIPPED = 77 };

static const trainer_ops *device;
static const trainer_memory *memory;
static bool exact; ///< the device computes as the host does, but for the order of blocks and lanes

/* Images as small as the crop, of odd sizes, and with cells of depth of one to three pixels. */
static int make_folder(void **state) {
    static const int sizes[][2] = {{40, 40}, {61, 50}, {47, 83}, {97, 64}, {201, 131}};
    char *folder = scene_folder(), path[64];
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "train/denoise/set/%d.png", i);
        scene_write(folder, path, sizes[i][0], sizes[i][1], (uint64_t)i);
    }
    *state = folder;
    return 0;
}

static void add_pairs(const char *folder) {
    static const char *const tasks[][2] = {{"derain", "rainy"}, {"dehaze", "hazy"}, {"dejpeg", "jpeg"}};
    char path[96];
    for (int i = 0; i < 6; i++) {
        const char *task = tasks[i / 2][0];
        snprintf(path, sizeof path, "train/%s/set/input/%d_%s.png", task, i, tasks[i / 2][1]);
        scene_write(folder, path, 48 + i, 57 - i, (uint64_t)(100 + i));
        snprintf(path, sizeof path, "train/%s/set/target/%d_gt.png", task, i);
        scene_write(folder, path, 48 + i, 57 - i, (uint64_t)(200 + i));
    }
}

static int remove_folder(void **state) {
    scene_remove(*state);
    return 0;
}

static trainer_data *open_data(const char *folder, int first, int last, trainer_ranges ranges) {
    mirl_error error;
    trainer_data_options options = trainer_data_options_default();
    options.folder = folder;
    options.crop = CROP;
    options.batch = BATCH;
    options.seed = 5;
    options.ranges = ranges;
    for (int task = first; task <= last; task++)
        options.mix[task] = 1;
    trainer_data *data = trainer_data_open(&options, &error);
    if (!data)
        fail_msg("%s", error.message);
    return data;
}

/** What the host and the device make of a step, and the device's sum of differences. */
typedef struct batches {
    trainer_patch *patches;
    float *degraded, *clean, *there; ///< there: degraded and clean
    double difference;
} batches;

static void take(trainer_data *data, trainer_album *album, uint64_t step, float *space, double *sum,
                 batches *b) {
    mirl_error error;
    if (trainer_data_batch(data, step, b->degraded, b->clean, &error) ||
        trainer_album_choose(album, step, b->patches, &error))
        fail_msg("%s", error.message);
    trainer_album_make(album, space, space + FLOATS, sum);
    memory->download(b->there, space, 2 * FLOATS * sizeof *space);
    memory->download(&b->difference, sum, sizeof *sum);
    if (memory->status(&error))
        fail_msg("%s", error.message);
}

/** Of one task. */
typedef struct tally {
    int patches, worst; ///< the largest difference, in levels
    size_t off;         ///< values that differ
} tally;

static void compare(const batches *b, tally *tasks) {
    double sum = 0;
    assert_memory_equal(b->there + FLOATS, b->clean, FLOATS * sizeof *b->clean);
    for (int i = 0; i < BATCH; i++)
        tasks[b->patches[i].damage.task].patches++;
    for (int i = 0; i < FLOATS; i++) {
        tally *task = &tasks[b->patches[i / (FLOATS / BATCH)].damage.task];
        int levels = abs((int)lround(255 * b->there[i]) - (int)lround(255 * b->degraded[i]));
        task->worst = levels > task->worst ? levels : task->worst;
        task->off += b->there[i] != b->degraded[i];
        sum += fabs((double)b->there[i] - b->clean[i]);
    }
    assert_true(sum > 0);
    assert_float_equal(b->difference / sum, 1, 1e-9);
}

/* Steps of the tasks first..last; the twin makes what the host does, to the bit; on a device, whose
 * logarithms, sines and powers may end in another bit, a value in 1000 may be off by one level. */
static void check(const char *name, trainer_data *data, int first, int last) {
    enum { STEPS = 20 };
    mirl_error error;
    tally tasks[TRAINER_TASKS] = {{0}};
    trainer_album *album = trainer_album_create(device, data, BATCH, CROP, &error);
    if (!album)
        fail_msg("%s", error.message);
    float *space = memory->allocate(2 * FLOATS * sizeof *space), *host = malloc(4 * FLOATS * sizeof *host);
    double *sum = memory->allocate(sizeof *sum);
    batches b = {memory->allocate_host(BATCH * sizeof *b.patches), host, host + FLOATS, host + 2 * FLOATS, 0};
    for (uint64_t step = 0; step < STEPS; step++) {
        take(data, album, step, space, sum, &b);
        compare(&b, tasks);
    }
    for (int task = first; task <= last; task++) {
        tally *t = &tasks[task];
        print_message("%s, %s: %d patches, %zu values off, by %d levels at most\n", name,
                      trainer_task_name((trainer_task)task), t->patches, t->off, t->worst);
        assert_true(t->patches > 10);
        assert_true(t->worst <= 1);
        assert_true(t->off <= (exact ? 0 : (size_t)t->patches * (FLOATS / BATCH) / 1000));
    }
    memory->release(space);
    memory->release(sum);
    memory->release_host(b.patches);
    free(host);
    trainer_album_free(album);
    trainer_data_close(data);
}

static void damage_is_the_hosts(void **state) {
    check("usual ranges", open_data(*state, 0, TRAINER_TASKS - 1, trainer_ranges_default()), 0,
          TRAINER_TASKS - 1);
}

/* Every quality of JPEG; rain of more streaks than a block has lanes, in all layers. */
static void damage_is_the_hosts_in_all_ranges(void **state) {
    trainer_ranges ranges = trainer_ranges_default();
    ranges.jpeg_quality = (trainer_range){1, 100};
    ranges.jpeg_full_chroma = 0.5;
    ranges.rain_layers = (trainer_range){1, 8};
    ranges.rain_density = (trainer_range){0, 400};
    ranges.rain_length = (trainer_range){1, 100};
    ranges.haze_beta = (trainer_range){0, 10};
    check("wide ranges", open_data(*state, TRAINER_DERAIN, TRAINER_DEJPEG, ranges), TRAINER_DERAIN,
          TRAINER_DEJPEG);
}

static void pairs_are_cut(void **state) {
    add_pairs(*state);
    trainer_data *data = open_data(*state, 0, TRAINER_TASKS - 1, trainer_ranges_default());
    size_t sources;
    bool pairs;
    assert_true(trainer_data_has(data, TRAINER_DEJPEG, &sources, &pairs) && pairs);
    check("pairs", data, 0, TRAINER_TASKS - 1);
}

static void *no_room(size_t bytes) {
    return bytes > 40000 ? NULL : memory->allocate(bytes);
}

static void a_full_device_is_reported(void **state) {
    trainer_data *data = open_data(*state, 0, 0, trainer_ranges_default());
    trainer_memory small = *memory;
    trainer_ops ops = *device;
    mirl_error error;
    small.allocate = no_room;
    ops.memory = &small;
    assert_null(trainer_album_create(&ops, data, BATCH, CROP, &error));
    assert_int_equal(error.status, MIRL_ERROR_MEMORY);
    assert_non_null(strstr(error.message, "the 5 training images (0 MiB) do not fit"));
    trainer_data_close(data);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damage_is_the_hosts),
        cmocka_unit_test(damage_is_the_hosts_in_all_ranges),
        cmocka_unit_test(a_full_device_is_reported),
        cmocka_unit_test(pairs_are_cut),
    };
    const char *name = argc > 1 ? argv[1] : "twin";
    char text[200];
    mirl_error error;
    bool twin = strncmp(name, "twin", 4) == 0;
    device = twin ? trainer_ops_get(name)
                  : trainer_device_open("cuda", TRAINER_FLOAT32, text, sizeof text, &error);
    if (!device) {
        printf("skipped: %s\n", error.message);
        return SKIPPED;
    }
    memory = device->memory;
#ifdef __x86_64__ // where products and sums are never fused
    exact = twin;
#endif
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
