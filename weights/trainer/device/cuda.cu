/* The kernels for a GPU, cuBLAS for the products, and the device's memory and queue: one stream, in which all
 * happens in order. A step is recorded once as a CUDA graph and then replayed.
 */
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern "C" {
#include "error.h"
#include "trainer/device/cuda.h"
}

#include "trainer/device/kernel.h"

static const size_t WORKSPACE = (size_t)64 << 20; // of cuBLAS, which splits long sums over it

static cublasHandle_t cuda_blas;
static cublasComputeType_t cuda_compute;
static cudaEvent_t cuda_marks[TRAINER_MARKS];
static char cuda_failure[200]; // the first one; "": none
static bool cuda_is_open, cuda_no_memory;

static void cuda_fail(const char *what, const char *why) {
    if (!cuda_failure[0])
        snprintf(cuda_failure, sizeof cuda_failure, "the GPU failed in %.60s: %.100s", what, why);
}

static void cuda_check(cudaError_t code, const char *what) {
    if (code != cudaSuccess)
        cuda_fail(what, cudaGetErrorString(code));
    cuda_no_memory = cuda_no_memory || code == cudaErrorMemoryAllocation;
}

static void cublas_check(cublasStatus_t code, const char *what) {
    if (code != CUBLAS_STATUS_SUCCESS)
        cuda_fail(what, cublasGetStatusString(code));
}

enum { MOST_POINTERS = 1 << 15 }; // of matrices that one product takes by pointers

static const real **cuda_pointers; // a, b, c: MOST_POINTERS each, in the device's memory

KERNEL(pointers_kernel, product p, const real **pointers) {
    FOR_LANES {
        uint32_t i = BLOCK * LANES + (uint32_t)lane, count = (uint32_t)p.count;
        if (i >= count * (uint32_t)p.groups)
            continue;
        pointers[i] = p.a.data + i % count * p.a.stride + i / count * p.a.group_stride;
        pointers[MOST_POINTERS + i] = p.b.data + i % count * p.b.stride + i / count * p.b.group_stride;
        pointers[2 * MOST_POINTERS + i] = p.c.data + i % count * p.c.stride + i / count * p.c.group_stride;
    }
}

/* cuBLAS knows one distance from matrix to matrix; where there are two, every matrix has a pointer. */
static void multiply_by_pointers(const product *p) {
    const float one = 1;
    LAUNCH(pointers_kernel, blocks_of((size_t)(p->count * p->groups)), *p, cuda_pointers);
    cublas_check(cublasGemmBatchedEx(cuda_blas, p->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N,
                                     p->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, p->m, p->n, p->k, &one,
                                     (const void *const *)cuda_pointers, CUDA_R_32F, (int)p->a.ld,
                                     (const void *const *)(cuda_pointers + MOST_POINTERS), CUDA_R_32F,
                                     (int)p->b.ld, &p->beta,
                                     (void *const *)(cuda_pointers + 2 * MOST_POINTERS), CUDA_R_32F,
                                     (int)p->c.ld, p->count * p->groups, cuda_compute, CUBLAS_GEMM_DEFAULT),
                 "matrix products");
}

/* Whether every matrix of an operand begins at a multiple of 16 bytes, and so do its columns. cuBLAS sees
 * this of strides, but must be sure of it where it is given pointers. */
static bool is_aligned(const matrix *m) {
    return ((uintptr_t)m->data / sizeof(real) | m->ld | m->stride | m->group_stride) % 4 == 0;
}

static void multiply(product p) {
    const float one = 1;
    if (p.groups > 1 && p.count * p.groups <= MOST_POINTERS && is_aligned(&p.a) && is_aligned(&p.b) &&
        is_aligned(&p.c)) {
        multiply_by_pointers(&p);
        return;
    }
    for (int group = 0; group < p.groups; group++)
        cublas_check(cublasGemmStridedBatchedEx(
                         cuda_blas, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N,
                         p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, p.m, p.n, p.k, &one,
                         p.a.data + (size_t)group * p.a.group_stride, CUDA_R_32F, (int)p.a.ld,
                         (long long)p.a.stride, p.b.data + (size_t)group * p.b.group_stride, CUDA_R_32F,
                         (int)p.b.ld, (long long)p.b.stride, &p.beta,
                         (real *)p.c.data + (size_t)group * p.c.group_stride, CUDA_R_32F, (int)p.c.ld,
                         (long long)p.c.stride, p.count, cuda_compute, CUBLAS_GEMM_DEFAULT),
                     "a matrix product");
}

static void clear_values(real *values, size_t count) {
    cuda_check(cudaMemsetAsync(values, 0, count * sizeof *values, cuda_stream), "clearing");
}

/* ---- Memory and queue ------------------------------------------------------------------------------------
 */

static void *device_allocate(size_t bytes) {
    void *memory = NULL;
    if (cudaMalloc(&memory, bytes) == cudaSuccess)
        return memory;
    cudaGetLastError(); // the caller says it
    return NULL;
}

static void device_release(void *memory) {
    cudaFree(memory);
}

static void *device_allocate_host(size_t bytes) {
    void *memory = NULL;
    if (cudaMallocHost(&memory, bytes) == cudaSuccess)
        return memory;
    cudaGetLastError();
    return NULL;
}

static void device_release_host(void *memory) {
    cudaFreeHost(memory);
}

static void device_clear(void *memory, size_t bytes) {
    cuda_check(cudaMemsetAsync(memory, 0, bytes, cuda_stream), "clearing");
}

static void device_copy(void *to, const void *from, size_t bytes) {
    cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, cuda_stream), "copying");
}

static void device_transfer(void *to, const void *from, size_t bytes) {
    device_copy(to, from, bytes);
    cuda_check(cudaStreamSynchronize(cuda_stream), "copying");
}

struct trainer_recording {
    cudaGraphExec_t graph; // NULL: the work was queued once, and not yet recorded
};

/* Captures what work() queues. */
static void record(trainer_recording *recording, void (*work)(void *), void *user) {
    cudaGraph_t graph = NULL;
    cuda_check(cudaStreamBeginCapture(cuda_stream, cudaStreamCaptureModeThreadLocal), "recording a step");
    work(user);
    cuda_check(cudaStreamEndCapture(cuda_stream, &graph), "recording a step");
    if (!graph)
        return;
    cuda_check(cudaGraphInstantiate(&recording->graph, graph, 0), "recording a step");
    cudaGraphDestroy(graph);
}

/* The first time the work is queued as it is: kernels are loaded when they are first used, which a recording
 * may not do. */
static void device_run(trainer_recording **recording, void (*work)(void *), void *user) {
    if (!*recording) {
        work(user);
        *recording = (trainer_recording *)calloc(1, sizeof **recording);
        return;
    }
    if (!(*recording)->graph)
        record(*recording, work, user);
    if ((*recording)->graph)
        cuda_check(cudaGraphLaunch((*recording)->graph, cuda_stream), "running a step");
}

static void device_forget(trainer_recording *recording) {
    if (recording && recording->graph)
        cudaGraphExecDestroy(recording->graph);
    free(recording);
}

static void device_mark(int mark) {
    cuda_check(cudaEventRecord(cuda_marks[mark], cuda_stream), "marking a place in the queue");
}

static bool device_wait(int mark) {
    cuda_check(cudaEventSynchronize(cuda_marks[mark]), "waiting for a step");
    return !cuda_failure[0];
}

static mirl_status device_status(mirl_error *error) {
    cuda_check(cudaStreamSynchronize(cuda_stream), "the steps before");
    if (!cuda_failure[0])
        return MIRL_OK;
    return mirl_fail(error, cuda_no_memory ? MIRL_ERROR_MEMORY : MIRL_ERROR_FILE, "%s", cuda_failure);
}

static const trainer_memory device_memory = {
    .allocate = device_allocate,
    .release = device_release,
    .allocate_host = device_allocate_host,
    .release_host = device_release_host,
    .clear = device_clear,
    .copy = device_copy,
    .upload = device_transfer,
    .download = device_transfer,
    .run = device_run,
    .forget = device_forget,
    .mark = device_mark,
    .wait = device_wait,
    .status = device_status,
};

#define DEVICE_TABLE trainer_ops_cuda
#define DEVICE_NAME "cuda"

/* kernels, in the order of their needs */
// clang-format off
#include "trainer/device/pixels.h"
#include "trainer/device/norm.h"
#include "trainer/device/depthwise.h"
#include "trainer/device/convolution.h"
#include "trainer/device/attention.h"
#include "trainer/device/prompt.h"
#include "trainer/device/table.h"
// clang-format on

/* ---- Opening ---------------------------------------------------------------------------------------------
 */

static mirl_status open_device(mirl_error *error) {
    void *workspace = NULL;
    int count = 0;
    cudaError_t code = cudaGetDeviceCount(&count);

    if (code != cudaSuccess || count == 0)
        return mirl_fail(error, MIRL_ERROR_ARGUMENT, "there is no CUDA device: %s",
                         code == cudaSuccess ? "none is installed" : cudaGetErrorString(code));
    cuda_check(cudaSetDevice(0), "opening it");
    cuda_check(cudaStreamCreateWithFlags(&cuda_stream, cudaStreamNonBlocking), "opening it");
    for (int i = 0; i < TRAINER_MARKS; i++)
        cuda_check(cudaEventCreateWithFlags(&cuda_marks[i], cudaEventDisableTiming), "opening it");
    cuda_check(cudaMalloc(&workspace, WORKSPACE), "opening it");
    cuda_check(cudaMalloc((void **)&cuda_pointers, 3 * MOST_POINTERS * sizeof *cuda_pointers), "opening it");
    cublas_check(cublasCreate(&cuda_blas), "opening cuBLAS");
    if (!cuda_failure[0]) {
        cublas_check(cublasSetStream(cuda_blas, cuda_stream), "opening cuBLAS");
        cublas_check(cublasSetWorkspace(cuda_blas, workspace, WORKSPACE), "opening cuBLAS");
    }
    if (cuda_failure[0])
        return mirl_fail(error, MIRL_ERROR_ARGUMENT, "%s", cuda_failure);
    cuda_is_open = true;
    return MIRL_OK;
}

const trainer_ops *trainer_cuda_open(trainer_precision precision, char *name, size_t name_size,
                                     mirl_error *error) {
    cudaDeviceProp properties;

    if (!cuda_is_open && open_device(error))
        return NULL;
    cuda_compute = precision == TRAINER_TF32   ? CUBLAS_COMPUTE_32F_FAST_TF32
                   : precision == TRAINER_BF16 ? CUBLAS_COMPUTE_32F_FAST_16BF
                                               : CUBLAS_COMPUTE_32F;
    if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) {
        mirl_fail(error, MIRL_ERROR_ARGUMENT, "the CUDA device does not say what it is");
        return NULL;
    }
    snprintf(name, name_size, "%s, %zu GiB", properties.name, properties.totalGlobalMem >> 30);
    return &trainer_ops_cuda;
}
