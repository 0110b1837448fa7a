/* Pixels between MagickCore, 6 and 7, and mirl. */
#include "pixels.h"

#include <math.h>

#if MIRL_MAGICK == 7
typedef Quantum Pixel;

static inline size_t PixelStep(const Image *image) {
    return GetPixelChannels(image);
}

static inline void GetColor(const Image *image, const Pixel *pixel, Quantum color[3]) {
    color[0] = GetPixelRed(image, pixel);
    color[1] = GetPixelGreen(image, pixel);
    color[2] = GetPixelBlue(image, pixel);
}

static inline void SetColor(const Image *image, Pixel *pixel, const Quantum color[3]) {
    SetPixelRed(image, color[0], pixel);
    SetPixelGreen(image, color[1], pixel);
    SetPixelBlue(image, color[2], pixel);
}

static MagickBooleanType SetDirectClass(Image *image, ExceptionInfo *exception) {
    return SetImageStorageClass(image, DirectClass, exception);
}
#else
typedef PixelPacket Pixel;

static inline size_t PixelStep(const Image *image) {
    (void)image;
    return 1;
}

static inline void GetColor(const Image *image, const Pixel *pixel, Quantum color[3]) {
    (void)image;
    color[0] = GetPixelRed(pixel);
    color[1] = GetPixelGreen(pixel);
    color[2] = GetPixelBlue(pixel);
}

static inline void SetColor(const Image *image, Pixel *pixel, const Quantum color[3]) {
    (void)image;
    SetPixelRed(pixel, color[0]);
    SetPixelGreen(pixel, color[1]);
    SetPixelBlue(pixel, color[2]);
}

static MagickBooleanType SetDirectClass(Image *image, ExceptionInfo *exception) {
    if (SetImageStorageClass(image, DirectClass) != MagickFalse)
        return MagickTrue;
    InheritException(exception, &image->exception);
    return MagickFalse;
}
#endif

static MagickBooleanType IsLinear(const Image *image) {
    return image->colorspace == RGBColorspace || image->colorspace == LinearGRAYColorspace ? MagickTrue
                                                                                           : MagickFalse;
}

const char *GetImageSampleObstacle(const Image *image) {
    switch (image->colorspace) {
    case sRGBColorspace:
    case RGBColorspace:
    case GRAYColorspace:
    case LinearGRAYColorspace:
        return NULL;
    case CMYKColorspace:
        return "CMYK images are not restored, as the way back would mix other inks; convert with -profile or "
               "-colorspace sRGB first";
    default:
        return "only RGB and grey images are restored; convert with -colorspace sRGB first";
    }
}

/* MagickCore's own curves, which are made for finite values only. */
static inline MagickRealType Encoded(MagickRealType value, MagickBooleanType linear) {
    return linear != MagickFalse && isfinite(value) ? EncodePixelGamma(value) : value;
}

static inline MagickRealType Decoded(MagickRealType value, MagickBooleanType linear) {
    return linear != MagickFalse && isfinite(value) ? DecodePixelGamma(value) : value;
}

int GetImageSampleChannels(const Image *image, ExceptionInfo *exception) {
    if (image->colorspace == GRAYColorspace || image->colorspace == LinearGRAYColorspace)
        return 1;
    return IdentifyImageGray(image, exception) == UndefinedType ? 3 : 1;
}

MagickBooleanType GetImageSamples(const Image *image, const mirl_image *samples, ExceptionInfo *exception) {
    CacheView *view = AcquireVirtualCacheView(image, exception);
    const size_t step = PixelStep(image);
    const MagickBooleanType linear = IsLinear(image);
    MagickBooleanType status = MagickTrue;

    for (size_t y = 0; status != MagickFalse && y < samples->height; y++) {
        const Pixel *pixel = GetCacheViewVirtualPixels(view, 0, (ssize_t)y, samples->width, 1, exception);
        float *row = samples->data + (ptrdiff_t)y * samples->row_stride;
        if (pixel == NULL) {
            status = MagickFalse;
            break;
        }
        for (size_t x = 0; x < samples->width; x++, pixel += step, row += samples->pixel_stride) {
            Quantum color[3];
            GetColor(image, pixel, color);
            for (int c = 0; c < samples->channels; c++)
                row[c * samples->channel_stride] = (float)(QuantumScale * Encoded(color[c], linear));
        }
    }
    DestroyCacheView(view);
    return status;
}

MagickBooleanType SetImageSamples(Image *image, const mirl_image *samples, ExceptionInfo *exception) {
    if (SetDirectClass(image, exception) == MagickFalse)
        return MagickFalse;
    CacheView *view = AcquireAuthenticCacheView(image, exception);
    const size_t step = PixelStep(image);
    const MagickBooleanType linear = IsLinear(image);
    const int last = samples->channels - 1;
    MagickBooleanType status = MagickTrue;

    for (size_t y = 0; status != MagickFalse && y < samples->height; y++) {
        Pixel *pixel = GetCacheViewAuthenticPixels(view, 0, (ssize_t)y, samples->width, 1, exception);
        const float *row = samples->data + (ptrdiff_t)y * samples->row_stride;
        if (pixel == NULL) {
            status = MagickFalse;
            break;
        }
        for (size_t x = 0; x < samples->width; x++, pixel += step, row += samples->pixel_stride) {
            Quantum color[3];
            for (int c = 0; c < 3; c++) {
                const float sample = row[(c < last ? c : last) * samples->channel_stride];
                color[c] = ClampToQuantum(Decoded((MagickRealType)QuantumRange * sample, linear));
            }
            SetColor(image, pixel, color);
        }
        status = SyncCacheViewAuthenticPixels(view, exception);
    }
    DestroyCacheView(view);
    return status;
}
