/* A prompt: a picture mixed from learned prototypes by the mean of the features, resized and convolved. */
#include <math.h>

#include "network/stages.h"

struct prompt {
    const mirl_run *run;
    const mirl_prompt *prompt;
    const mirl_map *x, *picture;
    float *means; /* [features] */
    float *mixed; /* [channels][size][size] */
};

static struct prompt describe(const mirl_prompt *prompt, mirl_arena *shared) {
    struct prompt p = {.prompt = prompt};
    p.means = mirl_arena_take(shared, (size_t)prompt->features);
    p.mixed = mirl_arena_take(shared, (size_t)prompt->channels * (size_t)prompt->size * (size_t)prompt->size);
    return p;
}

static void mean_unit(void *context, size_t channel, int thread) {
    (void)thread;
    const struct prompt *p = context;
    double sum = 0;
    for (size_t y = 0; y < p->x->height; y++) {
        const float *row = mirl_map_row(p->x, (int)channel, y);
        for (size_t x = 0; x < p->x->width; x++)
            sum += (double)row[x];
    }
    p->means[channel] = (float)(sum / ((double)p->x->width * (double)p->x->height));
}

/* softmax(linear_layer(means)), and the prototypes mixed by it. */
static void mix(const struct prompt *p) {
    const mirl_prompt *prompt = p->prompt;
    float *const *values = p->run->model->values;
    const float *weight = values[prompt->linear_weight], *prototype = values[prompt->prompt_param];
    const int count = p->run->model->graph->config.prompt_len;
    const size_t pixels = (size_t)prompt->channels * (size_t)prompt->size * (size_t)prompt->size;
    double share[64], most = -INFINITY, sum = 0; /* a configuration has at most 64 prototypes */

    for (int i = 0; i < count; i++) {
        share[i] = (double)values[prompt->linear_bias][i];
        for (int f = 0; f < prompt->features; f++)
            share[i] += (double)weight[i * prompt->features + f] * (double)p->means[f];
        most = fmax(most, share[i]);
    }
    for (int i = 0; i < count; i++)
        sum += share[i] = exp(share[i] - most);
    for (size_t k = 0; k < pixels; k++) {
        double value = 0;
        for (int i = 0; i < count; i++)
            value += share[i] / sum * (double)prototype[(size_t)i * pixels + k];
        p->mixed[k] = (float)value;
    }
}

/* The two source pixels and the second's weight of a bilinear resize with half-pixel centres. */
static float between(size_t at, size_t size, int source, int *first, int *second) {
    float position = ((float)at + 0.5f) * ((float)source / (float)size) - 0.5f;
    if (position < 0)
        position = 0;
    *first = (int)position < source - 1 ? (int)position : source - 1;
    *second = *first < source - 1 ? *first + 1 : *first;
    return position - (float)*first;
}

static void resize_unit(void *context, size_t y, int thread) {
    (void)thread;
    const struct prompt *p = context;
    const int size = p->prompt->size;
    int top, bottom, left, right;
    float down = between(y, p->picture->height, size, &top, &bottom);

    for (size_t x = 0; x < p->picture->width; x++) {
        float across = between(x, p->picture->width, size, &left, &right);
        for (int c = 0; c < p->prompt->channels; c++) {
            const float *source = p->mixed + (size_t)c * (size_t)size * (size_t)size;
            float a = source[top * size + left] * (1 - across) + source[top * size + right] * across;
            float b = source[bottom * size + left] * (1 - across) + source[bottom * size + right] * across;
            mirl_map_row(p->picture, c, y)[x] = a * (1 - down) + b * down;
        }
    }
}

bool mirl_prompt_run(const mirl_run *run, const mirl_prompt *prompt, const mirl_map *x,
                     const mirl_map *picture, const mirl_map *out) {
    mirl_arena shared = {run->shared, 0};
    struct prompt p = describe(prompt, &shared);
    p.run = run;
    p.x = x;
    p.picture = picture;
    if (!mirl_team_run(run->team, (size_t)prompt->features, 0, mean_unit, &p))
        return false;
    mix(&p);
    return mirl_team_run(run->team, picture->height, 0, resize_unit, &p) &&
           mirl_convolve3(run, prompt->conv3x3, MIRL_KEEP, picture, out);
}

mirl_needs mirl_prompt_needs(const mirl_model *model, const mirl_prompt *prompt, const mirl_map *x) {
    mirl_arena shared = {0};
    describe(prompt, &shared);
    mirl_map picture = mirl_map_channels(*x, 0, prompt->channels);
    return (mirl_needs){mirl_convolve3_needs(model, prompt->conv3x3, &picture).scratch, shared.used};
}
