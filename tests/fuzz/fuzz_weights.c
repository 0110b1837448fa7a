/* Fuzz target: weights files. */
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_weights(data, size);
    return 0;
}

#ifdef MIRL_FUZZ
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);

/** Most changes anywhere in a file end in the JSON parser. This changes a few bytes of the header and keeps
 * its length true, or a few bytes of the arrays and keeps them in place, three times of four. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    enum { WINDOW = 48, GROWTH = 32 };
    uint8_t window[WINDOW + GROWTH];
    uint64_t length = 0;
    if (size >= 8)
        memcpy(&length, data, sizeof length);
    if (seed % 4 == 0 || length == 0 || size < 8 || length >= size - 8)
        return LLVMFuzzerMutate(data, size, room);

    bool header = seed % 4 != 3;
    size_t first = header ? 8 : 8 + (size_t)length, count = header ? (size_t)length : size - first;
    size_t at = first + seed / 4 % count, old = count - (at - first) < WINDOW ? count - (at - first) : WINDOW;
    size_t most = header && size + GROWTH <= room ? old + GROWTH : old;
    memcpy(window, data + at, old);
    size_t changed = LLVMFuzzerMutate(window, old, most);
    if (!header) {
        memcpy(data + at, window, changed);
        return size;
    }
    memmove(data + at + changed, data + at + old, size - at - old);
    memcpy(data + at, window, changed);
    length = length + changed - old;
    memcpy(data, &length, sizeof length);
    return size + changed - old;
}
#endif
