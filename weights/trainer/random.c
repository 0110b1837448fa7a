/* splitmix64 streams and the distributions that the trainer draws from them. */
#include "trainer/random.h"

#include <math.h>

static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t trainer_random_bits(trainer_random *random) {
    return mix(random->state += 0x9e3779b97f4a7c15u);
}

trainer_random trainer_random_stream(uint64_t seed, uint64_t a, uint64_t b) {
    trainer_random random = {.state = seed};
    random.state = trainer_random_bits(&random) ^ a;
    random.state = trainer_random_bits(&random) ^ b;
    random.state = trainer_random_bits(&random);
    return random;
}

uint64_t trainer_random_below(trainer_random *random, uint64_t count) {
    return (uint64_t)(((unsigned __int128)trainer_random_bits(random) * count) >> 64);
}

double trainer_random_uniform(trainer_random *random, double low, double high) {
    return low + (high - low) * ((double)(trainer_random_bits(random) >> 11) * 0x1p-53);
}

double trainer_random_normal(trainer_random *random) {
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

uint64_t trainer_random_name(const char *name, size_t length) {
    uint64_t value = 0xcbf29ce484222325u;
    for (size_t i = 0; i < length; i++)
        value = (value ^ (unsigned char)name[i]) * 0x100000001b3u;
    return value;
}
