/* Pickles (protocol 2) as PyTorch writes them, read as data: nothing is imported and nothing runs.
 *
 * Dictionaries, lists, tuples, strings, numbers, tensors and storages are built. An instance of any other
 * class becomes an opaque value that knows only its class, so that it can be skipped, or refused by name
 * where it matters. Opcodes that PyTorch does not write, and functions that run commands, are refused by
 * name.
 */
#ifndef MIRL_CORE_WEIGHTS_PICKLE_H
#define MIRL_CORE_WEIGHTS_PICKLE_H

#include "mirl.h"

enum {
    MIRL_PICKLE_MAX = 16 << 20
}; ///< bytes of a pickle; the paper's network with optimizer state has 0.3 MB

typedef enum mirl_pickle_kind {
    MIRL_PICKLE_NONE,
    MIRL_PICKLE_BOOL,
    MIRL_PICKLE_INTEGER,
    MIRL_PICKLE_REAL,
    MIRL_PICKLE_STRING,
    MIRL_PICKLE_TUPLE,
    MIRL_PICKLE_LIST,
    MIRL_PICKLE_DICT,
    MIRL_PICKLE_GLOBAL,  ///< a class or function, by name
    MIRL_PICKLE_STORAGE, ///< items: a persistent id ('storage', class, key, location, count)
    MIRL_PICKLE_TENSOR,  ///< items: what _rebuild_tensor_v2 gets (storage, offset, shape, strides, ...)
    MIRL_PICKLE_OPAQUE,  ///< an instance of a class that nothing here needs
} mirl_pickle_kind;

typedef struct mirl_pickle_value mirl_pickle_value;

/** Entry of a tuple, list or dictionary. */
typedef struct mirl_pickle_item {
    const mirl_pickle_value *key; ///< dictionaries only, else NULL
    const mirl_pickle_value *value;
    struct mirl_pickle_item *next;
} mirl_pickle_item;

struct mirl_pickle_value {
    mirl_pickle_kind kind;
    int64_t integer;                ///< BOOL, INTEGER
    const char *text;               ///< STRING, zero-terminated; GLOBAL, OPAQUE: "module.name"
    mirl_pickle_item *first, *last; ///< TUPLE, LIST, DICT, STORAGE, TENSOR
    size_t count;                   ///< of those
};

/** Everything that was built; values may refer to each other in circles. */
typedef struct mirl_pickle {
    const mirl_pickle_value *root;
    struct mirl_pickle_block *blocks; ///< their memory
} mirl_pickle;

/** Reads a pickle. On failure (MIRL_ERROR_FORMAT, _MEMORY) *pickle is zeroed; otherwise free with
 * mirl_pickle_free(). Nothing in it points into `bytes`. */
mirl_status mirl_pickle_read(const uint8_t *bytes, size_t size, mirl_pickle *pickle, mirl_error *error);
void mirl_pickle_free(mirl_pickle *pickle);

/** Entry `index` of a tuple, list, storage or tensor; NULL if it has fewer. */
const mirl_pickle_value *mirl_pickle_at(const mirl_pickle_value *value, size_t index);

/** What a dictionary holds under a string, the last if there are several; NULL if there is none. */
const mirl_pickle_value *mirl_pickle_get(const mirl_pickle_value *dictionary, const char *key);

/** For messages: "an integer", "a 'pathlib.PosixPath'". Written to `text` where it needs the class's name. */
const char *mirl_pickle_describe(const mirl_pickle_value *value, char *text, size_t size);

#endif
