/* A rain streak: how it is drawn, and its light at a pixel. The same on the host and in a device's kernels.
 * DEGRADATIONS.md has the formulas.
 */
#ifndef MIRL_TRAINER_DEGRADE_RAIN_H
#define MIRL_TRAINER_DEGRADE_RAIN_H

#include "trainer/degrade.h"
#include "trainer/inline.h"

/** Per layer towards the back: streaks shrink, fade and become more. */
static const double trainer_layer_size = 0.7, trainer_layer_brightness = 0.8, trainer_layer_density = 1.4;

typedef struct trainer_streak {
    double x, y;        ///< its middle, in the coordinates of what it falls on
    double dx, dy;      ///< its direction, a unit vector
    double half_length; ///< pixels
    double reach;       ///< across, pixels
    double sigma;       ///< of its profile, pixels
    double brightness;  ///< of its middle
} trainer_streak;

/** How far outside streaks of the layer may lie; the longest one's half length is 0.7 of it. */
TRAINER_INLINE double trainer_rain_margin(const trainer_damage *damage, int layer) {
    return damage->rain_length * pow(trainer_layer_size, layer);
}

/** Draws how many streaks the layer has for width x height pixels. */
TRAINER_INLINE long trainer_rain_count(const trainer_damage *damage, int layer, int width, int height,
                                       trainer_random *random) {
    double margin = trainer_rain_margin(damage, layer);
    double field_width = width + 2 * margin, field_height = height + 2 * margin;
    double expected =
        damage->rain_density * pow(trainer_layer_density, layer) * field_width * field_height / 1e4;
    return (long)(expected + trainer_random_uniform(random, 0, 1));
}

/** Draws the layer's next streak. */
TRAINER_INLINE trainer_streak trainer_rain_next(const trainer_damage *damage, int layer, int width,
                                                int height, trainer_random *random) {
    double size = pow(trainer_layer_size, layer), margin = trainer_rain_margin(damage, layer);
    double angle = (damage->rain_angle + 2 * trainer_random_normal(random)) * M_PI / 180;
    double full_width = damage->rain_width * size * trainer_random_uniform(random, 0.7, 1.3);
    trainer_streak s;
    s.x = trainer_random_uniform(random, -margin, width + margin);
    s.y = trainer_random_uniform(random, -margin, height + margin);
    s.dx = sin(angle);
    s.dy = cos(angle);
    s.half_length = damage->rain_length * size * trainer_random_uniform(random, 0.3, 0.7);
    s.sigma = fmax(full_width / 2.3548, 0.35); // from the full width at half the height
    s.reach = 3 * s.sigma;
    s.brightness = damage->rain_brightness * pow(trainer_layer_brightness, layer) *
                   trainer_random_uniform(random, 0.5, 1);
    return s;
}

/** Draws streak i of a layer whose first is drawn from `random`, which stands behind streak i then. A streak
 * takes 5 numbers, and every second one 2 for a pair of normals, whose spare serves the next. */
TRAINER_INLINE trainer_streak trainer_rain_streak(const trainer_damage *damage, int layer, int width,
                                                  int height, long i, trainer_random *random) {
    int spare = random->has_spare;
    long paired = i - (i + spare) % 2; // draws the pair for i; -1: the spare does
    if (paired >= 0 && i > 0)
        trainer_random_skip(random, (uint64_t)(6 * paired - spare));
    if (paired >= 0 && paired < i)
        trainer_rain_next(damage, layer, width, height, random);
    return trainer_rain_next(damage, layer, width, height, random);
}

/** The streak's light at a pixel: brightness * cos^2 along it, a Gaussian across. */
TRAINER_INLINE float trainer_rain_light(const trainer_streak *s, int x, int y) {
    double along = (x - s->x) * s->dx + (y - s->y) * s->dy;
    double across = (y - s->y) * s->dx - (x - s->x) * s->dy;
    if (fabs(along) >= s->half_length || fabs(across) >= s->reach)
        return 0;
    double fade = cos(M_PI / 2 * along / s->half_length);
    double profile = exp(-across * across / (2 * s->sigma * s->sigma));
    return (float)(s->brightness * fade * fade * profile);
}

#endif
