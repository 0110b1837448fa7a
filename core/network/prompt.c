/* A prompt: a picture mixed from learned prototypes by the mean of the features, resized and convolved. */
#include <math.h>

#include "network/stages.h"

struct prompt {
    const mirl_run *run;
    const mirl_prompt *prompt;
    const mirl_map *x, *picture;
    mirl_span across, down; /* where `picture` lies, in its own pixels */
    float *means;           /* [features] */
    float *shares;          /* [prompt_len], after the softmax */
    float *mixed;           /* [channels][size][size] */
};

static struct prompt describe(const mirl_model *model, const mirl_prompt *prompt, mirl_arena *shared) {
    struct prompt p = {.prompt = prompt};
    p.shares = mirl_arena_take(shared, (size_t)model->graph->config.prompt_len);
    p.means = mirl_arena_take(shared, (size_t)prompt->features);
    p.mixed = mirl_arena_take(shared, (size_t)prompt->channels * (size_t)prompt->size * (size_t)prompt->size);
    return p;
}

static mirl_span scaled(mirl_span span, int scale) {
    return (mirl_span){span.begin / (float)scale, span.whole / (float)scale};
}

static void mean_unit(void *context, size_t channel, int thread) {
    (void)thread;
    const struct prompt *p = context;
    double sum = 0;
    for (size_t x = 0, run; x < p->x->width; x += run) {
        run = mirl_map_run(p->x, x);
        for (size_t y = 0; y < p->x->height; y++) {
            const float *row = mirl_map_at(p->x, (int)channel, x, y);
            for (size_t i = 0; i < run; i++)
                sum += (double)row[i];
        }
    }
    p->means[channel] = (float)(sum / ((double)p->x->width * (double)p->x->height));
}

/* softmax(linear_layer(means)). */
static void share(const struct prompt *p) {
    float *const *values = p->run->model->values;
    const float *weight = values[p->prompt->linear_weight], *bias = values[p->prompt->linear_bias];
    const int count = p->run->model->graph->config.prompt_len, features = p->prompt->features;
    double shares[64], most = -INFINITY, sum = 0; /* a configuration has at most 64 prototypes */

    for (int i = 0; i < count; i++) {
        shares[i] = (double)bias[i];
        for (int f = 0; f < features; f++)
            shares[i] += (double)weight[i * features + f] * (double)p->means[f];
        most = fmax(most, shares[i]);
    }
    for (int i = 0; i < count; i++)
        sum += shares[i] = exp(shares[i] - most);
    for (int i = 0; i < count; i++)
        p->shares[i] = (float)(shares[i] / sum);
}

/* The prototypes mixed by their shares. */
static void mix_unit(void *context, size_t channel, int thread) {
    (void)thread;
    const struct prompt *p = context;
    const size_t pixels = (size_t)p->prompt->size * (size_t)p->prompt->size;
    const float *prototype = p->run->model->values[p->prompt->prompt_param] + channel * pixels;
    float *mixed = p->mixed + channel * pixels;

    for (int i = 0; i < p->run->model->graph->config.prompt_len; i++) {
        for (size_t k = 0; k < pixels; k++)
            mixed[k] = (i > 0 ? mixed[k] : 0) + p->shares[i] * prototype[k];
        prototype += (size_t)p->prompt->channels * pixels;
    }
}

/* The two source pixels and the second's weight of a bilinear resize with half-pixel centres. */
static float between(size_t at, mirl_span span, int source, int *first, int *second) {
    float position = ((float)at + span.begin + 0.5f) * ((float)source / span.whole) - 0.5f;
    if (position < 0)
        position = 0;
    *first = (int)position < source - 1 ? (int)position : source - 1;
    *second = *first < source - 1 ? *first + 1 : *first;
    return position - (float)*first;
}

static void resize_unit(void *context, size_t y, int thread) {
    const struct prompt *p = context;
    const int size = p->prompt->size;
    mirl_arena arena = mirl_run_scratch(p->run, thread);
    float *line = mirl_arena_take(&arena, (size_t)size);
    int top, bottom, left, right;
    float down = between(y, p->down, size, &top, &bottom);

    for (int c = 0; c < p->prompt->channels; c++) {
        const float *source = p->mixed + (size_t)c * (size_t)size * (size_t)size;
        for (int x = 0; x < size; x++)
            line[x] = source[top * size + x] * (1 - down) + source[bottom * size + x] * down;
        for (size_t x = 0, run; x < p->picture->width; x += run) {
            float *row = mirl_map_at(p->picture, c, x, y);
            run = mirl_map_run(p->picture, x);
            for (size_t i = 0; i < run; i++) {
                float across = between(x + i, p->across, size, &left, &right);
                row[i] = line[left] * (1 - across) + line[right] * across;
            }
        }
    }
    mirl_map_keep_sides(p->picture, 0, y, p->picture->width, 1);
}

bool mirl_prompt_run(const mirl_run *run, const mirl_prompt *prompt, const mirl_map *x,
                     const mirl_map *picture, const mirl_map *out) {
    mirl_arena shared = {run->shared, 0};
    struct prompt p = describe(run->model, prompt, &shared);
    p.run = run;
    p.x = x;
    p.picture = picture;
    p.across = scaled(run->part.across, prompt->scale);
    p.down = scaled(run->part.down, prompt->scale);
    if (run->reference)
        p.shares = run->reference->shares[prompt - run->model->graph->prompt];
    if (!run->reference || !run->reference->known) {
        if (!mirl_team_run(run->team, (size_t)prompt->features, 0, mean_unit, &p))
            return false;
        share(&p);
    }
    return mirl_team_run(run->team, (size_t)prompt->channels, 0, mix_unit, &p) &&
           mirl_team_run(run->team, picture->height, 0, resize_unit, &p) &&
           mirl_convolve(run, prompt->conv3x3, MIRL_KEEP, picture, out);
}

mirl_needs mirl_prompt_needs(const mirl_model *model, const mirl_prompt *prompt, const mirl_map *x) {
    mirl_arena shared = {0}, line = {0};
    describe(model, prompt, &shared);
    mirl_arena_take(&line, (size_t)prompt->size);
    mirl_map picture = mirl_map_channels(*x, 0, prompt->channels);
    size_t convolution = mirl_convolve_needs(model, prompt->conv3x3, &picture).scratch;
    return (mirl_needs){convolution > line.used ? convolution : line.used, shared.used};
}
