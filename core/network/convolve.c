/* The convolutions between blocks: 1x1, and 3x3 with the pixel rearrangement of the resize steps. */
#include <string.h>

#include "network/stages.h"

/* ---- 1x1 --------------------------------------------------------------------------------------------- */

struct convolve1 {
    const mirl_run *run;
    const mirl_matrix *matrix;
    const mirl_map *in, *out;
};

static void convolve1_unit(void *context, size_t unit, int thread) {
    const struct convolve1 *conv = context;
    const mirl_map *in = conv->in, *out = conv->out;
    const mirl_piece piece = mirl_map_piece(in, unit);
    const size_t pitch = mirl_pitch(MIRL_PIECE);
    const float *source = mirl_map_piece_data(in, piece);
    mirl_arena arena = mirl_run_scratch(conv->run, thread);
    float *copy = mirl_arena_take(&arena, pitch * (size_t)in->channels);

    for (int c = 0; c < in->channels; c++)
        memcpy(copy + (size_t)c * pitch, source + (size_t)c * in->pitch, piece.pixels * sizeof *copy);
    mirl_matrix_product(conv->run->model->kernels, conv->matrix, copy, pitch, mirl_map_piece_data(out, piece),
                        out->pitch, piece.pixels, NULL, 0);
}

bool mirl_convolve1(const mirl_run *run, int layer, const mirl_map *in, const mirl_map *out) {
    struct convolve1 conv = {run, run->model->convolutions[layer].part, in, out};
    double cost = run->model->convolutions[layer].cost * (double)in->width * (double)in->height;
    return mirl_team_run(run->team, mirl_map_pieces(in), run->share * cost, convolve1_unit, &conv);
}

mirl_needs mirl_convolve1_needs(const mirl_map *in) {
    return (mirl_needs){mirl_pitch(MIRL_PIECE) * (size_t)in->channels, 0};
}

/* ---- 3x3 --------------------------------------------------------------------------------------------- */

struct convolve3 {
    const mirl_run *run;
    const mirl_matrix *matrix;
    mirl_rearrange rearrange;
    const mirl_map *in, *out;
    mirl_walk walk;
};

/* All nine shifted copies of a strip: the convolution is then one product. Column 9c + 3i + j of the matrix
 * is channel c at offset (j-1, i-1). */
static void gather_shifted(const mirl_map *in, const mirl_region *strip, float *columns, size_t pitch) {
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            mirl_map_gather(in, (ptrdiff_t)strip->x + j - 1, (ptrdiff_t)strip->y + i - 1, strip->columns,
                            strip->rows, columns + (size_t)(3 * i + j) * pitch, 9 * pitch);
}

static void scatter_shuffled(const mirl_map *out, const mirl_region *strip, const float *in, size_t pitch) {
    for (int c = 0; c < out->channels; c++)
        for (size_t y = 0; y < 2 * strip->rows; y++) {
            float *row = mirl_map_row(out, c, 2 * strip->y + y) + 2 * strip->x;
            const float *even = in + (size_t)(4 * c + 2 * (int)(y & 1)) * pitch + y / 2 * strip->columns;
            for (size_t x = 0; x < strip->columns; x++) {
                row[2 * x] = even[x];
                row[2 * x + 1] = even[pitch + x];
            }
        }
}

static void scatter_unshuffled(const mirl_map *out, const mirl_region *strip, const float *in, size_t pitch) {
    for (int c = 0; c < out->channels; c++)
        for (size_t y = 0; y < strip->rows / 2; y++) {
            float *row = mirl_map_row(out, c, strip->y / 2 + y) + strip->x / 2;
            const float *source =
                in + (size_t)(c / 4) * pitch + (2 * y + (size_t)(c / 2 % 2)) * strip->columns;
            for (size_t x = 0; x < strip->columns / 2; x++)
                row[x] = source[2 * x + (size_t)(c % 2)];
        }
}

static void convolve3_unit(void *context, size_t unit, int thread) {
    const struct convolve3 *conv = context;
    const size_t pitch = mirl_pitch(mirl_walk_strip_pixels(&conv->walk));
    mirl_arena arena = mirl_run_scratch(conv->run, thread);
    float *columns = mirl_arena_take(&arena, pitch * (size_t)conv->matrix->columns);
    float *result = mirl_arena_take(&arena, pitch * (size_t)conv->matrix->rows);
    mirl_region region = mirl_walk_region(&conv->walk, unit), strip = region;

    for (size_t done = 0; done < region.rows; done += strip.rows) {
        strip.y = region.y + done;
        strip.rows = region.rows - done < conv->walk.strip_rows ? region.rows - done : conv->walk.strip_rows;
        gather_shifted(conv->in, &strip, columns, pitch);
        mirl_matrix_product(conv->run->model->kernels, conv->matrix, columns, pitch, result, pitch,
                            strip.rows * strip.columns, NULL, 0);
        switch (conv->rearrange) {
        case MIRL_KEEP:
            mirl_map_scatter(conv->out, strip.x, strip.y, strip.columns, strip.rows, result, pitch);
            break;
        case MIRL_UNSHUFFLE:
            scatter_unshuffled(conv->out, &strip, result, pitch);
            break;
        case MIRL_SHUFFLE:
            scatter_shuffled(conv->out, &strip, result, pitch);
            break;
        }
    }
}

/* Strips and chunks of an even number of rows, which unshuffling joins in pairs. */
static mirl_walk even_walk(const mirl_model *model, const mirl_map *in, int columns) {
    mirl_walk walk = mirl_walk_plan(model->kernels, in->width, in->height, columns);
    walk.strip_rows += walk.strip_rows & 1;
    walk.chunk_rows += walk.chunk_rows & 1;
    walk.chunks = (in->height + walk.chunk_rows - 1) / walk.chunk_rows;
    return walk;
}

bool mirl_convolve3(const mirl_run *run, int layer, mirl_rearrange rearrange, const mirl_map *in,
                    const mirl_map *out) {
    const mirl_matrix *matrix = run->model->convolutions[layer].part;
    struct convolve3 conv = {run, matrix, rearrange, in, out, even_walk(run->model, in, matrix->columns)};
    double cost =
        (run->model->convolutions[layer].cost + 9 * matrix->columns) * (double)in->width * (double)in->height;
    return mirl_team_run(run->team, mirl_walk_units(&conv.walk), run->share * cost, convolve3_unit, &conv);
}

mirl_needs mirl_convolve3_needs(const mirl_model *model, int layer, const mirl_map *in) {
    const mirl_matrix *matrix = model->convolutions[layer].part;
    mirl_walk walk = even_walk(model, in, matrix->columns);
    size_t pitch = mirl_pitch(mirl_walk_strip_pixels(&walk));
    return (mirl_needs){pitch * (size_t)(matrix->columns + matrix->rows), 0};
}
