/* The trainer's random numbers: the same bits on every machine and for any number of threads, because each
 * use (a patch, an image, a tensor) has its own stream, named by numbers, and no state is shared.
 *
 * Generator: splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014):
 * state += 0x9e3779b97f4a7c15; z = state; z = (z ^ z>>30) * 0xbf58476d1ce4e5b9;
 * z = (z ^ z>>27) * 0x94d049bb133111eb; result = z ^ z>>31.
 */
#ifndef MIRL_TRAINER_RANDOM_H
#define MIRL_TRAINER_RANDOM_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trainer/inline.h"

typedef struct trainer_random {
    uint64_t state;
    double spare; ///< the second normal of a Box-Muller pair
    bool has_spare;
} trainer_random;

/** The stream called (seed, a, b): different names give unrelated streams. */
trainer_random trainer_random_stream(uint64_t seed, uint64_t a, uint64_t b);

/** Leaves out `count` draws of 64 bits, and a spare normal. */
TRAINER_INLINE void trainer_random_skip(trainer_random *random, uint64_t count) {
    random->state += count * 0x9e3779b97f4a7c15u;
    random->has_spare = false;
}

/** 64 random bits. */
TRAINER_INLINE uint64_t trainer_random_bits(trainer_random *random) {
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/** An integer in 0..count-1, count 1..2^32, by the high bits of a product (bias below count / 2^64). */
TRAINER_INLINE uint64_t trainer_random_below(trainer_random *random, uint64_t count) {
    return (uint64_t)(((unsigned __int128)trainer_random_bits(random) * count) >> 64);
}

/** A multiple of 2^-53 in low..high, high excluded unless low == high. */
TRAINER_INLINE double trainer_random_uniform(trainer_random *random, double low, double high) {
    return low + (high - low) * ((double)(trainer_random_bits(random) >> 11) * 0x1p-53);
}

/** N(0, 1) by Box and Muller: sqrt(-2 ln u) * (cos, sin)(2 pi v). */
TRAINER_INLINE double trainer_random_normal(trainer_random *random) {
    if (random->has_spare) {
        random->has_spare = false;
        return random->spare;
    }
    double u = (double)((trainer_random_bits(random) >> 11) + 1) * 0x1p-53; // never 0
    double angle = 2 * M_PI * trainer_random_uniform(random, 0, 1);
    double radius = sqrt(-2 * log(u));
    random->spare = radius * sin(angle);
    random->has_spare = true;
    return radius * cos(angle);
}

/** Leaves out `count` normals of a stream that has no spare. */
TRAINER_INLINE void trainer_random_skip_normals(trainer_random *random, uint64_t count) {
    trainer_random_skip(random, count / 2 * 2);
    if (count % 2)
        trainer_random_normal(random);
}

/** A number for a name (FNV-1a), so that a stream can be called by it. */
uint64_t trainer_random_name(const char *name, size_t length);

#endif
