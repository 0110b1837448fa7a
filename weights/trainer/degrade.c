/* Drawing and checking damage, Gaussian noise, and the way to the other kinds. */
#include "trainer/degrade.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "trainer/degrade_kinds.h"

static const char *const task_names[TRAINER_TASKS] = {"denoise", "derain", "dehaze", "dejpeg"};

const char *trainer_task_name(trainer_task task) {
    return task_names[task];
}

trainer_task trainer_task_find(const char *name) {
    int task = 0;
    while (task < TRAINER_TASKS && strcmp(task_names[task], name) != 0)
        task++;
    return (trainer_task)task;
}

trainer_ranges trainer_ranges_default(void) {
    return (trainer_ranges){
        .sigmas = {15, 25, 50},
        .sigma_count = 3,
        .rain_layers = {1, 3},
        .rain_length = {20, 60},
        .rain_angle = {-30, 30},
        .rain_width = {1, 2},
        .rain_density = {5, 25},
        .rain_brightness = {0.2, 0.6},
        .haze_airlight = {0.7, 1},
        .haze_beta = {0.6, 1.8},
        .jpeg_quality = {10, 60},
        .jpeg_full_chroma = 0.2,
    };
}

mirl_status trainer_ranges_check(const trainer_ranges *ranges, mirl_error *error) {
    const struct {
        const char *name;
        trainer_range range;
        double low, high;
    } checks[] = {
        {"rain layers", ranges->rain_layers, 1, 8},
        {"rain length", ranges->rain_length, 1, 500},
        {"rain angle", ranges->rain_angle, -80, 80},
        {"rain width", ranges->rain_width, 0.5, 20},
        {"rain density", ranges->rain_density, 0, 1000},
        {"rain brightness", ranges->rain_brightness, 0, 1},
        {"haze airlight", ranges->haze_airlight, 0, 1},
        {"haze beta", ranges->haze_beta, 0, 10},
        {"JPEG quality", ranges->jpeg_quality, 1, 100},
        {"JPEG full chroma share", {ranges->jpeg_full_chroma, ranges->jpeg_full_chroma}, 0, 1},
    };
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        trainer_range range = checks[i].range;
        if (!(range.low >= checks[i].low && range.low <= range.high && range.high <= checks[i].high))
            return mirl_fail(error, MIRL_ERROR_ARGUMENT, "%s %g..%g must lie within %g..%g, the lower first",
                             checks[i].name, range.low, range.high, checks[i].low, checks[i].high);
    }
    if (ranges->sigma_count < 1 || ranges->sigma_count > TRAINER_SIGMAS)
        return mirl_fail(error, MIRL_ERROR_ARGUMENT, "%d noise sigmas; 1 to %d are possible",
                         ranges->sigma_count, TRAINER_SIGMAS);
    for (int i = 0; i < ranges->sigma_count; i++)
        if (!(ranges->sigmas[i] >= 0 && ranges->sigmas[i] <= 255))
            return mirl_fail(error, MIRL_ERROR_ARGUMENT, "noise sigma %g must lie within 0..255",
                             ranges->sigmas[i]);
    return MIRL_OK;
}

static double draw(trainer_range range, trainer_random *random) {
    return trainer_random_uniform(random, range.low, range.high);
}

static int draw_whole(trainer_range range, trainer_random *random) {
    int low = (int)range.low, high = (int)range.high;
    return low + (int)trainer_random_below(random, (uint64_t)(high - low + 1));
}

trainer_damage trainer_damage_draw(trainer_task task, const trainer_ranges *ranges, trainer_random random) {
    trainer_damage damage = {.task = task};
    switch (task) {
    case TRAINER_DENOISE:
        damage.sigma = ranges->sigmas[trainer_random_below(&random, (uint64_t)ranges->sigma_count)];
        break;
    case TRAINER_DERAIN:
        damage.rain_layers = draw_whole(ranges->rain_layers, &random);
        damage.rain_length = draw(ranges->rain_length, &random);
        damage.rain_angle = draw(ranges->rain_angle, &random);
        damage.rain_width = draw(ranges->rain_width, &random);
        damage.rain_density = draw(ranges->rain_density, &random);
        damage.rain_brightness = draw(ranges->rain_brightness, &random);
        break;
    case TRAINER_DEHAZE:
        damage.haze_airlight = draw(ranges->haze_airlight, &random);
        damage.haze_beta = draw(ranges->haze_beta, &random);
        break;
    default:
        damage.jpeg_quality = draw_whole(ranges->jpeg_quality, &random);
        damage.jpeg_full_chroma = trainer_random_uniform(&random, 0, 1) < ranges->jpeg_full_chroma;
    }
    damage.random = random;
    return damage;
}

void trainer_degrade_noise(const uint8_t *clean, size_t samples, double sigma, trainer_random *random,
                           uint8_t *noisy) {
    for (size_t i = 0; i < samples; i++)
        noisy[i] = trainer_noisy_byte(clean[i], sigma * trainer_random_normal(random));
}

static void noise(const trainer_damage *damage, const trainer_picture *picture, trainer_rectangle rectangle,
                  uint8_t *rgb) {
    trainer_random random = damage->random;
    size_t row = (size_t)rectangle.width * 3;
    for (int y = 0; y < rectangle.height; y++)
        trainer_degrade_noise(trainer_picture_at(picture, rectangle.x, rectangle.y + y), row, damage->sigma,
                              &random, rgb + (size_t)y * row);
}

mirl_status trainer_damage_apply(const trainer_damage *damage, const trainer_picture *picture,
                                 trainer_rectangle rectangle, uint8_t *rgb, mirl_error *error) {
    switch (damage->task) {
    case TRAINER_DENOISE:
        noise(damage, picture, rectangle, rgb);
        return MIRL_OK;
    case TRAINER_DERAIN:
        return trainer_degrade_rain(damage, picture, rectangle, rgb, error);
    case TRAINER_DEHAZE:
        return trainer_degrade_haze(damage, picture, rectangle, rgb, error);
    default:
        return trainer_degrade_jpeg(damage, picture, rectangle, rgb, error);
    }
}

void trainer_damage_describe(const trainer_damage *damage, char *text, size_t size) {
    switch (damage->task) {
    case TRAINER_DENOISE:
        snprintf(text, size, "noise of sigma %g", damage->sigma);
        break;
    case TRAINER_DERAIN:
        snprintf(text, size,
                 "rain in %d layers, length %.1f, angle %.1f, width %.2f, density %.1f, brightness %.2f",
                 damage->rain_layers, damage->rain_length, damage->rain_angle, damage->rain_width,
                 damage->rain_density, damage->rain_brightness);
        break;
    case TRAINER_DEHAZE:
        snprintf(text, size, "haze of airlight %.3f, beta %.3f", damage->haze_airlight, damage->haze_beta);
        break;
    default:
        snprintf(text, size, "JPEG of quality %d, %s", damage->jpeg_quality,
                 damage->jpeg_full_chroma ? "4:4:4" : "4:2:0");
    }
}
