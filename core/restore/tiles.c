#include "restore/tiles.h"

#include "error.h"
#include "network/network.h"

enum {
    LARGEST_WHOLE = 1088 * 1088,  /* pixels, if the budget allows for it */
    LARGEST = 560 * 1024,         /* pixels of one of several: larger ones save little */
    SMALLEST = 192,               /* below, tiles are mostly overlap */
    LARGEST_SAMPLE = 320,         /* what a sample takes is computed beside the picture */
    RAMP = MIRL_TILE_OVERLAP / 2, /* pixels; a quarter of the overlap on either side is not used */
    COUNTED_THREADS = 8, /* for whose scratch the cut leaves room; a smaller budget means fewer threads */
};

static const uint64_t DEFAULT_MEMORY = (uint64_t)512 << 20;

static size_t multiple_of_8(size_t n) {
    return (n + 7) / 8 * 8;
}

/* `count` tiles, no larger than covering the length takes. */
static mirl_tiling tiling_of(size_t length, size_t count) {
    size_t covered = length + (count - 1) * MIRL_TILE_OVERLAP;
    size_t size = multiple_of_8(mirl_divide_up(covered, count));
    return (mirl_tiling){length, size, count, size < LARGEST_SAMPLE ? size : LARGEST_SAMPLE};
}

/* As few tiles of at most `most` pixels as cover the length. */
static size_t count_of(size_t length, size_t most) {
    return length <= most ? 1 : mirl_divide_up(length - MIRL_TILE_OVERLAP, most - MIRL_TILE_OVERLAP);
}

size_t mirl_tiling_start(const mirl_tiling *tiling, size_t i) {
    if (tiling->count == 1)
        return 0;
    return (tiling->length - tiling->size) * i / (tiling->count - 1);
}

/* The share of the later of two tiles that overlap in begin..end-1: a ramp in the middle. Neighbouring ramps
 * never meet: where there are three tiles or more, they have 96 pixels or more. */
static float ramp(size_t begin, size_t end, size_t at) {
    float middle = (float)(begin + end) / 2;
    float t = ((float)at + 0.5f - middle) / RAMP + 0.5f;
    return t < 0 ? 0 : t > 1 ? 1 : t * t * (3 - 2 * t);
}

float mirl_tiling_weight(const mirl_tiling *tiling, size_t i, size_t at) {
    float weight = 1;
    size_t start = mirl_tiling_start(tiling, i);
    if (i > 0)
        weight *= ramp(start, mirl_tiling_start(tiling, i - 1) + tiling->size, at);
    if (i + 1 < tiling->count)
        weight *= 1 - ramp(mirl_tiling_start(tiling, i + 1), start + tiling->size, at);
    return weight;
}

mirl_span mirl_tiling_span(const mirl_tiling *tiling, size_t begin) {
    return (mirl_span){(float)begin, (float)multiple_of_8(tiling->length)};
}

size_t mirl_tiling_sample(const mirl_tiling *tiling, size_t at, size_t *run) {
    const size_t most = tiling->sample / MIRL_TILE_SQUARE;
    const size_t squares = tiling->sample >= tiling->length ? 1 : most < 2 ? 2 : most;
    const size_t square = tiling->sample / squares,
                 number = at / square < squares ? at / square : squares - 1;
    const size_t size = number + 1 < squares ? square : tiling->sample - number * square;
    const size_t within = at - number * square;

    *run = size - within;
    return within + (squares > 1 ? (tiling->length * (2 * number + 1) / squares - size) / 2 : 0);
}

/* What a cut takes; each thread adds as much as another. */
static uint64_t memory_of(const mirl_model *model, const mirl_tiles *tiles, int threads) {
    uint64_t bytes = mirl_network_bytes(model, tiles->across.size, tiles->down.size, threads);
    if (tiles->across.count * tiles->down.count > 1)
        bytes += (uint64_t)3 * tiles->across.length * tiles->down.size * sizeof(float) +
                 mirl_reference_bytes(model);
    return bytes;
}

static uint64_t pixels_of(const mirl_tiles *tiles) {
    return (uint64_t)tiles->across.size * tiles->across.count * tiles->down.size * tiles->down.count;
}

static bool fits(const mirl_tiles *tiles, const mirl_model *model, uint64_t budget) {
    const bool whole = tiles->across.count * tiles->down.count == 1;
    return tiles->across.size * tiles->down.size <= (whole ? LARGEST_WHOLE : LARGEST) &&
           memory_of(model, tiles, COUNTED_THREADS) <= budget;
}

/* The cut that fits the budget with the fewest pixels to compute. If none does, the smallest tiles. */
static void find_cut(mirl_tiles *tiles, const mirl_model *model, size_t width, size_t height,
                     uint64_t budget) {
    const size_t most_columns = count_of(width, SMALLEST), most_rows = count_of(height, SMALLEST);
    mirl_tiles tried;

    tiles->across = tiling_of(width, most_columns);
    tiles->down = tiling_of(height, most_rows);
    if (!fits(tiles, model, budget))
        return;
    uint64_t least = UINT64_MAX;
    for (size_t columns = 1; columns <= most_columns; columns++) {
        tried.across = tiling_of(width, columns);
        for (size_t rows = 1; rows <= most_rows; rows++) {
            tried.down = tiling_of(height, rows);
            if (pixels_of(&tried) >= least)
                break;
            if (fits(&tried, model, budget)) {
                least = pixels_of(&tried);
                tiles->across = tried.across;
                tiles->down = tried.down;
                break;
            }
        }
    }
}

mirl_status mirl_tiles_plan(mirl_tiles *tiles, const mirl_model *model, size_t width, size_t height,
                            const mirl_options *options, int threads, mirl_error *error) {
    uint64_t budget = options->memory ? options->memory : DEFAULT_MEMORY;

    if (options->tile != MIRL_TILE_AUTO) {
        const size_t side =
            options->tile == MIRL_TILE_WHOLE ? SIZE_MAX : multiple_of_8((size_t)options->tile);
        tiles->across = tiling_of(width, count_of(width, side));
        tiles->down = tiling_of(height, count_of(height, side));
        if (!options->memory)
            budget = UINT64_MAX;
    } else {
        find_cut(tiles, model, width, height, budget);
    }

    const uint64_t fixed = memory_of(model, tiles, 0), least = memory_of(model, tiles, 1);
    if (least > budget)
        return mirl_fail(error, MIRL_ERROR_MEMORY,
                         "%zu x %zu pixels in tiles of %zu x %zu need %.0f MiB of memory, %.0f are allowed",
                         width, height, tiles->across.size, tiles->down.size, (double)least / (1 << 20),
                         (double)budget / (1 << 20));
    const uint64_t affordable = (budget - fixed) / (least - fixed);
    tiles->threads = affordable < (uint64_t)threads ? (int)affordable : threads;
    tiles->memory = memory_of(model, tiles, tiles->threads);
    return MIRL_OK;
}
