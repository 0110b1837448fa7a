/* What a training patch is made of: all that a device has to be told to make one. */
#ifndef MIRL_TRAINER_PATCH_H
#define MIRL_TRAINER_PATCH_H

#include "trainer/degrade.h"
#include "trainer/inline.h"

/** Flips and quarter turns: bit 0 transposes, then bit 1 mirrors columns and bit 2 mirrors rows; 0 is none.
 */
enum { TRAINER_TURNS = 8, TRAINER_TRANSPOSE = 1, TRAINER_MIRROR_COLUMNS = 2, TRAINER_MIRROR_ROWS = 4 };

typedef struct trainer_patch {
    uint32_t input, target; ///< images, as the data's cache counts them
    bool pair;              ///< input and target are two images; else input is to be damaged, target == input
    trainer_rectangle from; ///< a square of both
    int turn;
    trainer_damage damage; ///< the task, and, if it is no pair, all else
} trainer_patch;

/** The pixel of a square that comes to (x, y) of the turned one. */
TRAINER_INLINE void trainer_turn_from(int turn, int side, int x, int y, int *from_x, int *from_y) {
    int u = turn & TRAINER_TRANSPOSE ? y : x, v = turn & TRAINER_TRANSPOSE ? x : y;
    *from_x = turn & TRAINER_MIRROR_COLUMNS ? side - 1 - u : u;
    *from_y = turn & TRAINER_MIRROR_ROWS ? side - 1 - v : v;
}

#endif
