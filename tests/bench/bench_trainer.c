/* How many patches a second the trainer does: whole steps (forward, backward, AdamW) on noise, for a share of
 * weights alive. usage: bench-trainer [ALIVE] [SECONDS] [GROUP] [SET] [BATCH] [RECIPE]
 * SET is an instruction set, or cuda, cuda:tf32, cuda:bf16 (in float32, as is cuda).
 *
 * The network is the one of the trainer's aim (tests/bench/training.md): dim 16, blocks 2 2 3 4, refinement
 * 2, prompts 16 32 96; or that of a recipe. Batch 8 unless given, crop 64.
 */
#include "trainer/device/device.h"
#include "trainer/random.h"
#include "trainer/recipe.h"
#include "trainer/team.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { CROP = 64, IMAGE = 3 * CROP * CROP };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double processor_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + 1e-6 * (double)usage.ru_utime.tv_usec;
}

static mirl_config config_of(const char *recipe_path) {
    mirl_config aim = {.dim = 16,
                       .blocks = {2, 2, 3, 4},
                       .refinement = 2,
                       .heads = {1, 2, 4, 8},
                       .ffn = 2.66,
                       .prompt_len = 5,
                       .prompt_dims = {16, 32, 96},
                       .prompt_sizes = {64, 32, 16}};
    trainer_recipe recipe = trainer_recipe_default();
    mirl_error error;
    if (!recipe_path)
        return aim;
    if (trainer_recipe_read(&recipe, recipe_path, &error)) {
        fprintf(stderr, "%s\n", error.message);
        exit(EXIT_FAILURE);
    }
    return recipe.config;
}

static void noise(float *values, size_t count, uint64_t stream) {
    trainer_random random = trainer_random_stream(1, stream, 0);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)trainer_random_uniform(&random, 0, 1);
}

static void draw_mask(const trainer_network *network, double alive, uint8_t *mask, float *values) {
    trainer_random random = trainer_random_stream(2, 0, 0);
    for (int i = 0; i < network->graph->layer_count; i++) {
        const mirl_layer *layer = &network->graph->layers[i];
        bool prunable = layer->kind == MIRL_CONV1 || layer->kind == MIRL_CONV3;
        for (size_t v = network->at[i]; v < network->at[i] + layer->count; v++) {
            mask[v] = !prunable || trainer_random_uniform(&random, 0, 1) < alive;
            values[v] = mask[v] ? values[v] : 0;
        }
    }
}

static void step(trainer_team *team, float *values, float *moments, size_t count, const uint8_t *mask,
                 const float *noisy, const float *clean) {
    trainer_adamw adamw = {2e-4, 0.9, 0.999, 1e-8, 0.01, 1};
    trainer_team_gradients(team, values, noisy, clean, 1);
    trainer_team_step(team, &adamw, values, moments, moments + count, mask);
}

static const trainer_ops *open_ops(const char *set) {
    trainer_precision precision = TRAINER_FLOAT32;
    char name[200] = "";
    mirl_error error;
    if (!set || strncmp(set, "cuda", 4) != 0)
        return trainer_ops_get(set);
    if (set[4] && !trainer_precision_find(set + 5, &precision))
        return NULL;
    const trainer_ops *ops = trainer_device_open("cuda", precision, name, sizeof name, &error);
    fprintf(stderr, "%s\n", ops ? name : error.message);
    return ops;
}

int main(int argc, char **argv) {
    double alive = argc > 1 ? atof(argv[1]) : 1, seconds = argc > 2 ? atof(argv[2]) : 10;
    int threads = omp_get_max_threads(), group = argc > 3 ? atoi(argv[3]) : 1, steps = 0;
    const char *set = argc > 4 ? argv[4] : NULL;
    const trainer_ops *ops = open_ops(set);
    size_t batch = argc > 5 ? (size_t)atoi(argv[5]) : 8;
    mirl_config shape = config_of(argc > 6 ? argv[6] : NULL);
    mirl_graph *graph = mirl_graph_create(&shape, NULL);
    trainer_network *network = ops ? trainer_network_create(graph, ops, NULL) : NULL;
    if (!network)
        return EXIT_FAILURE;
    size_t count = network->parameters;
    float *values = calloc(count, sizeof *values), *moments = calloc(2 * count, sizeof *moments);
    float *noisy = calloc(batch * IMAGE, sizeof *noisy), *clean = calloc(batch * IMAGE, sizeof *clean);
    uint8_t *mask = calloc(count, 1);
    noise(noisy, batch * IMAGE, 1);
    noise(clean, batch * IMAGE, 2);
    trainer_network_initial(network, 1, values);
    draw_mask(network, alive, mask, values);
    if (trainer_network_structure(network, alive < 1 ? mask : NULL, NULL))
        return EXIT_FAILURE;
    trainer_team *team = trainer_team_create(network, threads, (int)batch, CROP, group, NULL);
    if (!team)
        return EXIT_FAILURE;
    mirl_error error;
    trainer_team_push(team, values, moments, moments + count, mask);
    for (int i = 0; i < 3; i++) // a device loads its kernels, then records the step
        step(team, values, moments, count, mask, noisy, clean);
    if (trainer_team_pull(team, values, moments, moments + count, &error)) {
        fprintf(stderr, "%s\n", error.message);
        return EXIT_FAILURE;
    }
    double start = now(), cpu = processor_seconds();
    for (; now() - start < seconds; steps++)
        step(team, values, moments, count, mask, noisy, clean);
    if (trainer_team_pull(team, values, moments, moments + count, &error))
        fprintf(stderr, "%s\n", error.message);
    double took = now() - start;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    cpu = processor_seconds() - cpu;
    printf("%s, %d threads, groups of %d, batch %zu, %.0f %% alive: %.2f patches/s, %.2f a processor second, "
           "%ld MiB of the machine's memory at most\n",
           set ? set : ops->name, threads, group, batch, 100 * alive, steps * (double)batch / took,
           steps * (double)batch / cpu, usage.ru_maxrss >> 10);
    return EXIT_SUCCESS;
}
