#include "trainer/masks.h"

#include "error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BISECTIONS = 40 };

const char *trainer_scope_name(trainer_scope scope) {
    static const char *const names[] = {"global", "layerwise", "compute"};
    return names[scope];
}

static void swap(float *a, float *b) {
    float t = *a;
    *a = *b;
    *b = t;
}

/* The k-th smallest (from 0), by quickselect; afterwards nothing behind place k is smaller. */
static float select_smallest(float *values, size_t count, size_t k) {
    size_t low = 0, high = count - 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2, i = low, j = high;
        if (values[middle] < values[low])
            swap(&values[middle], &values[low]);
        if (values[high] < values[low])
            swap(&values[high], &values[low]);
        if (values[high] < values[middle])
            swap(&values[high], &values[middle]);
        float pivot = values[middle];
        while (i <= j) {
            while (values[i] < pivot)
                i++;
            while (values[j] > pivot)
                j--;
            if (i <= j) {
                swap(&values[i++], &values[j]);
                if (j == 0)
                    break;
                j--;
            }
        }
        if (k <= j && j < i)
            high = j;
        else if (k >= i)
            low = i;
        else
            return values[k];
    }
    return values[k];
}

double trainer_quantile(float *values, size_t count, double q) {
    double place = (double)(count - 1) * q;
    size_t below = (size_t)floor(place);
    double low = select_smallest(values, count, below), high = low;
    if (below + 1 < count) {
        high = values[below + 1];
        for (size_t i = below + 2; i < count; i++)
            high = values[i] < high ? values[i] : high;
    }
    return low + (high - low) * (place - (double)below);
}

/* Calls for every prunable layer, with its place in the flat arrays. */
typedef void layer_visitor(const mirl_layer *layer, size_t first, void *user);

static void for_prunable(const mirl_graph *graph, layer_visitor *visit, void *user) {
    size_t first = 0;
    for (int i = 0; i < graph->layer_count; first += graph->layers[i++].count)
        if (mirl_layer_is_prunable(&graph->layers[i]))
            visit(&graph->layers[i], first, user);
}

/* One pruning step in the making. */
typedef struct pruning {
    const float *values;
    uint8_t *mask;
    double percent;
    float *work;      ///< room for all magnitudes or scores
    size_t count;     ///< of them
    double threshold; ///< of the step
    double lambda;    ///< compute scope: price of a multiply-add
    size_t drops;     ///< compute scope: weights still to drop at the threshold itself, in order
    double given_up;  ///< sum of the magnitudes dropped
} pruning;

static bool is_alive(const pruning *step, size_t i) {
    return step->mask[i] && step->values[i] != 0;
}

static void collect_magnitudes(const mirl_layer *layer, size_t first, void *user) {
    pruning *step = user;
    for (size_t i = first; i < first + layer->count; i++)
        if (is_alive(step, i))
            step->work[step->count++] = fabsf(step->values[i]);
}

static void drop_below(const mirl_layer *layer, size_t first, void *user) {
    pruning *step = user;
    for (size_t i = first; i < first + layer->count; i++)
        if (fabs((double)step->values[i]) < step->threshold)
            step->mask[i] = 0;
}

static void prune_layer(const mirl_layer *layer, size_t first, void *user) {
    pruning *step = user;
    double percent = strstr(layer->name, "output") ? step->percent / 2 : step->percent;
    step->count = 0;
    collect_magnitudes(layer, first, step);
    if (!step->count)
        return;
    step->threshold = trainer_quantile(step->work, step->count, percent / 100);
    drop_below(layer, first, step);
}

/* ---- Compute ----------------------------------------------------------------------------------------- */

static float score(const pruning *step, const mirl_layer *layer, size_t i) {
    return (float)(fabs((double)step->values[i]) - step->lambda * mirl_layer_macs_per_value(layer));
}

static void collect_scores(const mirl_layer *layer, size_t first, void *user) {
    pruning *step = user;
    for (size_t i = first; i < first + layer->count; i++)
        if (is_alive(step, i))
            step->work[step->count++] = score(step, layer, i);
}

/* Whether this weight goes: below the threshold, or one of the first `drops` at it. */
static bool goes(pruning *step, const mirl_layer *layer, size_t i) {
    float s = score(step, layer, i);
    if (s != (float)step->threshold)
        return s < (float)step->threshold;
    if (!step->drops)
        return false;
    step->drops--;
    return true;
}

static void add_given_up(const mirl_layer *layer, size_t first, void *user) {
    pruning *step = user;
    for (size_t i = first; i < first + layer->count; i++)
        if (is_alive(step, i) && goes(step, layer, i))
            step->given_up += fabs((double)step->values[i]);
}

static void drop_scores(const mirl_layer *layer, size_t first, void *user) {
    pruning *step = user;
    for (size_t i = first; i < first + layer->count; i++)
        if (step->mask[i] && (step->values[i] == 0 || goes(step, layer, i)))
            step->mask[i] = 0;
}

/* Finds the threshold for this lambda. */
static void set_lambda(const mirl_graph *graph, pruning *step, double lambda, size_t drops) {
    step->lambda = lambda;
    step->count = 0;
    for_prunable(graph, collect_scores, step);
    step->threshold = select_smallest(step->work, step->count, drops);
    step->drops = drops;
    for (size_t i = 0; i < step->count; i++)
        step->drops -= step->work[i] < (float)step->threshold;
}

/* The magnitude that this lambda gives up. */
static double try_lambda(const mirl_graph *graph, pruning *step, double lambda, size_t drops) {
    set_lambda(graph, step, lambda, drops);
    step->given_up = 0;
    for_prunable(graph, add_given_up, step);
    return step->given_up;
}

static void prune_compute(const mirl_graph *graph, pruning *step, double slack) {
    size_t drops = 0;
    double low = 0, high = 1;

    for_prunable(graph, collect_magnitudes, step);
    double threshold = trainer_quantile(step->work, step->count, step->percent / 100);
    for (size_t i = 0; i < step->count; i++)
        drops += step->work[i] < threshold;
    if (drops == step->count)
        drops--;
    double most = try_lambda(graph, step, 0, drops) * (1 + slack);
    while (high < 1e6 && try_lambda(graph, step, high, drops) <= most)
        high *= 2;
    for (int i = 0; i < BISECTIONS; i++) {
        double middle = (low + high) / 2;
        if (try_lambda(graph, step, middle, drops) <= most)
            low = middle;
        else
            high = middle;
    }
    set_lambda(graph, step, low, drops);
    for_prunable(graph, drop_scores, step);
}

mirl_status trainer_prune(const mirl_graph *graph, trainer_scope scope, double percent, double slack,
                          const float *values, uint8_t *mask, mirl_error *error) {
    pruning step = {.values = values, .mask = mask, .percent = percent};

    if (!(percent > 0 && percent < 100))
        return mirl_fail(error, MIRL_ERROR_ARGUMENT,
                         "percent is %g, it must be more than 0 and less than 100", percent);
    step.work = malloc(graph->parameters * sizeof *step.work);
    if (!step.work)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory to prune %zu values",
                         graph->parameters);
    for_prunable(graph, collect_magnitudes, &step);
    size_t alive = step.count;
    step.count = 0;
    if (!alive) {
        free(step.work);
        return mirl_fail(error, MIRL_ERROR_ARGUMENT, "no weight is left to prune");
    }
    if (scope == TRAINER_LAYERWISE) {
        for_prunable(graph, prune_layer, &step);
    } else if (scope == TRAINER_GLOBAL) {
        for_prunable(graph, collect_magnitudes, &step);
        step.threshold = trainer_quantile(step.work, step.count, percent / 100);
        for_prunable(graph, drop_below, &step);
    } else {
        prune_compute(graph, &step, slack);
    }
    free(step.work);
    return MIRL_OK;
}

mirl_remains trainer_remains_of(const mirl_graph *graph, const uint8_t *mask) {
    mirl_remains remains = mirl_remains_begin(graph);

    for (int l = 0; l < graph->layer_count; l++) {
        const mirl_layer *layer = &graph->layers[l];
        size_t alive = 0;
        for (size_t i = 0; i < layer->count; i++)
            alive += mask[i] != 0;
        mask += layer->count;
        mirl_remains_add(&remains, layer, alive);
    }
    return remains;
}
