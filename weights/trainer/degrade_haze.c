/* Haze: the picture fades to the airlight with a depth made up for it, a ramp with regions that follow the
 * picture's own. DEGRADATIONS.md has the formulas. */
#include "trainer/degrade_kinds.h"

#include <math.h>
#include <stdlib.h>

#include "error.h"

enum { GRID = 96, REGIONS = 6, WAVES = 3 };

static const float guide_eps = 4e-3f; ///< variance of luma below which the filter smooths

/** The depth of a picture on a coarse grid: depth = slope * luma + offset, then scaled to 0..1. */
typedef struct depth_map {
    int cell; ///< pixels a side
    int width, height;
    float *luma, *slope, *offset;
    float low, high;
    float *memory;
} depth_map;

static float luma_of(const uint8_t *rgb) {
    return (0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2]) / 255;
}

/** Mean colour of each cell, from at most 3x3 of its pixels; colours is [height][width][3] in 0..1. */
static void sample_cells(const trainer_picture *picture, depth_map *map, float *colours) {
    int step = (map->cell + 2) / 3;
    for (int v = 0; v < map->height; v++) {
        for (int u = 0; u < map->width; u++) {
            int sum[3] = {0}, count = 0;
            for (int y = v * map->cell; y < (v + 1) * map->cell && y < picture->height; y += step) {
                for (int x = u * map->cell; x < (u + 1) * map->cell && x < picture->width; x += step) {
                    const uint8_t *rgb = trainer_picture_at(picture, x, y);
                    for (int channel = 0; channel < 3; channel++)
                        sum[channel] += rgb[channel];
                    count++;
                }
            }
            float *colour = colours + ((size_t)v * (size_t)map->width + (size_t)u) * 3;
            for (int channel = 0; channel < 3; channel++)
                colour[channel] = (float)sum[channel] / (255.0f * (float)count);
        }
    }
}

/** A region is what looks most like one of a few cells picked at random; each stands nearer or farther. */
typedef struct regions {
    float colour[REGIONS][3];
    float shift[REGIONS];
} regions;

static float region_shift(const regions *all, const float *colour) {
    float best = INFINITY, shift = 0;
    for (int i = 0; i < REGIONS; i++) {
        float distance = 0;
        for (int channel = 0; channel < 3; channel++) {
            float difference = colour[channel] - all->colour[i][channel];
            distance += difference * difference;
        }
        if (distance < best) {
            best = distance;
            shift = all->shift[i];
        }
    }
    return shift;
}

/** The raw depth of every cell: a ramp towards the top, regions, and slow waves. */
static void raw_depth(const depth_map *map, const float *colours, trainer_random *random, float *depth) {
    double power = trainer_random_uniform(random, 1, 2.5), tilt = trainer_random_uniform(random, -0.4, 0.4);
    double wave_height = trainer_random_uniform(random, 0, 0.3) / WAVES;
    double wave[WAVES][3];
    for (int i = 0; i < WAVES; i++) {
        wave[i][0] = trainer_random_uniform(random, -1.5, 1.5);
        wave[i][1] = trainer_random_uniform(random, -1.5, 1.5);
        wave[i][2] = trainer_random_uniform(random, 0, 1);
    }
    regions all;
    for (int i = 0; i < REGIONS; i++) {
        uint64_t cell = trainer_random_below(random, (uint64_t)map->width * (uint64_t)map->height);
        for (int channel = 0; channel < 3; channel++)
            all.colour[i][channel] = colours[cell * 3 + (uint64_t)channel];
        all.shift[i] = (float)trainer_random_uniform(random, -0.35, 0.35);
    }
    for (int y = 0; y < map->height; y++) {
        for (int x = 0; x < map->width; x++) {
            double u = (x + 0.5) / map->width, v = (y + 0.5) / map->height;
            double up = fmin(fmax(1 - v + tilt * (u - 0.5), 0), 1);
            double value = pow(up, power);
            for (int i = 0; i < WAVES; i++)
                value += wave_height * cos(2 * M_PI * (wave[i][0] * u + wave[i][1] * v + wave[i][2]));
            size_t at = (size_t)y * (size_t)map->width + (size_t)x;
            depth[at] = (float)value + region_shift(&all, colours + at * 3);
        }
    }
}

/** Means over windows of 2 * radius + 1 entries, clipped at the ends, of `count` entries `stride` apart. */
static void slide(const float *from, size_t count, size_t stride, size_t radius, float *to) {
    double sum = 0;
    for (size_t i = 0; i < radius && i < count; i++)
        sum += from[i * stride];
    for (size_t i = 0; i < count; i++) {
        if (i + radius < count)
            sum += from[(i + radius) * stride];
        if (i > radius)
            sum -= from[(i - radius - 1) * stride];
        size_t first = i > radius ? i - radius : 0, last = i + radius < count ? i + radius : count - 1;
        to[i * stride] = (float)(sum / (double)(last - first + 1));
    }
}

/** Means over windows of (2 * radius + 1)^2 cells; values is replaced. */
static void box_mean(float *values, size_t width, size_t height, size_t radius, float *scratch) {
    for (size_t y = 0; y < height; y++)
        slide(values + y * width, width, 1, radius, scratch + y * width);
    for (size_t x = 0; x < width; x++)
        slide(scratch + x, height, width, radius, values + x);
}

/** He, Sun: Fast Guided Filter (arXiv 1505.00996), on the grid: slope and offset of depth over luma.
 * work: 3 * cells floats beside depth, which is used up. */
static void guide(depth_map *map, float *depth, float *work) {
    size_t width = (size_t)map->width, height = (size_t)map->height, cells = width * height;
    size_t radius = (width > height ? width : height) / 20 + 1;
    float *mean = work, *square = work + cells, *scratch = work + 2 * cells;
    for (size_t i = 0; i < cells; i++) {
        mean[i] = map->luma[i];
        square[i] = map->luma[i] * map->luma[i];
        map->slope[i] = map->luma[i] * depth[i];
    }
    box_mean(mean, width, height, radius, scratch);
    box_mean(square, width, height, radius, scratch);
    box_mean(map->slope, width, height, radius, scratch);
    box_mean(depth, width, height, radius, scratch);
    for (size_t i = 0; i < cells; i++) {
        float variance = square[i] - mean[i] * mean[i];
        map->slope[i] = (map->slope[i] - mean[i] * depth[i]) / (variance + guide_eps);
        map->offset[i] = depth[i] - map->slope[i] * mean[i];
    }
    box_mean(map->slope, width, height, radius, scratch);
    box_mean(map->offset, width, height, radius, scratch);
    map->low = INFINITY;
    map->high = -INFINITY;
    for (size_t i = 0; i < cells; i++) {
        float value = map->slope[i] * map->luma[i] + map->offset[i];
        map->low = fminf(map->low, value);
        map->high = fmaxf(map->high, value);
    }
}

static mirl_status make_depth(const trainer_picture *picture, trainer_random *random, depth_map *map,
                              mirl_error *error) {
    int side = picture->width > picture->height ? picture->width : picture->height;
    map->cell = (side + GRID - 1) / GRID;
    map->width = (picture->width + map->cell - 1) / map->cell;
    map->height = (picture->height + map->cell - 1) / map->cell;
    size_t cells = (size_t)map->width * (size_t)map->height;
    map->memory = malloc(7 * cells * sizeof(float));
    if (!map->memory)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for the depth of %zu cells", cells);
    map->luma = map->memory;
    map->slope = map->luma + cells;
    map->offset = map->slope + cells;
    float *depth = map->offset + cells, *work = depth + cells; // work: 3 * cells
    sample_cells(picture, map, work);
    for (size_t i = 0; i < cells; i++)
        map->luma[i] = 0.299f * work[3 * i] + 0.587f * work[3 * i + 1] + 0.114f * work[3 * i + 2];
    raw_depth(map, work, random, depth);
    guide(map, depth, work);
    return MIRL_OK;
}

/** Bilinear interpolation between cell centres. */
static float between(const float *values, int stride, int x0, int x1, int y0, int y1, float fx, float fy) {
    float top = values[y0 * stride + x0] * (1 - fx) + values[y0 * stride + x1] * fx;
    float bottom = values[y1 * stride + x0] * (1 - fx) + values[y1 * stride + x1] * fx;
    return top * (1 - fy) + bottom * fy;
}

/** The cell before a pixel and its weight towards the next. */
static int cell_of(int pixel, int cell, int cells, int *next, float *weight) {
    float position = ((float)pixel + 0.5f) / (float)cell - 0.5f;
    position = fminf(fmaxf(position, 0), (float)(cells - 1));
    int first = (int)position;
    *next = first + 1 < cells ? first + 1 : first;
    *weight = position - (float)first;
    return first;
}

/** Depth 0..1 of a pixel whose luma is known. */
static float depth_at(const depth_map *map, int x, int y, float luma) {
    int x1, y1;
    float fx, fy;
    int x0 = cell_of(x, map->cell, map->width, &x1, &fx), y0 = cell_of(y, map->cell, map->height, &y1, &fy);
    float slope = between(map->slope, map->width, x0, x1, y0, y1, fx, fy);
    float value = slope * luma + between(map->offset, map->width, x0, x1, y0, y1, fx, fy);
    if (map->high <= map->low)
        return 1;
    return fminf(fmaxf((value - map->low) / (map->high - map->low), 0), 1);
}

mirl_status trainer_degrade_haze(const trainer_damage *damage, const trainer_picture *picture,
                                 trainer_rectangle rectangle, uint8_t *rgb, mirl_error *error) {
    trainer_random random = damage->random;
    float nearest = (float)trainer_random_uniform(&random, 0.02, 0.2);
    float beta = (float)damage->haze_beta, airlight = (float)damage->haze_airlight;
    depth_map map = {0};
    if (make_depth(picture, &random, &map, error) != MIRL_OK)
        return MIRL_ERROR_MEMORY;
    for (int y = rectangle.y; y < rectangle.y + rectangle.height; y++) {
        for (int x = rectangle.x; x < rectangle.x + rectangle.width; x++) {
            const uint8_t *clean = trainer_picture_at(picture, x, y);
            float depth = nearest + (1 - nearest) * depth_at(&map, x, y, luma_of(clean));
            float transmission = expf(-beta * depth);
            for (int channel = 0; channel < 3; channel++) {
                float value = (float)clean[channel] / 255;
                *rgb++ = trainer_to_byte(value * transmission + airlight * (1 - transmission));
            }
        }
    }
    free(map.memory);
    return MIRL_OK;
}
