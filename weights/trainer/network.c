#include "trainer/network.h"

#include "error.h"
#include "trainer/random.h"

#include <math.h>
#include <stdlib.h>

static bool is_convolution(const mirl_layer *layer) {
    return layer->kind == MIRL_CONV1 || layer->kind == MIRL_CONV3;
}

trainer_network *trainer_network_create(const mirl_graph *graph, const trainer_ops *ops, mirl_error *error) {
    trainer_network *network = calloc(1, sizeof *network);
    size_t layers = (size_t)graph->layer_count;

    if (network) {
        network->graph = graph;
        network->ops = ops;
        network->parameters = graph->parameters;
        network->at = calloc(layers, sizeof *network->at);
        network->convs = calloc(layers, sizeof *network->convs);
    }
    if (!network || !network->at || !network->convs) {
        mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for the network's description");
        trainer_network_free(network);
        return NULL;
    }
    for (int i = 1; i < graph->layer_count; i++)
        network->at[i] = network->at[i - 1] + graph->layers[i - 1].count;
    if (trainer_network_structure(network, NULL, error)) {
        trainer_network_free(network);
        return NULL;
    }
    return network;
}

void trainer_network_free(trainer_network *network) {
    if (!network)
        return;
    if (network->convs)
        for (int i = 0; i < network->graph->layer_count; i++)
            trainer_conv_free(&network->convs[i]);
    free(network->convs);
    free(network->at);
    free(network);
}

mirl_status trainer_network_structure(trainer_network *network, const uint8_t *mask, mirl_error *error) {
    for (int i = 0; i < network->graph->layer_count; i++) {
        const mirl_layer *layer = &network->graph->layers[i];
        if (!is_convolution(layer))
            continue;
        if (network->ops->memory) { // a device multiplies by the tensors themselves
            network->convs[i] =
                (trainer_conv){.out = layer->shape[0], .in = layer->shape[1], .side = layer->shape[2]};
            network->convs[i].from_image = i == network->graph->patch_embed;
            network->convs[i].to_image = i == network->graph->output;
            continue;
        }
        mirl_status status = trainer_conv_structure(&network->convs[i], layer->shape[0], layer->shape[1],
                                                    layer->shape[2], mask ? mask + network->at[i] : NULL,
                                                    network->ops->densest, network->ops->split, error);
        if (status)
            return status;
    }
    return MIRL_OK;
}

void trainer_network_values(trainer_network *network, const real *values) {
    for (int i = 0; i < network->graph->layer_count; i++)
        network->convs[i].weight = values + network->at[i];
    if (network->ops->memory)
        return;
#pragma omp parallel for schedule(dynamic, 8)
    for (int i = 0; i < network->graph->layer_count; i++)
        if (is_convolution(&network->graph->layers[i]))
            trainer_conv_values(&network->convs[i], values + network->at[i]);
}

/* Weights of a fan-in: the layer's own columns; a linear bias has its weight's. */
static double fan_in(const mirl_graph *graph, int layer) {
    if (graph->layers[layer].kind != MIRL_LINEAR_BIAS)
        return graph->layers[layer].columns;
    for (int level = 0; level < 3; level++)
        if (graph->prompt[level].linear_bias == layer)
            return graph->prompt[level].features;
    return 1;
}

void trainer_network_initial(const trainer_network *network, uint64_t seed, real *values) {
    const mirl_graph *graph = network->graph;
    trainer_random random = trainer_random_stream(seed, 0, 0);

    for (int i = 0; i < graph->layer_count; i++) {
        const mirl_layer *layer = &graph->layers[i];
        double bound = 1 / sqrt(fan_in(graph, i));
        for (size_t v = 0; v < layer->count; v++, values++) {
            switch (layer->kind) {
            case MIRL_NORM_WEIGHT:
            case MIRL_TEMPERATURE:
                *values = 1;
                break;
            case MIRL_NORM_BIAS:
                *values = 0;
                break;
            case MIRL_PROMPT_PARAM:
                *values = (real)trainer_random_uniform(&random, 0, 1);
                break;
            default:
                *values = (real)trainer_random_uniform(&random, -bound, bound);
            }
        }
    }
}
