#include "network/network.h"

#include <stdlib.h>

#include "error.h"
#include "network/stages.h"

struct mirl_network {
    const mirl_model *model;
    int threads;
    mirl_map image;
    mirl_map level[4]; /* what a level works on, with all the channels that it ever joins */
    float *other[4];   /* for a second one, of as many channels as a block of the level has */
    float *shared, *scratch;
    size_t scratch_floats; /* each thread's */
    void *memory;
    size_t bytes;
};

/* ---- Memory ------------------------------------------------------------------------------------------ */

static int most(int a, int b) {
    return a > b ? a : b;
}

/* Memory for a map. Strips read a column to either side of the image and fill up vectors, so a map stands
 * apart from what other threads may be writing. */
static float *take_map(mirl_arena *arena, const mirl_map *map) {
    float *piece = mirl_arena_take(arena, mirl_map_floats(map) + 3 * MIRL_PAD);
    return piece ? piece + MIRL_PAD : NULL;
}

static void raise(mirl_needs *needs, mirl_needs other) {
    needs->scratch = other.scratch > needs->scratch ? other.scratch : needs->scratch;
    needs->shared = other.shared > needs->shared ? other.shared : needs->shared;
}

/* The most that any stage needs. */
static mirl_needs needs_of(const mirl_network *network) {
    const mirl_model *model = network->model;
    const mirl_graph *graph = model->graph;
    mirl_needs needs = {0, 0};

    for (int i = 0; i < graph->block_count; i++) {
        const mirl_block *block = &graph->blocks[i];
        int level = block->scale == 1 ? 0 : block->scale == 2 ? 1 : block->scale == 4 ? 2 : 3;
        mirl_map x = mirl_map_channels(network->level[level], 0, block->channels);
        raise(&needs, mirl_attention_needs(model, block, &x));
        raise(&needs, mirl_feed_forward_needs(model, block, &x));
    }
    raise(&needs, mirl_convolve_needs(model, graph->patch_embed, &network->image));
    raise(&needs, mirl_convolve_needs(model, graph->output, &network->level[0]));
    for (int i = 0; i < 3; i++) {
        const mirl_map *upper = &network->level[i], *lower = &network->level[i + 1];
        raise(&needs, mirl_convolve_needs(model, graph->down[i], upper));
        raise(&needs, mirl_convolve_needs(model, graph->up[i], lower));
        raise(&needs, mirl_convolve_needs(model, graph->reduce_noise[i], lower));
        if (i > 0)
            raise(&needs, mirl_convolve_needs(model, graph->reduce_chan[i], upper));
        raise(&needs, mirl_prompt_needs(model, &graph->prompt[i], lower));
    }
    return needs;
}

static void lay_out(mirl_network *network, mirl_arena *arena, size_t width, size_t height, int threads) {
    const mirl_config *config = &network->model->graph->config;
    const int d = config->dim, *p = config->prompt_dims;
    /* Of a block; and of what is joined: an encoder's result waits behind the channels of the decoder. */
    const int widest[4] = {2 * d, 2 * d + p[0], 4 * d + p[1], 8 * d + p[2]};
    const int joined[4] = {2 * d, 4 * d, 6 * d, 8 * d};
    size_t used = 0;

    network->image = mirl_map_shape(3, width, height, width);
    network->image.data = take_map(arena, &network->image);
    for (int i = 0; i < 4; i++) {
        size_t w = width >> i, h = height >> i, band = mirl_map_band(w);
        network->level[i] = mirl_map_shape(most(widest[i], joined[i]), w, h, band);
        network->level[i].data = take_map(arena, &network->level[i]);
        /* Where the lower levels will be: they hold nothing while blocks of this one run. */
        mirl_arena rest = *arena;
        const mirl_map other = mirl_map_shape(widest[i], w, h, band);
        network->other[i] = take_map(&rest, &other);
        used = rest.used > used ? rest.used : used;
    }
    arena->used = used;
    mirl_needs needs = needs_of(network);
    network->shared = mirl_arena_take(arena, needs.shared);
    network->scratch_floats = mirl_padded(needs.scratch);
    network->scratch = mirl_arena_take(arena, network->scratch_floats * (size_t)threads);
}

uint64_t mirl_network_bytes(const mirl_model *model, size_t width, size_t height, int threads) {
    mirl_network network = {.model = model};
    mirl_arena arena = {0};
    lay_out(&network, &arena, width, height, threads);
    return (uint64_t)arena.used * sizeof(float);
}

mirl_status mirl_network_resize(mirl_network *network, size_t width, size_t height, mirl_error *error) {
    mirl_spare *spare = network->model->spare;
    size_t bytes = mirl_network_bytes(network->model, width, height, network->threads);

    if (bytes > network->bytes) {
        if (network->memory)
            mirl_spare_leave(spare, network->memory, network->bytes);
        network->memory = mirl_spare_take(spare, &bytes);
        network->bytes = network->memory ? bytes : 0;
    }
    if (!network->memory)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "the system has not enough memory: %.0f MiB are needed",
                         (double)bytes / (1 << 20));
    mirl_arena arena = {network->memory, 0};
    lay_out(network, &arena, width, height, network->threads);
    return MIRL_OK;
}

mirl_network *mirl_network_create(const mirl_model *model, size_t width, size_t height, int threads,
                                  mirl_error *error) {
    mirl_network *network = calloc(1, sizeof *network);

    if (!network) {
        mirl_fail(error, MIRL_ERROR_MEMORY, "the system has not enough memory");
        return NULL;
    }
    network->model = model;
    network->threads = threads;
    if (!mirl_network_resize(network, width, height, error))
        return network;
    mirl_network_free(network);
    return NULL;
}

void mirl_network_free(mirl_network *network) {
    if (!network)
        return;
    if (network->memory)
        mirl_spare_leave(network->model->spare, network->memory, network->bytes);
    free(network);
}

const mirl_map *mirl_network_image(const mirl_network *network) {
    return &network->image;
}

/* ---- The graph: reads like network.md ---------------------------------------------------------------- */

struct pass {
    mirl_run run;
    const mirl_network *network;
    const mirl_graph *graph;
    mirl_tap tap;
    void *user;
};

static bool tap(const struct pass *pass, const char *module, const mirl_map *result) {
    if (pass->tap)
        pass->tap(module, result, pass->user);
    return true;
}

/* A level's channels first..first+count-1. */
static mirl_map at(const struct pass *pass, int level, int first, int count) {
    return mirl_map_channels(pass->network->level[level - 1], first, count);
}

/* The second map of a level, with that many channels. */
static mirl_map other(const struct pass *pass, int level, int channels) {
    const mirl_map *like = &pass->network->level[level - 1];
    mirl_map map = mirl_map_shape(channels, like->width, like->height, like->band);
    map.data = pass->network->other[level - 1];
    return map;
}

static bool block(const struct pass *pass, int index, int level, const mirl_map *x) {
    const mirl_block *block = &pass->graph->blocks[index];
    const mirl_map v = other(pass, level, block->channels);
    mirl_attended attended;
    return mirl_attention(&pass->run, block, x, &v, &attended) &&
           mirl_feed_forward(&pass->run, block, &attended, x);
}

static bool stage(const struct pass *pass, const char *module, mirl_stage stage, int level,
                  const mirl_map *x) {
    for (int i = 0; i < stage.count; i++)
        if (!block(pass, stage.first + i, level, x))
            return false;
    return tap(pass, module, x);
}

static bool convolve(const struct pass *pass, const char *module, int layer, mirl_rearrange rearrange,
                     const mirl_map *in, const mirl_map *out) {
    return mirl_convolve(&pass->run, layer, rearrange, in, out) && tap(pass, module, out);
}

/* x = reduce_noise_levelN(noise_levelN([x, promptN(x)])), to `channels` channels; N + 1 is `level`. */
static bool interact(const struct pass *pass, int level, int channels) {
    static const char *const prompt_names[] = {"prompt1", "prompt2", "prompt3"};
    static const char *const noise_names[] = {"noise_level1", "noise_level2", "noise_level3"};
    static const char *const reduce_names[] = {"reduce_noise_level1", "reduce_noise_level2",
                                               "reduce_noise_level3"};
    const int n = level - 2;
    const mirl_prompt *prompt = &pass->graph->prompt[n];
    mirl_map x = at(pass, level, 0, prompt->features);
    mirl_map joined = at(pass, level, 0, prompt->features + prompt->channels);
    mirl_map picture = at(pass, level, prompt->features, prompt->channels);
    mirl_map between = other(pass, level, prompt->channels);
    mirl_map reduced = at(pass, level, 0, channels);

    return mirl_prompt_run(&pass->run, prompt, &x, &between, &picture) &&
           tap(pass, prompt_names[n], &picture) && block(pass, pass->graph->noise[n], level, &joined) &&
           tap(pass, noise_names[n], &joined) &&
           convolve(pass, reduce_names[n], pass->graph->reduce_noise[n], MIRL_KEEP, &joined, &reduced);
}

static bool run_graph(const struct pass *pass) {
    const mirl_graph *g = pass->graph;
    const int d = g->config.dim;
    const mirl_map *image = &pass->network->image;
    /* [upsampled, encoder's] at each level, whole and in its parts; the latent has nothing to join. */
    const mirl_map x1 = at(pass, 1, 0, 2 * d), up1 = at(pass, 1, 0, d), e1 = at(pass, 1, d, d);
    const mirl_map x2 = at(pass, 2, 0, 4 * d), up2 = at(pass, 2, 0, 2 * d), e2 = at(pass, 2, 2 * d, 2 * d);
    const mirl_map x3 = at(pass, 3, 0, 6 * d), up3 = at(pass, 3, 0, 2 * d), e3 = at(pass, 3, 2 * d, 4 * d);
    const mirl_map x4 = at(pass, 4, 0, 8 * d), d4 = at(pass, 4, 0, 4 * d);
    const mirl_map d3 = at(pass, 3, 0, 4 * d), d2 = at(pass, 2, 0, 2 * d);

    return convolve(pass, "patch_embed", g->patch_embed, MIRL_KEEP, image, &e1) &&
           stage(pass, "encoder_level1", g->encoder[0], 1, &e1) &&
           convolve(pass, "down1_2", g->down[0], MIRL_UNSHUFFLE, &e1, &e2) &&
           stage(pass, "encoder_level2", g->encoder[1], 2, &e2) &&
           convolve(pass, "down2_3", g->down[1], MIRL_UNSHUFFLE, &e2, &e3) &&
           stage(pass, "encoder_level3", g->encoder[2], 3, &e3) &&
           convolve(pass, "down3_4", g->down[2], MIRL_UNSHUFFLE, &e3, &x4) &&
           stage(pass, "latent", g->latent, 4, &x4) &&

           interact(pass, 4, 4 * d) && convolve(pass, "up4_3", g->up[2], MIRL_SHUFFLE, &d4, &up3) &&
           convolve(pass, "reduce_chan_level3", g->reduce_chan[2], MIRL_KEEP, &x3, &d3) &&
           stage(pass, "decoder_level3", g->decoder[2], 3, &d3) &&

           interact(pass, 3, 4 * d) && convolve(pass, "up3_2", g->up[1], MIRL_SHUFFLE, &d3, &up2) &&
           convolve(pass, "reduce_chan_level2", g->reduce_chan[1], MIRL_KEEP, &x2, &d2) &&
           stage(pass, "decoder_level2", g->decoder[1], 2, &d2) &&

           interact(pass, 2, 2 * d) && convolve(pass, "up2_1", g->up[0], MIRL_SHUFFLE, &d2, &up1) &&
           stage(pass, "decoder_level1", g->decoder[0], 1, &x1) &&
           stage(pass, "refinement", g->refinement, 1, &x1) &&
           convolve(pass, "output", g->output, MIRL_KEEP, &x1, image);
}

/* What the stages' costs add up to for a pixel, about: multiply-adds of the dense kernel. */
static double whole_cost(const mirl_model *model) {
    const mirl_graph *graph = model->graph;
    double cost = mirl_graph_attention_macs(graph);
    for (int i = 0; i < graph->layer_count; i++) {
        const mirl_layer *layer = &graph->layers[i];
        double scale = (double)layer->scale * layer->scale;
        if (layer->kind == MIRL_CONV1 || layer->kind == MIRL_CONV3)
            cost += model->convolutions[i].cost / scale;
        if (layer->kind == MIRL_CONV3)
            cost += 3.0 * layer->columns / scale;
        if (layer->kind == MIRL_DEPTHWISE)
            cost += 25.0 * layer->rows / scale;
    }
    return cost;
}

static struct pass begin_pass(const mirl_network *network, mirl_team *team, double share) {
    double pixels = (double)network->image.width * (double)network->image.height;
    return (struct pass){
        .run = {.model = network->model,
                .part = {{0, (float)network->image.width}, {0, (float)network->image.height}},
                .team = team,
                .scratch = network->scratch,
                .scratch_floats = network->scratch_floats,
                .shared = network->shared,
                .share = share / (pixels * whole_cost(network->model))},
        .network = network,
        .graph = network->model->graph,
    };
}

bool mirl_network_run(mirl_network *network, mirl_team *team, double share, mirl_tap tap, void *user) {
    struct pass pass = begin_pass(network, team, share);
    pass.tap = tap;
    pass.user = user;
    return run_graph(&pass);
}

bool mirl_network_run_part(mirl_network *network, mirl_team *team, double share, mirl_reference *reference,
                           mirl_part part) {
    struct pass pass = begin_pass(network, team, share);
    pass.run.reference = reference;
    pass.run.part = part;
    bool done = run_graph(&pass);
    reference->known |= done;
    return done;
}
