/* The network's stages: each takes maps to maps with all threads of a team and is done when it returns.
 *
 * An image is walked in bands of columns, from top to bottom, a strip of a few rows at a time, so that what
 * lies between a block's layers never leaves the second-level cache. How it is cut follows from its size
 * alone, and every sum over pixels is taken unit by unit in a fixed order: results do not depend on the
 * number of threads.
 */
#ifndef MIRL_CORE_NETWORK_STAGES_H
#define MIRL_CORE_NETWORK_STAGES_H

#include "network/map.h"
#include "network/model.h"
#include "network/reference.h"
#include "team.h"

/* ---- Memory ------------------------------------------------------------------------------------------ */

/** Hands out pieces of one block of memory. With base NULL it only counts: the same code that lays memory
 * out sizes it. */
typedef struct mirl_arena {
    float *base;
    size_t used; ///< floats
} mirl_arena;

/** `count` floats, aligned to MIRL_ALIGN. */
static inline float *mirl_arena_take(mirl_arena *arena, size_t count) {
    float *piece = arena->base ? arena->base + arena->used : NULL;
    arena->used += mirl_padded(count);
    return piece;
}

/** What every stage needs. */
typedef struct mirl_run {
    const mirl_model *model;
    mirl_reference *reference; ///< or NULL: what the stages find is theirs alone
    mirl_part part;
    mirl_team *team;
    float *scratch;        ///< team size pieces
    size_t scratch_floats; ///< a thread's piece
    float *shared;         ///< for what a stage's units leave to each other
    double share;          ///< progress that one multiply-add-equivalent of stage cost is worth
} mirl_run;

/** A stage's needs, to size mirl_run.scratch and mirl_run.shared: floats. */
typedef struct mirl_needs {
    size_t scratch, shared;
} mirl_needs;

static inline mirl_arena mirl_run_scratch(const mirl_run *run, int thread) {
    return (mirl_arena){run->scratch + (size_t)thread * run->scratch_floats, 0};
}

/* ---- Walking an image -------------------------------------------------------------------------------- */

/** How a map is cut for stages that look at neighbours. A unit is one band by one chunk of rows. */
typedef struct mirl_walk {
    size_t width, height;
    size_t band_columns, bands;
    size_t chunk_rows, chunks;
    size_t strip_rows;
} mirl_walk;

/** `channels`: the most that a strip has at a time. */
mirl_walk mirl_walk_plan(size_t width, size_t height, int channels);

/** The rectangle of one unit. */
typedef struct mirl_region {
    size_t x, y, columns, rows;
} mirl_region;

static inline size_t mirl_walk_units(const mirl_walk *walk) {
    return walk->bands * walk->chunks;
}

mirl_region mirl_walk_region(const mirl_walk *walk, size_t unit);

/** The pixels of the largest strip. */
static inline size_t mirl_walk_strip_pixels(const mirl_walk *walk) {
    return walk->strip_rows * walk->band_columns;
}

/** norm, a 1x1 convolution and a 3x3 depthwise one of its channels: what both halves of a block begin with.
 * Rows stream through: each is computed once for a region, whatever the strips. Channels come part by part of
 * the 1x1 convolution. */
typedef struct mirl_window {
    const mirl_kernels *kernels;
    const mirl_map *map; ///< input
    const float *norm_weight, *norm_bias;
    const mirl_convolution *convolution;
    const float *depthwise; ///< [channels][9]
    int first_part;         ///< of the convolution's; those before it are left out
    mirl_region region;
    size_t row;            ///< floats in a row that is convolved: region.columns + 2
    ptrdiff_t y;           ///< image row that the present strip begins with
    size_t rows;           ///< of the present strip
    size_t first;          ///< channel of the present part
    mirl_ahead ahead;      ///< the next strip's input
    float *input, *hidden; ///< strips after norm and, of the present part, after the 1x1 convolution
    float *sums;           ///< that the depthwise convolution carries, for each channel
    size_t pitch;          ///< input's and hidden's, channel to channel
    size_t sums_pitch;
} mirl_window;

/** Takes the window's memory from the arena. All parts count, until first_part is set. */
mirl_window mirl_window_create(mirl_arena *arena, const mirl_run *run, const mirl_walk *walk,
                               const mirl_map *map, int norm_weight, int norm_bias, int convolution,
                               int depthwise);

/** Goes to the top of a region: takes in the row above it and its first row. `spare`: room for a
 * row of the region. */
void mirl_window_begin(mirl_window *window, const mirl_region *region, float *spare);

/** Takes in what the strip of image rows y..y+rows-1 needs beside what has come in. */
void mirl_window_advance(mirl_window *window, size_t y, size_t rows);

/** Goes to a part of the strip: every part from first_part on, in turn. */
void mirl_window_part(mirl_window *window, int part);

/** The result of the strip for one channel of the part to out, whose rows are out_row floats apart. Called
 * once for every channel, it fetches the next strip's input meanwhile. */
void mirl_window_depthwise(mirl_window *window, size_t channel, float *out, size_t out_row);

/* ---- Stages ------------------------------------------------------------------------------------------ */

/* Every stage has a twin that tells its needs for the same arguments. All return false when cancelled. */

/** y = x + project_out(attention(norm1(x))); x is kept, y is another map of the same shape. */
bool mirl_attention(const mirl_run *run, const mirl_block *block, const mirl_map *x, const mirl_map *y);
mirl_needs mirl_attention_needs(const mirl_model *model, const mirl_block *block, const mirl_map *x);

/** x = y + ffn(norm2(y)). */
bool mirl_feed_forward(const mirl_run *run, const mirl_block *block, const mirl_map *y, const mirl_map *x);
mirl_needs mirl_feed_forward_needs(const mirl_model *model, const mirl_block *block, const mirl_map *x);

/** A 1x1 convolution, by layer index. out may share memory with in. */
bool mirl_convolve1(const mirl_run *run, int layer, const mirl_map *in, const mirl_map *out);
mirl_needs mirl_convolve1_needs(const mirl_map *in);

typedef enum mirl_rearrange {
    MIRL_KEEP,
    MIRL_UNSHUFFLE, ///< [c, 2h, 2w] to [4c, h, w]; channel 4k+2*dy+dx takes channel k at offset (dx, dy)
    MIRL_SHUFFLE,   ///< its inverse
} mirl_rearrange;

/** A 3x3 convolution, by layer index, whose result is rearranged on its way to `out`. */
bool mirl_convolve3(const mirl_run *run, int layer, mirl_rearrange rearrange, const mirl_map *in,
                    const mirl_map *out);
mirl_needs mirl_convolve3_needs(const mirl_model *model, int layer, const mirl_map *in);

/** The prompt for features x; `picture` is a map of the prompt's channels and x's size for what lies
 * between. */
bool mirl_prompt_run(const mirl_run *run, const mirl_prompt *prompt, const mirl_map *x,
                     const mirl_map *picture, const mirl_map *out);
mirl_needs mirl_prompt_needs(const mirl_model *model, const mirl_prompt *prompt, const mirl_map *x);

#endif
