/* Makes PyTorch checkpoints without PyTorch: pickles opcode by opcode, and the archive around them. */
#ifndef MIRL_TESTS_WEIGHTS_CHECKPOINTS_H
#define MIRL_TESTS_WEIGHTS_CHECKPOINTS_H

#include "network/graph.h"

/** A growing string of bytes; {0} is empty. */
typedef struct bytes {
    uint8_t *data;
    size_t size, room;
} bytes;

void put(bytes *to, const void *data, size_t size);
void put_opcodes(bytes *to, const char *opcodes); ///< zero-terminated
void put_string(bytes *to, const char *text);
void put_integer(bytes *to, int64_t integer);

/** torch._utils._rebuild_tensor_v2 over storage `key` of class torch.<storage>; NULL strides: row-major. */
void put_tensor(bytes *to, const char *storage, const char *key, size_t stored, size_t offset, int rank,
                const int *shape, const int64_t *strides);

/** Key and tensor of every layer: consecutive views of storage "0", which holds `stored` values. */
void put_layers(bytes *to, const mirl_graph *graph, const char *prefix, const char *storage, size_t stored);

/** A whole state dict, from PROTO to STOP. */
bytes state_dict(const mirl_graph *graph, const char *prefix, const char *storage);

/** The archive: archive/data.pkl, archive/data/0 and archive/byteorder, all stored. */
bytes make_archive(const bytes *pickle, const void *storage, size_t storage_size);

#endif
