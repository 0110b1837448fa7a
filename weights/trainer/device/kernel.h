/* How a kernel is written once and compiled twice: by nvcc for a GPU, and as plain C, the twin, which runs
 * its lanes one after the other and so shows on any processor that every index is right.
 *
 *     KERNEL(name, parameters) { ... }       the work of one block, whose number is BLOCK
 *     KERNEL_OF_RUNS(name, parameters)       the same, compiled for PACKED true and false, see RUN
 *     FOR_LANES { ... }                      what every lane of the block does; `lane` is 0..LANES-1;
 *                                            `continue` leaves the lane
 *     BARRIER;                               between phases in which lanes read what others wrote
 *     SHARED(type, name, count);             of the block
 *     PRIVATE(type, name); OWN(name)         a lane's own, from one phase to another
 *     EXPONENTIAL(x) QUOTIENT(x, y)          the fast ones, wrong by 2 units of the last place or so
 *     TABLE(type, name, count) = {...};      constants of all kernels
 *     ALIGNED(bytes)                         of a structure's first member
 *     LAUNCH(name, blocks, arguments...);
 *     LAUNCH_RUNS(name, packed, blocks, arguments...);
 *
 * The twin is built a second time with lanes and blocks in reverse order: a result that depends on the order
 * (a missing barrier, two lanes that write one value) differs there.
 */
#ifndef MIRL_TRAINER_DEVICE_KERNEL_H
#define MIRL_TRAINER_DEVICE_KERNEL_H

#include "trainer/degrade_haze.h"
#include "trainer/degrade_jpeg.h"
#include "trainer/degrade_rain.h"
#include "trainer/inline.h"
#include "trainer/ops.h"

enum { LANES = 256, SPLITS = 64 }; ///< lanes of a block; partial sums of one value at most

#ifdef __CUDACC__

#include "trainer/device/cuda_context.h"

#include <cuda_bf16.h>
#include <math.h>
#include <string.h>

#define DEVICE static __device__ __forceinline__
#define KERNEL(name, ...) static __global__ void __launch_bounds__(LANES, 2) name(__VA_ARGS__)
#define LAUNCH(name, blocks, ...)                                                                            \
    do {                                                                                                     \
        name<<<(unsigned)(blocks), LANES, 0, cuda_context.stream>>>(__VA_ARGS__);                            \
        cuda_check(cudaGetLastError(), #name);                                                               \
    } while (0)
#define KERNEL_OF_RUNS(name, ...)                                                                            \
    template <bool PACKED> static __global__ void __launch_bounds__(LANES, 2) name(__VA_ARGS__)
#define LAUNCH_RUNS(name, packed, blocks, ...)                                                               \
    do {                                                                                                     \
        if (packed)                                                                                          \
            LAUNCH(name<true>, blocks, __VA_ARGS__);                                                         \
        else                                                                                                 \
            LAUNCH(name<false>, blocks, __VA_ARGS__);                                                        \
    } while (0)
#define BLOCK ((uint32_t)blockIdx.x)
#define FOR_LANES                                                                                            \
    for ([[maybe_unused]] int lane = (int)threadIdx.x, lanes_left = 1; lanes_left; lanes_left = 0)
#define BARRIER __syncthreads()
#define SHARED(type, name, count) __shared__ type name[count]
#define PRIVATE(type, name) type name
#define OWN(name) name
#define EXPONENTIAL(x) __expf(x)
#define QUOTIENT(x, y) __fdividef(x, y)
#define UNROLLED _Pragma("unroll")
#define UNROLLED_BY_4 _Pragma("unroll 4")
#define TABLE(type, name, count) static __constant__ const type name[count]
#define ALIGNED(bytes) __align__(bytes)

#else

#include <string.h>
#include <tgmath.h>

#ifdef TRAINER_TWIN_REVERSED
#define TWIN_ORDER(i, count) ((count)-1 - (i))
#else
#define TWIN_ORDER(i, count) (i)
#endif
#define DEVICE static inline
#define KERNEL(name, ...) static void name(uint32_t BLOCK, __VA_ARGS__)
#define LAUNCH(name, blocks, ...)                                                                            \
    for (uint32_t block_left = 0, block_count = (uint32_t)(blocks); block_left < block_count; block_left++)  \
    name(TWIN_ORDER(block_left, block_count), __VA_ARGS__)
#define KERNEL_OF_RUNS(name, ...) static void name(uint32_t BLOCK, bool PACKED, __VA_ARGS__)
#define LAUNCH_RUNS(name, packed, blocks, ...) LAUNCH(name, blocks, packed, __VA_ARGS__)
#define FOR_LANES                                                                                            \
    for (int lanes_done = 0, lane; lanes_done < LANES && (lane = TWIN_ORDER(lanes_done, LANES), true);       \
         lanes_done++)
#define BARRIER ((void)0)
#define SHARED(type, name, count) type name[count]
#define PRIVATE(type, name) type name[LANES]
#define OWN(name) name[lane]
#define EXPONENTIAL(x) exp(x)
#define QUOTIENT(x, y) ((x) / (y))
#define UNROLLED
#define UNROLLED_BY_4
#define TABLE(type, name, count) static const type name[count]
#define ALIGNED(bytes) _Alignas(bytes)

#endif

/* ---- How planes hold their values -------------------------------------------------------------------- */

/* `store` is real, or, with DEVICE_BF16, half as wide: the upper half of a float, rounded to even. Planes
 * stand where those of reals would, and what is no plane (parameters, gradients, maps, sums) is real; so are
 * the images and the result ("exact"), whose last bits matter. */
#if !defined(DEVICE_BF16)

typedef real store;

DEVICE real get(const store *p) {
    return *p;
}

DEVICE void put(store *p, real value) {
    *p = value;
}

#elif defined(__CUDACC__)

typedef __nv_bfloat16 store;

DEVICE real get(const store *p) {
    return __bfloat162float(*p);
}

DEVICE void put(store *p, real value) {
    *p = __float2bfloat16(value);
}

#else

typedef struct store {
    uint16_t bits;
} store;

DEVICE real get(const store *p) {
    uint32_t bits = (uint32_t)p->bits << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

DEVICE void put(store *p, real value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    p->bits = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#endif

enum { STORES = sizeof(real) / sizeof(store) }; ///< in the place of a real

DEVICE store *plane_of(const trainer_planes *x, uint32_t channel) {
    return (store *)(x->data + (size_t)channel * x->pitch);
}

/* A lane takes RUN neighbours of a row at once: a GPU waits for memory by the access, not by the byte. PACKED
 * says, to a kernel of runs, that all of its planes are: runs begin at multiples of their size, and rows hold
 * whole ones. */
enum { RUN = 8 };

typedef struct run {
    real at[RUN];
} run;

typedef struct run_stores {
    ALIGNED(RUN * sizeof(store)) store at[RUN];
} run_stores;

/** Whether runs of these planes, and of more of their size that lie in memory as they do, are packed. */
static inline bool is_packed(const trainer_planes *x) {
    return ((uintptr_t)x->data | x->pitch * sizeof(real) | (uint32_t)x->w * sizeof(store)) %
               sizeof(run_stores) ==
           0;
}

/* The first `count` values; zeros for the rest. */
DEVICE run get_run(const store *p, int count, bool packed) {
    run values;
    if (packed) {
        run_stores stores;
        memset(&stores, 0, sizeof stores);
        if (count > 0)
            stores = *(const run_stores *)p;
        UNROLLED
        for (int i = 0; i < RUN; i++)
            values.at[i] = get(stores.at + i);
    } else {
        UNROLLED
        for (int i = 0; i < RUN; i++)
            values.at[i] = i < count ? get(p + i) : 0;
    }
    return values;
}

DEVICE void put_run(store *p, const run *values, int count, bool packed) {
    if (packed) {
        run_stores stores;
        memset(&stores, 0, sizeof stores);
        UNROLLED
        for (int i = 0; i < RUN; i++)
            put(stores.at + i, values->at[i]);
        if (count > 0)
            *(run_stores *)p = stores;
    } else {
        UNROLLED
        for (int i = 0; i < RUN; i++)
            if (i < count)
                put(p + i, values->at[i]);
    }
}

/** Values of a run that begins at `at` of `count` values; 0: none. */
DEVICE int run_length(size_t at, size_t count) {
    return at + RUN <= count ? RUN : at < count ? (int)(count - at) : 0;
}

/** Values that a plane takes in scratch. */
static inline size_t pitch_in(size_t pixels) {
    return (pixels + 15) / 16 * 16;
}

/** Planes of the same size, `channels` of them, in the room given. */
static inline trainer_planes planes_in(trainer_planes planes, int channels, real *room) {
    planes.data = room;
    planes.channels = channels;
    planes.pitch = pitch_in(trainer_pixels(&planes));
    return planes;
}

/** Blocks for so many lanes. */
static inline uint32_t blocks_of(size_t lanes) {
    return (uint32_t)((lanes + LANES - 1) / LANES);
}

/** Pixels of all samples in one plane, for kernels. */
DEVICE size_t pixels_of(const trainer_planes *x) {
    return (size_t)(x->n * x->h) * (uint32_t)x->w;
}

/** part[0] = the sum over the block's lanes of part[lane], in a fixed order. */
DEVICE void sum_block(real *part) {
    BARRIER;
    for (int half = LANES / 2; half > 0; half /= 2) {
        FOR_LANES {
            if (lane < half)
                part[lane] += part[lane + half];
        }
        BARRIER;
    }
}

/** part[i * LANES] = the sum over the block's lanes of part[i * LANES + lane], for each of `count` values. */
DEVICE void sum_block_each(real *part, int count) {
    enum { COLUMNS = 16 };
    BARRIER;
    FOR_LANES {
        for (int v = lane; v < count * COLUMNS; v += LANES) {
            real *at = part + v / COLUMNS * LANES + v % COLUMNS;
            for (int i = COLUMNS; i < LANES; i += COLUMNS)
                *at += at[i];
        }
    }
    BARRIER;
    FOR_LANES {
        if (lane < count)
            for (int i = 1; i < COLUMNS; i++)
                part[lane * LANES] += part[lane * LANES + i];
    }
    BARRIER;
}

enum { TEAM = 32, TEAMS = LANES / TEAM }; ///< lanes that work on one row of numbers; such teams of a block

/** part[TEAM * team] = the sum over the team's lanes. */
DEVICE void sum_team(real *part) {
    BARRIER;
    for (int half = TEAM / 2; half > 0; half /= 2) {
        FOR_LANES {
            if (lane % TEAM < half)
                part[lane] += part[lane + half];
        }
        BARRIER;
    }
}

/** The same for the largest. */
DEVICE void largest_of_team(real *part) {
    BARRIER;
    for (int half = TEAM / 2; half > 0; half /= 2) {
        FOR_LANES {
            if (lane % TEAM < half && part[lane + half] > part[lane])
                part[lane] = part[lane + half];
        }
        BARRIER;
    }
}

/** Blocks for so many teams. */
static inline uint32_t team_blocks(size_t teams) {
    return (uint32_t)((teams + TEAMS - 1) / TEAMS);
}

/* ---- Sums in two stages: blocks write partial sums, which are added afterwards ----------------------- */

/* to[i] += the sum of partial[i * splits + s] over s */
KERNEL(add_partials_kernel, const real *partial, uint32_t count, uint32_t splits, real *to) {
    SHARED(real, part, LANES);
    FOR_LANES {
        uint32_t i = BLOCK * TEAMS + (uint32_t)(lane / TEAM);
        real sum = 0;
        if (i < count)
            for (uint32_t s = (uint32_t)(lane % TEAM); s < splits; s += TEAM)
                sum += partial[(size_t)i * splits + s];
        part[lane] = sum;
    }
    sum_team(part);
    FOR_LANES {
        uint32_t i = BLOCK * TEAMS + (uint32_t)(lane / TEAM);
        if (i < count && lane % TEAM == 0)
            to[i] += part[lane];
    }
}

static void add_partials(const real *partial, size_t count, uint32_t splits, real *to) {
    LAUNCH(add_partials_kernel, team_blocks(count), partial, (uint32_t)count, splits, to);
}

/** Into how many blocks the sum over `items` items of each of `rows` rows goes. */
static uint32_t splits_for(size_t rows, size_t items) {
    size_t splits = (items + 4 * LANES - 1) / (4 * LANES), most = 4096 / (rows < 4096 ? rows : 4096);
    splits = splits < most ? splits : most;
    return (uint32_t)(splits < 1 ? 1 : splits > SPLITS ? SPLITS : splits);
}

/** Items of one of the splits. */
static uint32_t split_length(size_t items, uint32_t splits) {
    return (uint32_t)((items + splits - 1) / splits);
}

/* ---- Matrix products --------------------------------------------------------------------------------- */

/** A matrix of cuBLAS: column after column, ld values from one column to the next; and the distances from one
 * to the next of `count` matrices, and from one to the next of `groups` of them. */
typedef struct matrix {
    const void *data; ///< of stores; a product's result may be of reals
    size_t ld, stride, group_stride;
} matrix;

/** C = op(A) op(B) + beta C for groups * count matrices, with cuBLAS's meaning of every argument: op(A) is
 * m x k, op(B) k x n, C m x n. */
typedef struct product {
    bool transpose_a, transpose_b;
    int m, n, k;
    matrix a, b, c; ///< c.data is written
    bool exact;     ///< c is of reals
    real beta;
    int count, groups;
} product;

static void multiply(product p);

#endif
