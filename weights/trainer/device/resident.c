#include "trainer/device/resident.h"

#include "error.h"
#include "trainer/comm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* While the device works on one batch, the host fills the other. */
enum { SLOTS = 2 };

/** What crosses between host and device for one step, in the host's memory. */
typedef struct slot {
    float *images; ///< degraded, then clean
    double *sum;   ///< of the absolute errors
    trainer_adamw_factors *factors;
} slot;

struct trainer_resident {
    trainer_network *network;
    const trainer_memory *memory;
    trainer_pass *pass;
    int batch;
    size_t count, batch_floats, total; ///< parameters; floats of a batch; values that the loss is a mean over
    real *values, *gradient, *moment1, *moment2;
    uint8_t *mask;
    float *images; ///< degraded, then clean
    double *sum;
    trainer_adamw_factors *factors;
    float *host_gradient; ///< for sums over processes
    slot slots[SLOTS];
    uint64_t steps;
    trainer_recording *gradients_recording, *step_recording;
};

/* ---- Beginning and end ------------------------------------------------------------------------------- */

static bool allocate(trainer_resident *r) {
    const trainer_memory *memory = r->memory;
    size_t parameters = r->count * sizeof(real), images = 2 * r->batch_floats * sizeof(float);
    bool good = (r->values = memory->allocate(parameters)) && (r->gradient = memory->allocate(parameters)) &&
                (r->moment1 = memory->allocate(parameters)) && (r->moment2 = memory->allocate(parameters)) &&
                (r->mask = memory->allocate(r->count)) && (r->images = memory->allocate(images)) &&
                (r->sum = memory->allocate(sizeof *r->sum)) &&
                (r->factors = memory->allocate(sizeof *r->factors));
    for (int i = 0; good && i < SLOTS; i++) {
        slot *s = &r->slots[i];
        good = (s->images = memory->allocate_host(images)) &&
               (s->sum = memory->allocate_host(sizeof *s->sum)) &&
               (s->factors = memory->allocate_host(sizeof *s->factors));
    }
    if (good && trainer_comm_ranks() > 1)
        good = (r->host_gradient = malloc(parameters));
    return good;
}

trainer_resident *trainer_resident_create(trainer_network *network, int batch, int crop, mirl_error *error) {
    trainer_resident *r = calloc(1, sizeof *r);

    if (!r) {
        mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory to drive a device");
        return NULL;
    }
    *r = (trainer_resident){.network = network, .memory = network->ops->memory, .batch = batch};
    r->count = network->parameters;
    r->batch_floats = (size_t)batch * 3 * (size_t)crop * (size_t)crop;
    r->total = r->batch_floats;
    r->pass = trainer_pass_create(network, batch, crop, crop, error);
    if (!r->pass) {
        trainer_resident_free(r);
        return NULL;
    }
    if (!allocate(r)) {
        mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory on the device for %zu parameters", r->count);
        trainer_resident_free(r);
        return NULL;
    }
    r->memory->clear(r->moment1, r->count * sizeof(real));
    r->memory->clear(r->moment2, r->count * sizeof(real));
    if (r->memory->status(error)) {
        trainer_resident_free(r);
        return NULL;
    }
    return r;
}

void trainer_resident_free(trainer_resident *r) {
    if (!r)
        return;
    void *there[] = {r->values, r->gradient, r->moment1, r->moment2, r->mask, r->images, r->sum, r->factors};
    r->memory->status(NULL);
    r->memory->forget(r->gradients_recording);
    r->memory->forget(r->step_recording);
    for (size_t i = 0; i < sizeof there / sizeof *there; i++)
        r->memory->release(there[i]);
    for (int i = 0; i < SLOTS; i++) {
        r->memory->release_host(r->slots[i].images);
        r->memory->release_host(r->slots[i].sum);
        r->memory->release_host(r->slots[i].factors);
    }
    trainer_pass_free(r->pass);
    free(r->host_gradient);
    free(r);
}

/* ---- Copies ------------------------------------------------------------------------------------------ */

void trainer_resident_push(trainer_resident *r, const float *values, const float *moment1,
                           const float *moment2, const uint8_t *mask) {
    size_t bytes = r->count * sizeof(float);
    r->memory->upload(r->values, values, bytes);
    if (moment1)
        r->memory->upload(r->moment1, moment1, bytes);
    if (moment2)
        r->memory->upload(r->moment2, moment2, bytes);
    if (mask)
        r->memory->upload(r->mask, mask, r->count);
    trainer_network_values(r->network, r->values);
    r->steps = 0; // the next loss is that of its own batch
}

mirl_status trainer_resident_pull(trainer_resident *r, float *values, float *moment1, float *moment2,
                                  mirl_error *error) {
    size_t bytes = r->count * sizeof(float);
    mirl_status status = r->memory->status(error);
    if (!status && r->steps > 0 && !isfinite(*r->slots[(r->steps + 1) % SLOTS].sum))
        status = mirl_fail(error, MIRL_ERROR_FORMAT, "the loss of the last step is no number");
    if (status)
        return status;
    r->memory->download(values, r->values, bytes);
    r->memory->download(moment1, r->moment1, bytes);
    r->memory->download(moment2, r->moment2, bytes);
    return r->memory->status(error);
}

/* ---- Steps ------------------------------------------------------------------------------------------- */

static void queue_gradients(void *user) {
    trainer_resident *r = user;
    r->memory->clear(r->gradient, r->count * sizeof *r->gradient);
    r->memory->clear(r->sum, sizeof *r->sum);
    trainer_pass_gradients(r->pass, r->values, r->batch, r->images, r->images + r->batch_floats, r->total,
                           r->gradient, r->sum);
}

static void queue_step(void *user) {
    trainer_resident *r = user;
    r->network->ops->adamw(r->factors, r->count, r->values, r->gradient, r->moment1, r->moment2, r->mask);
}

static void queue_images(trainer_resident *r, slot *s, const float *degraded, const float *clean) {
    memcpy(s->images, degraded, r->batch_floats * sizeof *s->images);
    memcpy(s->images + r->batch_floats, clean, r->batch_floats * sizeof *s->images);
    r->memory->copy(r->images, s->images, 2 * r->batch_floats * sizeof *s->images);
}

/* The loss of a batch whose mark is behind. */
static double loss_of(const trainer_resident *r, int which) {
    return r->memory->wait(which) ? *r->slots[which].sum / (double)r->total : NAN;
}

double trainer_resident_gradients(trainer_resident *r, const float *degraded, const float *clean, int ranks) {
    int now = (int)(r->steps % SLOTS), before = (int)((r->steps + 1) % SLOTS);
    slot *s = &r->slots[now];

    // This slot's batch before was waited for when the one after it was queued.
    r->total = r->batch_floats * (size_t)ranks;
    queue_images(r, s, degraded, clean);
    r->memory->run(&r->gradients_recording, queue_gradients, r);
    r->memory->copy(s->sum, r->sum, sizeof *s->sum);
    r->memory->mark(now);
    return loss_of(r, r->steps++ > 0 ? before : now);
}

/* Over the host, as MPI takes it. */
static void sum_processes(trainer_resident *r) {
    size_t bytes = r->count * sizeof(float);
    r->memory->download(r->host_gradient, r->gradient, bytes);
    trainer_comm_sum(r->host_gradient, r->count);
    r->memory->upload(r->gradient, r->host_gradient, bytes);
}

void trainer_resident_step(trainer_resident *r, const trainer_adamw *adamw) {
    slot *s = &r->slots[(r->steps + 1) % SLOTS];
    if (trainer_comm_ranks() > 1)
        sum_processes(r);
    *s->factors = trainer_adamw_factors_of(adamw);
    r->memory->copy(r->factors, s->factors, sizeof *s->factors);
    r->memory->run(&r->step_recording, queue_step, r);
}

double trainer_resident_loss(trainer_resident *r, const float *degraded, const float *clean) {
    double sum = 0;
    r->memory->status(NULL);
    queue_images(r, &r->slots[0], degraded, clean);
    r->memory->clear(r->sum, sizeof *r->sum);
    trainer_pass_loss(r->pass, r->values, r->batch, r->images, r->images + r->batch_floats, r->sum);
    r->memory->download(&sum, r->sum, sizeof sum);
    return sum / (double)r->batch_floats;
}
