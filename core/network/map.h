/* A feature map in memory.
 *
 * It is cut into bands of some 64 columns, as stages walk it. One band follows the other; of a band one row
 * follows the other; a row of a band holds all its channels, each a run of pixels. So what a strip takes
 * lies in one piece of memory, whatever the image's width, and the processor foresees it. Behind the
 * channels stand, close together, once more the first and the last pixel of each, for the bands beside. A
 * range of channels of a map is a map again: joining channels costs nothing.
 */
#ifndef MIRL_CORE_NETWORK_MAP_H
#define MIRL_CORE_NETWORK_MAP_H

#include "kernels/kernels.h"

static inline size_t mirl_divide_up(size_t a, size_t b) {
    return (a + b - 1) / b;
}

typedef struct mirl_map {
    float *data; ///< first pixel, first channel
    int channels;
    size_t width, height; ///< pixels
    size_t band;          ///< columns of a band; of the last one fewer may be left
    size_t pitch;         ///< floats from one channel of a band's row to the next
    size_t row;           ///< floats from one row of a band to the next
    size_t first, last;   ///< floats from a row's first channel to the first pixels, and to the last ones
} mirl_map;

/** The columns of the bands that an image `width` pixels wide is walked in. */
size_t mirl_map_band(size_t width);

/** A map without memory. `band`: a multiple of MIRL_PAD, or not less than the width. */
mirl_map mirl_map_shape(int channels, size_t width, size_t height, size_t band);

/** Floats of memory for it. */
size_t mirl_map_floats(const mirl_map *map);

/** The pixel at x in row y of one channel. Those to the right of it follow, up to the end of its band. */
static inline float *mirl_map_at(const mirl_map *map, int channel, size_t x, size_t y) {
    const size_t band = x / map->band;
    return map->data + (band * map->height + y) * map->row + (size_t)channel * map->pitch +
           (x - band * map->band);
}

/** Of `most` pixels from x on, those up to the end of its band. */
static inline size_t mirl_map_run(const mirl_map *map, size_t x, size_t most) {
    const size_t in_band = map->band - x % map->band;
    return most < in_band ? most : in_band;
}

/** The same map, seen as its channels first..first+channels-1. */
static inline mirl_map mirl_map_channels(mirl_map map, int first, int channels) {
    map.data += (size_t)first * map.pitch;
    map.first -= (size_t)first * (map.pitch - 1);
    map.last -= (size_t)first * (map.pitch - 1);
    map.channels = channels;
    return map;
}

/** Rows of a band that are asked for bit by bit, ahead of their use. */
typedef struct mirl_ahead {
    const float *next; ///< to be asked for
    size_t left, rows; ///< floats of the present row, and rows after it
    size_t row, skip;  ///< floats of a row, and from its end to the next
    size_t step;       ///< floats asked for at a time
} mirl_ahead;

/** Rows y..y+rows-1, if any, of the band that begins at x, in `steps` steps. */
static inline mirl_ahead mirl_map_ahead(const mirl_map *map, size_t x, size_t y, size_t rows, size_t steps) {
    const size_t row = map->pitch * (size_t)map->channels;
    if (rows == 0)
        return (mirl_ahead){0};
    return (mirl_ahead){mirl_map_at(map, 0, x, y),        row, rows - 1, row, map->row - row,
                        mirl_divide_up(rows * row, steps)};
}

static inline void mirl_ahead_step(mirl_ahead *ahead) {
    for (size_t asked = 0; asked < ahead->step; asked += MIRL_PAD, ahead->next += MIRL_PAD) {
        if (ahead->left == 0) {
            if (ahead->rows == 0)
                return;
            ahead->rows--;
            ahead->left = ahead->row;
            ahead->next += ahead->skip;
        }
        __builtin_prefetch(ahead->next, 0, 2);
        ahead->left -= MIRL_PAD; /* a line of the cache */
    }
}

/** Copies the rectangle of `rows` x `columns` pixels at (x, y), which may lie partly or wholly outside (zeros
 * there), of every channel to out: channels out_pitch floats apart, rows end to end. */
void mirl_map_gather(const mirl_map *map, ptrdiff_t x, ptrdiff_t y, size_t columns, size_t rows, float *out,
                     size_t out_pitch);

/** The reverse, for a rectangle inside. Keeps sides. */
void mirl_map_scatter(const mirl_map *map, size_t x, size_t y, size_t columns, size_t rows, const float *in,
                      size_t in_pitch);

/** What has written a rectangle otherwise calls this for mirl_map_gather_sides(). */
void mirl_map_keep_sides(const mirl_map *map, size_t x, size_t y, size_t columns, size_t rows);

/** One row's pixels to the left and to the right of every channel; `left` or `right` NULL: zeros. */
static inline void mirl_map_put_sides(const float *left, const float *right, int channels, float *out,
                                      size_t out_pitch) {
    for (size_t c = 0; c < (size_t)channels; c++) {
        out[c * out_pitch] = left ? left[c] : 0;
        out[c * out_pitch + 1] = right ? right[c] : 0;
    }
}

/** The pixels beside a rectangle as wide as its band, to the left and to the right of each row in turn, every
 * channel's out_pitch floats apart. */
void mirl_map_gather_sides(const mirl_map *map, size_t x, ptrdiff_t y, size_t columns, size_t rows,
                           float *out, size_t out_pitch);

#endif
