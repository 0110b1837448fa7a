/* Names of random streams. */
#include "trainer/random.h"

trainer_random trainer_random_stream(uint64_t seed, uint64_t a, uint64_t b) {
    trainer_random random = {.state = seed};
    random.state = trainer_random_bits(&random) ^ a;
    random.state = trainer_random_bits(&random) ^ b;
    random.state = trainer_random_bits(&random);
    return random;
}

uint64_t trainer_random_name(const char *name, size_t length) {
    uint64_t value = 0xcbf29ce484222325u;
    for (size_t i = 0; i < length; i++)
        value = (value ^ (unsigned char)name[i]) * 0x100000001b3u;
    return value;
}
