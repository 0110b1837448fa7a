/* Colour spaces by ImageMagick's formulas, inks by their profiles. */
#include "colours.h"

#include <lcms2.h>
#include <stdlib.h>
#include <string.h>

static void module_of(const char *format, char *module, size_t size) {
    ExceptionInfo *exception = AcquireExceptionInfo();
    const MagickInfo *info = GetMagickInfo(format, exception);
    CopyMagickString(module, info && info->magick_module ? info->magick_module : format, size);
    DestroyExceptionInfo(exception);
}

/* Formats of linear light, whatever ImageMagick's readers and writers of them believe. */
static bool is_linear(const char *module) {
    return strcmp(module, "EXR") == 0 || strcmp(module, "HDR") == 0;
}

static bool holds_inks(const char *module) {
    static const char *const modules[] = {"TIFF", "JPEG", "PSD", "MIFF"};
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
        if (strcmp(module, modules[i]) == 0)
            return true;
    return false;
}

static bool is_encoded(ColorspaceType colorspace) {
    return colorspace == sRGBColorspace || colorspace == GRAYColorspace;
}

/* A profile of R, G, B whose tone curves are straight lines. */
static bool is_linear_profile(const StringInfo *icc) {
    cmsHPROFILE profile =
        cmsOpenProfileFromMem(GetStringInfoDatum(icc), (cmsUInt32Number)GetStringInfoLength(icc));
    double gamma = profile ? cmsDetectRGBProfileGamma(profile, 0.1) : -1;
    if (profile)
        cmsCloseProfile(profile);
    return gamma > 0.95 && gamma < 1.05;
}

static bool convert_inks(Image *image, ExceptionInfo *exception) {
    cmsHPROFILE srgb = cmsCreate_sRGBProfile();
    cmsUInt32Number size = 0;
    void *bytes = NULL;
    bool done = srgb && cmsSaveProfileToMem(srgb, NULL, &size) && (bytes = malloc(size)) &&
                cmsSaveProfileToMem(srgb, bytes, &size) && magick_to_profile(image, bytes, size, exception);

    free(bytes);
    if (srgb)
        cmsCloseProfile(srgb);
    return done;
}

/* ImageMagick removes the profile when it converts by formula: puts it back. */
static bool convert(Image *image, ColorspaceType colorspace, const colours *was, ExceptionInfo *exception) {
    return magick_to_colorspace(image, colorspace, exception) &&
           (!was->icc || magick_set_profile(image, "icc", was->icc, exception));
}

bool colours_encode(Image *image, colours *was, ExceptionInfo *exception) {
    const StringInfo *icc = GetImageProfile(image, "icc");
    size_t depth = image->depth;
    bool done = true;

    *was = (colours){.icc = icc ? CloneStringInfo(icc) : NULL};
    module_of(image->magick, was->module, sizeof was->module);
    if (is_linear(was->module) && is_encoded(image->colorspace))
        done = magick_label_colorspace(
            image, image->colorspace == GRAYColorspace ? LinearGRAYColorspace : RGBColorspace, exception);
    was->colorspace = image->colorspace;
    if (image->colorspace == CMYKColorspace && icc) {
        was->kind = COLOURS_INKS;
        done = convert_inks(image, exception);
    } else if (image->colorspace == sRGBColorspace && icc && is_linear_profile(icc)) {
        was->kind = COLOURS_LINEAR_PROFILE;
        done = magick_label_colorspace(image, RGBColorspace, exception) &&
               convert(image, sRGBColorspace, was, exception);
    } else if (!is_encoded(image->colorspace)) {
        was->kind = COLOURS_OTHER;
        done = done && magick_to_colorspace(
                           image, image->colorspace == LinearGRAYColorspace ? GRAYColorspace : sRGBColorspace,
                           exception);
    }
    image->depth = depth;
    return done;
}

bool colours_decode(Image *image, const colours *was, const char *format, ExceptionInfo *exception) {
    size_t depth = image->depth;
    char module[sizeof was->module];
    bool done = true;

    module_of(format, module, sizeof module);
    bool same = strcmp(module, was->module) == 0,
         inks = was->colorspace == CMYKColorspace && holds_inks(module);
    if (is_linear(module))
        done = convert(image, RGBColorspace, was, exception);
    else if (was->kind == COLOURS_INKS && inks)
        done =
            magick_to_profile(image, GetStringInfoDatum(was->icc), GetStringInfoLength(was->icc), exception);
    else if (was->kind == COLOURS_LINEAR_PROFILE)
        done = convert(image, RGBColorspace, was, exception) &&
               magick_label_colorspace(image, sRGBColorspace, exception);
    else if (was->kind == COLOURS_OTHER && (same || inks))
        done = convert(image, was->colorspace, was, exception);
    image->depth = depth;
    return done;
}

void colours_free(colours *was) {
    if (was->icc)
        was->icc = DestroyStringInfo(was->icc);
}
