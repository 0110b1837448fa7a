/* The trainer's number type and its tensors: planes of pixels, one channel after the other.
 *
 * `real` is float; the test build that compares gradients with finite differences compiles the same sources
 * with TRAINER_REAL=double.
 */
#ifndef MIRL_TRAINER_PLANES_H
#define MIRL_TRAINER_PLANES_H

#include <stddef.h>
#include <stdint.h>

#ifndef TRAINER_REAL
#define TRAINER_REAL float
#endif
typedef TRAINER_REAL real;

/** A view of [channels][n][h * w]: pixel p of sample i in channel c is data[c * pitch + i * h * w + p].
 * pitch >= n * h * w + TRAINER_SLACK, and TRAINER_SLACK values before data and after the last plane belong
 * to the same allocation: kernels may read them (and ignore what they read), never write them. */
typedef struct trainer_planes {
    real *data;
    int channels, n, h, w;
    size_t pitch;
} trainer_planes;

enum { TRAINER_SLACK = 16 };

/** Pixels of all samples in one plane. */
static inline size_t trainer_pixels(const trainer_planes *planes) {
    return (size_t)planes->n * (size_t)planes->h * (size_t)planes->w;
}

/** The pitch for planes of this many pixels: a multiple of 64 bytes, but of no large power of two, so that
 * equal pixels of different channels do not compete for the same cache lines. */
static inline size_t trainer_pitch(size_t pixels) {
    size_t pitch = (pixels + TRAINER_SLACK + 15) / 16 * 16;
    return pitch / 16 % 2 ? pitch : pitch + 16;
}

/** Channels first..first+count-1 of the same tensor. */
static inline trainer_planes trainer_part(trainer_planes planes, int first, int count) {
    planes.data += (size_t)first * planes.pitch;
    planes.channels = count;
    return planes;
}

#endif
