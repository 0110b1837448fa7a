#include "network/map.h"

#include <string.h>

void mirl_map_gather(const mirl_map *map, ptrdiff_t x, ptrdiff_t y, size_t columns, size_t rows, float *out,
                     size_t out_pitch) {
    ptrdiff_t width = (ptrdiff_t)map->width, height = (ptrdiff_t)map->height;
    ptrdiff_t begin = x < 0 ? -x : 0; /* columns begin..end-1 of the rectangle lie inside */
    ptrdiff_t end = width - x < (ptrdiff_t)columns ? width - x : (ptrdiff_t)columns;

    for (size_t r = 0; r < rows; r++) {
        ptrdiff_t row = y + (ptrdiff_t)r;
        bool inside = row >= 0 && row < height && begin < end;
        const float *source = inside ? mirl_map_row(map, 0, (size_t)row) + x + begin : NULL;
        for (int c = 0; c < map->channels; c++) {
            float *target = out + (size_t)c * out_pitch + r * columns;
            if (!inside) {
                memset(target, 0, columns * sizeof *target);
                continue;
            }
            for (ptrdiff_t i = 0; i < begin; i++)
                target[i] = 0;
            memcpy(target + begin, source + (size_t)c * map->pitch, (size_t)(end - begin) * sizeof *target);
            for (ptrdiff_t i = end; i < (ptrdiff_t)columns; i++)
                target[i] = 0;
        }
    }
}

void mirl_map_gather_sides(const mirl_map *map, size_t x, ptrdiff_t y, size_t columns, size_t rows,
                           float *out, size_t out_pitch) {
    for (size_t r = 0; r < rows; r++, y++, out += 2) {
        const bool inside = y >= 0 && y < (ptrdiff_t)map->height;
        const float *left = inside && x > 0 ? mirl_map_row(map, 0, (size_t)y) + x - 1 : NULL;
        const float *right =
            inside && x + columns < map->width ? mirl_map_row(map, 0, (size_t)y) + x + columns : NULL;
        mirl_map_put_sides(left, right, map->pitch, map->channels, out, out_pitch);
    }
}

void mirl_map_scatter(const mirl_map *map, size_t x, size_t y, size_t columns, size_t rows, const float *in,
                      size_t in_pitch) {
    for (size_t r = 0; r < rows; r++) {
        float *target = mirl_map_row(map, 0, y + r) + x;
        for (int c = 0; c < map->channels; c++)
            memcpy(target + (size_t)c * map->pitch, in + (size_t)c * in_pitch + r * columns,
                   columns * sizeof *target);
    }
}
