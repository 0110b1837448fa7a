#include "trainer/pass.h"

#include "error.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LEVELS = 3 };

real *trainer_take(trainer_arena *arena, size_t values) {
    real *at = arena->base ? arena->base + arena->used : NULL;
    arena->used += (values + 15) / 16 * 16;
    return at;
}

trainer_planes trainer_take_planes(const trainer_pass *pass, trainer_arena *arena, int channels, int scale) {
    trainer_planes planes = {NULL, channels, pass->n, pass->h / scale, pass->w / scale, 0};
    planes.pitch = trainer_pitch(trainer_pixels(&planes));
    planes.data = trainer_take(arena, (size_t)channels * planes.pitch);
    return planes;
}

void trainer_pass_conv(trainer_pass *pass, int layer, trainer_planes x, const trainer_planes *add,
                       trainer_planes y) {
    pass->network->ops->conv_forward(&pass->network->convs[layer], x, add, y, pass->scratch);
}

void trainer_pass_conv_backward(trainer_pass *pass, int layer, trainer_planes x, trainer_planes dy,
                                const trainer_planes *add, trainer_planes dx) {
    const trainer_conv *conv = &pass->network->convs[layer];
    pass->network->ops->conv_backward_weight(conv, x, dy, trainer_pass_gradient(pass, layer), pass->scratch);
    pass->network->ops->conv_backward_input(conv, dy, add, dx, pass->scratch);
}

/* ---- Where everything stands ------------------------------------------------------------------------- */

/* The part of cat[level] that the deeper levels fill, and the encoder's. */
static int up_channels(const mirl_graph *graph, int level) {
    return graph->layers[graph->up[level]].rows / 4;
}

static trainer_planes up_part(const trainer_pass *pass, trainer_planes cat, int level) {
    return trainer_part(cat, 0, up_channels(pass->network->graph, level));
}

static trainer_planes skip_part(const trainer_pass *pass, trainer_planes cat, int level) {
    int up = up_channels(pass->network->graph, level);
    return trainer_part(cat, up, cat.channels - up);
}

/* The parts of noisy[level]: the features, and the prompt. */
static trainer_planes features_part(const trainer_pass *pass, trainer_planes noisy, int level) {
    return trainer_part(noisy, 0, pass->network->graph->prompt[level].features);
}

static trainer_planes prompt_part(const trainer_pass *pass, trainer_planes noisy, int level) {
    const mirl_prompt *prompt = &pass->network->graph->prompt[level];
    return trainer_part(noisy, prompt->features, prompt->channels);
}

/* Blocks of a stage from x to y (NULL: a new tensor); returns y. */
static trainer_planes plan_stage(trainer_pass *pass, mirl_stage stage, trainer_planes x,
                                 const trainer_planes *y, trainer_arena *arena) {
    for (int i = 0; i < stage.count; i++) {
        trainer_block_state *state = &pass->blocks[stage.first + i];
        state->x = x;
        trainer_block_plan(pass, stage.first + i, arena);
        state->y = x =
            y && i == stage.count - 1 ? *y : trainer_take_planes(pass, arena, x.channels, pass->h / x.h);
    }
    return x;
}

static void plan_levels(trainer_pass *pass, trainer_arena *arena) {
    const mirl_graph *graph = pass->network->graph;
    for (int level = 0; level < LEVELS; level++) {
        const mirl_prompt *prompt = &graph->prompt[level];
        int scale = 1 << level, wide = up_channels(graph, level) + (graph->config.dim << level);
        int noisy = prompt->features + prompt->channels;
        int reduced = graph->layers[graph->reduce_noise[level]].rows;
        pass->cat[level] = trainer_take_planes(pass, arena, wide, scale);
        pass->noisy[level] = trainer_take_planes(pass, arena, noisy, 2 * scale);
        pass->denoised[level] = trainer_take_planes(pass, arena, noisy, 2 * scale);
        pass->reduced[level] = trainer_take_planes(pass, arena, reduced, 2 * scale);
        pass->picture[level] = trainer_take_planes(pass, arena, prompt->channels, 2 * scale);
        pass->deeper[level] = trainer_take_planes(pass, arena, graph->config.dim << (level + 1), 2 * scale);
        pass->dcat[level] = trainer_take_planes(pass, arena, wide, scale);
        pass->dnoisy[level] = trainer_take_planes(pass, arena, noisy, 2 * scale);
        pass->dreduced[level] = trainer_take_planes(pass, arena, reduced, 2 * scale);
        pass->mean[level] = trainer_take(arena, (size_t)(pass->n * prompt->features));
        pass->mix[level] = trainer_take(arena, (size_t)(pass->n * graph->config.prompt_len));
    }
}

static void plan_blocks(trainer_pass *pass, trainer_arena *arena) {
    const mirl_graph *graph = pass->network->graph;
    trainer_planes x = pass->embedded, y;

    for (int level = 0; level < LEVELS; level++) {
        y = skip_part(pass, pass->cat[level], level);
        plan_stage(pass, graph->encoder[level], x, &y, arena);
        x = pass->deeper[level];
    }
    y = features_part(pass, pass->noisy[2], 2);
    plan_stage(pass, graph->latent, x, &y, arena);
    for (int level = LEVELS - 1; level >= 0; level--) {
        trainer_block_state *noise = &pass->blocks[graph->noise[level]];
        noise->x = pass->noisy[level];
        noise->y = pass->denoised[level];
        trainer_block_plan(pass, graph->noise[level], arena);
        if (level > 0) {
            int channels = graph->layers[graph->reduce_chan[level]].rows;
            x = trainer_take_planes(pass, arena, channels, 1 << level);
            y = features_part(pass, pass->noisy[level - 1], level - 1);
            plan_stage(pass, graph->decoder[level], x, &y, arena);
        }
    }
    x = plan_stage(pass, graph->decoder[0], pass->cat[0], NULL, arena);
    pass->refined = plan_stage(pass, graph->refinement, x, NULL, arena);
}

/* Values of temporary tensors: the most that a block, or a convolution around a shuffle or prompt takes. */
static size_t work_values(const trainer_pass *pass) {
    const mirl_graph *graph = pass->network->graph;
    size_t most = 0;
    for (int b = 0; b < graph->block_count; b++) {
        size_t values = trainer_block_work(pass, b);
        most = values > most ? values : most;
    }
    for (int level = 0; level < LEVELS; level++) {
        trainer_arena arena = {0};
        trainer_take_planes(pass, &arena, graph->layers[graph->up[level]].rows, 2 << level);
        most = arena.used > most ? arena.used : most;
        arena.used = 0;
        trainer_take_planes(pass, &arena, graph->layers[graph->down[level]].rows, 1 << level);
        most = arena.used > most ? arena.used : most;
        arena.used = 0;
        trainer_take_planes(pass, &arena, graph->prompt[level].channels, 2 << level);
        most = arena.used > most ? arena.used : most;
    }
    return most;
}

static size_t scratch_values(const trainer_pass *pass) {
    const mirl_graph *graph = pass->network->graph;
    size_t most = 0;
    if (pass->network->ops->scratch)
        return pass->network->ops->scratch(graph, pass->n, pass->h, pass->w);
    for (int i = 0; i < graph->layer_count; i++) {
        const mirl_layer *layer = &graph->layers[i];
        size_t prompt = layer->kind == MIRL_PROMPT_PARAM ? layer->count / (size_t)layer->shape[1] : 0;
        int channels = layer->kind == MIRL_CONV3 ? layer->shape[0] + layer->shape[1] : 1,
            scale = layer->scale;
        size_t values = trainer_scratch_size(channels, pass->n, pass->h / (scale ? scale : 1),
                                             pass->w / (scale ? scale : 1), prompt);
        most = values > most ? values : most;
    }
    for (int b = 0; b < graph->block_count; b++) {
        const mirl_block *block = &graph->blocks[b];
        int channels = 3 * block->channels > 2 * block->hidden ? 3 * block->channels : 2 * block->hidden;
        size_t values = trainer_scratch_size(channels, 1, 1, 1, 0);
        values +=
            trainer_chain_scratch_size(channels, pass->n, pass->h / block->scale, pass->w / block->scale);
        most = values > most ? values : most;
    }
    return most;
}

/* Lays all tensors out for n samples; returns the values needed in all. */
static size_t plan(trainer_pass *pass, int n, real *base) {
    trainer_arena arena = {base, 0};

    pass->n = n;
    trainer_take(&arena, TRAINER_SLACK);
    pass->image = trainer_take_planes(pass, &arena, 3, 1);
    pass->target = trainer_take_planes(pass, &arena, 3, 1);
    pass->result = trainer_take_planes(pass, &arena, 3, 1);
    pass->dresult = trainer_take_planes(pass, &arena, 3, 1);
    pass->embedded = trainer_take_planes(pass, &arena, pass->network->graph->config.dim, 1);
    plan_levels(pass, &arena);
    plan_blocks(pass, &arena);
    pass->scratch = trainer_take(&arena, scratch_values(pass));
    pass->work = arena;
    return arena.used + work_values(pass) + TRAINER_SLACK;
}

size_t trainer_pass_bytes(const trainer_network *network, int most, int h, int w) {
    trainer_pass pass = {.network = network, .most = most, .h = h, .w = w};
    pass.blocks = calloc((size_t)network->graph->block_count, sizeof *pass.blocks);
    size_t values = pass.blocks ? plan(&pass, most, NULL) : 0;
    free(pass.blocks);
    return values * sizeof(real);
}

/* On the host in large pages, where the system has them: a product walks through hundreds of planes side by
 * side. */
static void *allocate_large(const trainer_memory *memory_of, size_t bytes) {
    if (memory_of)
        return memory_of->allocate(bytes);
    size_t page = (size_t)2 << 20, rounded = (bytes + page - 1) / page * page;
    void *memory = aligned_alloc(page, rounded);
#ifdef MADV_HUGEPAGE
    if (memory)
        madvise(memory, rounded, MADV_HUGEPAGE);
#endif
    return memory;
}

trainer_pass *trainer_pass_create(const trainer_network *network, int most, int h, int w, mirl_error *error) {
    trainer_pass *pass = calloc(1, sizeof *pass);
    size_t values = 0;

    if (pass) {
        *pass = (trainer_pass){.network = network, .most = most, .h = h, .w = w};
        pass->blocks = calloc((size_t)network->graph->block_count, sizeof *pass->blocks);
    }
    if (pass && pass->blocks) {
        values = (plan(pass, most, NULL) + 15) / 16 * 16;
        pass->memory = allocate_large(network->ops->memory, values * sizeof(real));
    }
    if (!pass || !pass->memory) {
        mirl_fail(error, MIRL_ERROR_MEMORY,
                  "not enough memory: a thread needs %zu MiB for %d crops of %d x %d",
                  values * sizeof(real) >> 20, most, w, h);
        trainer_pass_free(pass);
        return NULL;
    }
    plan(pass, most, pass->memory);
    return pass;
}

void trainer_pass_free(trainer_pass *pass) {
    if (!pass)
        return;
    if (pass->network->ops->memory)
        pass->network->ops->memory->release(pass->memory);
    else
        free(pass->memory);
    free(pass->blocks);
    free(pass);
}

/* ---- Forward ----------------------------------------------------------------------------------------- */

static void stage_forward(trainer_pass *pass, mirl_stage stage) {
    for (int i = 0; i < stage.count; i++)
        trainer_block_forward(pass, stage.first + i);
}

static trainer_prompt prompt_of(const trainer_pass *pass, int level) {
    const mirl_prompt *prompt = &pass->network->graph->prompt[level];
    return (trainer_prompt){
        .features = prompt->features,
        .channels = prompt->channels,
        .size = prompt->size,
        .length = pass->network->graph->config.prompt_len,
        .param = trainer_pass_values(pass, prompt->prompt_param),
        .linear = trainer_pass_values(pass, prompt->linear_weight),
        .bias = trainer_pass_values(pass, prompt->linear_bias),
    };
}

static void encoder_forward(trainer_pass *pass, int level) {
    const mirl_graph *graph = pass->network->graph;
    trainer_arena work = pass->work;
    trainer_planes narrow =
        trainer_take_planes(pass, &work, graph->layers[graph->down[level]].rows, 1 << level);

    stage_forward(pass, graph->encoder[level]);
    trainer_pass_conv(pass, graph->down[level], skip_part(pass, pass->cat[level], level), NULL, narrow);
    pass->network->ops->unshuffle(narrow, pass->deeper[level]);
}

static void decoder_forward(trainer_pass *pass, int level) {
    const mirl_graph *graph = pass->network->graph;
    const trainer_ops *ops = pass->network->ops;
    trainer_arena work = pass->work;
    trainer_planes wide = trainer_take_planes(pass, &work, graph->layers[graph->up[level]].rows, 2 << level);
    trainer_prompt prompt = prompt_of(pass, level);

    ops->prompt_forward(&prompt, features_part(pass, pass->noisy[level], level), pass->mean[level],
                        pass->mix[level], pass->picture[level], pass->scratch);
    trainer_pass_conv(pass, graph->prompt[level].conv3x3, pass->picture[level], NULL,
                      prompt_part(pass, pass->noisy[level], level));
    trainer_block_forward(pass, graph->noise[level]);
    trainer_pass_conv(pass, graph->reduce_noise[level], pass->denoised[level], NULL, pass->reduced[level]);
    trainer_pass_conv(pass, graph->up[level], pass->reduced[level], NULL, wide);
    ops->shuffle(wide, up_part(pass, pass->cat[level], level));
    if (level > 0)
        trainer_pass_conv(pass, graph->reduce_chan[level], pass->cat[level], NULL,
                          pass->blocks[graph->decoder[level].first].x);
    stage_forward(pass, graph->decoder[level]);
}

static void forward(trainer_pass *pass) {
    const mirl_graph *graph = pass->network->graph;

    trainer_pass_conv(pass, graph->patch_embed, pass->image, NULL, pass->embedded);
    for (int level = 0; level < LEVELS; level++)
        encoder_forward(pass, level);
    stage_forward(pass, graph->latent);
    for (int level = LEVELS - 1; level >= 0; level--)
        decoder_forward(pass, level);
    stage_forward(pass, graph->refinement);
    trainer_pass_conv(pass, graph->output, pass->refined, &pass->image, pass->result);
}

/* ---- Backward ---------------------------------------------------------------------------------------- */

static void stage_backward(trainer_pass *pass, mirl_stage stage, trainer_planes d) {
    for (int i = stage.count - 1; i >= 0; i--)
        trainer_block_backward(pass, stage.first + i, d);
}

/* From dcat[level] to the gradient of the features in dnoisy[level]. */
static void decoder_backward(trainer_pass *pass, int level) {
    const mirl_graph *graph = pass->network->graph;
    const trainer_ops *ops = pass->network->ops;
    const mirl_prompt *shape = &graph->prompt[level];
    trainer_arena work = pass->work;
    trainer_planes wide = trainer_take_planes(pass, &work, graph->layers[graph->up[level]].rows, 2 << level);
    trainer_prompt prompt = prompt_of(pass, level);
    trainer_planes dnoisy = pass->dnoisy[level];

    ops->unshuffle(up_part(pass, pass->dcat[level], level), wide);
    trainer_pass_conv_backward(pass, graph->up[level], pass->reduced[level], wide, NULL,
                               pass->dreduced[level]);
    trainer_pass_conv_backward(pass, graph->reduce_noise[level], pass->denoised[level], pass->dreduced[level],
                               NULL, dnoisy);
    trainer_block_backward(pass, graph->noise[level], dnoisy);

    work = pass->work;
    trainer_planes dpicture = trainer_take_planes(pass, &work, shape->channels, 2 << level);
    trainer_pass_conv_backward(pass, shape->conv3x3, pass->picture[level], prompt_part(pass, dnoisy, level),
                               NULL, dpicture);
    ops->prompt_backward(&prompt, pass->mean[level], pass->mix[level], dpicture,
                         features_part(pass, dnoisy, level), trainer_pass_gradient(pass, shape->prompt_param),
                         trainer_pass_gradient(pass, shape->linear_weight),
                         trainer_pass_gradient(pass, shape->linear_bias), pass->scratch);
}

/* d: the gradient of deeper[level]; returns that of the level's input. */
static trainer_planes encoder_backward(trainer_pass *pass, int level, trainer_planes d) {
    const mirl_graph *graph = pass->network->graph;
    trainer_arena work = pass->work;
    trainer_planes narrow =
        trainer_take_planes(pass, &work, graph->layers[graph->down[level]].rows, 1 << level);
    trainer_planes skip = skip_part(pass, pass->dcat[level], level);

    pass->network->ops->shuffle(d, narrow);
    trainer_pass_conv_backward(pass, graph->down[level], skip_part(pass, pass->cat[level], level), narrow,
                               &skip, skip);
    stage_backward(pass, graph->encoder[level], skip);
    return skip;
}

static void backward(trainer_pass *pass) {
    const mirl_graph *graph = pass->network->graph;
    const trainer_ops *ops = pass->network->ops;
    trainer_planes d = pass->dcat[0];

    trainer_pass_conv_backward(pass, graph->output, pass->refined, pass->dresult, NULL, d);
    stage_backward(pass, graph->refinement, d);
    for (int level = 0; level < LEVELS; level++) {
        stage_backward(pass, graph->decoder[level], d);
        if (level > 0)
            trainer_pass_conv_backward(pass, graph->reduce_chan[level], pass->cat[level], d, NULL,
                                       pass->dcat[level]);
        decoder_backward(pass, level);
        d = features_part(pass, pass->dnoisy[level], level);
    }
    stage_backward(pass, graph->latent, d);
    for (int level = LEVELS - 1; level >= 0; level--)
        d = encoder_backward(pass, level, d);
    ops->conv_backward_weight(&pass->network->convs[graph->patch_embed], pass->image, d,
                              trainer_pass_gradient(pass, graph->patch_embed), pass->scratch);
}

/* ---- A run ------------------------------------------------------------------------------------------- */

static void run_forward(trainer_pass *pass, const real *values, int n, const float *degraded) {
    if (n != pass->n)
        plan(pass, n, pass->memory);
    pass->values = values;
    pass->network->ops->pack(degraded, pass->image);
    forward(pass);
}

void trainer_pass_gradients(trainer_pass *pass, const real *values, int n, const float *degraded,
                            const float *clean, size_t total, real *gradient, double *sum) {
    const trainer_ops *ops = pass->network->ops;

    run_forward(pass, values, n, degraded);
    pass->gradient = gradient;
    ops->pack(clean, pass->target);
    ops->loss(pass->result, pass->target, 1 / (real)total, pass->dresult, sum, pass->scratch);
    backward(pass);
}

double trainer_pass_run(trainer_pass *pass, const real *values, int n, const float *degraded,
                        const float *clean, size_t total, real *gradient) {
    double sum = 0;
    trainer_pass_gradients(pass, values, n, degraded, clean, total, gradient, &sum);
    return sum / (double)total;
}

void trainer_pass_loss(trainer_pass *pass, const real *values, int n, const float *degraded,
                       const float *clean, double *sum) {
    const trainer_ops *ops = pass->network->ops;

    run_forward(pass, values, n, degraded);
    ops->pack(clean, pass->target);
    ops->loss(pass->result, pass->target, 0, pass->dresult, sum, pass->scratch);
}

void trainer_pass_restore(trainer_pass *pass, const real *values, int n, const float *degraded,
                          float *restored) {
    run_forward(pass, values, n, degraded);
    pass->network->ops->unpack(pass->result, restored);
}
