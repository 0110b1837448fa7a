/* A team of threads for one call: it runs numbered units of work, reports progress and learns of a cancel. */
#ifndef MIRL_CORE_TEAM_H
#define MIRL_CORE_TEAM_H

#include "mirl.h"

typedef struct mirl_team mirl_team;

/** What a number of threads means, 1..256: 0 stands for the processors that the process may use. */
int mirl_team_threads(int threads);

/** `threads`, 1..256, counts the caller. If the system grants fewer threads, the team is smaller. `progress`
 * may be NULL. NULL if memory runs out. */
mirl_team *mirl_team_create(int threads, mirl_progress progress, void *user);
void mirl_team_free(mirl_team *team);

/** Threads in the team, the caller included. */
int mirl_team_size(const mirl_team *team);

/** One unit of work; `thread` is 0..size-1 and differs between calls that run at the same time. */
typedef void (*mirl_unit)(void *context, size_t unit, int thread);

/** Runs units 0..count-1, each once, in no particular order, and returns when all are done. A thread begins
 * with its own run of units, which takes the same part of an image in every stage: what it left there is in
 * its cache. Then it takes units of the others. `share` is what they add to the progress, 0..1. False if the
 * work was cancelled, now or earlier: then units were left out.
 */
bool mirl_team_run(mirl_team *team, size_t count, double share, mirl_unit work, void *context);

bool mirl_team_cancelled(const mirl_team *team);

#endif
