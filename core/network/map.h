/* A feature map in memory.
 *
 * The rows of an image are grouped into slabs; a slab holds, one channel after the other, its rows of that
 * channel end to end. So a product over a slab's pixels walks memory in order whatever the image's width,
 * and a range of channels of a map is a map again: joining channels costs nothing.
 */
#ifndef MIRL_CORE_NETWORK_MAP_H
#define MIRL_CORE_NETWORK_MAP_H

#include "mirl.h"

typedef struct mirl_map {
    float *data; ///< first slab, first channel
    int channels;
    size_t width, height; ///< pixels
    size_t slab_rows;     ///< rows in a slab; the last slab may use fewer
    size_t pitch;         ///< floats from one channel of a slab to the next, slab_rows * width padded
    size_t slab_stride;   ///< floats from one slab to the next
} mirl_map;

/** Slabs that a map of this height has. */
static inline size_t mirl_map_slabs(const mirl_map *map) {
    return (map->height + map->slab_rows - 1) / map->slab_rows;
}

/** The pixels of row y in one channel. */
static inline float *mirl_map_row(const mirl_map *map, int channel, size_t y) {
    return map->data + y / map->slab_rows * map->slab_stride + (size_t)channel * map->pitch +
           y % map->slab_rows * map->width;
}

/** The same map, seen as its channels first..first+channels-1. */
static inline mirl_map mirl_map_channels(mirl_map map, int first, int channels) {
    map.data += (size_t)first * map.pitch;
    map.channels = channels;
    return map;
}

/** What a stage that looks at single pixels takes at a time: a run of a slab's pixels. */
typedef struct mirl_piece {
    size_t slab, at; ///< which slab, and the first pixel in each of its channels
    size_t pixels;   ///< 1..MIRL_PIECE
} mirl_piece;

enum { MIRL_PIECE = 256 };

static inline size_t mirl_map_slab_pieces(const mirl_map *map) {
    return (map->slab_rows * map->width + MIRL_PIECE - 1) / MIRL_PIECE;
}

/** Pieces that a map has. Rows that its last slab does not use count as well. */
static inline size_t mirl_map_pieces(const mirl_map *map) {
    return mirl_map_slabs(map) * mirl_map_slab_pieces(map);
}

static inline mirl_piece mirl_map_piece(const mirl_map *map, size_t number) {
    size_t pieces = mirl_map_slab_pieces(map);
    mirl_piece piece = {number / pieces, number % pieces * MIRL_PIECE, MIRL_PIECE};
    size_t left = map->slab_rows * map->width - piece.at;
    piece.pixels = left < MIRL_PIECE ? left : MIRL_PIECE;
    return piece;
}

/** A piece's pixels in the first channel; other channels follow map->pitch apart. */
static inline float *mirl_map_piece_data(const mirl_map *map, mirl_piece piece) {
    return map->data + piece.slab * map->slab_stride + piece.at;
}

/** Asks for share `part` of `parts` of the memory of a rectangle inside the map, ahead of its use; `write`:
 * to be written. Strips take memory in many short pieces, which the processor does not foresee. */
static inline void mirl_map_prefetch(const mirl_map *map, size_t x, size_t y, size_t columns, size_t rows,
                                     size_t part, size_t parts, bool write) {
    const size_t pieces = rows * (size_t)map->channels, line = 16; /* floats in a cache line */
    for (size_t i = pieces * part / parts; i < pieces * (part + 1) / parts; i++) {
        const float *piece = mirl_map_row(map, (int)(i / rows), y + i % rows) + x;
        for (size_t k = 0; k < columns; k += line)
            if (write)
                __builtin_prefetch(piece + k, 1, 2);
            else
                __builtin_prefetch(piece + k, 0, 2);
    }
}

/** Copies the rectangle of `rows` x `columns` pixels at (x, y), which may lie partly or wholly outside (zeros
 * there), of every channel to out: channels out_pitch floats apart, rows end to end. */
void mirl_map_gather(const mirl_map *map, ptrdiff_t x, ptrdiff_t y, size_t columns, size_t rows, float *out,
                     size_t out_pitch);

/** The reverse, for a rectangle inside. */
void mirl_map_scatter(const mirl_map *map, size_t x, size_t y, size_t columns, size_t rows, const float *in,
                      size_t in_pitch);

#endif
