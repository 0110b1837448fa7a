/* The depth made up for a picture, and its haze: the same on the host and in a device's kernels.
 * DEGRADATIONS.md has the formulas.
 *
 * A depth map is made in phases, each of which needs all of the one before. Phases take `first` and `step`:
 * they do every step-th cell, row or column from the first on, so that a host's thread does all (0, 1) and a
 * device's lane its share (lane, LANES).
 */
#ifndef MIRL_TRAINER_DEGRADE_HAZE_H
#define MIRL_TRAINER_DEGRADE_HAZE_H

#include "trainer/inline.h"
#include "trainer/picture.h"

enum {
    TRAINER_DEPTH_GRID = 96,  ///< cells a side at most
    TRAINER_DEPTH_FIELDS = 7, ///< floats of room for a cell
    TRAINER_DEPTH_REGIONS = 6,
    TRAINER_DEPTH_WAVES = 3
};

static const float trainer_guide_eps = 4e-3f; ///< variance of luma below which the filter smooths

/** The depth of a picture on a coarse grid: depth = slope * luma + offset, then scaled to 0..1. */
typedef struct trainer_depth {
    int cell; ///< pixels a side
    int width, height;
    float *luma, *slope, *offset, *raw;
    float *work; ///< 3 fields: colours [cells][3], then temporary values
} trainer_depth;

/** The least and the largest value of a map. */
typedef struct trainer_depth_span {
    float low, high;
} trainer_depth_span;

TRAINER_INLINE size_t trainer_depth_cells(const trainer_depth *map) {
    return (size_t)map->width * (size_t)map->height;
}

/** The grid for a picture, without room. */
TRAINER_INLINE trainer_depth trainer_depth_grid(const trainer_picture *picture) {
    int side = picture->width > picture->height ? picture->width : picture->height;
    trainer_depth map;
    map.cell = (side + TRAINER_DEPTH_GRID - 1) / TRAINER_DEPTH_GRID;
    map.width = (picture->width + map.cell - 1) / map.cell;
    map.height = (picture->height + map.cell - 1) / map.cell;
    map.luma = map.slope = map.offset = map.raw = map.work = NULL;
    return map;
}

/** Gives it room for TRAINER_DEPTH_FIELDS values a cell. */
TRAINER_INLINE void trainer_depth_place(trainer_depth *map, float *room) {
    size_t cells = trainer_depth_cells(map);
    map->luma = room;
    map->slope = room + cells;
    map->offset = room + 2 * cells;
    map->raw = room + 3 * cells;
    map->work = room + 4 * cells;
}

TRAINER_INLINE float trainer_luma(const float *colour) {
    return 0.299f * colour[0] + 0.587f * colour[1] + 0.114f * colour[2];
}

/** Phase: the mean colour of each cell, from at most 3x3 of its pixels, and its luma; both in 0..1. */
TRAINER_INLINE void trainer_depth_colours(trainer_depth *map, const trainer_picture *picture, size_t first,
                                          size_t step) {
    int stride = (map->cell + 2) / 3;
    for (size_t i = first; i < trainer_depth_cells(map); i += step) {
        int u = (int)(i % (size_t)map->width) * map->cell, v = (int)(i / (size_t)map->width) * map->cell;
        int sum[3] = {0, 0, 0}, count = 0;
        for (int y = v; y < v + map->cell && y < picture->height; y += stride) {
            for (int x = u; x < u + map->cell && x < picture->width; x += stride) {
                const uint8_t *rgb = trainer_picture_at(picture, x, y);
                for (int channel = 0; channel < 3; channel++)
                    sum[channel] += rgb[channel];
                count++;
            }
        }
        for (int channel = 0; channel < 3; channel++)
            map->work[3 * i + (size_t)channel] = (float)sum[channel] / (255.0f * (float)count);
        map->luma[i] = trainer_luma(map->work + 3 * i);
    }
}

/** What the raw depth is drawn from. A region is what looks most like one of a few cells picked at random;
 * each stands nearer or farther. */
typedef struct trainer_scene {
    double power, tilt, wave_height;
    double wave[TRAINER_DEPTH_WAVES][3];
    float colour[TRAINER_DEPTH_REGIONS][3];
    float shift[TRAINER_DEPTH_REGIONS];
} trainer_scene;

TRAINER_INLINE trainer_scene trainer_scene_draw(const trainer_depth *map, trainer_random *random) {
    trainer_scene scene;
    scene.power = trainer_random_uniform(random, 1, 2.5);
    scene.tilt = trainer_random_uniform(random, -0.4, 0.4);
    scene.wave_height = trainer_random_uniform(random, 0, 0.3) / (double)TRAINER_DEPTH_WAVES;
    for (int i = 0; i < TRAINER_DEPTH_WAVES; i++) {
        scene.wave[i][0] = trainer_random_uniform(random, -1.5, 1.5);
        scene.wave[i][1] = trainer_random_uniform(random, -1.5, 1.5);
        scene.wave[i][2] = trainer_random_uniform(random, 0, 1);
    }
    for (int i = 0; i < TRAINER_DEPTH_REGIONS; i++) {
        uint64_t cell = trainer_random_below(random, (uint64_t)map->width * (uint64_t)map->height);
        for (int channel = 0; channel < 3; channel++)
            scene.colour[i][channel] = map->work[cell * 3 + (uint64_t)channel];
        scene.shift[i] = (float)trainer_random_uniform(random, -0.35, 0.35);
    }
    return scene;
}

TRAINER_INLINE float trainer_scene_shift(const trainer_scene *scene, const float *colour) {
    float best = INFINITY, shift = 0;
    for (int i = 0; i < TRAINER_DEPTH_REGIONS; i++) {
        float distance = 0;
        for (int channel = 0; channel < 3; channel++) {
            float difference = colour[channel] - scene->colour[i][channel];
            distance += difference * difference;
        }
        if (distance < best) {
            best = distance;
            shift = scene->shift[i];
        }
    }
    return shift;
}

/** Phase: the raw depth of each cell: a ramp towards the top, regions, and slow waves. */
TRAINER_INLINE void trainer_depth_raw(trainer_depth *map, const trainer_scene *scene, size_t first,
                                      size_t step) {
    for (size_t i = first; i < trainer_depth_cells(map); i += step) {
        double u = ((double)(i % (size_t)map->width) + 0.5) / map->width;
        double v = ((double)(i / (size_t)map->width) + 0.5) / map->height;
        double up = fmin(fmax(1 - v + scene->tilt * (u - 0.5), 0.0), 1.0);
        double value = pow(up, scene->power);
        for (int k = 0; k < TRAINER_DEPTH_WAVES; k++)
            value += scene->wave_height *
                     cos(2 * M_PI * (scene->wave[k][0] * u + scene->wave[k][1] * v + scene->wave[k][2]));
        map->raw[i] = (float)value + trainer_scene_shift(scene, map->work + 3 * i);
    }
}

/* He, Sun: Fast Guided Filter (arXiv 1505.00996), on the grid: slope and offset of depth over luma. Its
 * means, of luma and its square, stand in work. */

/** Phase: what is averaged first: luma, its square, its product with the raw depth. */
TRAINER_INLINE void trainer_depth_products(trainer_depth *map, size_t first, size_t step) {
    size_t cells = trainer_depth_cells(map);
    for (size_t i = first; i < cells; i += step) {
        map->work[i] = map->luma[i];
        map->work[cells + i] = map->luma[i] * map->luma[i];
        map->slope[i] = map->luma[i] * map->raw[i];
    }
}

/** Phase: from the averages to slope and offset, which are averaged then. */
TRAINER_INLINE void trainer_depth_fit(trainer_depth *map, size_t first, size_t step) {
    size_t cells = trainer_depth_cells(map);
    for (size_t i = first; i < cells; i += step) {
        float mean = map->work[i], variance = map->work[cells + i] - mean * mean;
        map->slope[i] = (map->slope[i] - mean * map->raw[i]) / (variance + trainer_guide_eps);
        map->offset[i] = map->raw[i] - map->slope[i] * mean;
    }
}

/** Means over windows of 2 * radius + 1 entries, clipped at the ends, of `count` entries `stride` apart. */
TRAINER_INLINE void trainer_depth_slide(const float *from, size_t count, size_t stride, size_t radius,
                                        float *to) {
    double sum = 0;
    for (size_t i = 0; i < radius && i < count; i++)
        sum += from[i * stride];
    for (size_t i = 0; i < count; i++) {
        if (i + radius < count)
            sum += from[(i + radius) * stride];
        if (i > radius)
            sum -= from[(i - radius - 1) * stride];
        size_t start = i > radius ? i - radius : 0, last = i + radius < count ? i + radius : count - 1;
        to[i * stride] = (float)(sum / (double)(last - start + 1));
    }
}

TRAINER_INLINE size_t trainer_depth_radius(const trainer_depth *map) {
    return (size_t)(map->width > map->height ? map->width : map->height) / 20 + 1;
}

/** Two phases: means over windows of (2 * radius + 1)^2 cells, of rows into work's last field, and of columns
 * back. */
TRAINER_INLINE void trainer_depth_rows(trainer_depth *map, const float *values, size_t first, size_t step) {
    size_t width = (size_t)map->width, height = (size_t)map->height;
    for (size_t y = first; y < height; y += step)
        trainer_depth_slide(values + y * width, width, 1, trainer_depth_radius(map),
                            map->work + (2 * height + y) * width);
}

TRAINER_INLINE void trainer_depth_columns(trainer_depth *map, float *values, size_t first, size_t step) {
    size_t width = (size_t)map->width, height = (size_t)map->height;
    for (size_t x = first; x < width; x += step)
        trainer_depth_slide(map->work + 2 * height * width + x, height, width, trainer_depth_radius(map),
                            values + x);
}

/** The span of depth over a part of the cells; that of the map is the least and the largest of all parts. */
TRAINER_INLINE trainer_depth_span trainer_depth_span_of(const trainer_depth *map, size_t first, size_t step) {
    trainer_depth_span span;
    span.low = INFINITY;
    span.high = -INFINITY;
    for (size_t i = first; i < trainer_depth_cells(map); i += step) {
        float value = map->slope[i] * map->luma[i] + map->offset[i];
        span.low = fminf(span.low, value);
        span.high = fmaxf(span.high, value);
    }
    return span;
}

/** Bilinear interpolation between cell centres. */
TRAINER_INLINE float trainer_depth_between(const float *values, int stride, int x0, int x1, int y0, int y1,
                                           float fx, float fy) {
    float top = values[y0 * stride + x0] * (1 - fx) + values[y0 * stride + x1] * fx;
    float bottom = values[y1 * stride + x0] * (1 - fx) + values[y1 * stride + x1] * fx;
    return top * (1 - fy) + bottom * fy;
}

/** The cell before a pixel and its weight towards the next. */
TRAINER_INLINE int trainer_depth_cell(int pixel, int cell, int cells, int *next, float *weight) {
    float position = ((float)pixel + 0.5f) / (float)cell - 0.5f;
    position = fminf(fmaxf(position, 0.0f), (float)(cells - 1));
    int first = (int)position;
    *next = first + 1 < cells ? first + 1 : first;
    *weight = position - (float)first;
    return first;
}

/** Depth 0..1 of a pixel whose luma is known. */
TRAINER_INLINE float trainer_depth_at(const trainer_depth *map, trainer_depth_span span, int x, int y,
                                      float luma) {
    int x1, y1;
    float fx, fy;
    int x0 = trainer_depth_cell(x, map->cell, map->width, &x1, &fx);
    int y0 = trainer_depth_cell(y, map->cell, map->height, &y1, &fy);
    float slope = trainer_depth_between(map->slope, map->width, x0, x1, y0, y1, fx, fy);
    float value = slope * luma + trainer_depth_between(map->offset, map->width, x0, x1, y0, y1, fx, fy);
    if (span.high <= span.low)
        return 1;
    return fminf(fmaxf((value - span.low) / (span.high - span.low), 0.0f), 1.0f);
}

/** The depth of the nearest place: the first that the damage's stream gives, before the scene. */
TRAINER_INLINE float trainer_haze_nearest(trainer_random *random) {
    return (float)trainer_random_uniform(random, 0.02, 0.2);
}

/** The three samples of a pixel in haze. */
TRAINER_INLINE void trainer_haze_pixel(const trainer_damage *damage, const trainer_depth *map,
                                       trainer_depth_span span, float nearest, int x, int y,
                                       const uint8_t *clean, uint8_t *hazy) {
    float luma = (0.299f * clean[0] + 0.587f * clean[1] + 0.114f * clean[2]) / 255;
    float depth = nearest + (1 - nearest) * trainer_depth_at(map, span, x, y, luma);
    float transmission = expf(-(float)damage->haze_beta * depth), airlight = (float)damage->haze_airlight;
    for (int channel = 0; channel < 3; channel++) {
        float value = (float)clean[channel] / 255;
        hazy[channel] = trainer_to_byte(value * transmission + airlight * (1 - transmission));
    }
}

#endif
