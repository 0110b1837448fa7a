/* MagickCore, with what differs between ImageMagick 6 and 7. */
#ifndef MIRL_CLI_MAGICK_H
#define MIRL_CLI_MAGICK_H

#include <stdbool.h>

#if __has_include(<MagickCore/MagickCore.h>)
#include <MagickCore/MagickCore.h>

static inline bool magick_to_colorspace(Image *image, ColorspaceType colorspace, ExceptionInfo *exception) {
    return TransformImageColorspace(image, colorspace, exception);
}

static inline bool magick_label_colorspace(Image *image, ColorspaceType colorspace,
                                           ExceptionInfo *exception) {
    return SetImageColorspace(image, colorspace, exception);
}

static inline bool magick_to_profile(Image *image, const void *icc, size_t size, ExceptionInfo *exception) {
    return ProfileImage(image, "icc", icc, size, exception);
}

static inline void magick_collect(const Image *images, ExceptionInfo *exception) {
    (void)images, (void)exception;
}

static inline bool magick_has_alpha(const Image *image) {
    return image->alpha_trait != UndefinedPixelTrait;
}

static inline const char *magick_property(Image *image, const char *key, ExceptionInfo *exception) {
    return GetImageProperty(image, key, exception);
}

static inline bool magick_set_property(Image *image, const char *key, const char *value,
                                       ExceptionInfo *exception) {
    return SetImageProperty(image, key, value, exception);
}

static inline bool magick_set_profile(Image *image, const char *name, StringInfo *profile,
                                      ExceptionInfo *exception) {
    return SetImageProfile(image, name, profile, exception);
}
#else
#include <magick/MagickCore.h>

static inline bool magick_take_exception(Image *image, bool done, ExceptionInfo *exception) {
    InheritException(exception, &image->exception);
    return done;
}

static inline bool magick_to_colorspace(Image *image, ColorspaceType colorspace, ExceptionInfo *exception) {
    return magick_take_exception(image, TransformImageColorspace(image, colorspace), exception);
}

static inline bool magick_label_colorspace(Image *image, ColorspaceType colorspace,
                                           ExceptionInfo *exception) {
    return magick_take_exception(image, SetImageColorspace(image, colorspace), exception);
}

static inline bool magick_to_profile(Image *image, const void *icc, size_t size, ExceptionInfo *exception) {
    return magick_take_exception(image, ProfileImage(image, "icc", icc, size, MagickTrue), exception);
}

/* What the frames themselves remember is wrong with them. */
static inline void magick_collect(const Image *images, ExceptionInfo *exception) {
    for (; images; images = GetNextImageInList(images))
        InheritException(exception, &images->exception);
}

static inline bool magick_has_alpha(const Image *image) {
    return image->matte;
}

static inline const char *magick_property(Image *image, const char *key, ExceptionInfo *exception) {
    (void)exception;
    return GetImageProperty(image, key);
}

static inline bool magick_set_property(Image *image, const char *key, const char *value,
                                       ExceptionInfo *exception) {
    return magick_take_exception(image, SetImageProperty(image, key, value), exception);
}

static inline bool magick_set_profile(Image *image, const char *name, StringInfo *profile,
                                      ExceptionInfo *exception) {
    return magick_take_exception(image, SetImageProfile(image, name, profile), exception);
}
#endif

#endif
