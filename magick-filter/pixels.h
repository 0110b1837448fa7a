/* Samples of an ImageMagick image as mirl_restore() takes them, and back: the one place that knows how
 * MagickCore 6 and 7 keep pixels. Used by the module mirl and by the program mirl. */
#ifndef MIRL_MAGICK_PIXELS_H
#define MIRL_MAGICK_PIXELS_H

#if __has_include(<MagickCore/MagickCore.h>)
#include <MagickCore/MagickCore.h>
#define MIRL_MAGICK 7
#else
#include <magick/MagickCore.h>
#define MIRL_MAGICK 6
#endif

#include "mirl.h"

/** Why the image's pixels cannot be had as sRGB-encoded samples without loss, as a sentence that says what to
 * do; NULL if they can: sRGB, linear RGB, grey and linear grey. */
const char *GetImageSampleObstacle(const Image *image);

/** How many channels `samples` of the image have: 1 if every pixel is grey, else 3. */
int GetImageSampleChannels(const Image *image, ExceptionInfo *exception);

/** Writes the image's colours to `samples`, whose size is the image's and whose channels are
 * GetImageSampleChannels(): sRGB-encoded, 1 for QuantumRange. Returns MagickFalse with an exception set if
 * the pixels cannot be read. */
MagickBooleanType GetImageSamples(const Image *image, const mirl_image *samples, ExceptionInfo *exception);

/** Replaces the image's colours by `samples`, encoded as the image's colourspace wants them, and keeps
 * everything else: alpha, depth, profiles, properties. Q16 rounds and clamps, Q16-HDRI keeps every value. A
 * palette becomes direct colour. Returns MagickFalse with an exception set if the pixels cannot be written;
 * some rows may then be replaced and others not. */
MagickBooleanType SetImageSamples(Image *image, const mirl_image *samples, ExceptionInfo *exception);

#endif
