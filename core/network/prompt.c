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
        run = mirl_map_run(p->x, x, p->x->width - x);
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
struct between {
    int first, second;
    float weight;
};

static struct between between(size_t at, mirl_span span, int source) {
    float position = ((float)at + span.begin + 0.5f) * ((float)source / span.whole) - 0.5f;
    if (position < 0)
        position = 0;
    const int first = (int)position < source - 1 ? (int)position : source - 1;
    return (struct between){first, first < source - 1 ? first + 1 : first, position - (float)first};
}

static float mix(const float *values, struct between at) {
    return values[at.first] * (1 - at.weight) + values[at.second] * at.weight;
}

struct scratch {
    float *line;            /* [size]: of a prototype's picture, at the height of a row */
    struct between *across; /* [width] */
};

static struct scratch scratch(const mirl_prompt *prompt, size_t width, mirl_arena *arena) {
    struct scratch s = {.line = mirl_arena_take(arena, (size_t)prompt->size)};
    s.across = (struct between *)mirl_arena_take(arena, width * (sizeof *s.across / sizeof(float)));
    return s;
}

static void resize_unit(void *context, size_t y, int thread) {
    const struct prompt *p = context;
    const int size = p->prompt->size;
    mirl_arena arena = mirl_run_scratch(p->run, thread);
    const struct scratch s = scratch(p->prompt, p->picture->width, &arena);
    const struct between down = between(y, p->down, size);

    for (size_t x = 0; x < p->picture->width; x++)
        s.across[x] = between(x, p->across, size);
    for (int c = 0; c < p->prompt->channels; c++) {
        const float *source = p->mixed + (size_t)c * (size_t)size * (size_t)size;
        for (int x = 0; x < size; x++)
            s.line[x] = source[down.first * size + x] * (1 - down.weight) +
                        source[down.second * size + x] * down.weight;
        for (size_t x = 0, run; x < p->picture->width; x += run) {
            float *row = mirl_map_at(p->picture, c, x, y);
            run = mirl_map_run(p->picture, x, p->picture->width - x);
            for (size_t i = 0; i < run; i++)
                row[i] = mix(s.line, s.across[x + i]);
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
    scratch(prompt, x->width, &line);
    mirl_map picture = mirl_map_channels(*x, 0, prompt->channels);
    size_t convolution = mirl_convolve_needs(model, prompt->conv3x3, &picture).scratch;
    return (mirl_needs){convolution > line.used ? convolution : line.used, shared.used};
}
