/* Training data: the published mixture, the same bits whatever the threads, and errors in the folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scenes.h"
#include "trainer/data.h"

enum { CROP = 32, BATCH = 4, FLOATS = BATCH * 3 * CROP * CROP };

/** train/ with 5 clean images, 2 rain pairs, 3 haze pairs. */
static int make_folder(void **state) {
    char *folder = scene_folder(), path[64];
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "train/denoise/set/%d.png", i);
        scene_write(folder, path, 60 + i, 50, (uint64_t)i);
    }
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "train/derain/rain/input/%d_rainy.png", i);
        scene_write(folder, path, 48, 40, (uint64_t)(100 + i));
        snprintf(path, sizeof path, "train/derain/rain/target/%d_gt.png", i);
        scene_write(folder, path, 48, 40, (uint64_t)(100 + i));
    }
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "train/dehaze/haze/input/%d_hazy.png", i);
        scene_write(folder, path, 40, 48, (uint64_t)(200 + i));
        snprintf(path, sizeof path, "train/dehaze/haze/target/%d_gt.png", i);
        scene_write(folder, path, 40, 48, (uint64_t)(300 + i));
    }
    scene_write_text(folder, "train/denoise/set/README.txt", "not an image");
    *state = folder;
    return 0;
}

static int remove_folder(void **state) {
    scene_remove(*state);
    return 0;
}

static trainer_data_options options_for(const char *folder) {
    trainer_data_options options = trainer_data_options_default();
    options.folder = folder;
    options.crop = CROP;
    options.batch = BATCH;
    options.seed = 11;
    return options;
}

static trainer_data *open_data(const trainer_data_options *options) {
    mirl_error error;
    trainer_data *data = trainer_data_open(options, &error);
    if (!data)
        fail_msg("%s", error.message);
    return data;
}

static int count(const char *text, const char *word) {
    int found = 0;
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
        found++;
    return found;
}

static void an_epoch_is_the_published_union(void **state) {
    trainer_data_options options = options_for(*state);
    trainer_data *data = open_data(&options);
    // 5 images * 3 sigmas * 3, 2 rain pairs * 120, 3 haze pairs
    assert_int_equal(trainer_data_steps_per_epoch(data), (45 + 240 + 3) / BATCH);
    char *text = calloc(1, 1 << 16);
    for (uint64_t step = 0; step < 72; step++)
        trainer_data_describe(data, step, text + strlen(text), (1 << 16) - strlen(text));
    assert_int_equal(count(text, "\n"), 288);
    assert_int_equal(count(text, "denoise/set/3.png"), 9);
    assert_int_equal(count(text, "sigma 15\n"), 15);
    assert_int_equal(count(text, "sigma 25\n"), 15);
    assert_int_equal(count(text, "sigma 50\n"), 15);
    assert_int_equal(count(text, "derain/rain/input/1_rainy.png"), 120);
    assert_int_equal(count(text, "dehaze/haze/input/2_hazy.png"), 1);
    assert_int_equal(count(text, "turn 0"), 0);
    for (int turn = 1; turn < 8; turn++) {
        char word[16];
        snprintf(word, sizeof word, "turn %d,", turn);
        assert_true(count(text, word) > 15);
    }
    char *next = calloc(1, 1 << 16);
    for (uint64_t step = 72; step < 144; step++)
        trainer_data_describe(data, step, next + strlen(next), (1 << 16) - strlen(next));
    assert_int_equal(count(next, "denoise/set/3.png"), 9);
    assert_string_not_equal(text, next);
    size_t sources;
    bool pairs;
    assert_true(trainer_data_has(data, TRAINER_DERAIN, &sources, &pairs));
    assert_true(sources == 2 && pairs);
    assert_false(trainer_data_has(data, TRAINER_DEJPEG, &sources, &pairs));
    free(text);
    free(next);
    trainer_data_close(data);
}

static void a_mix_sets_the_shares(void **state) {
    trainer_data_options options = options_for(*state);
    options.mix[TRAINER_DENOISE] = 2;
    options.mix[TRAINER_DEJPEG] = options.mix[TRAINER_DERAIN] = 1;
    trainer_data *data = open_data(&options);
    char text[4096], all[1 << 16] = "";
    uint64_t steps = trainer_data_steps_per_epoch(data);
    for (uint64_t step = 0; step < steps; step++) {
        trainer_data_describe(data, step, text, sizeof text);
        strcat(all, text);
    }
    // 45 of denoising, 240 rain pairs and 15 JPEG pictures would be 300: shared 2 : 1 : 1.
    assert_int_equal(steps, 75);
    assert_int_equal(count(all, "denoise: "), 150);
    assert_int_equal(count(all, "derain: "), 75);
    assert_int_equal(count(all, "dejpeg: denoise/set/"), 75);
    assert_int_equal(count(all, "dehaze: "), 0);
    trainer_data_close(data);
}

typedef struct batch {
    float degraded[FLOATS], clean[FLOATS];
} batch;

static void take(trainer_data *data, uint64_t step, batch *to) {
    assert_int_equal(trainer_data_batch(data, step, to->degraded, to->clean, NULL), MIRL_OK);
}

static void bits_depend_on_seed_and_step_only(void **state) {
    enum { STEPS = 40 };
    trainer_data_options options = options_for(*state);
    for (int task = 0; task < TRAINER_TASKS; task++)
        options.mix[task] = 1;
    batch *reference = calloc(STEPS, sizeof *reference), *other = calloc(1, sizeof *other);
    trainer_data *data = open_data(&options);
    for (uint64_t step = 0; step < STEPS; step++)
        take(data, step, &reference[step]);
    trainer_data_close(data);

    options.threads = 3;
    options.ahead = 7;
    options.memory = 20000; // two images
    data = open_data(&options);
    const uint64_t jumps[] = {5, 6, 7, 30, 31, 3, 4, 39, 38, 38, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 8, 12};
    for (size_t i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
        take(data, jumps[i], other);
        assert_memory_equal(other, &reference[jumps[i]], sizeof *other);
    }
    trainer_data_close(data);

    options.seed++;
    data = open_data(&options);
    take(data, 5, other);
    assert_memory_not_equal(other, &reference[5], sizeof *other);
    trainer_data_close(data);
    free(reference);
    free(other);
}

/** Two ranks with a batch each make what one process makes with both. */
static void ranks_share_a_batch(void **state) {
    trainer_data_options options = options_for(*state);
    options.batch = 2 * BATCH;
    trainer_data *data = open_data(&options);
    float *degraded = calloc(2, sizeof(batch)), *clean = calloc(2, sizeof(batch));
    batch *part = calloc(1, sizeof *part);
    assert_int_equal(trainer_data_batch(data, 3, degraded, clean, NULL), MIRL_OK);
    assert_int_equal(trainer_data_steps_per_epoch(data), 36);
    trainer_data_close(data);
    options.batch = BATCH;
    options.ranks = 2;
    for (int rank = 0; rank < 2; rank++) {
        options.rank = rank;
        data = open_data(&options);
        assert_int_equal(trainer_data_steps_per_epoch(data), 36);
        take(data, 3, part);
        assert_memory_equal(part->degraded, degraded + rank * FLOATS, sizeof part->degraded);
        assert_memory_equal(part->clean, clean + rank * FLOATS, sizeof part->clean);
        trainer_data_close(data);
    }
    free(degraded);
    free(clean);
    free(part);
}

static void values_are_bytes_and_pairs_match(void **state) {
    trainer_data_options options = options_for(*state);
    options.tasks[TRAINER_DERAIN] = true; // whose pairs here are equal images
    trainer_data *data = open_data(&options);
    batch *got = calloc(1, sizeof *got);
    take(data, 0, got);
    assert_memory_equal(got->degraded, got->clean, sizeof got->clean);
    float first = got->clean[0];
    bool varied = false;
    for (int i = 0; i < FLOATS; i++) {
        assert_true(got->clean[i] >= 0 && got->clean[i] <= 1);
        assert_float_equal(got->clean[i] * 255, roundf(got->clean[i] * 255), 1e-4);
        varied = varied || got->clean[i] != first;
    }
    assert_true(varied);
    trainer_data_close(data);
    free(got);
}

static void refused(const trainer_data_options *options, mirl_status status, const char *words) {
    mirl_error error = {.status = MIRL_OK};
    assert_null(trainer_data_open(options, &error));
    if (!strstr(error.message, words))
        fail_msg("\"%s\" should be in \"%s\"", words, error.message);
    assert_int_equal(error.status, status);
}

static void errors_name_the_file(void **state) {
    (void)state;
    char *folder = scene_folder();
    trainer_data_options options = options_for(folder);
    refused(&options, MIRL_ERROR_FILE, "/train is not a folder");
    scene_write_text(folder, "train/denoise/set/notes.txt", "x");
    refused(&options, MIRL_ERROR_FILE, "has no images");
    scene_write(folder, "train/denoise/set/a.png", 64, 64, 1);
    options.batch = 10;
    refused(&options, MIRL_ERROR_ARGUMENT, "gives 9 patches an epoch, less than a batch of 10");
    options.batch = 4;
    scene_write_text(folder, "train/denoise/set/b.png", "this is text");
    refused(&options, MIRL_ERROR_FORMAT, "set/b.png is not a JPEG, PNG or BMP image");
    scene_write_text(folder, "train/denoise/set/b.png", "\x89PNG\r\n\x1a\n and then nothing of it");
    refused(&options, MIRL_ERROR_FORMAT, "set/b.png cannot be decoded");
    scene_write(folder, "train/denoise/set/b.png", 64, 24, 1);
    refused(&options, MIRL_ERROR_FORMAT, "set/b.png is 64x24 pixels, smaller than the crop of 32");
    options.memory = 0; // only headers are read
    refused(&options, MIRL_ERROR_FORMAT, "set/b.png is 64x24 pixels, smaller than the crop of 32");
    scene_write(folder, "train/denoise/set/b.png", 64, 64, 1);
    scene_write(folder, "train/derain/r/input/1_rainy.png", 64, 64, 1);
    refused(&options, MIRL_ERROR_FORMAT, "input/1_rainy.png has no partner");
    scene_write(folder, "train/derain/r/target/1_gt.png", 64, 65, 1);
    refused(&options, MIRL_ERROR_FORMAT, "1_rainy.png is 64x64 pixels, but its target");
    scene_write(folder, "train/derain/r/target/1_gt.png", 64, 64, 1);
    scene_write(folder, "train/derain/r/target/10_gt.png", 64, 64, 1);
    refused(&options, MIRL_ERROR_FORMAT, "target/10_gt.png has no partner");
    scene_write(folder, "train/derain/r/input/10_wet.png", 64, 64, 1);
    refused(&options, MIRL_ERROR_FORMAT, "input/10_wet.png should be named <n>_rainy.png");
    scene_remove(folder);
}

static void options_are_checked(void **state) {
    trainer_data_options options = options_for(*state);
    options.crop = 60;
    refused(&options, MIRL_ERROR_ARGUMENT, "multiple of 8");
    options = options_for(*state);
    options.rank = 1;
    refused(&options, MIRL_ERROR_ARGUMENT, "rank is 1");
    options = options_for(*state);
    options.ahead = 0;
    refused(&options, MIRL_ERROR_ARGUMENT, "batches ahead is 0");
    options = options_for(*state);
    options.mix[TRAINER_DEHAZE] = -1;
    refused(&options, MIRL_ERROR_ARGUMENT, "share of dehaze is -1");
    options = options_for(NULL);
    refused(&options, MIRL_ERROR_ARGUMENT, "no folder");
}

/** An image that goes away during the run is an error of the batch that needs it, not of others. */
static void a_lost_image_is_reported(void **state) {
    (void)state;
    char *folder = scene_folder(), path[256];
    scene_write(folder, "train/denoise/set/a.png", 64, 64, 1);
    trainer_data_options options = options_for(folder);
    options.memory = 0;
    options.ahead = 1;
    trainer_data *data = open_data(&options);
    batch *got = calloc(1, sizeof *got);
    take(data, 0, got);
    snprintf(path, sizeof path, "%s/train/denoise/set/a.png", folder);
    assert_int_equal(unlink(path), 0);
    mirl_error error;
    assert_int_equal(trainer_data_batch(data, 50, got->degraded, got->clean, &error), MIRL_ERROR_FILE);
    assert_non_null(strstr(error.message, "set/a.png"));
    scene_write(folder, "train/denoise/set/a.png", 64, 64, 1);
    take(data, 52, got);
    trainer_data_close(data);
    free(got);
    scene_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_is_the_published_union),
        cmocka_unit_test(a_mix_sets_the_shares),
        cmocka_unit_test(bits_depend_on_seed_and_step_only),
        cmocka_unit_test(ranks_share_a_batch),
        cmocka_unit_test(values_are_bytes_and_pairs_match),
        cmocka_unit_test(errors_name_the_file),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(a_lost_image_is_reported),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
