/* Small networks with made-up values, for the tests of the weights files. */
#ifndef MIRL_TESTS_WEIGHTS_FIXTURES_H
#define MIRL_TESTS_WEIGHTS_FIXTURES_H

#include "weights/weights.h"

/** All heads different: 55,157 parameters. */
mirl_config small_config(void);

/** The smallest that there is with more than one head: 11,388 parameters, still 146 layers. */
mirl_config tiny_config(void);

/** The tiny network, between a group's set-up and tear-down. */
extern mirl_graph *tiny_graph;
int make_tiny_graph(void **state);
int free_tiny_graph(void **state);

/** One array a layer: uniform in ±1/16, and each value of a convolution or linear weight is zero with
 * probability `sparsity`. Repeatable. Free with free_values(). */
float **make_values(const mirl_graph *graph, double sparsity);
void free_values(const mirl_graph *graph, float **values);

/** A path in a new folder of its own; the folder goes with remove_scratch(). */
char *scratch_path(const char *name);
void remove_scratch(char *path);

/** Reads a whole file; the test fails if it cannot. Free with free(). */
uint8_t *read_whole(const char *path, size_t *size);

#endif
