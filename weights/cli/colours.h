/* From the colours that an image file has to sRGB-encoded ones, and back. */
#ifndef MIRL_CLI_COLOURS_H
#define MIRL_CLI_COLOURS_H

#include "magick.h"

/** What a frame's colours were. */
typedef struct colours {
    enum {
        COLOURS_ENCODED,        ///< R'G'B' or grey of any primaries: left alone
        COLOURS_INKS,           ///< CMYK with a profile, which says what the inks look like
        COLOURS_LINEAR_PROFILE, ///< R'G'B' by ImageMagick's account, linear light by the profile's
        COLOURS_OTHER, ///< a space that ImageMagick converts by formula: linear light, CMYK, Lab, ...
    } kind;
    ColorspaceType colorspace;
    StringInfo *icc; ///< the frame's profile, or NULL
    char module[64]; ///< ImageMagick's module that read the file
} colours;

/** Converts a frame to sRGB-encoded R'G'B' or grey; samples may lie outside 0..1. `was` is written and has to
 * be freed. False with *exception set on failure. */
bool colours_encode(Image *image, colours *was, ExceptionInfo *exception);

/** Converts a frame back for a file of format `format`: to what it was if such a file can hold that, to
 * linear light if it holds nothing else. False with *exception set on failure. */
bool colours_decode(Image *image, const colours *was, const char *format, ExceptionInfo *exception);

void colours_free(colours *was);

#endif
