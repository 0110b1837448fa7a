/* Attention across channels, in three steps:
 *
 *   1. q, k, v of every strip. q k^T and the squares of q and k are summed while the strip is in the cache;
 *      only v is kept, in its map, and the edges of x's units, for step 3 to overwrite x.
 *   2. The (c/heads) x (c/heads) map of each head: norms, temperature, softmax. With one head map and
 *      projection are multiplied first.
 *   3. map v, which the feed-forward half asks for row by row.
 *
 * Where the run's reference knows the map, step 1 makes v only, and step 2 is left out.
 */
#include <math.h>
#include <string.h>

#include "network/stages.h"

struct attention {
    const mirl_run *run;
    bool known; /* the map, from the run's reference */
    const mirl_block *block;
    const mirl_map *x, *v;
    mirl_edges edges; /* of x */
    mirl_walk walk;
    int size;          /* channels a head */
    size_t map_pitch;  /* floats in a row of a head's map */
    size_t sums_count; /* floats that one unit of step 1 leaves */
    float *sums;       /* [units][heads * size * map_pitch products, 2c squares] */
    float *lengths;    /* [2c] of q and k */
    float *maps;       /* [heads][size][map_pitch] */
    float *folded_map; /* [c][map_pitch] */
    float *packed;     /* maps, or the folded one, for products */
};

static struct attention describe(const mirl_model *model, const mirl_block *block, const mirl_map *x,
                                 mirl_arena *shared) {
    int c = block->channels, size = c / block->heads;
    int at_a_time = c + model->convolutions[block->qkv].part[0].rows + 2 * c; /* input, part, q and k */
    struct attention a = {
        .block = block,
        .x = x,
        .walk = mirl_walk_plan(model->kernels, x->width, x->height, at_a_time),
        .size = size,
        .map_pitch = mirl_pitch((size_t)size),
    };
    size_t maps = (size_t)c * a.map_pitch;
    a.sums_count = maps + 2 * (size_t)c;
    a.sums = mirl_arena_take(shared, a.sums_count * mirl_walk_units(&a.walk));
    a.lengths = mirl_arena_take(shared, 2 * (size_t)c);
    a.maps = mirl_arena_take(shared, maps);
    a.folded_map = mirl_arena_take(shared, maps);
    a.packed = mirl_arena_take(shared, mirl_reference_map_floats(block));
    a.edges = mirl_edges_take(shared, &a.walk, c);
    return a;
}

/* ---- Step 1 ------------------------------------------------------------------------------------------ */

struct strip_scratch {
    mirl_window window;
    float *qk, *squares, *dots; /* [2c] squares of q and k */
    size_t pitch;               /* qk's, channel to channel */
};

static struct strip_scratch strip_scratch(const struct attention *a, const mirl_run *run, mirl_arena *arena) {
    const mirl_block *block = a->block;
    struct strip_scratch s = {
        .window = mirl_window_create(arena, run, &a->walk, block->channels, block->norm1_weight,
                                     block->norm1_bias, block->qkv, block->qkv_dwconv),
        .pitch = mirl_pitch(mirl_walk_strip_pixels(&a->walk)),
    };
    s.qk = mirl_arena_take(arena, s.pitch * 2 * (size_t)block->channels);
    s.squares = mirl_arena_take(arena, 2 * (size_t)block->channels);
    s.dots = mirl_arena_take(arena, mirl_dots_scratch(a->size, a->size, mirl_walk_strip_pixels(&a->walk)));
    return s;
}

static void add_products(const struct attention *a, const struct strip_scratch *s, size_t pixels, float *sums,
                         bool first) {
    const mirl_kernels *kernels = a->run->model->kernels;
    const int c = a->block->channels, size = a->size;
    float *squares = sums + (size_t)c * a->map_pitch;

    for (int i = 0; i < 2 * c; i++) {
        s->squares[i] = kernels->sum_of_squares(s->qk + (size_t)i * s->pitch, pixels);
        squares[i] = first ? s->squares[i] : squares[i] + s->squares[i];
    }
    for (int head = 0; head < a->block->heads; head++) {
        const float *q = s->qk + (size_t)(head * size) * s->pitch;
        const float *k = q + (size_t)c * s->pitch;
        kernels->dots(q, s->pitch, s->squares + head * size, size, k, s->pitch, s->squares + c + head * size,
                      size, pixels, s->dots, sums + (size_t)(head * size) * a->map_pitch, a->map_pitch,
                      !first);
    }
}

/* q and k of a strip to the scratch, v to the map. */
static void convolve_part(const struct attention *a, struct strip_scratch *s, int part, size_t y) {
    const size_t qk = 2 * (size_t)a->block->channels, channels = mirl_window_part(&s->window, part);
    const mirl_region *region = &s->window.region;

    for (size_t i = 0, c = s->window.first; i < channels; i++, c++) {
        if (c >= qk)
            mirl_window_depthwise(&s->window, i, mirl_map_at(a->v, (int)(c - qk), region->x, y), a->v->row);
        else if (!a->known)
            mirl_window_depthwise(&s->window, i, s->qk + c * s->pitch, region->columns);
    }
}

static void look_at_unit(void *context, size_t unit, int thread) {
    const struct attention *a = context;
    mirl_arena arena = mirl_run_scratch(a->run, thread);
    struct strip_scratch s = strip_scratch(a, a->run, &arena);
    mirl_region region = mirl_walk_region(&a->walk, unit);

    if (a->known)
        s.window.first_channel = 2 * a->block->channels; /* v's */
    mirl_window_begin(&s.window, &region);
    mirl_window_take_in_map(&s.window, (ptrdiff_t)region.y - 1, 2, a->x);
    mirl_window_pass(&s.window, s.dots);
    for (size_t done = 0, rows; done < region.rows; done += rows) {
        size_t y = region.y + done;
        rows = mirl_walk_strip(&a->walk, &region, done);
        mirl_window_take_in_map(&s.window, (ptrdiff_t)y + 1, rows, a->x);
        const size_t steps = (size_t)(s.window.convolution->rows - s.window.first_channel);
        s.window.ahead[0] = mirl_window_ahead(&s.window, a->x, steps);
        s.window.ahead[1] = mirl_map_ahead(a->v, region.x, y, rows, steps);
        mirl_edges_keep(&a->edges, a->x, &region, y, rows);
        for (int part = mirl_window_first_part(&s.window); part < s.window.convolution->parts; part++)
            convolve_part(a, &s, part, y);
        mirl_map_keep_sides(a->v, region.x, y, region.columns, rows);
        if (!a->known)
            add_products(a, &s, rows * region.columns, a->sums + unit * a->sums_count, done == 0);
    }
}

/* ---- Step 2 ------------------------------------------------------------------------------------------ */

enum { ROWS = 8 }; /* of the maps, in a unit of work */

/* Adds up what the units left, in their order, for count values from `at` on. */
static void sum_units(const struct attention *a, size_t at, size_t count, float *out) {
    enum { AT_A_TIME = 64 };
    for (size_t done = 0, n; done < count; done += n) {
        double sum[AT_A_TIME] = {0};
        const float *left = a->sums + at + done;
        n = count - done < AT_A_TIME ? count - done : AT_A_TIME;
        for (size_t unit = 0; unit < mirl_walk_units(&a->walk); unit++, left += a->sums_count)
            for (size_t i = 0; i < n; i++)
                sum[i] += (double)left[i];
        for (size_t i = 0; i < n; i++)
            out[done + i] = (float)sum[i];
    }
}

/* The lengths of all rows of q and k. */
static void measure(const struct attention *a) {
    const size_t c = (size_t)a->block->channels;
    sum_units(a, c * a->map_pitch, 2 * c, a->lengths);
    for (size_t i = 0; i < 2 * c; i++)
        a->lengths[i] = fmaxf(sqrtf(a->lengths[i]), 1e-12f);
}

static void softmax(float *row, int count) {
    float most = row[0], sum = 0;
    for (int j = 1; j < count; j++)
        most = row[j] > most ? row[j] : most;
    for (int j = 0; j < count; j++)
        sum += row[j] = expf(row[j] - most);
    for (int j = 0; j < count; j++)
        row[j] /= sum;
}

static void make_rows(void *context, size_t unit, int thread) {
    (void)thread;
    const struct attention *a = context;
    const int c = a->block->channels, size = a->size, first = (int)unit * ROWS;
    const float *temperature = a->run->model->values[a->block->temperature];

    for (int i = first; i < c && i < first + ROWS; i++) {
        const int head = i / size;
        const float *k = a->lengths + c + head * size;
        float *row = a->maps + (size_t)i * a->map_pitch;
        sum_units(a, (size_t)i * a->map_pitch, (size_t)size, row);
        for (int j = 0; j < size; j++)
            row[j] = row[j] / (a->lengths[i] * k[j]) * temperature[head];
        softmax(row, size);
        memset(row + size, 0, (a->map_pitch - (size_t)size) * sizeof *row);
    }
}

/* For the products of step 3. */
static void pack_maps(const struct attention *a) {
    const mirl_model *model = a->run->model;
    const int c = a->block->channels, size = a->size;

    if (a->block->heads == 1) {
        mirl_matrix_product(model->kernels, model->convolutions[a->block->attn_project_out].part, a->maps,
                            a->map_pitch, a->folded_map, a->map_pitch, (size_t)c, NULL, 0);
        model->kernels->pack(a->folded_map, a->map_pitch, c, c, a->packed);
        return;
    }
    for (size_t head = 0; head < (size_t)a->block->heads; head++)
        model->kernels->pack(a->maps + head * (size_t)size * a->map_pitch, a->map_pitch, size, size,
                             a->packed + head * mirl_packed(size, size));
}

static bool make_maps(struct attention *a) {
    const size_t units = mirl_divide_up((size_t)a->block->channels, ROWS);

    measure(a);
    if (!mirl_team_run(a->run->team, units, 0, make_rows, a))
        return false;
    pack_maps(a);
    return true;
}

bool mirl_attention(const mirl_run *run, const mirl_block *block, const mirl_map *x, const mirl_map *v,
                    mirl_attended *attended) {
    const mirl_model *model = run->model;
    mirl_arena shared = {run->shared, 0};
    struct attention a = describe(model, block, x, &shared);
    double c = block->channels, pixels = (double)x->width * (double)x->height;
    double look = model->convolutions[block->qkv].cost + 3 * c * 18 + c * a.size;

    a.run = run;
    a.v = v;
    if (run->reference) {
        a.packed = run->reference->maps[block - model->graph->blocks];
        a.known = run->reference->known;
    }
    *attended = (mirl_attended){a.packed, v, a.edges};
    return mirl_team_run(run->team, mirl_walk_units(&a.walk), run->share * pixels * look, look_at_unit, &a) &&
           (a.known || make_maps(&a));
}

mirl_needs mirl_attention_needs(const mirl_model *model, const mirl_block *block, const mirl_map *x) {
    mirl_run run = {.model = model};
    mirl_arena shared = {0}, strip = {0};
    struct attention a = describe(model, block, x, &shared);
    strip_scratch(&a, &run, &strip);
    return (mirl_needs){strip.used, shared.used};
}

/* ---- Step 3 ------------------------------------------------------------------------------------------ */

void mirl_attention_mix(const mirl_model *model, const mirl_block *block, const float *packed, const float *v,
                        size_t v_pitch, size_t pixels, float *out, size_t out_pitch, const float *add,
                        size_t add_pitch) {
    const int heads = block->heads, size = block->channels / heads;

    for (int head = 0; head < heads; head++, v += (size_t)size * v_pitch, out += (size_t)size * out_pitch)
        model->kernels->dense_product(packed + (size_t)head * mirl_packed(size, size), size, size, v, v_pitch,
                                      out, out_pitch, pixels, heads == 1 ? add : NULL, add_pitch);
}

double mirl_attention_mix_cost(const mirl_model *model, const mirl_block *block) {
    return model->convolutions[block->attn_project_out].cost +
           (double)block->channels * (block->channels / block->heads);
}
