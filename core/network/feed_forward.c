/* The second half of a block, strip by strip: attention's result is added to x, and the gated feed-forward
 * runs on the sum, a group of hidden channels at a time. Neither the sum nor the hidden channels reach
 * memory.
 */
#include <string.h>

#include "network/stages.h"

struct feed_forward {
    const mirl_run *run;
    const mirl_block *block;
    const mirl_attended *attended;
    const mirl_map *x;
    mirl_walk walk;
};

struct scratch {
    mirl_window window;
    float *y; /* the sum: the row that a strip begins with, then the strip that comes in */
    size_t y_pitch;
    float *carried; /* the last of y's rows, for the next strip */
    size_t carried_pitch;
    float *mixed; /* of what comes in, if there is more than one head */
    float *sides; /* v */
    size_t sides_pitch;
    float *value;
    size_t pitch;
};

static const mirl_convolution *project_out(const mirl_run *run, const mirl_block *block) {
    return &run->model->convolutions[block->ffn_project_out];
}

static struct scratch scratch(const struct feed_forward *f, const mirl_run *run, mirl_arena *arena) {
    const mirl_block *block = f->block;
    const size_t c = (size_t)block->channels;
    struct scratch s = {
        .window = mirl_window_create(arena, run, &f->walk, block->channels, block->norm2_weight,
                                     block->norm2_bias, block->project_in, block->dwconv),
        .carried_pitch = mirl_padded(f->walk.band_columns),
    };
    s.pitch = s.window.pitch;
    s.y_pitch = mirl_pitch(s.pitch + f->walk.band_columns);
    s.y = mirl_arena_take(arena, s.y_pitch * c);
    s.carried = mirl_arena_take(arena, s.carried_pitch * c);
    s.sides_pitch = mirl_pitch(2 * mirl_walk_most_rows(&f->walk));
    s.sides = mirl_arena_take(arena, s.sides_pitch * c);
    s.mixed = mirl_arena_take(arena, block->heads > 1 ? s.pitch * c : 0);
    s.value = mirl_arena_take(arena, s.pitch);
    return s;
}

/* y = x + project_out(map v) of image rows y..y+rows-1, behind the row that came in before. v is read, and
 * with one head x too, where they lie. */
static void make_sum(const struct feed_forward *f, struct scratch *s, ptrdiff_t y, size_t rows) {
    const mirl_model *model = f->run->model;
    const mirl_block *block = f->block;
    const mirl_attended *attended = f->attended;
    const mirl_map *v = attended->v;
    const mirl_region *region = &s->window.region;
    const size_t columns = region->columns, c = (size_t)block->channels;
    const bool project = block->heads > 1;
    float *sum = s->y + columns, *sides = sum + rows * columns;

    for (size_t r = 0; r < rows; r++) {
        const ptrdiff_t at = y + (ptrdiff_t)r;
        size_t x_pitch = 0;
        const float *x = mirl_edges_row(&attended->edges, f->x, region, at, &x_pitch);
        float *row = sum + r * columns;
        if (!x)
            continue;
        for (size_t i = 0; project && i < c; i++)
            memcpy(row + i * s->y_pitch, x + i * x_pitch, columns * sizeof *row);
        mirl_attention_mix(model, block, attended->packed, mirl_map_at(v, 0, region->x, (size_t)at), v->pitch,
                           columns, project ? s->mixed + r * columns : row, project ? s->pitch : s->y_pitch,
                           x, x_pitch);
    }
    mirl_edges_gather_sides(&attended->edges, region, y, rows, sides, s->y_pitch);
    mirl_map_gather_sides(v, region->x, y, columns, rows, s->sides, s->sides_pitch);
    mirl_attention_mix(model, block, attended->packed, s->sides, s->sides_pitch, 2 * rows,
                       project ? s->mixed + rows * columns : sides, project ? s->pitch : s->y_pitch, sides,
                       s->y_pitch);
    if (project)
        mirl_matrix_product(model->kernels, model->convolutions[block->attn_project_out].part, s->mixed,
                            s->pitch, sum, s->y_pitch, rows * (columns + 2), sum, s->y_pitch);
}

/* Image rows y..y+rows-1 of the sum to the window, and to what the next strip begins with. */
static void take_in(const struct feed_forward *f, struct scratch *s, ptrdiff_t y, size_t rows) {
    const size_t columns = s->window.region.columns, steps = (size_t)s->window.convolution->rows;

    make_sum(f, s, y, rows);
    for (size_t c = 0; c < (size_t)f->block->channels; c++)
        memcpy(s->carried + c * s->carried_pitch, s->y + c * s->y_pitch + rows * columns,
               columns * sizeof *s->carried);
    mirl_window_take_in(&s->window, y, rows, s->y + columns, s->y_pitch);
    s->window.ahead[0] = mirl_window_ahead(&s->window, f->attended->v, steps);
    s->window.ahead[1] = mirl_window_ahead(&s->window, f->x, steps);
}

/* The last row that came in is the first of the next strip. */
static void carry(const struct scratch *s, size_t channels) {
    for (size_t c = 0; c < channels; c++)
        memcpy(s->y + c * s->y_pitch, s->carried + c * s->carried_pitch,
               s->window.region.columns * sizeof *s->y);
}

/* Both depthwise halves and the gate of one group of a strip, in the place of the first half's channels. */
static void gate_group(const struct feed_forward *f, struct scratch *s, int group) {
    const mirl_kernels *kernels = f->run->model->kernels;
    const size_t columns = s->window.region.columns;
    const size_t count = (size_t)project_out(f->run, f->block)->part[group].columns;

    mirl_window_part(&s->window, group);
    for (size_t i = 0; i < count; i++) {
        float *gate = s->window.hidden + i * s->pitch;
        mirl_window_depthwise(&s->window, i, gate, columns);
        mirl_window_depthwise(&s->window, count + i, s->value, columns);
        kernels->gate(gate, s->value, s->window.rows * columns);
    }
}

static void feed_unit(void *context, size_t unit, int thread) {
    const struct feed_forward *f = context;
    const mirl_kernels *kernels = f->run->model->kernels;
    const mirl_convolution *out = project_out(f->run, f->block);
    mirl_arena arena = mirl_run_scratch(f->run, thread);
    struct scratch s = scratch(f, f->run, &arena);
    mirl_region region = mirl_walk_region(&f->walk, unit);

    mirl_window_begin(&s.window, &region);
    take_in(f, &s, (ptrdiff_t)region.y - 1, 2);
    mirl_window_pass(&s.window, s.value);
    for (size_t done = 0, rows; done < region.rows; done += rows) {
        size_t y = region.y + done;
        rows = mirl_walk_strip(&f->walk, &region, done);
        carry(&s, (size_t)f->block->channels);
        take_in(f, &s, (ptrdiff_t)y + 1, rows);
        for (int group = 0; group < out->parts; group++) {
            gate_group(f, &s, group);
            mirl_matrix_product(kernels, &out->part[group], s.window.hidden, s.pitch, s.y, s.y_pitch,
                                rows * region.columns, s.y, s.y_pitch);
        }
        mirl_map_scatter(f->x, region.x, y, region.columns, rows, s.y, s.y_pitch);
    }
}

static struct feed_forward describe(const mirl_model *model, const mirl_block *block, const mirl_map *x) {
    int group = model->convolutions[block->ffn_project_out].part[0].columns;
    return (struct feed_forward){
        .block = block,
        .x = x,
        .walk = mirl_walk_plan(model->kernels, x->width, x->height,
                               2 * block->channels + 2 * group), /* gate and value */
    };
}

bool mirl_feed_forward(const mirl_run *run, const mirl_block *block, const mirl_attended *attended,
                       const mirl_map *x) {
    struct feed_forward f = describe(run->model, block, x);
    double pixels = (double)x->width * (double)x->height;
    double cost = mirl_attention_mix_cost(run->model, block) +
                  run->model->convolutions[block->project_in].cost + project_out(run, block)->cost +
                  2 * block->hidden * 30.0;

    f.run = run;
    f.attended = attended;
    return mirl_team_run(run->team, mirl_walk_units(&f.walk), run->share * pixels * cost, feed_unit, &f);
}

mirl_needs mirl_feed_forward_needs(const mirl_model *model, const mirl_block *block, const mirl_map *x) {
    mirl_run run = {.model = model};
    mirl_arena arena = {0};
    struct feed_forward f = describe(model, block, x);
    scratch(&f, &run, &arena);
    return (mirl_needs){arena.used, 0};
}
