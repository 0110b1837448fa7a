/* The convolutions between blocks: 1x1, and 3x3 with the pixel rearrangement of the resize steps. */
#include "network/stages.h"

struct convolve {
    const mirl_run *run;
    const mirl_convolution *convolution; /* a 3x3 one's parts are the rows of its kernels */
    mirl_rearrange rearrange;
    const mirl_map *in, *out;
    mirl_walk walk;
};

struct scratch {
    float *columns, *result;
    size_t columns_pitch, result_pitch;
};

/* Strips and chunks of an even number of rows, which unshuffling joins in pairs. */
static mirl_walk even_walk(const mirl_model *model, const mirl_convolution *convolution, const mirl_map *in) {
    const int at_a_time = 2 * convolution->part[0].columns + convolution->rows;
    mirl_walk walk = mirl_walk_plan(model->kernels, in->width, in->height, at_a_time);
    walk.strip_rows += walk.strip_rows & 1;
    walk.chunk_rows += walk.chunk_rows & 1;
    walk.chunks = mirl_divide_up(in->height, walk.chunk_rows);
    return walk;
}

static struct scratch scratch(const mirl_convolution *convolution, const mirl_walk *walk, mirl_arena *arena) {
    const size_t rows = walk->strip_rows + (size_t)convolution->parts - 1;
    struct scratch s = {
        .columns_pitch = mirl_pitch(rows * walk->band_columns),
        .result_pitch = mirl_pitch(mirl_walk_strip_pixels(walk)),
    };
    s.columns = mirl_arena_take(arena, s.columns_pitch * (size_t)convolution->part[0].columns + MIRL_PAD);
    s.result = mirl_arena_take(arena, s.result_pitch * (size_t)convolution->rows);
    return s;
}

/* A strip, and of a 3x3 convolution one more row above and below, in copies shifted by -1, 0 and 1 columns:
 * copy j of channel c is column 3c + j of the parts, and rows further down are the same copies from a later
 * row on. */
static void gather_shifted(const struct convolve *conv, const mirl_region *strip, const struct scratch *s) {
    const int size = conv->convolution->parts, reach = size / 2;
    for (int j = 0; j < size; j++)
        mirl_map_gather(conv->in, (ptrdiff_t)strip->x + j - reach, (ptrdiff_t)strip->y - reach,
                        strip->columns, strip->rows + 2 * (size_t)reach,
                        s->columns + (size_t)j * s->columns_pitch, (size_t)size * s->columns_pitch);
}

static void multiply(const struct convolve *conv, const mirl_region *strip, const struct scratch *s) {
    for (int i = 0; i < conv->convolution->parts; i++)
        mirl_matrix_product(conv->run->model->kernels, &conv->convolution->part[i],
                            s->columns + (size_t)i * strip->columns, s->columns_pitch, s->result,
                            s->result_pitch, strip->rows * strip->columns, i > 0 ? s->result : NULL,
                            s->result_pitch);
}

static void scatter_shuffled(const mirl_map *out, const mirl_region *strip, const float *in, size_t pitch) {
    for (int c = 0; c < out->channels; c++)
        for (size_t y = 0; y < 2 * strip->rows; y++) {
            const float *even = in + (size_t)(4 * c + 2 * (int)(y & 1)) * pitch + y / 2 * strip->columns;
            for (size_t x = 0, run; x < strip->columns; x += run, even += run) {
                const size_t at = 2 * (strip->x + x);
                float *row = mirl_map_at(out, c, at, 2 * strip->y + y);
                run = mirl_map_run(out, at, 2 * (strip->columns - x)) / 2;
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
                run = mirl_map_run(out, at, strip->columns / 2 - x);
                for (size_t i = 0; i < run; i++)
                    row[i] = source[2 * i];
            }
        }
    mirl_map_keep_sides(out, strip->x / 2, strip->y / 2, strip->columns / 2, strip->rows / 2);
}

static void convolve_unit(void *context, size_t unit, int thread) {
    const struct convolve *conv = context;
    mirl_arena arena = mirl_run_scratch(conv->run, thread);
    const struct scratch s = scratch(conv->convolution, &conv->walk, &arena);
    mirl_region region = mirl_walk_region(&conv->walk, unit), strip = region;

    for (size_t done = 0; done < region.rows; done += strip.rows) {
        strip.y = region.y + done;
        strip.rows = mirl_walk_strip(&conv->walk, &region, done);
        gather_shifted(conv, &strip, &s);
        multiply(conv, &strip, &s);
        switch (conv->rearrange) {
        case MIRL_KEEP:
            mirl_map_scatter(conv->out, strip.x, strip.y, strip.columns, strip.rows, s.result,
                             s.result_pitch);
            break;
        case MIRL_UNSHUFFLE:
            scatter_unshuffled(conv->out, &strip, s.result, s.result_pitch);
            break;
        case MIRL_SHUFFLE:
            scatter_shuffled(conv->out, &strip, s.result, s.result_pitch);
            break;
        }
    }
}

bool mirl_convolve(const mirl_run *run, int layer, mirl_rearrange rearrange, const mirl_map *in,
                   const mirl_map *out) {
    const mirl_convolution *convolution = &run->model->convolutions[layer];
    struct convolve conv = {run, convolution, rearrange, in, out, even_walk(run->model, convolution, in)};
    double gather = convolution->parts > 1 ? 3 * convolution->columns : 0;
    double cost = (convolution->cost + gather) * (double)in->width * (double)in->height;
    return mirl_team_run(run->team, mirl_walk_units(&conv.walk), run->share * cost, convolve_unit, &conv);
}

mirl_needs mirl_convolve_needs(const mirl_model *model, int layer, const mirl_map *in) {
    const mirl_convolution *convolution = &model->convolutions[layer];
    const mirl_walk walk = even_walk(model, convolution, in);
    mirl_arena arena = {0};
    scratch(convolution, &walk, &arena);
    return (mirl_needs){arena.used, 0};
}
