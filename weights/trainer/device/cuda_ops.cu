/* The kernels for a GPU, and cuBLAS for the products. Compiled twice: for planes of floats and of halves.
 */
#include "trainer/device/kernel.h"

#ifdef DEVICE_BF16
static const cudaDataType CUDA_STORE = CUDA_R_16BF;
#else
static const cudaDataType CUDA_STORE = CUDA_R_32F;
#endif

KERNEL(pointers_kernel, product p, const void **pointers) {
    FOR_LANES {
        uint32_t i = BLOCK * LANES + (uint32_t)lane, count = (uint32_t)p.count;
        if (i >= count * (uint32_t)p.groups)
            continue;
        size_t which = i % count, group = i / count;
        size_t to = which * p.c.stride + group * p.c.group_stride;
        pointers[i] = (const store *)p.a.data + which * p.a.stride + group * p.a.group_stride;
        pointers[MOST_POINTERS + i] = (const store *)p.b.data + which * p.b.stride + group * p.b.group_stride;
        pointers[2 * MOST_POINTERS + i] =
            p.exact ? (const void *)((const real *)p.c.data + to) : (const store *)p.c.data + to;
    }
}

/* What products of these operands are computed in. */
static cublasComputeType_t compute_type(void) {
    return CUDA_STORE == CUDA_R_32F ? cuda_context.compute : CUBLAS_COMPUTE_32F;
}

/* cuBLAS knows one distance from matrix to matrix; where there are two, every matrix has a pointer. */
static void multiply_by_pointers(const product *p) {
    const void **pointers = cuda_context.pointers;
    const float one = 1;
    LAUNCH(pointers_kernel, blocks_of((size_t)(p->count * p->groups)), *p, pointers);
    cublas_check(cublasGemmBatchedEx(cuda_context.blas, p->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N,
                                     p->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, p->m, p->n, p->k, &one,
                                     pointers, CUDA_STORE, (int)p->a.ld, pointers + MOST_POINTERS, CUDA_STORE,
                                     (int)p->b.ld, &p->beta, (void *const *)(pointers + 2 * MOST_POINTERS),
                                     p->exact ? CUDA_R_32F : CUDA_STORE, (int)p->c.ld, p->count * p->groups,
                                     compute_type(), CUBLAS_GEMM_DEFAULT),
                 "matrix products");
}

/* Whether every matrix of an operand begins at a multiple of 16 bytes, and so do its columns. cuBLAS sees
 * this of strides, but must be sure of it where it is given pointers. */
static bool is_aligned(const matrix *m, size_t size) {
    return ((uintptr_t)m->data | m->ld * size | m->stride * size | m->group_stride * size) % 16 == 0;
}

static void multiply(product p) {
    const size_t size = p.exact ? sizeof(real) : sizeof(store);
    const float one = 1;
    if (p.groups > 1 && p.count * p.groups <= MOST_POINTERS && is_aligned(&p.a, sizeof(store)) &&
        is_aligned(&p.b, sizeof(store)) && is_aligned(&p.c, size)) {
        multiply_by_pointers(&p);
        return;
    }
    for (size_t group = 0; group < (size_t)p.groups; group++)
        cublas_check(cublasGemmStridedBatchedEx(
                         cuda_context.blas, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N,
                         p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, p.m, p.n, p.k, &one,
                         (const store *)p.a.data + group * p.a.group_stride, CUDA_STORE, (int)p.a.ld,
                         (long long)p.a.stride, (const store *)p.b.data + group * p.b.group_stride,
                         CUDA_STORE, (int)p.b.ld, (long long)p.b.stride, &p.beta,
                         (char *)p.c.data + group * p.c.group_stride * size,
                         p.exact ? CUDA_R_32F : CUDA_STORE, (int)p.c.ld, (long long)p.c.stride, p.count,
                         compute_type(), CUBLAS_GEMM_DEFAULT),
                     "a matrix product");
}

static void clear_values(real *values, size_t count) {
    cuda_check(cudaMemsetAsync(values, 0, count * sizeof *values, cuda_context.stream), "clearing");
}

#define DEVICE_MEMORY cuda_memory
#ifdef DEVICE_BF16
#define DEVICE_TABLE trainer_ops_cuda_bf16
#define DEVICE_NAME "cuda-bf16"
#else
#define DEVICE_TABLE trainer_ops_cuda
#define DEVICE_NAME "cuda"
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
