/* A feature map in memory.
 *
 * One row of the image after the other; a row holds all its channels, each a run of `width` pixels. So a
 * product over a row's pixels walks memory in order, and a range of channels of a map is a map again: joining
 * channels costs nothing.
 */
#ifndef MIRL_CORE_NETWORK_MAP_H
#define MIRL_CORE_NETWORK_MAP_H

#include "mirl.h"

typedef struct mirl_map {
    float *data; ///< first row, first channel
    int channels;
    size_t width, height; ///< pixels
    size_t pitch;         ///< floats from one channel of a row to the next
    size_t row;           ///< floats from one row to the next
} mirl_map;

/** The pixels of row y in one channel. */
static inline float *mirl_map_row(const mirl_map *map, int channel, size_t y) {
    return map->data + y * map->row + (size_t)channel * map->pitch;
}

/** The same map, seen as its channels first..first+channels-1. */
static inline mirl_map mirl_map_channels(mirl_map map, int first, int channels) {
    map.data += (size_t)first * map.pitch;
    map.channels = channels;
    return map;
}

/** What a stage that looks at single pixels takes at a time: a run of a row's pixels. */
typedef struct mirl_piece {
    size_t x, y;
    size_t pixels; ///< 1..MIRL_PIECE
} mirl_piece;

enum { MIRL_PIECE = 256 };

static inline size_t mirl_map_row_pieces(const mirl_map *map) {
    return (map->width + MIRL_PIECE - 1) / MIRL_PIECE;
}

/** Pieces that a map has. */
static inline size_t mirl_map_pieces(const mirl_map *map) {
    return map->height * mirl_map_row_pieces(map);
}

static inline mirl_piece mirl_map_piece(const mirl_map *map, size_t number) {
    size_t pieces = mirl_map_row_pieces(map);
    mirl_piece piece = {number % pieces * MIRL_PIECE, number / pieces, MIRL_PIECE};
    size_t left = map->width - piece.x;
    piece.pixels = left < MIRL_PIECE ? left : MIRL_PIECE;
    return piece;
}

/** A piece's pixels in the first channel; other channels follow map->pitch apart. */
static inline float *mirl_map_piece_data(const mirl_map *map, mirl_piece piece) {
    return mirl_map_row(map, 0, piece.y) + piece.x;
}

/** A rectangle of a map that is asked for bit by bit, ahead of its use: strips take memory in many short
 * pieces, which the processor does not foresee. */
typedef struct mirl_ahead {
    const mirl_map *map;
    ptrdiff_t x;
    size_t y, columns, rows;
    size_t pieces; ///< asked for by each step
    size_t row;    ///< asked for next
    int channel;   ///< likewise
} mirl_ahead;

/** To be asked for in `steps` steps. The rectangle may have no rows, and columns outside. */
static inline mirl_ahead mirl_map_ahead(const mirl_map *map, ptrdiff_t x, size_t y, size_t columns,
                                        size_t rows, size_t steps) {
    return (mirl_ahead){map, x, y, columns, rows, (rows * (size_t)map->channels + steps - 1) / steps, 0, 0};
}

static inline void mirl_ahead_step(mirl_ahead *ahead) {
    const ptrdiff_t line = 16; /* floats in a cache line; rows of maps begin with one */
    const ptrdiff_t first = ahead->x & -line, end = ahead->x + (ptrdiff_t)ahead->columns;
    for (size_t i = 0; i < ahead->pieces && ahead->channel < ahead->map->channels; i++) {
        const float *row = mirl_map_row(ahead->map, ahead->channel, ahead->y + ahead->row);
        for (ptrdiff_t x = first; x < end; x += line)
            __builtin_prefetch(row + x, 0, 2);
        if (++ahead->row == ahead->rows) {
            ahead->row = 0;
            ahead->channel++;
        }
    }
}

/** Copies the rectangle of `rows` x `columns` pixels at (x, y), which may lie partly or wholly outside (zeros
 * there), of every channel to out: channels out_pitch floats apart, rows end to end. */
void mirl_map_gather(const mirl_map *map, ptrdiff_t x, ptrdiff_t y, size_t columns, size_t rows, float *out,
                     size_t out_pitch);

/** One row's pixels to the left and to the right of every channel, those of `left` and `right` (NULL: zeros)
 * being `pitch` floats apart. */
static inline void mirl_map_put_sides(const float *left, const float *right, size_t pitch, int channels,
                                      float *out, size_t out_pitch) {
    for (size_t c = 0; c < (size_t)channels; c++) {
        out[c * out_pitch] = left ? left[c * pitch] : 0;
        out[c * out_pitch + 1] = right ? right[c * pitch] : 0;
    }
}

/** The pixels beside that rectangle, to the left and to the right of each row in turn, every channel's
 * out_pitch floats apart. */
void mirl_map_gather_sides(const mirl_map *map, size_t x, ptrdiff_t y, size_t columns, size_t rows,
                           float *out, size_t out_pitch);

/** The reverse of mirl_map_gather(), for a rectangle inside. */
void mirl_map_scatter(const mirl_map *map, size_t x, size_t y, size_t columns, size_t rows, const float *in,
                      size_t in_pitch);

#endif
