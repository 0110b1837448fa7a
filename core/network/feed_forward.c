/* The gated feed-forward half of a block, strip by strip and a group of hidden channels at a time, which
 * never reach memory. */
#include "network/stages.h"

/* The product runs along rows of the map that are this long, and spares copies; shorter ones are joined. */
enum { DIRECT_COLUMNS = 48 };

struct feed_forward {
    const mirl_run *run;
    const mirl_block *block;
    const mirl_map *y, *x;
    mirl_walk walk;
};

struct scratch {
    mirl_window window;
    float *gate, *value, *out;
    size_t pitch;
    mirl_ahead ahead; /* where the strip's result goes */
};

static const mirl_convolution *project_out(const mirl_run *run, const mirl_block *block) {
    return &run->model->convolutions[block->ffn_project_out];
}

static struct scratch scratch(const struct feed_forward *f, const mirl_run *run, mirl_arena *arena) {
    const mirl_block *block = f->block;
    struct scratch s = {
        .window = mirl_window_create(arena, run, &f->walk, f->y, block->norm2_weight, block->norm2_bias,
                                     block->project_in, block->dwconv),
        .pitch = mirl_pitch(mirl_walk_strip_pixels(&f->walk)),
    };
    s.gate = mirl_arena_take(arena, s.pitch * (size_t)project_out(run, block)->part[0].columns);
    s.value = mirl_arena_take(arena, s.pitch);
    s.out = mirl_arena_take(arena, s.pitch * (size_t)block->channels);
    return s;
}

/* Both depthwise halves and the gate of one group of a strip. */
static void gate_group(const struct feed_forward *f, struct scratch *s, int group, size_t rows) {
    const mirl_kernels *kernels = f->run->model->kernels;
    const size_t columns = s->window.region.columns;
    const size_t count = (size_t)project_out(f->run, f->block)->part[group].columns;

    mirl_window_part(&s->window, group);
    for (size_t i = 0; i < count; i++) {
        float *out = s->gate + i * s->pitch;
        mirl_window_depthwise(&s->window, i, out, columns);
        mirl_window_depthwise(&s->window, count + i, s->value, columns);
        kernels->gate(out, s->value, rows * columns);
        mirl_ahead_step(&s->ahead);
    }
}

/* x = y + project_out(gate) for one group of a strip; groups after the first are added to x. */
static void project_group(const struct feed_forward *f, const struct scratch *s, int group, size_t y,
                          size_t rows) {
    const mirl_kernels *kernels = f->run->model->kernels;
    const mirl_convolution *out = project_out(f->run, f->block);
    const mirl_matrix *matrix = &out->part[group];
    const mirl_map *add = group ? f->x : f->y;
    const size_t x = s->window.region.x, columns = s->window.region.columns;

    if (columns >= DIRECT_COLUMNS) {
        for (size_t r = 0; r < rows; r++)
            mirl_matrix_product(kernels, matrix, s->gate + r * columns, s->pitch,
                                mirl_map_row(f->x, 0, y + r) + x, f->x->pitch, columns,
                                mirl_map_row(add, 0, y + r) + x, add->pitch);
        return;
    }
    if (group == 0)
        mirl_map_gather(f->y, (ptrdiff_t)x, (ptrdiff_t)y, columns, rows, s->out, s->pitch);
    mirl_matrix_product(kernels, matrix, s->gate, s->pitch, s->out, s->pitch, rows * columns, s->out,
                        s->pitch);
    if (group + 1 == out->parts)
        mirl_map_scatter(f->x, x, y, columns, rows, s->out, s->pitch);
}

static void feed_unit(void *context, size_t unit, int thread) {
    const struct feed_forward *f = context;
    const mirl_convolution *out = project_out(f->run, f->block);
    mirl_arena arena = mirl_run_scratch(f->run, thread);
    struct scratch s = scratch(f, f->run, &arena);
    mirl_region region = mirl_walk_region(&f->walk, unit);

    mirl_window_begin(&s.window, &region, s.value);
    for (size_t done = 0, rows; done < region.rows; done += rows) {
        size_t y = region.y + done;
        rows = region.rows - done < f->walk.strip_rows ? region.rows - done : f->walk.strip_rows;
        mirl_window_advance(&s.window, y, rows);
        s.ahead = mirl_map_ahead(f->x, (ptrdiff_t)region.x, y, region.columns, rows, (size_t)out->columns);
        for (int group = 0; group < out->parts; group++) {
            gate_group(f, &s, group, rows);
            project_group(f, &s, group, y, rows);
        }
    }
}

static struct feed_forward describe(const mirl_model *model, const mirl_block *block, const mirl_map *y) {
    int group = model->convolutions[block->ffn_project_out].part[0].columns;
    return (struct feed_forward){
        .block = block,
        .y = y,
        .walk = mirl_walk_plan(y->width, y->height, block->channels + 3 * group), /* gate, value, result */
    };
}

bool mirl_feed_forward(const mirl_run *run, const mirl_block *block, const mirl_map *y, const mirl_map *x) {
    struct feed_forward f = describe(run->model, block, y);
    double pixels = (double)x->width * (double)x->height;
    double cost = run->model->convolutions[block->project_in].cost + project_out(run, block)->cost +
                  2 * block->hidden * 30.0;

    f.run = run;
    f.x = x;
    return mirl_team_run(run->team, mirl_walk_units(&f.walk), run->share * pixels * cost, feed_unit, &f);
}

mirl_needs mirl_feed_forward_needs(const mirl_model *model, const mirl_block *block, const mirl_map *x) {
    mirl_run run = {.model = model};
    mirl_arena arena = {0};
    struct feed_forward f = describe(model, block, x);
    scratch(&f, &run, &arena);
    return (mirl_needs){arena.used, 0};
}
