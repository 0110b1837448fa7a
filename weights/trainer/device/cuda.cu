/* A GPU's memory and queue: one stream, in which all happens in order. A step is recorded once as a CUDA
 * graph and then replayed.
 */
#include "trainer/device/cuda_context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern "C" {
#include "error.h"
#include "trainer/device/cuda.h"
}

static const size_t WORKSPACE = (size_t)64 << 20; // of cuBLAS, which splits long sums over it

cuda_context_type cuda_context;

static cudaEvent_t cuda_marks[TRAINER_MARKS];
static char cuda_failure[200]; // the first one; "": none
static bool cuda_is_open, cuda_no_memory;

static void cuda_fail(const char *what, const char *why) {
    if (!cuda_failure[0])
        snprintf(cuda_failure, sizeof cuda_failure, "the GPU failed in %.60s: %.100s", what, why);
}

void cuda_check(cudaError_t code, const char *what) {
    if (code != cudaSuccess)
        cuda_fail(what, cudaGetErrorString(code));
    cuda_no_memory = cuda_no_memory || code == cudaErrorMemoryAllocation;
}

void cublas_check(cublasStatus_t code, const char *what) {
    if (code != CUBLAS_STATUS_SUCCESS)
        cuda_fail(what, cublasGetStatusString(code));
}

/* ---- Memory and queue -------------------------------------------------------------------------------- */

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
    cuda_check(cudaMemsetAsync(memory, 0, bytes, cuda_context.stream), "clearing");
}

static void device_copy(void *to, const void *from, size_t bytes) {
    cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, cuda_context.stream), "copying");
}

static void device_transfer(void *to, const void *from, size_t bytes) {
    device_copy(to, from, bytes);
    cuda_check(cudaStreamSynchronize(cuda_context.stream), "copying");
}

struct trainer_recording {
    cudaGraphExec_t graph; // NULL: the work was queued once, and not yet recorded
};

/* Captures what work() queues. */
static void record(trainer_recording *recording, void (*work)(void *), void *user) {
    cudaGraph_t graph = NULL;
    cuda_check(cudaStreamBeginCapture(cuda_context.stream, cudaStreamCaptureModeThreadLocal),
               "recording a step");
    work(user);
    cuda_check(cudaStreamEndCapture(cuda_context.stream, &graph), "recording a step");
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
        cuda_check(cudaGraphLaunch((*recording)->graph, cuda_context.stream), "running a step");
}

static void device_forget(trainer_recording *recording) {
    if (recording && recording->graph)
        cudaGraphExecDestroy(recording->graph);
    free(recording);
}

static void device_mark(int mark) {
    cuda_check(cudaEventRecord(cuda_marks[mark], cuda_context.stream), "marking a place in the queue");
}

static bool device_wait(int mark) {
    cuda_check(cudaEventSynchronize(cuda_marks[mark]), "waiting for a step");
    return !cuda_failure[0];
}

static mirl_status device_status(mirl_error *error) {
    cuda_check(cudaStreamSynchronize(cuda_context.stream), "the steps before");
    if (!cuda_failure[0])
        return MIRL_OK;
    return mirl_fail(error, cuda_no_memory ? MIRL_ERROR_MEMORY : MIRL_ERROR_FILE, "%s", cuda_failure);
}

const trainer_memory cuda_memory = {
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

/* ---- Opening ----------------------------------------------------------------------------------------- */

static mirl_status open_device(mirl_error *error) {
    void *workspace = NULL;
    int count = 0;
    cudaError_t code = cudaGetDeviceCount(&count);

    if (code != cudaSuccess || count == 0)
        return mirl_fail(error, MIRL_ERROR_ARGUMENT, "there is no CUDA device: %s",
                         code == cudaSuccess ? "none is installed" : cudaGetErrorString(code));
    cuda_check(cudaSetDevice(0), "opening it");
    cuda_check(cudaStreamCreateWithFlags(&cuda_context.stream, cudaStreamNonBlocking), "opening it");
    for (int i = 0; i < TRAINER_MARKS; i++)
        cuda_check(cudaEventCreateWithFlags(&cuda_marks[i], cudaEventDisableTiming | cudaEventBlockingSync),
                   "opening it");
    cuda_check(cudaMalloc(&workspace, WORKSPACE), "opening it");
    cuda_check(cudaMalloc((void **)&cuda_context.pointers, 3 * MOST_POINTERS * sizeof *cuda_context.pointers),
               "opening it");
    cublas_check(cublasCreate(&cuda_context.blas), "opening cuBLAS");
    if (!cuda_failure[0]) {
        cublas_check(cublasSetStream(cuda_context.blas, cuda_context.stream), "opening cuBLAS");
        cublas_check(cublasSetWorkspace(cuda_context.blas, workspace, WORKSPACE), "opening cuBLAS");
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
    cuda_context.compute = precision == TRAINER_TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) {
        mirl_fail(error, MIRL_ERROR_ARGUMENT, "the CUDA device does not say what it is");
        return NULL;
    }
    snprintf(name, name_size, "%s, %zu GiB", properties.name, properties.totalGlobalMem >> 30);
    return precision == TRAINER_BF16 ? &trainer_ops_cuda_bf16 : &trainer_ops_cuda;
}
