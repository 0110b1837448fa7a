/* A convolution's weights, prepared for the products of a training step.
 *
 * The structure (dense, or the positions that a mask leaves alive) is fixed for a pruning round; the values
 * are laid out anew after each optimizer step. Forward products use W, input gradients its transpose (for
 * 3x3 also turned by half a turn, which makes them a convolution again).
 */
#ifndef MIRL_TRAINER_CONV_H
#define MIRL_TRAINER_CONV_H

#include "mirl.h"
#include "planes.h"

enum {
    TRAINER_TILE = 8,   ///< output rows that a dense product computes together
    TRAINER_SPLIT = 16, ///< rows and columns of a split tile
};

/** A matrix [rows][columns] for products from the left, dense or sparse.
 *
 * Dense tiles are [ceil(rows / TILE)][columns][TILE] values, or, split, [ceil(rows / SPLIT)]
 * [ceil(columns / SPLIT)][2][SPLIT rows][SPLIT columns] pairs of equal bfloat16: in the first half of a tile
 * each value rounded to bfloat16, in the second what the rounding took away. What the matrix has not is 0. */
typedef struct trainer_matrix {
    int rows, columns;
    bool split;
    real *tiles;      ///< dense; NULL if sparse
    uint32_t *start;  ///< sparse: row r has the entries start[r]..start[r+1]-1
    uint32_t *column; ///< of each entry, rising in a row
    uint32_t *source; ///< each entry's index in the layer's weight tensor
    real *value;      ///< of each entry
} trainer_matrix;

typedef struct trainer_conv {
    int out, in, side; ///< side 1 or 3
    bool sparse;
    const real *weight;        ///< the layer's tensor, as last given to trainer_conv_values()
    bool from_image, to_image; ///< the network's first and last, between images and planes of stores
    trainer_matrix forward;    ///< [out][in * side * side], as the weight tensor
    trainer_matrix backward;   ///< [in][out * side * side]
} trainer_conv;

/** Where a matrix's entries stand in another array: column b * taps + t of a row is row[b * block + t * tap].
 */
typedef struct trainer_entries {
    const real *first; ///< (0, 0)
    ptrdiff_t row, block, tap;
    int taps;
} trainer_entries;

/** Values of a dense matrix's tiles. */
size_t trainer_tiles_size(int rows, int columns, bool split);
void trainer_pack(trainer_entries from, int rows, int columns, bool split, real *tiles);

/** Dense, in split tiles or not, if mask is NULL or leaves more than `densest` (0..1) of the weights alive;
 * then masked weights must be zero in the tensor. conv must be zeroed or hold an earlier structure, which is
 * freed. MIRL_ERROR_MEMORY. */
mirl_status trainer_conv_structure(trainer_conv *conv, int out, int in, int side, const uint8_t *mask,
                                   double densest, bool split, mirl_error *error);

/** Takes the values from the layer's tensor [out][in][side][side], which must stay. */
void trainer_conv_values(trainer_conv *conv, const real *weight);

void trainer_conv_free(trainer_conv *conv);

#endif
