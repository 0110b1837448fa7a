#include "trainer/device/restorer.h"

#include "error.h"
#include "trainer/network.h"
#include "weights/weights.h"

#include <pthread.h>
#include <stdlib.h>

struct trainer_restorer {
    mirl_weights *weights; ///< whose graph the network is
    trainer_network *network;
    const trainer_memory *memory;
    real *values;
    trainer_pass *pass; ///< for images of this size; NULL at first
    size_t width, height;
    float *images; ///< the input, then the result
    pthread_mutex_t lock;
};

static mirl_status load_values(trainer_restorer *r, mirl_error *error) {
    const mirl_graph *graph = mirl_weights_graph(r->weights);
    size_t bytes = graph->parameters * sizeof(float);
    float *values = malloc(bytes), *at = values;

    r->values = r->memory->allocate(bytes);
    if (!values || !r->values) {
        free(values);
        return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for %zu parameters on the device",
                         graph->parameters);
    }
    for (int i = 0; i < graph->layer_count; at += graph->layers[i++].count)
        mirl_weights_values(r->weights, i, at);
    r->memory->upload(r->values, values, bytes);
    free(values);
    trainer_network_values(r->network, r->values);
    return r->memory->status(error);
}

trainer_restorer *trainer_restorer_open(const char *weights, const trainer_ops *ops, mirl_error *error) {
    trainer_restorer *r = calloc(1, sizeof *r);

    if (!r) {
        mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory to restore on a device");
        return NULL;
    }
    r->memory = ops->memory;
    pthread_mutex_init(&r->lock, NULL);
    r->weights = mirl_weights_open(weights, error);
    if (r->weights)
        r->network = trainer_network_create(mirl_weights_graph(r->weights), ops, error);
    if (!r->network || load_values(r, error)) {
        trainer_restorer_close(r);
        return NULL;
    }
    return r;
}

static void forget_size(trainer_restorer *r) {
    trainer_pass_free(r->pass);
    r->memory->release(r->images);
    r->pass = NULL;
    r->images = NULL;
}

void trainer_restorer_close(trainer_restorer *r) {
    if (!r)
        return;
    forget_size(r);
    r->memory->release(r->values);
    trainer_network_free(r->network);
    mirl_weights_close(r->weights);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* Images of a set are mostly of one or two sizes. */
static mirl_status take_size(trainer_restorer *r, size_t width, size_t height, mirl_error *error) {
    if (r->pass && r->width == width && r->height == height)
        return MIRL_OK;
    forget_size(r);
    r->pass = trainer_pass_create(r->network, 1, (int)height, (int)width, error);
    if (!r->pass)
        return MIRL_ERROR_MEMORY;
    r->images = r->memory->allocate(2 * 3 * width * height * sizeof(float));
    if (!r->images) {
        forget_size(r);
        return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory on the device for %zu x %zu pixels",
                         width, height);
    }
    r->width = width;
    r->height = height;
    return MIRL_OK;
}

mirl_status trainer_restorer_run(void *user, const float *input, float *restored, size_t width, size_t height,
                                 mirl_error *error) {
    trainer_restorer *r = user;
    size_t count = 3 * width * height, bytes = count * sizeof(float);

    pthread_mutex_lock(&r->lock);
    mirl_status status = take_size(r, width, height, error);
    if (!status) {
        r->memory->upload(r->images, input, bytes);
        trainer_pass_restore(r->pass, r->values, 1, r->images, r->images + count);
        r->memory->download(restored, r->images + count, bytes);
        status = r->memory->status(error);
    }
    pthread_mutex_unlock(&r->lock);
    return status;
}
