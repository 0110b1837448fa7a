/* The one GPU of the process, between the sources that nvcc compiles.
 */
#ifndef MIRL_TRAINER_DEVICE_CUDA_CONTEXT_H
#define MIRL_TRAINER_DEVICE_CUDA_CONTEXT_H

#include <cublas_v2.h>
#include <cuda_runtime.h>

extern "C" {
#include "trainer/ops.h"
}

enum { MOST_POINTERS = 1 << 15 }; ///< of matrices that one product takes by pointers

typedef struct cuda_context_type {
    cudaStream_t stream;
    cublasHandle_t blas;
    cublasComputeType_t compute; ///< of products of floats
    const void **pointers;       ///< to matrices a, b and c, MOST_POINTERS each, in the device's memory
} cuda_context_type;

extern cuda_context_type cuda_context;
extern const trainer_memory cuda_memory;
extern "C" const trainer_ops trainer_ops_cuda, trainer_ops_cuda_bf16;

/** Keep the first failure, in `what`. */
void cuda_check(cudaError_t code, const char *what);
void cublas_check(cublasStatus_t code, const char *what);

#endif
