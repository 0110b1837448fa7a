#include "trainer/ops/internal.h"

#include <math.h>
#include <string.h>

extern const trainer_ops trainer_ops_baseline, trainer_ops_twin, trainer_ops_twin_reversed,
    trainer_ops_twin_bf16;

#if defined(__x86_64__)

#include "kernels/tables.h"

extern const trainer_ops trainer_ops_avx2, trainer_ops_avx512, trainer_ops_amx;

static bool has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

#endif

const trainer_ops *trainer_ops_get(const char *name) {
#if defined(__x86_64__)
    if ((!name || strcmp(name, "amx") == 0) && has_avx512() && mirl_kernels_have_amx())
        return &trainer_ops_amx;
    if ((!name || strcmp(name, "avx512") == 0) && has_avx512())
        return &trainer_ops_avx512;
    if ((!name || strcmp(name, "avx2") == 0) && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("fma"))
        return &trainer_ops_avx2;
#endif
    if (name && strcmp(name, "twin") == 0)
        return &trainer_ops_twin;
    if (name && strcmp(name, "twin-reversed") == 0)
        return &trainer_ops_twin_reversed;
    if (name && strcmp(name, "twin-bf16") == 0)
        return &trainer_ops_twin_bf16;
    return !name || strcmp(name, "baseline") == 0 ? &trainer_ops_baseline : NULL;
}

trainer_adamw_factors trainer_adamw_factors_of(const trainer_adamw *step) {
    const double correction1 = 1 - pow(step->beta1, (double)step->step);
    const double correction2 = 1 - pow(step->beta2, (double)step->step);
    return (trainer_adamw_factors){
        .keep = (real)(1 - step->rate * step->decay),
        .rate = (real)(step->rate / correction1),
        .root = (real)(1 / sqrt(correction2)),
        .epsilon = (real)step->epsilon,
        .beta1 = (real)step->beta1,
        .beta2 = (real)step->beta2,
        .rest1 = (real)(1 - step->beta1),
        .rest2 = (real)(1 - step->beta2),
    };
}

size_t trainer_scratch_size(int channels, int n, int h, int w, size_t prompt) {
    size_t grid = (size_t)n * (size_t)(h + 1) * (size_t)(w + 1);
    size_t padded = trainer_pitch(grid + 2 * (size_t)(w + 2) + 16) * (size_t)channels;
    size_t offsets = ((size_t)channels * 9 + 16) * (sizeof(ptrdiff_t) / sizeof(real)) * 2;
    size_t squares = ((size_t)channels + 16) * ((size_t)channels + 16) * 3;
    size_t images = 2 * trainer_pitch((size_t)h * (size_t)w) + 2 * TRAINER_SLACK;
    size_t sums = (size_t)channels * 2 * 16;
    size_t prompts = prompt + 64 + 16;
    size_t most = padded > squares ? padded : squares;
    most = most > images ? most : images;
    most = most > sums ? most : sums;
    return offsets + (most > prompts ? most : prompts);
}

size_t trainer_chain_scratch_size(int channels, int n, int h, int w) {
    int rows, images;
    trainer_band_size(channels, n, h, w, &rows, &images);
    rows = rows * images + 2;
    size_t offsets = 5 * ((size_t)channels + 8) * (sizeof(ptrdiff_t) / sizeof(real));
    size_t planes = 6 * (size_t)channels + 128;
    return offsets + planes * trainer_pitch((size_t)rows * (size_t)w) + 4 * TRAINER_SLACK;
}
