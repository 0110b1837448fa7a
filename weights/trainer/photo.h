/* Image files of data sets: JPEG, PNG and BMP, told apart by content, through MagickCore. */
#ifndef MIRL_TRAINER_PHOTO_H
#define MIRL_TRAINER_PHOTO_H

#include "trainer/degrade.h"

/** True for the names that the data layout counts as images: *.jpg, *.jpeg, *.png, *.bmp in any case. */
bool trainer_photo_is_named(const char *name);

/** Decodes the file to 8-bit R'G'B' (grey and CMYK are converted, alpha and profiles are ignored, as the
 * published program does). picture->rgb is to be freed with free(). Thread-safe. MIRL_ERROR_FILE, _FORMAT or
 * _MEMORY with a sentence that names the file. */
mirl_status trainer_photo_read(const char *path, trainer_picture *picture, mirl_error *error);

/** Reads width and height from the file's header only. */
mirl_status trainer_photo_size(const char *path, int *width, int *height, mirl_error *error);

/** Encodes a picture as PNG into memory to be freed with free(). NULL with MIRL_ERROR_MEMORY. */
uint8_t *trainer_photo_png(const trainer_picture *picture, size_t *size, mirl_error *error);

/** Writes a picture as a PNG file, beside its place and renamed. MIRL_ERROR_FILE or _MEMORY. */
mirl_status trainer_photo_write(const char *path, const trainer_picture *picture, mirl_error *error);

#endif
