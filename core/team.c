#define _GNU_SOURCE
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    MOST_THREADS = 256,
    LOOKS = 20000, /* about 100 microseconds */
};

/* Leaves the core to its other thread for a moment. */
static void rest(void) {
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#endif
}

struct mirl_team {
    mirl_progress progress;
    void *user;
    double done; /* progress before the present job */

    pthread_mutex_t mutex;
    pthread_cond_t start, finished;
    atomic_uint job; /* number of the present job */
    atomic_int busy; /* workers that have not finished it */
    atomic_bool quit;

    mirl_unit work;
    void *context;
    size_t count;
    double share;
    atomic_size_t completed;
    atomic_bool cancelled;

    int size;
    struct member {
        mirl_team *team;
        int thread; /* 0: the caller's */
        pthread_t id;
        atomic_size_t next; /* unit of its own run */
        size_t end;
    } member[];
};

int mirl_team_threads(int threads) {
    cpu_set_t set;
    if (threads <= 0)
        threads = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return threads > MOST_THREADS ? MOST_THREADS : threads;
}

static void report(mirl_team *team) {
    double done = team->done + team->share * (double)atomic_load(&team->completed) / (double)team->count;
    if (team->progress && !team->progress(done > 1 ? 1 : done, team->user))
        atomic_store(&team->cancelled, true);
}

/* Units of one member's run, for as long as there are any. */
static void take_units_of(mirl_team *team, struct member *member, int thread) {
    while (!atomic_load(&team->cancelled)) {
        size_t unit = atomic_fetch_add(&member->next, 1);
        if (unit >= member->end)
            return;
        team->work(team->context, unit, thread);
        atomic_fetch_add(&team->completed, 1);
        if (thread == 0)
            report(team);
    }
}

static void take_units(mirl_team *team, int thread) {
    for (int i = 0; i < team->size; i++)
        take_units_of(team, &team->member[(thread + i) % team->size], thread);
}

/* Sleeping and waking takes tens of microseconds, and jobs follow each other at once: looks for a while
 * first. */
static void look_for_job(mirl_team *team, unsigned last) {
    for (int i = 0; i < LOOKS && atomic_load(&team->job) == last && !atomic_load(&team->quit); i++)
        rest();
}

static void look_for_end(mirl_team *team) {
    for (int i = 0; i < LOOKS && atomic_load(&team->busy) > 0; i++)
        rest();
}

static void *worker_main(void *argument) {
    struct member *member = argument;
    mirl_team *team = member->team;
    unsigned job = 0;

    for (;;) {
        look_for_job(team, job);
        pthread_mutex_lock(&team->mutex);
        while (team->job == job && !team->quit)
            pthread_cond_wait(&team->start, &team->mutex);
        job = team->job;
        bool quit = team->quit;
        pthread_mutex_unlock(&team->mutex);
        if (quit)
            return NULL;
        take_units(team, member->thread);
        pthread_mutex_lock(&team->mutex);
        if (--team->busy == 0)
            pthread_cond_signal(&team->finished);
        pthread_mutex_unlock(&team->mutex);
    }
}

mirl_team *mirl_team_create(int threads, mirl_progress progress, void *user) {
    mirl_team *team = calloc(1, sizeof *team + (size_t)threads * sizeof *team->member);
    if (!team)
        return NULL;
    team->progress = progress;
    team->user = user;
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->start, NULL);
    pthread_cond_init(&team->finished, NULL);
    for (team->size = 1; team->size < threads; team->size++) {
        struct member *member = &team->member[team->size];
        member->team = team;
        member->thread = team->size;
        if (pthread_create(&member->id, NULL, worker_main, member))
            break;
    }
    return team;
}

void mirl_team_free(mirl_team *team) {
    if (!team)
        return;
    pthread_mutex_lock(&team->mutex);
    team->quit = true;
    pthread_cond_broadcast(&team->start);
    pthread_mutex_unlock(&team->mutex);
    for (int i = 1; i < team->size; i++)
        pthread_join(team->member[i].id, NULL);
    pthread_cond_destroy(&team->finished);
    pthread_cond_destroy(&team->start);
    pthread_mutex_destroy(&team->mutex);
    free(team);
}

int mirl_team_size(const mirl_team *team) {
    return team->size;
}

bool mirl_team_cancelled(const mirl_team *team) {
    return atomic_load(&team->cancelled);
}

bool mirl_team_run(mirl_team *team, size_t count, double share, mirl_unit work, void *context) {
    if (mirl_team_cancelled(team))
        return false;
    if (count == 0)
        return true;
    pthread_mutex_lock(&team->mutex);
    team->work = work;
    team->context = context;
    team->count = count;
    team->share = share;
    for (size_t i = 0, size = (size_t)team->size; i < size; i++) {
        atomic_store(&team->member[i].next, count * i / size);
        team->member[i].end = count * (i + 1) / size;
    }
    atomic_store(&team->completed, 0);
    team->busy = team->size - 1;
    team->job++;
    pthread_cond_broadcast(&team->start);
    pthread_mutex_unlock(&team->mutex);

    take_units(team, 0);

    look_for_end(team);
    pthread_mutex_lock(&team->mutex);
    while (team->busy > 0)
        pthread_cond_wait(&team->finished, &team->mutex);
    pthread_mutex_unlock(&team->mutex);
    if (!mirl_team_cancelled(team))
        report(team);
    team->done += share;
    return !mirl_team_cancelled(team);
}
