#include "network/stages.h"

#include <string.h>

enum {
    BAND = 64,                /* columns */
    STRIP_FLOATS = 256 << 10, /* of all channels of a strip: a second-level cache of 1 MiB */
    MOST_STRIP_PIXELS =
        396, /* six rows of a band and its neighbours: few lanes of the last vector are idle */
    LEAST_STRIP_PIXELS = 64,
    UNITS = 4,             /* and a multiple of them, for the threads of a desktop to end together */
    LEAST_CHUNK_ROWS = 16, /* each chunk computes two rows of its neighbours again */
    CHUNK_ROWS = 96,       /* the least where there are enough units */
    LEAST_CHUNKS = 2,      /* for threads to find in their caches the rows that other stages took as pieces */
};

static size_t divide_up(size_t a, size_t b) {
    return (a + b - 1) / b;
}

mirl_walk mirl_walk_plan(size_t width, size_t height, int channels) {
    mirl_walk walk = {.width = width, .height = height};
    size_t pixels = STRIP_FLOATS / (size_t)channels;

    if (pixels > MOST_STRIP_PIXELS)
        pixels = MOST_STRIP_PIXELS;
    if (pixels < LEAST_STRIP_PIXELS)
        pixels = LEAST_STRIP_PIXELS;
    size_t bands = (width + BAND / 2) / BAND;
    walk.band_columns = bands > 1 ? mirl_padded(divide_up(width, bands)) : width;
    walk.bands = divide_up(width, walk.band_columns);
    size_t rows = pixels / (walk.band_columns + 2);
    walk.strip_rows = rows < 2 ? 2 : rows > height ? height : rows;

    size_t chunks = divide_up(UNITS, walk.bands), most = height / LEAST_CHUNK_ROWS;
    if (chunks < LEAST_CHUNKS)
        chunks = LEAST_CHUNKS;
    if (chunks > most)
        chunks = most > 0 ? most : 1;
    while (walk.bands * chunks % UNITS && height >= 2 * chunks * CHUNK_ROWS)
        chunks *= 2;
    walk.chunk_rows = divide_up(height, chunks);
    walk.chunks = divide_up(height, walk.chunk_rows);
    return walk;
}

mirl_region mirl_walk_region(const mirl_walk *walk, size_t unit) {
    mirl_region region = {unit % walk->bands * walk->band_columns, unit / walk->bands * walk->chunk_rows,
                          walk->band_columns, walk->chunk_rows};
    if (region.columns > walk->width - region.x)
        region.columns = walk->width - region.x;
    if (region.rows > walk->height - region.y)
        region.rows = walk->height - region.y;
    return region;
}

mirl_window mirl_window_create(mirl_arena *arena, const mirl_run *run, const mirl_walk *walk,
                               const mirl_map *map, int norm_weight, int norm_bias, int convolution,
                               int depthwise) {
    const mirl_model *model = run->model;
    mirl_window window = {
        .kernels = model->kernels,
        .map = map,
        .norm_weight = model->values[norm_weight],
        .norm_bias = model->values[norm_bias],
        .convolution = &model->convolutions[convolution],
        .depthwise = model->values[depthwise],
        .pitch = mirl_pitch(walk->strip_rows * (walk->band_columns + 2) + MIRL_PAD),
        .sums_pitch = 2 * mirl_padded(walk->band_columns),
    };
    window.input = mirl_arena_take(arena, window.pitch * (size_t)map->channels);
    window.hidden = mirl_arena_take(arena, window.pitch * (size_t)window.convolution->part[0].rows);
    window.sums = mirl_arena_take(arena, window.sums_pitch * (size_t)window.convolution->rows);
    return window;
}

/* The convolution that follows pads with zeros, which norm's bias has hidden. */
static void clear_outside(const mirl_window *window, int channels) {
    const size_t row = window->row;
    bool first = window->region.x == 0,
         last = window->region.x + window->region.columns == window->map->width;

    for (size_t r = 0; r < window->rows; r++) {
        ptrdiff_t y = window->y + (ptrdiff_t)r;
        bool outside = y < 0 || y >= (ptrdiff_t)window->map->height;
        if (!outside && !first && !last)
            continue;
        float *target = window->hidden + r * row;
        for (int c = 0; c < channels; c++, target += window->pitch) {
            if (outside)
                memset(target, 0, row * sizeof *target);
            if (first)
                target[0] = 0;
            if (last)
                target[row - 1] = 0;
        }
    }
}

/* The first channel of a part. */
static int first_row(const mirl_window *window, int part) {
    return part * window->convolution->part[0].rows;
}

/* Takes in rows y..y+rows-1, of which some may lie outside the image. Reads a column to either side of the
 * image too, where other memory of the network is: what comes of it is cleared. */
static void take_in(mirl_window *window, ptrdiff_t y, size_t rows) {
    const mirl_map *map = window->map;
    for (size_t r = 0; r < rows; r++)
        if (y + (ptrdiff_t)r >= 0 && y + (ptrdiff_t)r < (ptrdiff_t)map->height)
            window->kernels->norm(mirl_map_row(map, 0, (size_t)(y + (ptrdiff_t)r)) + window->region.x - 1,
                                  map->pitch, window->norm_weight, window->norm_bias, map->channels,
                                  window->input + r * window->row, window->pitch, window->row);
    window->y = y;
    window->rows = rows;

    const mirl_region *region = &window->region;
    size_t next = (size_t)(y + (ptrdiff_t)rows), end = region->y + region->rows + 1;
    end = end < map->height ? end : map->height;
    size_t left = next < end ? end - next : 0;
    window->ahead =
        mirl_map_ahead(map, (ptrdiff_t)region->x - 1, next, window->row, left < rows ? left : rows,
                       (size_t)(window->convolution->rows - first_row(window, window->first_part)));
}

void mirl_window_begin(mirl_window *window, const mirl_region *region, float *spare) {
    window->region = *region;
    window->row = region->columns + 2;
    memset(window->sums, 0, window->sums_pitch * (size_t)window->convolution->rows * sizeof *window->sums);
    take_in(window, (ptrdiff_t)region->y - 1, 2);
    for (int part = window->first_part; part < window->convolution->parts; part++) {
        mirl_window_part(window, part);
        for (size_t c = 0; c < (size_t)window->convolution->part[part].rows; c++)
            mirl_window_depthwise(window, c, spare, region->columns);
    }
}

void mirl_window_advance(mirl_window *window, size_t y, size_t rows) {
    take_in(window, (ptrdiff_t)y + 1, rows);
}

void mirl_window_part(mirl_window *window, int part) {
    const mirl_matrix *matrix = &window->convolution->part[part];

    mirl_matrix_product(window->kernels, matrix, window->input, window->pitch, window->hidden, window->pitch,
                        window->rows * window->row, NULL, 0);
    clear_outside(window, matrix->rows);
    window->first = (size_t)first_row(window, part);
}

void mirl_window_depthwise(mirl_window *window, size_t channel, float *out, size_t out_row) {
    const size_t c = window->first + channel;

    mirl_ahead_step(&window->ahead);
    window->kernels->depthwise(window->depthwise + 9 * c, window->sums + c * window->sums_pitch,
                               window->hidden + channel * window->pitch, window->row, out, out_row,
                               (int)window->rows, window->region.columns);
}
