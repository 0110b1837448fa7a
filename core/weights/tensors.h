/* Named tensors as a file holds them, before anything is known about the network. */
#ifndef MIRL_CORE_WEIGHTS_TENSORS_H
#define MIRL_CORE_WEIGHTS_TENSORS_H

#include "mirl.h"

typedef enum mirl_dtype {
    MIRL_DTYPE_F32,
    MIRL_DTYPE_F16,
    MIRL_DTYPE_BF16,
    MIRL_DTYPE_I8,
    MIRL_DTYPE_U16,
    MIRL_DTYPE_U32,
    MIRL_DTYPE_OTHER, ///< a known type that no network uses
} mirl_dtype;

enum { MIRL_MAX_RANK = 8 };

typedef struct mirl_tensor {
    const char *name;
    mirl_dtype dtype;
    const char *dtype_name; ///< as the file's format spells it
    int rank;
    uint64_t shape[MIRL_MAX_RANK];
    uint64_t count;      ///< values
    uint64_t bytes;      ///< of its data
    const uint8_t *data; ///< little-endian, row-major, not aligned; NULL until it is loaded
    size_t source;       ///< for the format's reader: which of its entries this is
} mirl_tensor;

typedef struct mirl_tensors {
    mirl_tensor *items; ///< sorted by name
    size_t count;
} mirl_tensors;

/** Sorts by name and refuses a name that is there twice (MIRL_ERROR_FORMAT). */
mirl_status mirl_tensors_sort(mirl_tensors *tensors, mirl_error *error);

/** By bisection; NULL if there is none. */
mirl_tensor *mirl_tensors_find(const mirl_tensors *tensors, const char *name);

/** "[3, 16, 3, 3]", cut if it does not fit. */
const char *mirl_shape_text(int rank, const uint64_t *shape, char *text, size_t size);

/* For reading little-endian values that may lie at any address. */
typedef uint16_t mirl_unaligned_u16 __attribute__((aligned(1), may_alias));
typedef uint32_t mirl_unaligned_u32 __attribute__((aligned(1), may_alias));
typedef float mirl_unaligned_float __attribute__((aligned(1), may_alias));

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are read in place: little-endian only");

#endif
