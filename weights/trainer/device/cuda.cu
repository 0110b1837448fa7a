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

static void multiply(product p) {
    const float one = 1;
    cublas_check(cublasGemmStridedBatchedEx(
                     cuda_blas, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N,
                     p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, p.m, p.n, p.k, &one, p.a, CUDA_R_32F,
                     (int)p.lda, (long long)p.stride_a, p.b, CUDA_R_32F, (int)p.ldb, (long long)p.stride_b,
                     &p.beta, p.c, CUDA_R_32F, (int)p.ldc, (long long)p.stride_c, p.count, cuda_compute,
                     CUBLAS_GEMM_DEFAULT),
                 "a matrix product");
}

static void clear_values(real *values, size_t count) {
    cuda_check(cudaMemsetAsync(values, 0, count * sizeof *values, cuda_stream), "clearing");
}

/* ---- Memory and queue ------------------------------------------------------------------------------------ */

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

/* ---- Opening --------------------------------------------------------------------------------------------- */

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
                                               : CUBLAS_COMPUTE_32F_PEDANTIC;
    if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) {
        mirl_fail(error, MIRL_ERROR_ARGUMENT, "the CUDA device does not say what it is");
        return NULL;
    }
    snprintf(name, name_size, "%s, %zu GiB", properties.name, properties.totalGlobalMem >> 30);
    return &trainer_ops_cuda;
}
