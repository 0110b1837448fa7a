/* Restoring an image of any size and shape: clipping, padding, tiles, blending, strength. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "network/network.h"
#include "restore/tiles.h"
#include "team.h"

enum { LARGEST_SIDE = 1 << 20, LARGEST_TILE = 65536, SMALLEST_TILE = 128, MOST_THREADS = 256 };

/* ---- Checks ------------------------------------------------------------------------------------------ */

static mirl_status check_size(size_t width, size_t height, mirl_error *error) {
    if (width < 1 || height < 1 || width > LARGEST_SIDE || height > LARGEST_SIDE)
        return mirl_fail(error, MIRL_ERROR_ARGUMENT,
                         "the image has %zu x %zu pixels, each side must have 1 to %d", width, height,
                         LARGEST_SIDE);
    return MIRL_OK;
}

static mirl_status check_options(const mirl_options *options, mirl_error *error) {
    if (!(options->strength >= 0 && options->strength <= 1))
        return mirl_fail(error, MIRL_ERROR_ARGUMENT, "strength is %g, it must be 0 to 1",
                         (double)options->strength);
    if (options->threads < 0 || options->threads > MOST_THREADS)
        return mirl_fail(error, MIRL_ERROR_ARGUMENT,
                         "threads is %d, it must be 1 to %d, or 0 for all processors", options->threads,
                         MOST_THREADS);
    if (options->tile != MIRL_TILE_AUTO && options->tile != MIRL_TILE_WHOLE &&
        (options->tile < SMALLEST_TILE || options->tile > LARGEST_TILE))
        return mirl_fail(error, MIRL_ERROR_ARGUMENT,
                         "tile is %d, it must be %d to %d pixels, 0 for the whole image, or automatic",
                         options->tile, SMALLEST_TILE, LARGEST_TILE);
    return MIRL_OK;
}

static mirl_status check_images(const mirl_image *in, const mirl_image *out, mirl_error *error) {
    if (!in || !out || !in->data || !out->data)
        return mirl_fail(error, MIRL_ERROR_ARGUMENT, "an image has no samples, its data must not be NULL");
    if (in->channels != 1 && in->channels != 3)
        return mirl_fail(error, MIRL_ERROR_ARGUMENT, "the image has %d channels, it must have 3 or 1",
                         in->channels);
    if (in->width != out->width || in->height != out->height || in->channels != out->channels)
        return mirl_fail(error, MIRL_ERROR_ARGUMENT, "input and output must have the same size and channels");
    return MIRL_OK;
}

/* ---- Pixels ------------------------------------------------------------------------------------------ */

static float *sample(const mirl_image *image, size_t x, size_t y, int channel) {
    return image->data + (ptrdiff_t)x * image->pixel_stride + (ptrdiff_t)y * image->row_stride +
           channel * image->channel_stride;
}

/* Index `at` of a line of n pixels that is continued by reflection. */
static size_t reflect(size_t at, size_t n) {
    if (at < n)
        return at;
    if (n == 1)
        return 0;
    at %= 2 * n - 2;
    return at < n ? at : 2 * n - 2 - at;
}

/* One row of an image, from `left` on, as the network takes it. NaN and infinite samples take the value of
 * the sample before them. */
static void load_row(const mirl_image *in, int channel, size_t left, size_t y, float *row, size_t width) {
    const size_t source_y = reflect(y, in->height);
    float last = 0;
    for (size_t x = 0; x < width; x++) {
        float value = *sample(in, reflect(left + x, in->width), source_y, channel);
        if (isfinite(value))
            last = value < 0 ? 0 : value > 1 ? 1 : value;
        row[x] = last;
    }
}

/* out = in + strength * correction for one row, the correction being 3 planes `plane` floats apart. */
static void store_row(const mirl_image *in, const mirl_image *out, size_t y, const float *correction,
                      size_t plane, float strength) {
    for (size_t x = 0; x < in->width; x++)
        for (int c = 0; c < in->channels; c++) {
            float value = *sample(in, x, y, c);
            float change =
                in->channels == 3
                    ? correction[(size_t)c * plane + x]
                    : (correction[x] + correction[plane + x] + correction[2 * plane + x]) * (1 / 3.0f);
            *sample(out, x, y, c) = isfinite(value) ? value + strength * change : value;
        }
}

/* ---- Tiles ------------------------------------------------------------------------------------------- */

struct job {
    const mirl_image *in, *out;
    float strength;
    const mirl_tiles *tiles;
    mirl_network *network;
    mirl_team *team;
    float *band; /* [3][tile height][image width]: weighted corrections of the image's row y, in row y modulo
                    the height */
    mirl_reference *reference; /* that the tiles share; not known while the sample is restored */
    float *weights;            /* [tile width]: of the present tile's columns */
    size_t row, column;        /* the present tile */
    size_t top, left;          /* its first pixel */
};

/* Takes `count` pixels of the image, from (from_x, from_y) on, to the network's from (x, y) on. */
static void load_run(const struct job *job, size_t from_x, size_t from_y, size_t x, size_t y, size_t count) {
    for (int c = 0; c < 3; c++)
        load_row(job->in, job->in->channels == 3 ? c : 0, from_x, from_y,
                 mirl_map_at(mirl_network_image(job->network), c, x, y), count);
}

static void load_rows(void *context, size_t y, int thread) {
    (void)thread;
    const struct job *job = context;
    load_run(job, job->left, job->top + y, 0, y, job->tiles->across.size);
}

/* The same for the sample. */
static void load_sample_rows(void *context, size_t y, int thread) {
    (void)thread;
    const struct job *job = context;
    const mirl_tiling *across = &job->tiles->across;
    size_t run;
    const size_t from_y = mirl_tiling_sample(&job->tiles->down, y, &run);
    for (size_t x = 0; x < across->sample; x += run) {
        const size_t from_x = mirl_tiling_sample(across, x, &run);
        load_run(job, from_x, from_y, x, y, run);
    }
}

/* Runs the network on the present tile. */
static bool run_tile(struct job *job, double share) {
    const mirl_part part = {mirl_tiling_span(&job->tiles->across, job->left),
                            mirl_tiling_span(&job->tiles->down, job->top)};
    return mirl_team_run(job->team, job->tiles->down.size, 0, load_rows, job) &&
           mirl_network_run_part(job->network, job->team, share, job->reference, part);
}

/* Runs it on a sample of the picture, for what all tiles have to agree on. The squares of the sample lie in
 * it where they lie in the picture, in proportion. */
static bool run_sample(struct job *job, double share) {
    const size_t columns = job->tiles->across.sample, rows = job->tiles->down.sample;
    const mirl_part part = {{0, (float)columns}, {0, (float)rows}};
    return mirl_team_run(job->team, rows, 0, load_sample_rows, job) &&
           mirl_network_run_part(job->network, job->team, share, job->reference, part);
}

static float *band_row(const struct job *job, int channel, size_t y) {
    const size_t height = job->tiles->down.size;
    return job->band + ((size_t)channel * height + y % height) * job->tiles->across.length;
}

/* Adds row y of the present tile to the band. */
static void blend_row(void *context, size_t y, int thread) {
    (void)thread;
    const struct job *job = context;
    const mirl_map *correction = mirl_network_image(job->network);
    const mirl_tiling *across = &job->tiles->across, *down = &job->tiles->down;

    if (job->top + y >= down->length)
        return;
    const float weight = mirl_tiling_weight(down, job->row, job->top + y);
    const size_t left = across->length - job->left;
    for (int c = 0; c < 3; c++) {
        const float *from = mirl_map_at(correction, c, 0, y);
        float *to = band_row(job, c, job->top + y) + job->left;
        for (size_t x = 0; x < across->size && x < left; x++)
            to[x] += weight * job->weights[x] * from[x];
    }
}

/* Writes row `top + y`, which no later tile touches, and clears its place in the band. */
static void finish_row(void *context, size_t y, int thread) {
    (void)thread;
    const struct job *job = context;
    const size_t width = job->tiles->across.length, plane = job->tiles->down.size * width;

    store_row(job->in, job->out, job->top + y, band_row(job, 0, job->top + y), plane, job->strength);
    for (int c = 0; c < 3; c++)
        memset(band_row(job, c, job->top + y), 0, width * sizeof *job->band);
}

static bool restore_tile(struct job *job, double share) {
    const mirl_tiling *across = &job->tiles->across;

    job->left = mirl_tiling_start(across, job->column);
    for (size_t x = 0; x < across->size; x++)
        job->weights[x] = mirl_tiling_weight(across, job->column, job->left + x);
    return run_tile(job, share) && mirl_team_run(job->team, job->tiles->down.size, 0, blend_row, job);
}

/* All tiles, each of which is worth `share` of the progress. */
static bool restore_tiles(struct job *job, double share) {
    const mirl_tiling *across = &job->tiles->across, *down = &job->tiles->down;

    for (job->row = 0; job->row < down->count; job->row++) {
        job->top = mirl_tiling_start(down, job->row);
        for (job->column = 0; job->column < across->count; job->column++)
            if (!restore_tile(job, share))
                return false;
        size_t next = job->row + 1 < down->count ? mirl_tiling_start(down, job->row + 1) : down->length;
        if (!mirl_team_run(job->team, next - job->top, 0, finish_row, job))
            return false;
    }
    return true;
}

/* Once the result is begun to be written, it is written whole: not by the team, which can be cancelled. */
static bool restore_whole(struct job *job) {
    const mirl_map *correction = mirl_network_image(job->network);

    if (!mirl_team_run(job->team, job->tiles->down.size, 0, load_rows, job) ||
        !mirl_network_run(job->network, job->team, 1, NULL, NULL))
        return false;
    for (size_t y = 0; y < job->in->height; y++)
        store_row(job->in, job->out, y, mirl_map_at(correction, 0, 0, y), correction->pitch, job->strength);
    return true;
}

static mirl_status unless_cancelled(bool done, mirl_error *error) {
    return done ? MIRL_OK : mirl_fail(error, MIRL_ERROR_CANCELLED, "cancelled");
}

static mirl_status run_tiles(struct job *job, const mirl_model *model, mirl_error *error) {
    const mirl_tiling *across = &job->tiles->across, *down = &job->tiles->down;
    const double sample = (double)(across->sample * down->sample) / (double)(across->size * down->size);
    const double tile_share = 1 / ((double)(across->count * down->count) + sample);

    job->band = calloc(3 * down->size * across->length, sizeof *job->band);
    job->weights = malloc(across->size * sizeof *job->weights);
    job->reference = mirl_reference_create(model);
    if (!job->band || !job->weights || !job->reference)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "the system has not enough memory");
    mirl_status status = mirl_network_resize(job->network, across->sample, down->sample, error);
    if (!status)
        status = unless_cancelled(run_sample(job, sample * tile_share), error);
    if (!status)
        status = mirl_network_resize(job->network, across->size, down->size, error);
    if (!status)
        status = unless_cancelled(restore_tiles(job, tile_share), error);
    return status;
}

static mirl_status run_job(struct job *job, const mirl_model *model, const mirl_options *options,
                           mirl_error *error) {
    const mirl_tiling *across = &job->tiles->across, *down = &job->tiles->down;
    mirl_status status;

    job->team = mirl_team_create(job->tiles->threads, options->progress, options->user);
    job->network = mirl_network_create(model, across->size, down->size, job->tiles->threads, error);
    if (!job->network)
        status = MIRL_ERROR_MEMORY;
    else if (!job->team)
        status = mirl_fail(error, MIRL_ERROR_MEMORY, "the system has not enough memory");
    else if (across->count * down->count == 1)
        status = unless_cancelled(restore_whole(job), error);
    else
        status = run_tiles(job, model, error);
    free(job->band);
    free(job->weights);
    mirl_reference_free(job->reference);
    mirl_network_free(job->network);
    mirl_team_free(job->team);
    return status;
}

/* What mirl_restore() and mirl_plan() begin with. */
static mirl_status plan_tiles(mirl_tiles *tiles, const mirl_model *model, size_t width, size_t height,
                              const mirl_options *options, mirl_error *error) {
    mirl_status status = check_size(width, height, error);
    if (!status)
        status = check_options(options, error);
    if (!status)
        status =
            mirl_tiles_plan(tiles, model, width, height, options, mirl_team_threads(options->threads), error);
    return status;
}

mirl_status mirl_restore(const mirl_model *model, const mirl_image *in, const mirl_image *out,
                         const mirl_options *options, mirl_error *error) {
    const mirl_options defaults = mirl_options_default();
    mirl_tiles tiles;

    options = options ? options : &defaults;
    mirl_status status = check_images(in, out, error);
    if (!status)
        status = plan_tiles(&tiles, model, in->width, in->height, options, error);
    if (status)
        return status;
    struct job job = {.in = in, .out = out, .strength = options->strength, .tiles = &tiles};
    return run_job(&job, model, options, error);
}

mirl_status mirl_plan(const mirl_model *model, size_t width, size_t height, const mirl_options *options,
                      mirl_plan_info *info, mirl_error *error) {
    const mirl_options defaults = mirl_options_default();
    mirl_tiles tiles;

    mirl_status status = plan_tiles(&tiles, model, width, height, options ? options : &defaults, error);
    if (status)
        return status;
    *info = (mirl_plan_info){
        .tile_width = tiles.across.count > 1 ? tiles.across.size : width,
        .tile_height = tiles.down.count > 1 ? tiles.down.size : height,
        .tiles = tiles.across.count * tiles.down.count,
        .memory = tiles.memory,
    };
    return MIRL_OK;
}
