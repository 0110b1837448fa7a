/* What the network takes from all of a picture: each block's attention map, and each prompt's shares. Tiles
 * that take them from one reference agree with each other, and need neither q nor k.
 */
#ifndef MIRL_CORE_NETWORK_REFERENCE_H
#define MIRL_CORE_NETWORK_REFERENCE_H

#include "network/model.h"

typedef struct mirl_reference {
    bool known;       ///< filled in by a run; before, it is the next run's to fill in
    float **maps;     ///< [block_count]: all heads' maps (or the folded one) packed for products
    float *shares[3]; ///< of each prompt's prototypes
} mirl_reference;

/** Where an image lies in a picture along one side: pixels. */
typedef struct mirl_span {
    float begin, whole;
} mirl_span;

typedef struct mirl_part {
    mirl_span across, down;
} mirl_part;

/** Not known. To be freed with mirl_reference_free(). NULL if memory runs out. */
mirl_reference *mirl_reference_create(const mirl_model *model);
void mirl_reference_free(mirl_reference *reference);

/** Bytes that mirl_reference_create() takes. */
uint64_t mirl_reference_bytes(const mirl_model *model);

/** Floats of a block's packed maps. */
size_t mirl_reference_map_floats(const mirl_block *block);

#endif
