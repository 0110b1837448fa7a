#include "trainer/team.h"

#include "error.h"
#include "trainer/comm.h"
#include "trainer/device/resident.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 14 }; ///< values that one thread steps at a time

struct trainer_team {
    trainer_network *network;
    trainer_resident *resident; ///< on a device; then there is nothing of what follows
    int threads, batch, group;
    size_t image; ///< floats of one sample
    trainer_pass **passes;
    float **gradients;
    double *losses;
    float *restored; ///< [threads][group] samples
};

trainer_team *trainer_team_create(trainer_network *network, int threads, int batch, int crop, int group,
                                  mirl_error *error) {
    trainer_team *team = calloc(1, sizeof *team);
    bool good = team;

    if (team && network->ops->memory) {
        *team = (trainer_team){.network = network, .batch = batch};
        team->resident = trainer_resident_create(network, batch, crop, error);
        if (team->resident)
            return team;
        free(team);
        return NULL;
    }
    if (threads == 0)
        threads = omp_get_max_threads();
    threads = threads < batch ? threads : batch;
    group = group < (batch + threads - 1) / threads ? group : (batch + threads - 1) / threads;
    if (team) {
        *team = (trainer_team){.network = network, .threads = threads, .batch = batch, .group = group};
        team->image = 3 * (size_t)crop * (size_t)crop;
        team->passes = calloc((size_t)threads, sizeof *team->passes);
        team->gradients = calloc((size_t)threads, sizeof *team->gradients);
        team->losses = calloc((size_t)threads, sizeof *team->losses);
        team->restored = calloc((size_t)(threads * group), team->image * sizeof *team->restored);
        good = team->passes && team->gradients && team->losses && team->restored;
    }
    for (int t = 0; good && t < threads; t++) {
        team->passes[t] = trainer_pass_create(network, group, crop, crop, error);
        team->gradients[t] = calloc(network->parameters, sizeof **team->gradients);
        if (!team->passes[t]) {
            trainer_team_free(team);
            return NULL;
        }
        good = team->gradients[t];
    }
    if (!good) {
        mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for the gradients of %d threads", threads);
        trainer_team_free(team);
        return NULL;
    }
    return team;
}

void trainer_team_free(trainer_team *team) {
    if (!team)
        return;
    for (int t = 0; t < team->threads; t++) {
        if (team->passes)
            trainer_pass_free(team->passes[t]);
        if (team->gradients)
            free(team->gradients[t]);
    }
    trainer_resident_free(team->resident);
    free(team->passes);
    free(team->gradients);
    free(team->losses);
    free(team->restored);
    free(team);
}

int trainer_team_lag(const trainer_team *team) {
    return team->resident ? 1 : 0;
}

int trainer_team_threads(const trainer_team *team) {
    return team->threads;
}

void trainer_team_values(trainer_team *team, const float *values) {
    if (team->resident)
        trainer_resident_push(team->resident, values, NULL, NULL, NULL);
    else
        trainer_network_values(team->network, values);
}

void trainer_team_push(trainer_team *team, const float *values, const float *moment1, const float *moment2,
                       const uint8_t *mask) {
    if (team->resident)
        trainer_resident_push(team->resident, values, moment1, moment2, mask);
    else
        trainer_network_values(team->network, values);
}

mirl_status trainer_team_pull(trainer_team *team, float *values, float *moment1, float *moment2,
                              mirl_error *error) {
    if (!team->resident)
        return MIRL_OK;
    return trainer_resident_pull(team->resident, values, moment1, moment2, error);
}

double trainer_team_gradients(trainer_team *team, const float *values, const float *degraded,
                              const float *clean, int ranks) {
    size_t total = (size_t)team->batch * (size_t)ranks * team->image;
    double loss = 0;

    if (team->resident)
        return trainer_resident_gradients(team->resident, degraded, clean, ranks);

#pragma omp parallel num_threads(team->threads)
    {
        int t = omp_get_thread_num();
        int first = team->batch * t / team->threads, end = team->batch * (t + 1) / team->threads;
        memset(team->gradients[t], 0, team->network->parameters * sizeof **team->gradients);
        team->losses[t] = 0;
        for (int i = first; i < end; i += team->group) {
            int n = end - i < team->group ? end - i : team->group;
            team->losses[t] +=
                trainer_pass_run(team->passes[t], values, n, degraded + (size_t)i * team->image,
                                 clean + (size_t)i * team->image, total, team->gradients[t]);
        }
    }
    for (int t = 0; t < team->threads; t++)
        loss += team->losses[t];
    return loss;
}

mirl_status trainer_team_images(trainer_team *team, trainer_data *data, mirl_error *error) {
    return team->resident ? trainer_resident_images(team->resident, data, error) : MIRL_OK;
}

bool trainer_team_has_images(const trainer_team *team) {
    return team->resident && trainer_resident_has_images(team->resident);
}

mirl_status trainer_team_gradients_at(trainer_team *team, uint64_t step, int ranks, double *loss,
                                      double *identity, mirl_error *error) {
    return trainer_resident_gradients_at(team->resident, step, ranks, loss, identity, error);
}

/* Leaves the sum over the threads in the first's gradients. */
static void sum_threads(trainer_team *team, size_t first, size_t count) {
    for (int t = 1; t < team->threads; t++)
        for (size_t i = first; i < first + count; i++)
            team->gradients[0][i] += team->gradients[t][i];
}

void trainer_team_step(trainer_team *team, const trainer_adamw *adamw, float *values, float *moment1,
                       float *moment2, const uint8_t *mask) {
    size_t count = team->network->parameters;
    trainer_adamw_factors factors = trainer_adamw_factors_of(adamw);

    if (team->resident) {
        trainer_resident_step(team->resident, adamw);
        return;
    }

#pragma omp parallel for num_threads(team->threads)
    for (size_t first = 0; first < count; first += CHUNK)
        sum_threads(team, first, count - first < CHUNK ? count - first : CHUNK);
    trainer_comm_sum(team->gradients[0], count);
#pragma omp parallel for num_threads(team->threads)
    for (size_t first = 0; first < count; first += CHUNK) {
        float *gradient = team->gradients[0] + first;
        team->network->ops->adamw(&factors, count - first < CHUNK ? count - first : CHUNK, values + first,
                                  gradient, moment1 + first, moment2 + first, mask ? mask + first : NULL);
    }
    trainer_team_values(team, values);
}

double trainer_team_loss(trainer_team *team, const float *values, const float *degraded, const float *clean) {
    double loss = 0;

    if (team->resident)
        return trainer_resident_loss(team->resident, degraded, clean);
#pragma omp parallel num_threads(team->threads)
    {
        int t = omp_get_thread_num();
        int first = team->batch * t / team->threads, end = team->batch * (t + 1) / team->threads;
        float *restored = team->restored + (size_t)(t * team->group) * team->image;
        team->losses[t] = 0;
        for (int i = first; i < end; i += team->group) {
            int n = end - i < team->group ? end - i : team->group;
            const float *goal = clean + (size_t)i * team->image;
            trainer_pass_restore(team->passes[t], values, n, degraded + (size_t)i * team->image, restored);
            for (size_t v = 0; v < (size_t)n * team->image; v++)
                team->losses[t] += fabs((double)restored[v] - goal[v]);
        }
    }
    for (int t = 0; t < team->threads; t++)
        loss += team->losses[t];
    return loss / (double)((size_t)team->batch * team->image);
}
