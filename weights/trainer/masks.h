/* Masks: which weights a pruning step drops, by the published scopes and by ours, and what is left.
 */
#ifndef MIRL_TRAINER_MASKS_H
#define MIRL_TRAINER_MASKS_H

#include "network/graph.h"

typedef enum trainer_scope {
    TRAINER_GLOBAL,    ///< one threshold for the network, as published
    TRAINER_LAYERWISE, ///< one a tensor, as published
    TRAINER_COMPUTE,   ///< as many as global, but where they save multiply-adds (below)
    TRAINER_SCOPES     ///< their number
} trainer_scope;

/** "global", "layerwise", "compute". */
const char *trainer_scope_name(trainer_scope scope);

/** Drops `percent` (0..100, ends excluded) of the weights that are alive: masks them. `values` and `mask`
 * hold all layers of the graph one after the other. A weight whose value is zero counts as dropped before.
 *
 * global: |w| < t, t the percentile of all alive magnitudes, linear between order statistics (NumPy's).
 * layerwise: the same a tensor, with percent / 2 where the name contains "output".
 *
 * compute drops as many weights as global would, those with the least |w| - lambda * c, c the multiply-adds a
 * pixel of the weight. Each lambda >= 0 gives the choice that leaves the fewest multiply-adds for the
 * magnitude (sum of |w|) it gives up; lambda is the largest, found by bisection, that gives up at most (1 +
 * slack) times the magnitude that global gives up. slack 0 is global.
 *
 * MIRL_ERROR_ARGUMENT (percent, nothing alive), MIRL_ERROR_MEMORY; the mask is then unchanged. */
mirl_status trainer_prune(const mirl_graph *graph, trainer_scope scope, double percent, double slack,
                          const float *values, uint8_t *mask, mirl_error *error);

/** What a mask leaves. */
mirl_remains trainer_remains_of(const mirl_graph *graph, const uint8_t *mask);

/** The q-quantile (0..1) of `count` values, linear between order statistics; reorders them. */
double trainer_quantile(float *values, size_t count, double q);

#endif
