#include "trainer/device/resident.h"

#include "error.h"
#include "trainer/comm.h"
#include "trainer/device/album.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* While the device works on one batch, the host fills the other. */
enum { SLOTS = 2 };

/* What is summed over a batch, in double. */
enum { ERRORS, DIFFERENCES, SUMS };

/** What crosses between host and device for one step, in the host's memory. */
typedef struct slot {
    float *images; ///< degraded, then clean
    trainer_patch *patches;
    double *sums;
    trainer_adamw_factors *factors;
} slot;

struct trainer_resident {
    trainer_network *network;
    const trainer_memory *memory;
    trainer_pass *pass;
    int batch, crop;
    size_t count, batch_floats, total; ///< parameters; floats of a batch; values that the loss is a mean over
    real *values, *gradient, *moment1, *moment2;
    uint8_t *mask;
    float *images; ///< degraded, then clean
    double *sums;  ///< of the restored and of the degraded images' absolute errors
    trainer_adamw_factors *factors;
    trainer_album *album; ///< NULL: batches come from the host
    float *host_gradient; ///< for sums over processes
    slot slots[SLOTS];
    uint64_t steps;
    trainer_recording *batch_recording, *gradients_recording, *step_recording;
};

/* ---- Beginning and end ------------------------------------------------------------------------------- */

static bool allocate(trainer_resident *r) {
    const trainer_memory *memory = r->memory;
    size_t parameters = r->count * sizeof(real), images = 2 * r->batch_floats * sizeof(float);
    bool good = (r->values = memory->allocate(parameters)) && (r->gradient = memory->allocate(parameters)) &&
                (r->moment1 = memory->allocate(parameters)) && (r->moment2 = memory->allocate(parameters)) &&
                (r->mask = memory->allocate(r->count)) && (r->images = memory->allocate(images)) &&
                (r->sums = memory->allocate(SUMS * sizeof *r->sums)) &&
                (r->factors = memory->allocate(sizeof *r->factors));
    for (int i = 0; good && i < SLOTS; i++) {
        slot *s = &r->slots[i];
        good = (s->images = memory->allocate_host(images)) &&
               (s->sums = memory->allocate_host(SUMS * sizeof *s->sums)) &&
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
    *r = (trainer_resident){.network = network, .memory = network->ops->memory, .batch = batch, .crop = crop};
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
    void *there[] = {r->values, r->gradient, r->moment1, r->moment2, r->mask, r->images, r->sums, r->factors};
    r->memory->status(NULL);
    r->memory->forget(r->batch_recording);
    r->memory->forget(r->gradients_recording);
    r->memory->forget(r->step_recording);
    for (size_t i = 0; i < sizeof there / sizeof *there; i++)
        r->memory->release(there[i]);
    for (int i = 0; i < SLOTS; i++) {
        r->memory->release_host(r->slots[i].images);
        r->memory->release_host(r->slots[i].patches);
        r->memory->release_host(r->slots[i].sums);
        r->memory->release_host(r->slots[i].factors);
    }
    trainer_album_free(r->album);
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
    if (!status && r->steps > 0 && !isfinite(r->slots[(r->steps + 1) % SLOTS].sums[ERRORS]))
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
    r->memory->clear(&r->sums[ERRORS], sizeof *r->sums);
    trainer_pass_gradients(r->pass, r->values, r->batch, r->images, r->images + r->batch_floats, r->total,
                           r->gradient, &r->sums[ERRORS]);
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

/* Queues the gradients for the batch that is queued. Returns the sums of the batch before, or of the first
 * its own, which are there then; NULL: the device has failed. */
static const double *queue_batch(trainer_resident *r, slot *s) {
    int now = (int)(r->steps % SLOTS), done = r->steps++ > 0 ? (now + 1) % SLOTS : now;
    r->memory->run(&r->gradients_recording, queue_gradients, r);
    r->memory->copy(s->sums, r->sums, SUMS * sizeof *s->sums);
    r->memory->mark(now);
    return r->memory->wait(done) ? r->slots[done].sums : NULL;
}

double trainer_resident_gradients(trainer_resident *r, const float *degraded, const float *clean, int ranks) {
    // This slot's batch before was waited for when the one after it was queued.
    slot *s = &r->slots[r->steps % SLOTS];
    r->total = r->batch_floats * (size_t)ranks;
    queue_images(r, s, degraded, clean);
    const double *sums = queue_batch(r, s);
    return sums ? sums[ERRORS] / (double)r->total : NAN;
}

mirl_status trainer_resident_images(trainer_resident *r, trainer_data *data, mirl_error *error) {
    size_t patches = (size_t)r->batch * sizeof(trainer_patch);
    for (int i = 0; i < SLOTS; i++) {
        r->slots[i].patches = r->memory->allocate_host(patches);
        if (!r->slots[i].patches)
            return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for %d patches", r->batch);
    }
    r->album = trainer_album_create(r->network->ops, data, r->batch, r->crop, error);
    return r->album ? MIRL_OK : error->status;
}

bool trainer_resident_has_images(const trainer_resident *r) {
    return r->album;
}

static void queue_patches(void *user) {
    trainer_resident *r = user;
    trainer_album_make(r->album, r->images, r->images + r->batch_floats, &r->sums[DIFFERENCES]);
}

mirl_status trainer_resident_gradients_at(trainer_resident *r, uint64_t step, int ranks, double *loss,
                                          double *identity, mirl_error *error) {
    slot *s = &r->slots[r->steps % SLOTS];
    mirl_status status = trainer_album_choose(r->album, step, s->patches, error);
    if (status)
        return status;
    r->total = r->batch_floats * (size_t)ranks;
    r->memory->run(&r->batch_recording, queue_patches, r);
    const double *sums = queue_batch(r, s);
    *loss = sums ? sums[ERRORS] / (double)r->total : NAN;
    *identity = sums ? sums[DIFFERENCES] / (double)r->total : NAN;
    return MIRL_OK;
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
    r->memory->clear(&r->sums[ERRORS], sizeof *r->sums);
    trainer_pass_loss(r->pass, r->values, r->batch, r->images, r->images + r->batch_floats, &r->sums[ERRORS]);
    r->memory->download(&sum, &r->sums[ERRORS], sizeof sum);
    return sum / (double)r->batch_floats;
}
