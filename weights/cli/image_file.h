/* Image files with everything that belongs to them: all frames, alpha, profiles, EXIF, orientation, depth.
 * Only the colours of frames are taken out and put back. Any format that ImageMagick reads and writes. */
#ifndef MIRL_CLI_IMAGE_FILE_H
#define MIRL_CLI_IMAGE_FILE_H

#include "mirl.h"

#include <stdio.h>

/** The contents of an image file. Not thread-safe. */
typedef struct image_file image_file;

/** Called before anything else here and after everything else. `threads`: of ImageMagick's own, 0: all. */
void image_files_begin(int threads);
void image_files_end(void);

/** Asked now and then while files are read and written: true stops that with MIRL_ERROR_CANCELLED. */
typedef bool (*image_stop)(void);

/** Reads all frames of `path`, which is a plain file name whatever characters it has. If something of it
 * could not be read, *partial is set to true and error->message says what. NULL on failure (MIRL_ERROR_FILE,
 * _FORMAT, _MEMORY, _CANCELLED). */
image_file *image_file_read(const char *path, image_stop stop, bool *partial, mirl_error *error);
void image_file_close(image_file *file);

/** At least 1. */
int image_file_frames(const image_file *file);

/** "JPEG"; owned by the file. */
const char *image_file_format(const image_file *file);

enum { IMAGE_FORMAT_MAX = 64 };

/** Writes the name of the format that `path` has by its ending to `format` (IMAGE_FORMAT_MAX characters), ""
 * if it has no ending. Fails if ImageMagick does not know the ending. */
mirl_status image_format_of_path(const char *path, char *format, mirl_error *error);

/** Whether a file of this many frames can be written as `format`. */
mirl_status image_format_check(const char *format, int frames, mirl_error *error);

/** Takes the colours of a frame as sRGB-encoded samples: 1 channel if all of it is grey, otherwise 3.
 * Whoever calls frees image->data. Frame by frame: export, restore, import. Their order does not matter.*/
mirl_status image_file_export(image_file *file, int frame, mirl_image *image, mirl_error *error);

/** Puts the colours of a frame back. `image` is as exported; its samples are rounded for frames of 8 bits. */
mirl_status image_file_import(image_file *file, int frame, const mirl_image *image, mirl_error *error);

/** Writes all frames, which have all been exported; once. Their colours are what the input's were, if such a
 * file can hold that. `quality`: 1..100 for formats that lose something, 0: the file's own, at least 95. */
mirl_status image_file_write(image_file *file, FILE *to, const char *format, int quality, mirl_error *error);

#endif
