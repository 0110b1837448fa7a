/* Pictures that tests make themselves. */
#define _GNU_SOURCE // asprintf, nftw
#include "scenes.h"

#include <ftw.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "trainer/layout.h"
#include "trainer/photo.h"

trainer_picture scene_make(int width, int height, uint64_t seed) {
    trainer_picture picture = {width, height, malloc((size_t)width * (size_t)height * 3)};
    trainer_random random = trainer_random_stream(seed, 0, 0);
    double horizon = height * trainer_random_uniform(&random, 0.3, 0.6);
    double left = width * trainer_random_uniform(&random, 0.1, 0.6), right = left + width * 0.25;
    double fineness = trainer_random_uniform(&random, 0.3, 1);
    uint8_t *rgb = picture.rgb;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++, rgb += 3) {
            double pattern = 25 * sin(x * fineness) * cos(y * fineness * 1.3);
            bool tower = x > left && x < right && y > height * 0.2;
            if (tower) {
                rgb[0] = (uint8_t)(60 + pattern), rgb[1] = (uint8_t)(50 + pattern / 2), rgb[2] = 45;
            } else if (y < horizon) {
                rgb[0] = (uint8_t)(120 + 40 * y / horizon), rgb[1] = (uint8_t)(160 + 30 * y / horizon),
                rgb[2] = 220;
            } else {
                rgb[0] = (uint8_t)(90 + pattern), rgb[1] = (uint8_t)(130 + pattern),
                rgb[2] = (uint8_t)(60 + pattern);
            }
        }
    }
    return picture;
}

double scene_psnr(const uint8_t *a, const uint8_t *b, size_t samples) {
    double sum = 0;
    for (size_t i = 0; i < samples; i++)
        sum += (a[i] - b[i]) * (double)(a[i] - b[i]);
    return 10 * log10(255.0 * 255.0 * (double)samples / sum);
}

char *scene_folder(void) {
    const char *parent = getenv("TMPDIR");
    char *folder;
    assert_true(asprintf(&folder, "%s/mirl-scenes-XXXXXX", parent ? parent : "/tmp") > 0);
    assert_non_null(mkdtemp(folder));
    return folder;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at) {
    (void)status, (void)type, (void)at;
    return remove(path);
}

void scene_remove(char *folder) {
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(folder);
}

/** folder/path, with the folders on the way made; to be freed. */
static char *place(const char *folder, const char *path) {
    char *whole;
    assert_true(asprintf(&whole, "%s/%s", folder, path) > 0);
    assert_int_equal(trainer_make_folders(whole, NULL), MIRL_OK);
    return whole;
}

void scene_write(const char *folder, const char *path, int width, int height, uint64_t seed) {
    char *whole = place(folder, path);
    trainer_picture picture = scene_make(width, height, seed);
    mirl_error error;
    if (trainer_photo_write(whole, &picture, &error) != MIRL_OK)
        fail_msg("%s", error.message);
    free(picture.rgb);
    free(whole);
}

void scene_write_clean(const char *folder, int count, int width, int height) {
    for (int i = 0; i < count; i++) {
        char path[64];
        snprintf(path, sizeof path, "data/train/denoise/own/%d.png", i);
        scene_write(folder, path, width, height, (uint64_t)i + 1);
    }
}

void scene_write_text(const char *folder, const char *path, const char *text) {
    char *whole = place(folder, path);
    FILE *file = fopen(whole, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    free(whole);
}
