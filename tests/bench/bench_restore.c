/* Restores one image again and again through mirl.h and says how long that took: mirl's part in
 * tests/bench/peers, without what the program `mirl` links besides libmirl. usage:
 *
 *     bench-restore WEIGHTS IMAGE RESULT SIZE THREADS SECONDS [KERNELS]
 *
 * IMAGE and RESULT are raw float32 [3, SIZE, SIZE]; the options are the defaults, so that a large image is
 * tiled. After one run that warms up, it times runs until they have taken SECONDS, or nine. Prints
 * {"open_seconds", "seconds"[runs], "version"}.
 */
#include "network/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_RUNS = 9 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool read_floats(const char *path, float *values, size_t count) {
    FILE *file = fopen(path, "rb");
    bool done = file && fread(values, sizeof *values, count, file) == count;
    if (file)
        fclose(file);
    return done;
}

static bool write_floats(const char *path, const float *values, size_t count) {
    FILE *file = fopen(path, "wb");
    bool done = file && fwrite(values, sizeof *values, count, file) == count;
    return file && fclose(file) == 0 && done;
}

/* The number of timed runs, or 0 after a failure. */
static int time_runs(const mirl_model *model, const mirl_image *in, const mirl_image *out, int threads,
                     double budget, double seconds[MOST_RUNS], mirl_error *error) {
    mirl_options options = mirl_options_default();
    options.threads = threads;
    double spent = 0;
    int runs = 0;
    if (mirl_restore(model, in, out, &options, error))
        return 0;
    while (runs < MOST_RUNS && spent < budget) {
        double begin = now();
        if (mirl_restore(model, in, out, &options, error))
            return 0;
        spent += seconds[runs++] = now() - begin;
    }
    return runs;
}

int main(int argc, char **argv) {
    if (argc < 7 || argc > 8) {
        fprintf(stderr, "usage: bench-restore WEIGHTS IMAGE RESULT SIZE THREADS SECONDS [KERNELS]\n");
        return 2;
    }
    size_t size = strtoul(argv[4], NULL, 10), count = 3 * size * size;
    float *values = malloc(2 * count * sizeof *values);
    const mirl_kernels *kernels = argc > 7 ? mirl_kernels_find(argv[7]) : mirl_kernels_best();
    double seconds[MOST_RUNS];
    mirl_error error = {.message = "the image, the memory for it or the kernels are missing"};
    int runs = 0;

    double begin = now();
    mirl_model *model = kernels ? mirl_model_open_for(kernels, argv[1], &error) : NULL;
    double open_seconds = now() - begin;
    if (model && values && read_floats(argv[2], values, count)) {
        mirl_image in = {values, size, size, 3, 1, (ptrdiff_t)size, (ptrdiff_t)(size * size)};
        mirl_image out = in;
        out.data += count;
        runs = time_runs(model, &in, &out, atoi(argv[5]), atof(argv[6]), seconds, &error);
        if (runs && !write_floats(argv[3], out.data, count))
            runs = 0;
    }
    if (runs) {
        printf("{\"version\": \"%s\", \"open_seconds\": %.6f, \"seconds\": [", mirl_version(), open_seconds);
        for (int i = 0; i < runs; i++)
            printf("%s%.6f", i ? ", " : "", seconds[i]);
        puts("]}");
    } else
        fprintf(stderr, "bench-restore: %s\n", error.message);
    mirl_model_close(model);
    free(values);
    return runs ? EXIT_SUCCESS : EXIT_FAILURE;
}
