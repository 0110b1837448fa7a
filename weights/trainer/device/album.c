#include "trainer/device/album.h"

#include "error.h"

#include <stdlib.h>

struct trainer_album {
    const trainer_ops *ops;
    trainer_data *data;
    int batch, crop;
    // On the device:
    uint8_t *pixels; ///< of all images
    trainer_picture *pictures;
    trainer_patch *patches; ///< of the batch
    void *room;
};

/* Bytes of all images. */
static size_t pixel_bytes(const trainer_cache *images) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < trainer_cache_count(images); i++) {
        int width, height;
        trainer_cache_size(images, i, &width, &height);
        bytes += (size_t)width * (size_t)height * 3;
    }
    return bytes;
}

static mirl_status copy_images(trainer_album *album, mirl_error *error) {
    const trainer_memory *memory = album->ops->memory;
    trainer_cache *images = trainer_data_images(album->data);
    uint32_t count = trainer_cache_count(images);
    trainer_picture *pictures = malloc(count * sizeof *pictures);
    mirl_status status =
        pictures ? MIRL_OK : mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for %u images", count);
    uint8_t *to = album->pixels;

    for (uint32_t i = 0; status == MIRL_OK && i < count; i++) {
        const trainer_picture *picture;
        status = trainer_cache_acquire(images, i, &picture, error);
        if (status)
            break;
        size_t bytes = (size_t)picture->width * (size_t)picture->height * 3;
        pictures[i] = (trainer_picture){picture->width, picture->height, to};
        memory->upload(to, picture->rgb, bytes);
        trainer_cache_release(images, i);
        to += bytes;
    }
    if (status == MIRL_OK) {
        memory->upload(album->pictures, pictures, count * sizeof *pictures);
        status = memory->status(error);
    }
    free(pictures);
    return status;
}

trainer_album *trainer_album_create(const trainer_ops *ops, trainer_data *data, int batch, int crop,
                                    mirl_error *error) {
    const trainer_memory *memory = ops->memory;
    const trainer_cache *images = trainer_data_images(data);
    size_t bytes = pixel_bytes(images), count = trainer_cache_count(images);
    trainer_album *album = calloc(1, sizeof *album);
    mirl_status status = MIRL_OK;

    if (album) {
        *album = (trainer_album){.ops = ops, .data = data, .batch = batch, .crop = crop};
        album->pixels = memory->allocate(bytes);
        album->pictures = memory->allocate(count * sizeof *album->pictures);
        album->patches = memory->allocate((size_t)batch * sizeof *album->patches);
        album->room = memory->allocate(ops->patches_room(batch, crop));
    }
    if (!album || !album->pixels || !album->pictures || !album->patches || !album->room)
        status = mirl_fail(error, MIRL_ERROR_MEMORY,
                           "the %zu training images (%zu MiB) do not fit into the device's memory", count,
                           bytes >> 20);
    else
        status = copy_images(album, error);
    if (status == MIRL_OK)
        return album;
    trainer_album_free(album);
    return NULL;
}

void trainer_album_free(trainer_album *album) {
    if (!album)
        return;
    const trainer_memory *memory = album->ops->memory;
    memory->release(album->pixels);
    memory->release(album->pictures);
    memory->release(album->patches);
    memory->release(album->room);
    free(album);
}

mirl_status trainer_album_choose(trainer_album *album, uint64_t step, trainer_patch *patches,
                                 mirl_error *error) {
    mirl_status status = trainer_data_patches(album->data, step, patches, error);
    if (status == MIRL_OK)
        album->ops->memory->copy(album->patches, patches, (size_t)album->batch * sizeof *patches);
    return status;
}

void trainer_album_make(trainer_album *album, float *degraded, float *clean, double *difference) {
    album->ops->memory->clear(difference, sizeof *difference);
    album->ops->patches(album->patches, album->batch, album->crop, album->pictures, album->room, degraded,
                        clean, difference);
}
