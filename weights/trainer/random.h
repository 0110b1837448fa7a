/* The trainer's random numbers: the same bits on every machine and for any number of threads, because each
 * use (a patch, an image, a tensor) has its own stream, named by numbers, and no state is shared.
 *
 * Generator: splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014):
 * state += 0x9e3779b97f4a7c15; z = state; z = (z ^ z>>30) * 0xbf58476d1ce4e5b9;
 * z = (z ^ z>>27) * 0x94d049bb133111eb; result = z ^ z>>31.
 */
#ifndef MIRL_TRAINER_RANDOM_H
#define MIRL_TRAINER_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct trainer_random {
    uint64_t state;
    double spare; ///< the second normal of a Box-Muller pair
    bool has_spare;
} trainer_random;

/** The stream called (seed, a, b): different names give unrelated streams. */
trainer_random trainer_random_stream(uint64_t seed, uint64_t a, uint64_t b);

/** 64 random bits. */
uint64_t trainer_random_bits(trainer_random *random);

/** An integer in 0..count-1, count 1..2^32, by the high bits of a product (bias below count / 2^64). */
uint64_t trainer_random_below(trainer_random *random, uint64_t count);

/** A multiple of 2^-53 in low..high, high excluded unless low == high. */
double trainer_random_uniform(trainer_random *random, double low, double high);

/** N(0, 1) by Box and Muller: sqrt(-2 ln u) * (cos, sin)(2 pi v). */
double trainer_random_normal(trainer_random *random);

/** A number for a name (FNV-1a), so that a stream can be called by it. */
uint64_t trainer_random_name(const char *name, size_t length);

#endif
