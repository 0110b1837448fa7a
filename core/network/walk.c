#include "network/stages.h"

#include <string.h>

enum {
    MOST_STRIP_PIXELS =
        396, /* six rows of a band and its neighbours: few lanes of the last vector are idle */
    LEAST_STRIP_PIXELS = 64,
    UNITS = 4,             /* and a multiple of them, for the threads of a desktop to end together */
    LEAST_CHUNK_ROWS = 12, /* each chunk computes two rows of its neighbours again */
    CHUNK_ROWS = 96,       /* the least where there are enough units */
    LEAST_CHUNKS = 2,      /* for threads to find in their caches the rows that other stages took as pieces */
};

mirl_walk mirl_walk_plan(const mirl_kernels *kernels, size_t width, size_t height, int channels) {
    mirl_walk walk = {.width = width, .height = height};
    size_t pixels = kernels->strip_floats / (size_t)channels;

    if (pixels > MOST_STRIP_PIXELS)
        pixels = MOST_STRIP_PIXELS;
    if (pixels < LEAST_STRIP_PIXELS)
        pixels = LEAST_STRIP_PIXELS;
    walk.band_columns = mirl_map_band(width);
    walk.bands = mirl_divide_up(width, walk.band_columns);
    size_t rows = pixels / (walk.band_columns + 2);
    walk.strip_rows = rows > height ? height : rows;
    walk.strip_rows = walk.strip_rows < 2 ? 2 : walk.strip_rows; /* that windows begin with */

    size_t chunks = mirl_divide_up(UNITS, walk.bands);
    if (chunks < LEAST_CHUNKS)
        chunks = LEAST_CHUNKS;
    while (chunks > 1 && height / chunks < LEAST_CHUNK_ROWS)
        chunks /= 2;
    while (walk.bands * chunks % UNITS && height >= 2 * chunks * CHUNK_ROWS)
        chunks *= 2;
    walk.chunk_rows = mirl_divide_up(height, chunks);
    walk.chunks = mirl_divide_up(height, walk.chunk_rows);
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

size_t mirl_walk_strip_rows(const mirl_walk *walk, const mirl_region *region) {
    const size_t fit = walk->strip_rows * (walk->band_columns + 2) / (region->columns + 2);
    const size_t most = fit < mirl_walk_most_rows(walk) ? fit : mirl_walk_most_rows(walk);
    const size_t even = most - most % 2; /* as strip_rows may have to be */
    return even > walk->strip_rows ? even : walk->strip_rows;
}

/* ---- Edges ------------------------------------------------------------------------------------------- */

mirl_edges mirl_edges_take(mirl_arena *arena, const mirl_walk *walk, int channels) {
    mirl_edges edges = {
        .walk = *walk,
        .rows = mirl_map_shape(channels, walk->width, 2 * walk->chunks, walk->band_columns),
    };
    edges.columns = mirl_arena_take(arena, 2 * walk->bands * walk->height * (size_t)channels);
    edges.rows.data = mirl_arena_take(arena, mirl_map_floats(&edges.rows));
    return edges;
}

/* [channels] of image row y in a band's first or last column. */
static float *edge_column(const mirl_edges *edges, size_t band, bool last, size_t y) {
    return edges->columns + ((2 * band + last) * edges->walk.height + y) * (size_t)edges->rows.channels;
}

static void keep_row(const mirl_edges *edges, const mirl_map *map, const mirl_region *region,
                     const float *row, size_t number) {
    for (int c = 0; c < map->channels; c++, row += map->pitch)
        memcpy(mirl_map_at(&edges->rows, c, region->x, number), row, region->columns * sizeof *row);
    mirl_map_keep_sides(&edges->rows, region->x, number, region->columns, 1);
}

void mirl_edges_keep(const mirl_edges *edges, const mirl_map *map, const mirl_region *region, size_t y,
                     size_t rows) {
    const size_t band = region->x / edges->walk.band_columns, chunk = region->y / edges->walk.chunk_rows;
    const size_t bytes = (size_t)map->channels * sizeof(float);

    for (size_t r = y; r < y + rows; r++) {
        const float *row = mirl_map_at(map, 0, region->x, r);
        memcpy(edge_column(edges, band, false, r), row + map->first, bytes);
        memcpy(edge_column(edges, band, true, r), row + map->last, bytes);
        if (r == region->y)
            keep_row(edges, map, region, row, 2 * chunk);
        if (r == region->y + region->rows - 1)
            keep_row(edges, map, region, row, 2 * chunk + 1);
    }
}

/* Where the unit's chunk has the row above it, or the one below it: none in the first and the last chunk. */
static ptrdiff_t kept_row(const mirl_edges *edges, const mirl_region *region, ptrdiff_t y) {
    const ptrdiff_t chunk = (ptrdiff_t)(region->y / edges->walk.chunk_rows);
    return y < (ptrdiff_t)region->y ? 2 * chunk - 1 : 2 * chunk + 2;
}

static bool in_unit(const mirl_region *region, ptrdiff_t y) {
    return y >= (ptrdiff_t)region->y && y < (ptrdiff_t)(region->y + region->rows);
}

const float *mirl_edges_row(const mirl_edges *edges, const mirl_map *map, const mirl_region *region,
                            ptrdiff_t y, size_t *pitch) {
    if (y < 0 || y >= (ptrdiff_t)map->height)
        return NULL;
    *pitch = in_unit(region, y) ? map->pitch : edges->rows.pitch;
    return in_unit(region, y) ? mirl_map_at(map, 0, region->x, (size_t)y)
                              : mirl_map_at(&edges->rows, 0, region->x, (size_t)kept_row(edges, region, y));
}

void mirl_edges_gather_sides(const mirl_edges *edges, const mirl_region *region, ptrdiff_t y, size_t rows,
                             float *out, size_t out_pitch) {
    const size_t band = region->x / edges->walk.band_columns;

    for (size_t r = 0; r < rows; r++, y++, out += 2) {
        if (!in_unit(region, y)) {
            mirl_map_gather_sides(&edges->rows, region->x, kept_row(edges, region, y), region->columns, 1,
                                  out, out_pitch);
            continue;
        }
        const float *left = band > 0 ? edge_column(edges, band - 1, true, (size_t)y) : NULL;
        const float *right =
            band + 1 < edges->walk.bands ? edge_column(edges, band + 1, false, (size_t)y) : NULL;
        mirl_map_put_sides(left, right, edges->rows.channels, out, out_pitch);
    }
}

/* ---- Window ------------------------------------------------------------------------------------------ */

mirl_window mirl_window_create(mirl_arena *arena, const mirl_run *run, const mirl_walk *walk, int channels,
                               int norm_weight, int norm_bias, int convolution, int depthwise) {
    const mirl_model *model = run->model;
    mirl_window window = {
        .kernels = model->kernels,
        .channels = channels,
        .width = walk->width,
        .height = walk->height,
        .norm_weight = model->values[norm_weight],
        .norm_bias = model->values[norm_bias],
        .convolution = &model->convolutions[convolution],
        .depthwise = model->values[depthwise],
        .pitch = mirl_pitch(walk->strip_rows * (walk->band_columns + 2) + MIRL_PAD),
        .sums_pitch = 2 * mirl_padded(walk->band_columns),
    };
    window.input = mirl_arena_take(arena, window.pitch * (size_t)channels);
    window.hidden = mirl_arena_take(arena, window.pitch * (size_t)window.convolution->part[0].rows);
    window.sums = mirl_arena_take(arena, window.sums_pitch * (size_t)window.convolution->rows);
    return window;
}

/* The convolution that follows pads with zeros, which norm's bias has hidden. */
static void clear_outside(const mirl_window *window, int channels) {
    const size_t columns = window->region.columns;
    bool first = window->region.x == 0, last = window->region.x + columns == window->width;

    for (size_t r = 0; r < window->rows; r++) {
        ptrdiff_t y = window->y + (ptrdiff_t)r;
        bool outside = y < 0 || y >= (ptrdiff_t)window->height;
        if (!outside && !first && !last)
            continue;
        float *row = window->hidden + r * columns, *sides = window->hidden + window->rows * columns + 2 * r;
        for (int c = 0; c < channels; c++, row += window->pitch, sides += window->pitch) {
            if (outside)
                memset(row, 0, columns * sizeof *row);
            if (outside || first)
                sides[0] = 0;
            if (outside || last)
                sides[1] = 0;
        }
    }
}

void mirl_window_begin(mirl_window *window, const mirl_region *region) {
    window->region = *region;
    memset(window->sums, 0, window->sums_pitch * (size_t)window->convolution->rows * sizeof *window->sums);
}

static void normalise(const mirl_window *window, const float *in, size_t in_pitch, float *out,
                      size_t pixels) {
    window->kernels->norm(in, in_pitch, window->norm_weight, window->norm_bias, window->channels, out,
                          window->pitch, pixels);
}

void mirl_window_take_in(mirl_window *window, ptrdiff_t y, size_t rows, const float *strip, size_t pitch) {
    normalise(window, strip, pitch, window->input, rows * (window->region.columns + 2));
    window->y = y;
    window->rows = rows;
}

void mirl_window_take_in_map(mirl_window *window, ptrdiff_t y, size_t rows, const mirl_map *map) {
    const size_t x = window->region.x, columns = window->region.columns;
    float *sides = window->input + rows * columns;

    for (size_t r = 0; r < rows; r++)
        if (y + (ptrdiff_t)r >= 0 && y + (ptrdiff_t)r < (ptrdiff_t)map->height)
            normalise(window, mirl_map_at(map, 0, x, (size_t)(y + (ptrdiff_t)r)), map->pitch,
                      window->input + r * columns, columns);
    mirl_map_gather_sides(map, x, y, columns, rows, sides, window->pitch);
    normalise(window, sides, window->pitch, sides, 2 * rows);
    window->y = y;
    window->rows = rows;
}

void mirl_window_pass(mirl_window *window, float *spare) {
    for (int part = mirl_window_first_part(window); part < window->convolution->parts; part++) {
        const size_t channels = mirl_window_part(window, part);
        for (size_t c = 0; c < channels; c++)
            mirl_window_depthwise(window, c, spare, window->region.columns);
    }
}

mirl_ahead mirl_window_ahead(const mirl_window *window, const mirl_map *map, size_t steps) {
    const mirl_region *region = &window->region;
    const size_t next = (size_t)(window->y + (ptrdiff_t)window->rows);
    const size_t below = region->y + region->rows + 1, end = below < map->height ? below : map->height;
    const size_t left = next < end ? end - next : 0;

    return mirl_map_ahead(map, region->x, next, left < window->rows ? left : window->rows, steps);
}

int mirl_window_first_part(const mirl_window *window) {
    return window->first_channel / window->convolution->part[0].rows;
}

size_t mirl_window_part(mirl_window *window, int part) {
    const int begin = part * window->convolution->part[0].rows;
    int skipped = window->first_channel > begin ? window->first_channel - begin : 0;
    const mirl_matrix matrix = mirl_matrix_from(&window->convolution->part[part], &skipped);

    mirl_matrix_product(window->kernels, &matrix, window->input, window->pitch, window->hidden, window->pitch,
                        window->rows * (window->region.columns + 2), NULL, 0);
    clear_outside(window, matrix.rows);
    window->first = (size_t)(begin + skipped);
    return (size_t)matrix.rows;
}

void mirl_window_depthwise(mirl_window *window, size_t channel, float *out, size_t out_row) {
    const size_t c = window->first + channel;

    mirl_ahead_step(&window->ahead[0]);
    mirl_ahead_step(&window->ahead[1]);
    window->kernels->depthwise(window->depthwise + 9 * c, window->sums + c * window->sums_pitch,
                               window->hidden + channel * window->pitch, out, out_row, (int)window->rows,
                               window->region.columns);
}
