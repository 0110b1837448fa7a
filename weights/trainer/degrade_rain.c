/* Rain: layers of bright streaks added to the picture. DEGRADATIONS.md has the formulas. */
#include "trainer/degrade_rain.h"

#include <math.h>
#include <stdlib.h>

#include "error.h"
#include "trainer/degrade_kinds.h"

static void add_streak(const trainer_streak *s, float *light, int width, int height) {
    double reach_x = fabs(s->dx) * s->half_length + s->reach,
           reach_y = fabs(s->dy) * s->half_length + s->reach;
    int x0 = (int)fmax(0, ceil(s->x - reach_x)), x1 = (int)fmin(width - 1, floor(s->x + reach_x));
    int y0 = (int)fmax(0, ceil(s->y - reach_y)), y1 = (int)fmin(height - 1, floor(s->y + reach_y));
    for (int y = y0; y <= y1; y++)
        for (int x = x0; x <= x1; x++)
            light[(size_t)y * (size_t)width + (size_t)x] += trainer_rain_light(s, x, y);
}

static void add_layer(const trainer_damage *damage, int layer, trainer_random *random, float *light,
                      int width, int height) {
    long count = trainer_rain_count(damage, layer, width, height, random);
    for (long i = 0; i < count; i++) {
        trainer_streak s = trainer_rain_next(damage, layer, width, height, random);
        add_streak(&s, light, width, height);
    }
}

mirl_status trainer_degrade_rain(const trainer_damage *damage, const trainer_picture *picture,
                                 trainer_rectangle rectangle, uint8_t *rgb, mirl_error *error) {
    size_t pixels = (size_t)rectangle.width * (size_t)rectangle.height;
    float *light = calloc(pixels, sizeof *light);
    if (!light)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for the rain of %zu pixels", pixels);
    trainer_random random = damage->random;
    for (int layer = 0; layer < damage->rain_layers; layer++)
        add_layer(damage, layer, &random, light, rectangle.width, rectangle.height);
    const float *at = light;
    for (int y = 0; y < rectangle.height; y++) {
        const uint8_t *clean = trainer_picture_at(picture, rectangle.x, rectangle.y + y);
        for (int x = 0; x < rectangle.width; x++, at++)
            for (int channel = 0; channel < 3; channel++)
                *rgb++ = trainer_to_byte((float)*clean++ / 255 + *at);
    }
    free(light);
    return MIRL_OK;
}
