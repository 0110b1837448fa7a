/* mirl: restores degraded photographs with sparse networks (MIR-L, arXiv 2510.14463).
 *
 * A model is opened once and may then be used by any number of threads at a time; every other object
 * belongs to the call it is passed to. Nothing here prints, exits, aborts or keeps global state.
 */
#ifndef MIRL_H
#define MIRL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MIRL_API __attribute__((visibility("default")))
#define MIRL_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define MIRL_API
#define MIRL_PRINTF(text, first)
#endif

/* ---- Errors ------------------------------------------------------------------------------------------ */

typedef enum mirl_status {
    MIRL_OK = 0,
    MIRL_ERROR_ARGUMENT,  ///< a value passed in is outside its range
    MIRL_ERROR_FILE,      ///< a file cannot be opened, read or written
    MIRL_ERROR_FORMAT,    ///< a file's contents are not what they must be
    MIRL_ERROR_MEMORY,    ///< not enough memory, or more than the budget would be needed
    MIRL_ERROR_CANCELLED, ///< the progress callback asked to stop
} mirl_status;

/** What went wrong, for people: one sentence that names the thing and what would be right. */
typedef struct mirl_error {
    mirl_status status;
    char message[512]; ///< UTF-8, zero-terminated, no newline, no final full stop
} mirl_error;

/* Every `error` parameter below may be NULL. It is written on failure only. */

/* ---- Models ------------------------------------------------------------------------------------------ */

/** An opened weights file, unchangeable and safe to share between threads. Keeps the memory of its last call
 * for the next one, if that is 256 MiB or less; the system may take it back meanwhile. */
typedef struct mirl_model mirl_model;

/** Opens a weights file (safetensors, see core/weights/FORMAT.md) and prepares it for restoring.
 * Returns NULL on failure (MIRL_ERROR_FILE, _FORMAT or _MEMORY). Free with mirl_model_close(). */
MIRL_API mirl_model *mirl_model_open(const char *path, mirl_error *error);

/** Frees the model; no call may be using it. NULL is allowed. */
MIRL_API void mirl_model_close(mirl_model *model);

/** What a weights file says of itself. Strings belong to the model and are never NULL. */
typedef struct mirl_model_info {
    const char *task;     ///< what it restores, e.g. "denoise"; "" if the file does not say
    const char *metadata; ///< the file's whole __metadata__ as a JSON object
    uint64_t file_size;   ///< bytes
    uint64_t parameters;  ///< number of values, pruned ones included
    uint64_t prunable;    ///< values in convolution and linear weights and norm scales
    uint64_t alive;       ///< of those, how many are not zero
    double dense_macs;    ///< multiply-adds a pixel if nothing were pruned
    double macs;          ///< multiply-adds a pixel that are left
} mirl_model_info;

MIRL_API void mirl_model_get_info(const mirl_model *model, mirl_model_info *info);

/* ---- Restoring --------------------------------------------------------------------------------------- */

/** Samples in memory that belongs to the caller: sRGB-encoded R'G'B' or grey, nominally 0..1.
 * Sample (x, y, c) is data[x * pixel_stride + y * row_stride + c * channel_stride]; strides count floats. */
typedef struct mirl_image {
    float *data;
    size_t width, height; ///< pixels, 1..2^20 each
    int channels;         ///< 3 (red, green, blue) or 1 (grey)
    ptrdiff_t pixel_stride, row_stride, channel_stride;
} mirl_image;

/** Called now and then from the calling thread of mirl_restore() with the share of work done, 0..1, rising.
 * Returning false stops the call soon with MIRL_ERROR_CANCELLED. */
typedef bool (*mirl_progress)(double done, void *user);

enum { MIRL_TILE_AUTO = -1, MIRL_TILE_WHOLE = 0 };

typedef struct mirl_options {
    float strength;  ///< 0 (input) .. 1 (restored): out = in + strength * (network(in) - in)
    int tile;        ///< MIRL_TILE_AUTO, MIRL_TILE_WHOLE, or a tile's largest side in pixels, 128..65536
    int threads;     ///< 1..256, or 0: as many as the process may run on
    uint64_t memory; ///< bytes the call may use beside the model and the images; 0: 512 MiB if tile
                     ///< is MIRL_TILE_AUTO, no limit otherwise
    mirl_progress progress; ///< or NULL
    void *user;             ///< handed to progress
} mirl_options;

/** strength 1, automatic tile and threads, default memory, no progress. */
MIRL_API mirl_options mirl_options_default(void);

/** Restores `in` into `out`, which has the same width, height and channels (strides may differ) and either
 * is the same memory with the same strides or does not overlap. Grey is restored as R' = G' = B'.
 *
 * A sample outside 0..1 keeps its value plus the correction of its clipped value. NaN and infinite samples
 * pass through unchanged and influence nothing else. The result does not depend on `threads`, to the bit.
 * On failure `out` is untouched if the image is restored whole, and may be restored in part if it is tiled:
 * restore into separate memory where that matters.
 * `options` may be NULL for the defaults. Thread-safe. */
MIRL_API mirl_status mirl_restore(const mirl_model *model, const mirl_image *in, const mirl_image *out,
                                  const mirl_options *options, mirl_error *error);

/** How mirl_restore() would go about an image of this size. */
typedef struct mirl_plan_info {
    size_t tile_width, tile_height; ///< pixels of a tile with its overlap; the whole image if tiles == 1
    size_t tiles;
    uint64_t memory; ///< bytes that the call will use beside the model and the images
} mirl_plan_info;

/** Fails as mirl_restore() would before it starts (MIRL_ERROR_ARGUMENT, _MEMORY). */
MIRL_API mirl_status mirl_plan(const mirl_model *model, size_t width, size_t height,
                               const mirl_options *options, mirl_plan_info *info, mirl_error *error);

/* ---- Finding weights --------------------------------------------------------------------------------- */

/** The file of the weights called `name`: a path (anything with a '/' or ending in ".safetensors"), or a
 * bare name looked up as <folder>/<name>.safetensors in $MIRL_WEIGHTS_PATH (folders separated by ':'), the
 * build tree, the user's data folder ($XDG_DATA_HOME/mirl/weights) and the system's, in that order.
 * NULL or "" stands for the default weights, "default". Returns the path, to be freed with free(), or NULL
 * with MIRL_ERROR_FILE and a message that lists the folders that were tried. */
MIRL_API char *mirl_weights_find(const char *name, mirl_error *error);

/** The names of all weights that mirl_weights_find() finds by name, sorted, without repeats, as a
 * NULL-terminated array to be freed with mirl_weights_list_free(). NULL if memory runs out. */
MIRL_API char **mirl_weights_list(void);
MIRL_API void mirl_weights_list_free(char **names);

/** Reads a size such as "512M", "1.5G" or "300000000" (K, M, G: powers of 1024; a final "B" or "iB" is
 * allowed) into *bytes. */
MIRL_API mirl_status mirl_parse_size(const char *text, uint64_t *bytes, mirl_error *error);

/** The library's version, "major.minor.patch". */
MIRL_API const char *mirl_version(void);

#ifdef __cplusplus
}
#endif

#endif
