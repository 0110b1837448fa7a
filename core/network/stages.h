/* The network's stages: each takes maps to maps with all threads of a team and is done when it returns.
 *
 * An image is walked in bands of columns, from top to bottom, a strip of a few rows at a time, so that what
 * lies between a block's layers never leaves the second-level cache. How it is cut follows from its size
 * and the kernels, and every sum over pixels is taken unit by unit in a fixed order: results do not depend on
 * the number of threads.
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
    size_t strip_rows; ///< in a whole band
} mirl_walk;

/** `channels`: the most that a strip has at a time. */
mirl_walk mirl_walk_plan(const mirl_kernels *kernels, size_t width, size_t height, int channels);

/** The rectangle of one unit. */
typedef struct mirl_region {
    size_t x, y, columns, rows;
} mirl_region;

static inline size_t mirl_walk_units(const mirl_walk *walk) {
    return walk->bands * walk->chunks;
}

mirl_region mirl_walk_region(const mirl_walk *walk, size_t unit);

/** The most rows that a strip has. */
static inline size_t mirl_walk_most_rows(const mirl_walk *walk) {
    return 2 * walk->strip_rows;
}

/** The rows of a unit's strips: where a last band is narrow up to twice as many, for as many pixels. */
size_t mirl_walk_strip_rows(const mirl_walk *walk, const mirl_region *region);

/** Those of the strip that begins `done` rows below the unit's first: what is left of it. */
static inline size_t mirl_walk_strip(const mirl_walk *walk, const mirl_region *region, size_t done) {
    const size_t rows = mirl_walk_strip_rows(walk, region), left = region->rows - done;
    return left < rows ? left : rows;
}

/** The pixels of the largest strip. */
static inline size_t mirl_walk_strip_pixels(const mirl_walk *walk) {
    return walk->strip_rows * walk->band_columns;
}

/* A strip of a unit that is convolved, in memory: for every channel its rows, region.columns pixels each, end
 * to end, and behind the last one the pixel to the left and the one to the right of each row. */

/** What a stage that overwrites a map unit by unit keeps of it before, for the units beside: the first and
 * last column of each band, and the first and last row of each chunk. */
typedef struct mirl_edges {
    mirl_walk walk;
    float *columns; ///< [bands][first, last][height][channels]
    mirl_map rows;  ///< first and last of chunk 0, of chunk 1, ...
} mirl_edges;

mirl_edges mirl_edges_take(mirl_arena *arena, const mirl_walk *walk, int channels);

/** Keeps what rows y..y+rows-1 of a unit have of its edges. */
void mirl_edges_keep(const mirl_edges *edges, const mirl_map *map, const mirl_region *region, size_t y,
                     size_t rows);

/** The pixels of image row y in a unit's columns, first channel, and the pitch of the others: of a map of
 * which other units may be overwritten. The row may be the one above the unit, or the one below. NULL outside
 * the image. */
const float *mirl_edges_row(const mirl_edges *edges, const mirl_map *map, const mirl_region *region,
                            ptrdiff_t y, size_t *pitch);

/** The pixels beside such rows y..y+rows-1, as mirl_map_gather_sides() gives them. Zeros outside the image.
 */
void mirl_edges_gather_sides(const mirl_edges *edges, const mirl_region *region, ptrdiff_t y, size_t rows,
                             float *out, size_t out_pitch);

/** norm, a 1x1 convolution and a 3x3 depthwise one of its channels: what both halves of a block begin with.
 * Rows stream through: each is computed once for a region, whatever the strips. Channels come part by part of
 * the 1x1 convolution. */
typedef struct mirl_window {
    const mirl_kernels *kernels;
    int channels;         ///< of the input
    size_t width, height; ///< of the image
    const float *norm_weight, *norm_bias;
    const mirl_convolution *convolution;
    const float *depthwise; ///< [channels][9]
    int first_channel;      ///< of the results; those before it are left out, or most of them
    mirl_region region;
    ptrdiff_t y;           ///< image row that the present strip begins with
    size_t rows;           ///< of the present strip
    size_t first;          ///< channel of the present part
    mirl_ahead ahead[2];   ///< what is fetched meanwhile, a step for each result
    float *input, *hidden; ///< strips after norm and, of the present part, after the 1x1 convolution
    float *sums;           ///< that the depthwise convolution carries, for each channel
    size_t pitch;          ///< input's and hidden's, channel to channel
    size_t sums_pitch;
} mirl_window;

/** Takes the window's memory from the arena. All results count, until first_channel is set. */
mirl_window mirl_window_create(mirl_arena *arena, const mirl_run *run, const mirl_walk *walk, int channels,
                               int norm_weight, int norm_bias, int convolution, int depthwise);

/** Goes to the top of a region, whose first two rows to take in are the one above it and its first. */
void mirl_window_begin(mirl_window *window, const mirl_region *region);

/** Takes in a strip of image rows y..y+rows-1, channels `pitch` floats apart. Rows and columns outside the
 * image count as zeros after norm and convolution, whatever they hold. */
void mirl_window_take_in(mirl_window *window, ptrdiff_t y, size_t rows, const float *strip, size_t pitch);

/** The same from a map. */
void mirl_window_take_in_map(mirl_window *window, ptrdiff_t y, size_t rows, const mirl_map *map);

/** The first two rows, of which no result is complete, go through all parts. `spare`: room for two rows of
 * the region. */
void mirl_window_pass(mirl_window *window, float *spare);

/** What the next strip, if it is as high as the present one, takes in of a map: to be asked for in `steps`
 * steps. */
mirl_ahead mirl_window_ahead(const mirl_window *window, const mirl_map *map, size_t steps);

/** The part that has first_channel. */
int mirl_window_first_part(const mirl_window *window);

/** Goes to a part of the strip: every part from the first on, in turn. Returns its channels. */
size_t mirl_window_part(mirl_window *window, int part);

/** The result of the strip, the rows from the one before the first taken in, for one channel of the part to
 * out, whose rows are out_row floats apart. It may take the place of the channel in `hidden`, which is used
 * up. */
void mirl_window_depthwise(mirl_window *window, size_t channel, float *out, size_t out_row);

/* ---- Stages ------------------------------------------------------------------------------------------ */

/* Every stage has a twin that tells its needs for the same arguments. All return false when cancelled. */

/** What attention leaves to the feed-forward half; run.shared keeps some of it. */
typedef struct mirl_attended {
    const float *packed; ///< all heads' maps, or the one of one head times project_out
    const mirl_map *v;
    mirl_edges edges; ///< of x
} mirl_attended;

/** v and the maps of attention(norm1(x)); x is kept, v is another map of the same shape. */
bool mirl_attention(const mirl_run *run, const mirl_block *block, const mirl_map *x, const mirl_map *v,
                    mirl_attended *attended);
mirl_needs mirl_attention_needs(const mirl_model *model, const mirl_block *block, const mirl_map *x);

/** Attention's maps times `pixels` pixels of v. With one head, whose map has been multiplied by project_out,
 * it is added to `add`; with more `add` is not used. Padded. */
void mirl_attention_mix(const mirl_model *model, const mirl_block *block, const float *packed, const float *v,
                        size_t v_pitch, size_t pixels, float *out, size_t out_pitch, const float *add,
                        size_t add_pitch);

/** What that and project_out cost a pixel, in multiply-adds of the dense kernel. */
double mirl_attention_mix_cost(const mirl_model *model, const mirl_block *block);

/** x = y + ffn(norm2(y)) with y = x + project_out(attention). Uses no run.shared. */
bool mirl_feed_forward(const mirl_run *run, const mirl_block *block, const mirl_attended *attended,
                       const mirl_map *x);
mirl_needs mirl_feed_forward_needs(const mirl_model *model, const mirl_block *block, const mirl_map *x);

typedef enum mirl_rearrange {
    MIRL_KEEP,
    MIRL_UNSHUFFLE, ///< [c, 2h, 2w] to [4c, h, w]; channel 4k+2*dy+dx takes channel k at offset (dx, dy)
    MIRL_SHUFFLE,   ///< its inverse
} mirl_rearrange;

/** A 1x1 or 3x3 convolution, by layer index, whose result is rearranged on its way to `out`. Of a 1x1 one
 * that is kept as it is `out` may be channels of `in`. */
bool mirl_convolve(const mirl_run *run, int layer, mirl_rearrange rearrange, const mirl_map *in,
                   const mirl_map *out);
mirl_needs mirl_convolve_needs(const mirl_model *model, int layer, const mirl_map *in);

/** The prompt for features x; `picture` is a map of the prompt's channels and x's size for what lies
 * between. */
bool mirl_prompt_run(const mirl_run *run, const mirl_prompt *prompt, const mirl_map *x,
                     const mirl_map *picture, const mirl_map *out);
mirl_needs mirl_prompt_needs(const mirl_model *model, const mirl_prompt *prompt, const mirl_map *x);

#endif
