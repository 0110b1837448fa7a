/* `mirl bench`: what this machine's arithmetic allows, and what share of it the network gets. */
#include "commands.h"
#include "network/network.h"
#include "options.h"

#include <cblas.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { MOST_REPEATS = 1000, MOST_STAGES = 32, GEMM_SIZE = 1024, GEMM_REPEATS = 9 };

void openblas_set_num_threads(int threads);

/* Wall times of one module over all runs, seconds. */
typedef struct stage {
    char module[32];
    double seconds[MOST_REPEATS];
} stage;

typedef struct bench {
    int repeats, run;
    double last;
    int stages;
    stage stage[MOST_STAGES];
    double whole[MOST_REPEATS];
    double open_seconds, gemm_rate; /* seconds; multiply-adds a second */
    double macs, dense_macs;        /* of the image */
    double peak_memory;             /* bytes */
} bench;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, int count) {
    double sorted[MOST_REPEATS];
    memcpy(sorted, values, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, compare);
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

/* The time since the last module ended is this one's. */
static void time_module(const char *module, const mirl_map *result, void *user) {
    (void)result;
    bench *b = user;
    double time = now();
    int i = 0;
    while (i < b->stages && strcmp(b->stage[i].module, module) != 0)
        i++;
    if (i == b->stages && i < MOST_STAGES)
        snprintf(b->stage[b->stages++].module, sizeof b->stage[i].module, "%s", module);
    if (i < MOST_STAGES)
        b->stage[i].seconds[b->run] = time - b->last;
    b->last = now();
}

/* The rate of OpenBLAS's product of square matrices on `threads` threads; 0 if memory runs out. */
static double gemm_rate(int threads) {
    const size_t count = (size_t)GEMM_SIZE * GEMM_SIZE;
    float *a = malloc(3 * count * sizeof *a);
    double seconds[GEMM_REPEATS];

    if (!a)
        return 0;
    float *b = a + count, *c = b + count;
    for (size_t i = 0; i < 3 * count; i++)
        a[i] = (float)(i % 7) - 3;
    openblas_set_num_threads(threads);
    for (int i = -1; i < GEMM_REPEATS; i++) { /* the first warms up */
        double begin = now();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, GEMM_SIZE, GEMM_SIZE, GEMM_SIZE, 1, a,
                    GEMM_SIZE, b, GEMM_SIZE, 0, c, GEMM_SIZE);
        if (i >= 0)
            seconds[i] = now() - begin;
    }
    free(a);
    return (double)GEMM_SIZE * (double)count / median(seconds, GEMM_REPEATS);
}

static void fill_image(const mirl_map *image) {
    uint32_t state = 1; /* Numerical Recipes' generator: any picture will do */
    for (int c = 0; c < 3; c++)
        for (size_t y = 0; y < image->height; y++)
            for (size_t x = 0; x < image->width; x++) {
                state = state * 1664525u + 1013904223u;
                *mirl_map_at(image, c, x, y) = (float)(state >> 8) / 16777216.0f;
            }
}

static mirl_status run(bench *b, const mirl_model *model, size_t width, size_t height, int threads,
                       mirl_error *error) {
    mirl_model_info info;
    struct rusage usage;
    mirl_network *network = mirl_network_create(model, width, height, threads, error);
    mirl_team *team = mirl_team_create(threads, NULL, NULL);

    if (network && team) {
        for (b->run = 0; b->run < b->repeats; b->run++) {
            fill_image(mirl_network_image(network));
            double begin = b->last = now();
            mirl_network_run(network, team, 1, time_module, b);
            b->whole[b->run] = now() - begin;
        }
        getrusage(RUSAGE_SELF, &usage);
        b->peak_memory = (double)usage.ru_maxrss * 1024;
        b->gemm_rate = gemm_rate(threads);
        mirl_model_get_info(model, &info);
        b->macs = info.macs * (double)(width * height);
        b->dense_macs = info.dense_macs * (double)(width * height);
    }
    mirl_team_free(team);
    mirl_network_free(network);
    return network && team ? MIRL_OK : MIRL_ERROR_MEMORY;
}

static void print_text(const bench *b, const mirl_model *model, size_t width, size_t height, int threads) {
    double whole = median(b->whole, b->repeats);

    printf("%zu x %zu pixels, %d threads, %s kernels, median of %d\n", width, height, threads,
           model->kernels->name, b->repeats);
    printf("opening the weights    %8.1f ms\n", 1e3 * b->open_seconds);
    printf("multiply-adds          %8.2f G of %.2f G dense\n", 1e-9 * b->macs, 1e-9 * b->dense_macs);
    printf("OpenBLAS sgemm         %8.1f GFLOP/s\n", 2e-9 * b->gemm_rate);
    printf("limit at that rate     %8.3f s\n", b->macs / b->gemm_rate);
    printf("time                   %8.3f s, %.0f %% of the limit\n", whole,
           100 * b->macs / b->gemm_rate / whole);
    printf("peak memory            %8.1f MiB\n\n", b->peak_memory / (1 << 20));
    for (int i = 0; i < b->stages; i++) {
        double seconds = median(b->stage[i].seconds, b->repeats);
        printf("%-22s %8.1f ms %5.1f %%\n", b->stage[i].module, 1e3 * seconds, 100 * seconds / whole);
    }
}

static void print_json(const bench *b, const mirl_model *model, size_t width, size_t height, int threads) {
    cJSON *object = cJSON_CreateObject(), *stages = cJSON_CreateObject();
    double whole = median(b->whole, b->repeats);

    cJSON_AddNumberToObject(object, "width", (double)width);
    cJSON_AddNumberToObject(object, "height", (double)height);
    cJSON_AddNumberToObject(object, "threads", threads);
    cJSON_AddStringToObject(object, "kernels", model->kernels->name);
    cJSON_AddNumberToObject(object, "repeats", b->repeats);
    cJSON_AddNumberToObject(object, "open_seconds", b->open_seconds);
    cJSON_AddNumberToObject(object, "macs", b->macs);
    cJSON_AddNumberToObject(object, "dense_macs", b->dense_macs);
    cJSON_AddNumberToObject(object, "sgemm_macs_per_second", b->gemm_rate);
    cJSON_AddNumberToObject(object, "seconds", whole);
    cJSON_AddNumberToObject(object, "share_of_limit", b->macs / b->gemm_rate / whole);
    cJSON_AddNumberToObject(object, "peak_memory_bytes", b->peak_memory);
    for (int i = 0; i < b->stages; i++)
        cJSON_AddNumberToObject(stages, b->stage[i].module, median(b->stage[i].seconds, b->repeats));
    cJSON_AddItemToObject(object, "stage_seconds", stages);
    char *text = cJSON_Print(object);
    if (text)
        puts(text);
    cJSON_free(text);
    cJSON_Delete(object);
}

int command_bench(int argc, char **argv) {
    int width = 256, height = 256, threads = 0, repeats = 5;
    const char *isa = NULL;
    bool json = false;
    const option_entry options[] = {
        {.name = "width",
         .kind = OPTION_INTEGER,
         .argument = "N",
         .help = "of the image, pixels, a multiple of 8 (default 256)",
         .value = &width,
         .low = 8,
         .high = 65536},
        {.name = "height",
         .kind = OPTION_INTEGER,
         .argument = "N",
         .help = "likewise",
         .value = &height,
         .low = 8,
         .high = 65536},
        {.name = "threads",
         .kind = OPTION_INTEGER,
         .argument = "N",
         .help = "0: all processors (default)",
         .value = &threads,
         .low = 0,
         .high = 256},
        {.name = "repeat",
         .kind = OPTION_INTEGER,
         .argument = "N",
         .help = "runs, of which the median is told (default 5)",
         .value = &repeats,
         .low = 1,
         .high = MOST_REPEATS},
        {.name = "isa",
         .kind = OPTION_TEXT,
         .argument = "NAME",
         .help = "kernels: amx, vnni, avx512, avx2, portable or plain\n(default: the fastest that run here)",
         .value = &isa},
        {.name = "json", .kind = OPTION_FLAG, .help = "print JSON", .value = &json},
        {0},
    };
    const command_line line = {
        .name = "bench",
        .operands = "[WEIGHTS]",
        .help =
            "Runs the network in WEIGHTS (a file or a name; the default weights if left out) on a random\n"
            "image and compares with the rate of OpenBLAS's matrix product on the same threads.",
        .notes =
            "exit codes: 0 done, 2 wrong command line, 3 WEIGHTS cannot be found or opened, 4 not enough\n"
            "memory.",
        .options = options,
        .operands_min = 0,
        .operands_max = 1,
    };
    int status, first = options_read(&line, argc, argv, &status);
    if (first < 0)
        return status;
    if (width % 8 || height % 8)
        return options_complain(&line, "--width and --height are %d and %d, they must be multiples of 8",
                                width, height);
    const mirl_kernels *kernels = isa ? mirl_kernels_find(isa) : mirl_kernels_best();
    if (!kernels)
        return options_complain(
            &line,
            "--isa is '%s', it must be amx, vnni, avx512, avx2, portable or plain, as this "
            "processor has it",
            isa);

    mirl_error error = {.status = MIRL_OK};
    char *path = find_weights(first < argc ? argv[first] : NULL, &error);
    double begin = now();
    mirl_model *model = path ? mirl_model_open_for(kernels, path, &error) : NULL;
    bench *b = calloc(1, sizeof *b);
    status = EXIT_WEIGHTS;
    if (model && b) {
        b->open_seconds = now() - begin;
        b->repeats = repeats;
        threads = mirl_team_threads(threads);
        status = EXIT_OK;
        if (run(b, model, (size_t)width, (size_t)height, threads, &error))
            status = EXIT_MEMORY;
        else if (json)
            print_json(b, model, (size_t)width, (size_t)height, threads);
        else
            print_text(b, model, (size_t)width, (size_t)height, threads);
    }
    if (status != EXIT_OK)
        fprintf(stderr, "mirl bench: %s\n", error.message);
    free(b);
    free(path);
    mirl_model_close(model);
    return status;
}
