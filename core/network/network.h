/* The whole network on one image, or one tile of it. */
#ifndef MIRL_CORE_NETWORK_NETWORK_H
#define MIRL_CORE_NETWORK_NETWORK_H

#include "network/map.h"
#include "network/model.h"
#include "network/reference.h"
#include "team.h"

/** A model with the memory for images of one size. For one run at a time. */
typedef struct mirl_network mirl_network;

/** Bytes that mirl_network_create() will take. width and height: multiples of 8, 8..2^20. */
uint64_t mirl_network_bytes(const mirl_model *model, size_t width, size_t height, int threads);

/** `threads`: at least the size of the team that will run it. The model must outlive the network. NULL with
 * MIRL_ERROR_MEMORY. */
mirl_network *mirl_network_create(const mirl_model *model, size_t width, size_t height, int threads,
                                  mirl_error *error);
void mirl_network_free(mirl_network *network);

/** Turns to images of another size, in the same memory if that suffices. What the maps hold is lost.
 * MIRL_ERROR_MEMORY: only to be freed, or resized again. */
mirl_status mirl_network_resize(mirl_network *network, size_t width, size_t height, mirl_error *error);

/** Where to write the image (R', G', B' in 0..1) before a run, which leaves the correction in its place: a
 * map of 3 channels in one band, inside the network's memory. */
const mirl_map *mirl_network_image(const mirl_network *network);

/** Called after each module with its published name and result, on the calling thread. */
typedef void (*mirl_tap)(const char *module, const mirl_map *result, void *user);

/** image = network(image) - image, adding `share` to the team's progress. `tap` may be NULL. False if
 * cancelled. */
bool mirl_network_run(mirl_network *network, mirl_team *team, double share, mirl_tap tap, void *user);

/** The same for a part of a picture. A reference that is not known yet takes what this run finds; one that is
 * known takes the place of that. */
bool mirl_network_run_part(mirl_network *network, mirl_team *team, double share, mirl_reference *reference,
                           mirl_part part);

#endif
