/* Filling in a mirl_error. */
#ifndef MIRL_CORE_ERROR_H
#define MIRL_CORE_ERROR_H

#include "mirl.h"

/** Writes status and sentence to *error (which may be NULL) and returns status, so that a caller can
 * `return mirl_fail(...)`. A message that does not fit is cut. */
mirl_status mirl_fail(mirl_error *error, mirl_status status, const char *format, ...) MIRL_PRINTF(3, 4);

#endif
