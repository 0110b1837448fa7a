/* How an image is cut into tiles that fit a memory budget. */
#ifndef MIRL_CORE_RESTORE_TILES_H
#define MIRL_CORE_RESTORE_TILES_H

#include "network/reference.h"

/** One direction: `count` tiles of `size` pixels (a multiple of 8, the last may reach beyond the image),
 * which lie evenly and overlap by at least MIRL_TILE_OVERLAP. */
typedef struct mirl_tiling {
    size_t length; ///< of the image, pixels
    size_t size, count;
    size_t sample; ///< pixels of the sample, a multiple of 8: at most `size`
} mirl_tiling;

enum { MIRL_TILE_OVERLAP = 48, MIRL_TILE_SQUARE = 104 }; ///< pixels

/** The first pixel of tile i. */
size_t mirl_tiling_start(const mirl_tiling *tiling, size_t i);

/** The weight of pixel `at`, counted from the image's edge, in tile i: 0..1; those of all tiles add up to 1.
 */
float mirl_tiling_weight(const mirl_tiling *tiling, size_t i, size_t at);

/** Where a tile that begins at pixel `begin` lies in the picture as the network takes it whole. */
mirl_span mirl_tiling_span(const mirl_tiling *tiling, size_t begin);

/** A sample of the picture consists of squares of about MIRL_TILE_SQUARE pixels, each from the middle of
 * its share of the picture. The place in the picture of pixel `at` of the sample, and how many pixels from
 * there on follow each other. */
size_t mirl_tiling_sample(const mirl_tiling *tiling, size_t at, size_t *run);

typedef struct mirl_tiles {
    mirl_tiling across, down;
    int threads;     ///< that the budget allows
    uint64_t memory; ///< bytes
} mirl_tiles;

/** Cuts an image for the options' tile, threads and memory. The cut does not depend on `threads`. Fails with
 * MIRL_ERROR_MEMORY, naming the budget that would do. */
mirl_status mirl_tiles_plan(mirl_tiles *tiles, const mirl_model *model, size_t width, size_t height,
                            const mirl_options *options, int threads, mirl_error *error);

#endif
