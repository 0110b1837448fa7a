/* The kernels as plain C: the twin of a GPU, whose memory is the host's and whose queue is empty. It exists
 * to show, on any processor, that what the kernels compute and the way a device is driven are right.
 */
#include "trainer/device/kernel.h"

#include "error.h"

#include <stdlib.h>
#include <string.h>

/* cuBLAS's product, by its definition. */
static void multiply(product p) {
    for (int i = 0; i < p.count * p.groups; i++) {
        size_t which = (size_t)(i % p.count), group = (size_t)(i / p.count);
        const store *a = (const store *)p.a.data + which * p.a.stride + group * p.a.group_stride;
        const store *b = (const store *)p.b.data + which * p.b.stride + group * p.b.group_stride;
        size_t first = which * p.c.stride + group * p.c.group_stride;
        size_t a_row = p.transpose_a ? p.a.ld : 1, a_column = p.transpose_a ? 1 : p.a.ld;
        size_t b_row = p.transpose_b ? p.b.ld : 1, b_column = p.transpose_b ? 1 : p.b.ld;
        for (size_t column = 0; column < (size_t)p.n; column++)
            for (size_t row = 0; row < (size_t)p.m; row++) {
                real *exact = (real *)p.c.data + first + column * p.c.ld + row, sum = 0;
                store *stored = (store *)p.c.data + first + column * p.c.ld + row;
                for (size_t l = 0; l < (size_t)p.k; l++)
                    sum += get(a + row * a_row + l * a_column) * get(b + l * b_row + column * b_column);
                if (p.beta != 0)
                    sum += p.beta * (p.exact ? *exact : get(stored));
                if (p.exact)
                    *exact = sum;
                else
                    put(stored, sum);
            }
    }
}

static void *twin_allocate(size_t bytes) {
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static void twin_clear(void *memory, size_t bytes) {
    memset(memory, 0, bytes);
}

static void twin_copy(void *to, const void *from, size_t bytes) {
    memcpy(to, from, bytes);
}

static void twin_run(trainer_recording **recording, void (*work)(void *), void *user) {
    (void)recording;
    work(user);
}

static void twin_forget(trainer_recording *recording) {
    (void)recording;
}

static void twin_mark(int mark) {
    (void)mark;
}

static bool twin_wait(int mark) {
    (void)mark;
    return true;
}

static mirl_status twin_status(mirl_error *error) {
    (void)error;
    return MIRL_OK;
}

static const trainer_memory twin_memory = {
    .allocate = twin_allocate,
    .release = free,
    .allocate_host = twin_allocate,
    .release_host = free,
    .clear = twin_clear,
    .copy = twin_copy,
    .upload = twin_copy,
    .download = twin_copy,
    .run = twin_run,
    .forget = twin_forget,
    .mark = twin_mark,
    .wait = twin_wait,
    .status = twin_status,
};

static void clear_values(real *values, size_t count) {
    memset(values, 0, count * sizeof *values);
}

#define DEVICE_MEMORY twin_memory
#if defined(DEVICE_BF16)
#define DEVICE_TABLE trainer_ops_twin_bf16
#define DEVICE_NAME "twin-bf16"
#elif defined(TRAINER_TWIN_REVERSED)
#define DEVICE_TABLE trainer_ops_twin_reversed
#define DEVICE_NAME "twin-reversed"
#else
#define DEVICE_TABLE trainer_ops_twin
#define DEVICE_NAME "twin"
#endif

/* kernels, in the order of their needs */
// clang-format off
#include "trainer/device/pixels.h"
#include "trainer/device/norm.h"
#include "trainer/device/depthwise.h"
#include "trainer/device/convolution.h"
#include "trainer/device/attention.h"
#include "trainer/device/prompt.h"
#include "trainer/device/patches.h"
#include "trainer/device/table.h"
// clang-format on
