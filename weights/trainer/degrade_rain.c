/* Rain: layers of bright streaks added to the picture. DEGRADATIONS.md has the formulas. */
#include "trainer/degrade_kinds.h"

#include <math.h>
#include <stdlib.h>

#include "error.h"

/** Per layer towards the back: streaks shrink, fade and become more. */
static const double layer_size = 0.7, layer_brightness = 0.8, layer_density = 1.4;

typedef struct streak {
    double x, y;        ///< its middle, in the rectangle's coordinates
    double dx, dy;      ///< its direction, a unit vector
    double half_length; ///< pixels
    double sigma;       ///< of its profile, pixels
    double brightness;  ///< of its middle
} streak;

/** Adds one streak: brightness * cos^2 along it, a Gaussian across. */
static void add_streak(const streak *s, float *light, int width, int height) {
    double reach = 3 * s->sigma;
    double reach_x = fabs(s->dx) * s->half_length + reach, reach_y = fabs(s->dy) * s->half_length + reach;
    int x0 = (int)fmax(0, ceil(s->x - reach_x)), x1 = (int)fmin(width - 1, floor(s->x + reach_x));
    int y0 = (int)fmax(0, ceil(s->y - reach_y)), y1 = (int)fmin(height - 1, floor(s->y + reach_y));
    for (int y = y0; y <= y1; y++) {
        for (int x = x0; x <= x1; x++) {
            double along = (x - s->x) * s->dx + (y - s->y) * s->dy;
            double across = (y - s->y) * s->dx - (x - s->x) * s->dy;
            if (fabs(along) >= s->half_length || fabs(across) >= reach)
                continue;
            double fade = cos(M_PI / 2 * along / s->half_length);
            double profile = exp(-across * across / (2 * s->sigma * s->sigma));
            light[(size_t)y * (size_t)width + (size_t)x] += (float)(s->brightness * fade * fade * profile);
        }
    }
}

static void add_layer(const trainer_damage *damage, int layer, trainer_random *random, float *light,
                      int width, int height) {
    double size = pow(layer_size, layer);
    double margin = damage->rain_length * size; // the longest streak's half length is 0.7 of it
    double field_width = width + 2 * margin, field_height = height + 2 * margin;
    double expected = damage->rain_density * pow(layer_density, layer) * field_width * field_height / 1e4;
    long count = (long)(expected + trainer_random_uniform(random, 0, 1));
    for (long i = 0; i < count; i++) {
        double angle = (damage->rain_angle + 2 * trainer_random_normal(random)) * M_PI / 180;
        double full_width = damage->rain_width * size * trainer_random_uniform(random, 0.7, 1.3);
        streak s = {
            .x = trainer_random_uniform(random, -margin, width + margin),
            .y = trainer_random_uniform(random, -margin, height + margin),
            .dx = sin(angle),
            .dy = cos(angle),
            .half_length = damage->rain_length * size * trainer_random_uniform(random, 0.3, 0.7),
            .sigma = fmax(full_width / 2.3548, 0.35), // from the full width at half the height
            .brightness = damage->rain_brightness * pow(layer_brightness, layer) *
                          trainer_random_uniform(random, 0.5, 1),
        };
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
