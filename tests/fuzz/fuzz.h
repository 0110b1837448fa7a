/* What the fuzz targets share. */
#ifndef MIRL_TESTS_FUZZ_FUZZ_H
#define MIRL_TESTS_FUZZ_FUZZ_H

#include "weights/internal.h"

/** The entry point that libFuzzer and replay.c call. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** What the first byte of an input of the checkpoint target chooses. */
enum {
    FUZZ_ARCHIVE, ///< the rest is a whole file
    FUZZ_DICT,    ///< the rest is the pickle of an archive with one storage, checksums right
    FUZZ_PICKLE,  ///< the rest is a pickle alone
    FUZZ_MODES,
};

/** The storage "0" of FUZZ_DICT, in bytes: as many values as the tiny network has, in float32. */
enum { FUZZ_STORAGE = 11388 * 4 };

/** Reads the file; a refusal must have a status and a sentence, and what opens must give out finite values
 * that agree with each other. Aborts otherwise. */
void fuzz_weights(const uint8_t *file, size_t size);

#endif
