/* The convolutions between blocks: 1x1, and 3x3 with the pixel rearrangement of the resize steps. */
#include "network/stages.h"

struct convolve {
    const mirl_run *run;
    const mirl_matrix *matrix;
    int size; /* 1 or 3 */
    mirl_rearrange rearrange;
    const mirl_map *in, *out;
    mirl_walk walk;
};

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* All shifted copies of a strip: the convolution is then one product. Column 9c + 3i + j of a 3x3 one's
 * matrix is channel c at offset (j-1, i-1). */
static void gather_shifted(const struct convolve *conv, const mirl_region *strip, float *columns,
                           size_t pitch) {
    const int size = conv->size, reach = size / 2;
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++)
            mirl_map_gather(conv->in, (ptrdiff_t)strip->x + j - reach, (ptrdiff_t)strip->y + i - reach,
                            strip->columns, strip->rows, columns + (size_t)(size * i + j) * pitch,
                            (size_t)(size * size) * pitch);
}

static void scatter_shuffled(const mirl_map *out, const mirl_region *strip, const float *in, size_t pitch) {
    for (int c = 0; c < out->channels; c++)
        for (size_t y = 0; y < 2 * strip->rows; y++) {
            const float *even = in + (size_t)(4 * c + 2 * (int)(y & 1)) * pitch + y / 2 * strip->columns;
            for (size_t x = 0, run; x < strip->columns; x += run, even += run) {
                const size_t at = 2 * (strip->x + x);
                float *row = mirl_map_at(out, c, at, 2 * strip->y + y);
                run = least(strip->columns - x, mirl_map_run(out, at) / 2);
                for (size_t i = 0; i < run; i++) {
                    row[2 * i] = even[i];
                    row[2 * i + 1] = even[pitch + i];
                }
            }
        }
    mirl_map_keep_sides(out, 2 * strip->x, 2 * strip->y, 2 * strip->columns, 2 * strip->rows);
}

static void scatter_unshuffled(const mirl_map *out, const mirl_region *strip, const float *in, size_t pitch) {
    for (int c = 0; c < out->channels; c++)
        for (size_t y = 0; y < strip->rows / 2; y++) {
            const float *source = in + (size_t)(c / 4) * pitch +
                                  (2 * y + (size_t)(c / 2 % 2)) * strip->columns + (size_t)(c % 2);
            for (size_t x = 0, run; x < strip->columns / 2; x += run, source += 2 * run) {
                const size_t at = strip->x / 2 + x;
                float *row = mirl_map_at(out, c, at, strip->y / 2 + y);
                run = least(strip->columns / 2 - x, mirl_map_run(out, at));
                for (size_t i = 0; i < run; i++)
                    row[i] = source[2 * i];
            }
        }
    mirl_map_keep_sides(out, strip->x / 2, strip->y / 2, strip->columns / 2, strip->rows / 2);
}

static void convolve_unit(void *context, size_t unit, int thread) {
    const struct convolve *conv = context;
    const size_t pitch = mirl_pitch(mirl_walk_strip_pixels(&conv->walk));
    mirl_arena arena = mirl_run_scratch(conv->run, thread);
    float *columns = mirl_arena_take(&arena, pitch * (size_t)conv->matrix->columns);
    float *result = mirl_arena_take(&arena, pitch * (size_t)conv->matrix->rows);
    mirl_region region = mirl_walk_region(&conv->walk, unit), strip = region;

    for (size_t done = 0; done < region.rows; done += strip.rows) {
        strip.y = region.y + done;
        strip.rows = least(region.rows - done, conv->walk.strip_rows);
        gather_shifted(conv, &strip, columns, pitch);
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

bool mirl_convolve(const mirl_run *run, int layer, mirl_rearrange rearrange, const mirl_map *in,
                   const mirl_map *out) {
    const mirl_matrix *matrix = run->model->convolutions[layer].part;
    const int size = run->model->graph->layers[layer].kind == MIRL_CONV3 ? 3 : 1;
    struct convolve conv = {
        run, matrix, size, rearrange, in, out, even_walk(run->model, in, matrix->columns)};
    double gather = size > 1 ? 9 * matrix->columns : 0, pixels = (double)in->width * (double)in->height;
    double cost = run->model->convolutions[layer].cost + gather;
    return mirl_team_run(run->team, mirl_walk_units(&conv.walk), run->share * pixels * cost, convolve_unit,
                         &conv);
}

mirl_needs mirl_convolve_needs(const mirl_model *model, int layer, const mirl_map *in) {
    const mirl_matrix *matrix = model->convolutions[layer].part;
    mirl_walk walk = even_walk(model, in, matrix->columns);
    size_t pitch = mirl_pitch(mirl_walk_strip_pixels(&walk));
    return (mirl_needs){pitch * (size_t)(matrix->columns + matrix->rows), 0};
}
