/* Fuzz target: checkpoints, as an archive, as a pickle within one, and as a pickle alone. */
#include "fuzz.h"

#include "checkpoints.h"
#include "weights/pickle.h"

#include <stdlib.h>

static void fuzz_dict(const uint8_t *data, size_t size) {
    static uint16_t storage[FUZZ_STORAGE / 2];
    for (size_t i = 0; i < FUZZ_STORAGE / 2; i++)
        storage[i] = 0x3c00; /* a modest number as f16, bf16 and f32 */
    bytes pickle = {.data = (uint8_t *)(uintptr_t)data, .size = size};
    bytes archive = make_archive(&pickle, storage, sizeof storage);
    fuzz_weights(archive.data, archive.size);
    free(archive.data);
}

static void fuzz_pickle(const uint8_t *data, size_t size) {
    mirl_pickle pickle;
    mirl_error error;
    char text[64];
    if (mirl_pickle_read(data, size, &pickle, &error))
        return;
    mirl_pickle_describe(pickle.root, text, sizeof text);
    mirl_pickle_at(pickle.root, 3);
    mirl_pickle_get(pickle.root, "state_dict");
    mirl_pickle_free(&pickle);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size)
        return 0;
    switch (data[0] % FUZZ_MODES) {
    case FUZZ_ARCHIVE:
        fuzz_weights(data + 1, size - 1);
        break;
    case FUZZ_DICT:
        fuzz_dict(data + 1, size - 1);
        break;
    case FUZZ_PICKLE:
        fuzz_pickle(data + 1, size - 1);
        break;
    }
    return 0;
}
