#include "network/stages.h"

#include <string.h>

enum {
    BAND = 64,             /* columns */
    STRIP_FLOATS = 160000, /* of all channels of a strip: about a third of a second-level cache */
    MOST_STRIP_PIXELS = 272,
    LEAST_STRIP_PIXELS = 64,
    UNITS = 16,            /* enough for the threads of a desktop to end together */
    LEAST_CHUNK_ROWS = 16, /* each chunk computes two rows of its neighbours again */
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
    walk.strip_rows = rows < 1 ? 1 : rows > height ? height : rows;

    size_t chunks = divide_up(UNITS, walk.bands), most = height / LEAST_CHUNK_ROWS;
    if (chunks > most)
        chunks = most > 0 ? most : 1;
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
                               const mirl_map *map, int norm_weight, int norm_bias, int matrix) {
    const mirl_model *model = run->model;
    size_t row = walk->band_columns + 2;
    mirl_window window = {
        .kernels = model->kernels,
        .map = map,
        .norm_weight = model->values[norm_weight],
        .norm_bias = model->values[norm_bias],
        .matrix = &model->matrices[matrix],
        .input_pitch = mirl_pitch((walk->strip_rows > 2 ? walk->strip_rows : 2) * row),
    };
    /* Two rows before the strip, and a vector before and after for what alignment and padding take. */
    window.output_pitch = mirl_pitch(2 * row + MIRL_PAD + window.input_pitch + MIRL_PAD);
    window.input = mirl_arena_take(arena, window.input_pitch * (size_t)map->channels);
    window.output = mirl_arena_take(arena, window.output_pitch * (size_t)window.matrix->rows);
    return window;
}

/* Computes rows y..y+rows-1 (of which some may lie outside the image) and puts them at row `slot`. */
static void fill(mirl_window *window, ptrdiff_t y, size_t rows, size_t slot) {
    const mirl_region *region = &window->region;
    const size_t row = window->row, pixels = rows * row;
    const ptrdiff_t left = (ptrdiff_t)region->x - 1;

    mirl_map_gather(window->map, left, y, row, rows, window->input, window->input_pitch);
    window->kernels->norm(window->input, window->input_pitch, window->norm_weight, window->norm_bias,
                          window->map->channels, window->input, window->input_pitch, pixels);
    float *output = window->output + slot * row;
    mirl_matrix_product(window->kernels, window->matrix, window->input, window->input_pitch, output,
                        window->output_pitch, pixels, false);

    /* The convolution that follows pads with zeros, which norm's bias has hidden. */
    bool first = left < 0, last = region->x + region->columns == window->map->width;
    for (size_t r = 0; r < rows; r++) {
        bool outside = y + (ptrdiff_t)r < 0 || y + (ptrdiff_t)r >= (ptrdiff_t)window->map->height;
        if (!outside && !first && !last)
            continue;
        float *target = output + r * row;
        for (int c = 0; c < window->matrix->rows; c++, target += window->output_pitch) {
            if (outside)
                memset(target, 0, row * sizeof *target);
            if (first)
                target[0] = 0;
            if (last)
                target[row - 1] = 0;
        }
    }
}

void mirl_window_begin(mirl_window *window, const mirl_region *region) {
    window->region = *region;
    window->row = region->columns + 2;
    /* So that a strip's first row, behind the two that it inherits, is aligned. */
    window->output += mirl_padded(2 * window->row) - 2 * window->row;
    fill(window, (ptrdiff_t)region->y - 1, 2, 0);
}

void mirl_window_advance(mirl_window *window, size_t y, size_t rows) {
    fill(window, (ptrdiff_t)y + 1, rows, 2);
}

void mirl_window_roll(mirl_window *window, size_t rows) {
    float *output = window->output;
    for (int c = 0; c < window->matrix->rows; c++, output += window->output_pitch)
        memmove(output, output + rows * window->row, 2 * window->row * sizeof *output);
}
