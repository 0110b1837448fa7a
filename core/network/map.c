#include "network/map.h"

#include <string.h>

enum { WIDEST_BAND = 96 };

/* Of these the one of which the last band is fullest. */
size_t mirl_map_band(size_t width) {
    static const size_t columns[] = {64, 80, WIDEST_BAND, 48};
    size_t best = columns[0], least = SIZE_MAX;

    if (width <= WIDEST_BAND)
        return width;
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        const size_t covered = mirl_divide_up(width, columns[i]) * columns[i];
        if (covered < least) {
            least = covered;
            best = columns[i];
        }
    }
    return best;
}

mirl_map mirl_map_shape(int channels, size_t width, size_t height, size_t band) {
    mirl_map map = {.channels = channels, .width = width, .height = height, .band = band};
    map.pitch = mirl_padded(band);
    map.first = map.pitch * (size_t)channels;
    map.last = map.first + (size_t)channels;
    map.row = mirl_padded(map.last + (size_t)channels);
    return map;
}

size_t mirl_map_floats(const mirl_map *map) {
    return mirl_divide_up(map->width, map->band) * map->height * map->row;
}

void mirl_map_gather(const mirl_map *map, ptrdiff_t x, ptrdiff_t y, size_t columns, size_t rows, float *out,
                     size_t out_pitch) {
    ptrdiff_t width = (ptrdiff_t)map->width, height = (ptrdiff_t)map->height;
    ptrdiff_t begin = x < 0 ? -x : 0; /* columns begin..end-1 of the rectangle lie inside */
    ptrdiff_t end = width - x < (ptrdiff_t)columns ? width - x : (ptrdiff_t)columns;

    for (size_t r = 0; r < rows; r++, out += columns) {
        const ptrdiff_t row = y + (ptrdiff_t)r;
        if (row < 0 || row >= height || begin >= end) {
            for (size_t c = 0; c < (size_t)map->channels; c++)
                memset(out + c * out_pitch, 0, columns * sizeof *out);
            continue;
        }
        for (size_t c = 0; c < (size_t)map->channels; c++) {
            for (ptrdiff_t i = 0; i < begin; i++)
                out[c * out_pitch + (size_t)i] = 0;
            for (ptrdiff_t i = end; i < (ptrdiff_t)columns; i++)
                out[c * out_pitch + (size_t)i] = 0;
        }
        for (size_t i = (size_t)begin, run; i < (size_t)end; i += run) {
            const size_t at = (size_t)(x + (ptrdiff_t)i);
            const float *source = mirl_map_at(map, 0, at, (size_t)row);
            run = mirl_map_run(map, at, (size_t)end - i);
            for (size_t c = 0; c < (size_t)map->channels; c++)
                memcpy(out + c * out_pitch + i, source + c * map->pitch, run * sizeof *out);
        }
    }
}

void mirl_map_scatter(const mirl_map *map, size_t x, size_t y, size_t columns, size_t rows, const float *in,
                      size_t in_pitch) {
    for (size_t r = 0; r < rows; r++, in += columns)
        for (size_t i = 0, run; i < columns; i += run) {
            float *target = mirl_map_at(map, 0, x + i, y + r);
            run = mirl_map_run(map, x + i, columns - i);
            for (size_t c = 0; c < (size_t)map->channels; c++)
                memcpy(target + c * map->pitch, in + c * in_pitch + i, run * sizeof *target);
        }
    mirl_map_keep_sides(map, x, y, columns, rows);
}

void mirl_map_keep_sides(const mirl_map *map, size_t x, size_t y, size_t columns, size_t rows) {
    for (size_t at = x, run; at < x + columns; at += run) {
        run = mirl_map_run(map, at, map->width - at);
        const bool first = at % map->band == 0, last = run <= x + columns - at;
        for (size_t r = 0; r < rows; r++) {
            float *row = mirl_map_at(map, 0, at - at % map->band, y + r);
            const float *end = row + at % map->band + run - 1;
            for (size_t c = 0; first && c < (size_t)map->channels; c++)
                row[map->first + c] = row[c * map->pitch];
            for (size_t c = 0; last && c < (size_t)map->channels; c++)
                row[map->last + c] = end[c * map->pitch];
        }
    }
}

void mirl_map_gather_sides(const mirl_map *map, size_t x, ptrdiff_t y, size_t columns, size_t rows,
                           float *out, size_t out_pitch) {
    for (size_t r = 0; r < rows; r++, y++, out += 2) {
        const bool inside = y >= 0 && y < (ptrdiff_t)map->height;
        const float *left =
            inside && x > 0 ? mirl_map_at(map, 0, x - map->band, (size_t)y) + map->last : NULL;
        const float *right = inside && x + columns < map->width
                                 ? mirl_map_at(map, 0, x + columns, (size_t)y) + map->first
                                 : NULL;
        mirl_map_put_sides(left, right, map->channels, out, out_pitch);
    }
}
