/* Image files through MagickCore. */
#include "image_file.h"

#include "colours.h"
#include "error.h"
#include "magick.h"
#include "pixels.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { QUALITY_LEAST = 95 };

typedef struct image_frame {
    Image *image; ///< in the list that image_file.images heads
    colours was;
} image_frame;

struct image_file {
    char *path;
    Image *images;
    image_frame *frames;
    int count;
    image_stop stop;
};

void image_files_begin(int threads) {
    MagickCoreGenesis("mirl", MagickFalse);
    if (threads > 0)
        SetMagickResourceLimit(ThreadResource, (MagickSizeType)threads);
}

void image_files_end(void) {
    MagickCoreTerminus();
}

static MagickBooleanType go_on(const char *text, const MagickOffsetType offset, const MagickSizeType extent,
                               void *user) {
    (void)text, (void)offset, (void)extent;
    image_stop stop = ((const image_file *)user)->stop;
    return stop && stop() ? MagickFalse : MagickTrue;
}

/* ImageMagick's sentence without the names and source lines around it. */
static void get_reason(const image_file *file, const ExceptionInfo *exception, char *reason, size_t size) {
    const char *slash = strrchr(file->path, '/'), *name = slash ? slash + 1 : file->path,
               *text = exception->reason;

    const char *start = text ? strstr(text, name) : NULL;
    if (start && strncmp(start + strlen(name), ": ", 2) == 0)
        text = start + strlen(name) + 2;
    snprintf(reason, size, "%s", text ? text : "it is damaged, and ImageMagick does not say how");
    reason[strcspn(reason, "`@")] = '\0';
    for (size_t end = strlen(reason);
         end && (isspace((unsigned char)reason[end - 1]) || reason[end - 1] == '.'); end--)
        reason[end - 1] = '\0';
}

static mirl_status fail(const image_file *file, const char *verb, const ExceptionInfo *exception,
                        mirl_error *error) {
    char reason[256];
    bool memory = exception->severity == ResourceLimitError || exception->severity == ResourceLimitFatalError;

    if (file->stop && file->stop())
        return mirl_fail(error, MIRL_ERROR_CANCELLED, "cancelled");
    get_reason(file, exception, reason, sizeof reason);
    return mirl_fail(error, memory ? MIRL_ERROR_MEMORY : MIRL_ERROR_FORMAT, "'%s' cannot be %s: %s%s",
                     file->path, verb, reason, memory ? " (the limits are in ImageMagick's policy.xml)" : "");
}

/* The ending of a name in lower case, if it is one that may be shown to ImageMagick; otherwise "". */
static void ending_of_path(const char *path, char *ending, size_t size) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');

    *ending = '\0';
    if (!dot || dot == name || strlen(dot + 1) >= size)
        return;
    for (const char *at = dot + 1; *at; at++)
        if (!isalnum((unsigned char)*at))
            return;
    for (size_t i = 0; i <= strlen(dot + 1); i++)
        ending[i] = (char)tolower((unsigned char)dot[1 + i]);
}

mirl_status image_format_of_path(const char *path, char *format, mirl_error *error) {
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash + 1 : path, '.');
    char ending[IMAGE_FORMAT_MAX];
    ExceptionInfo *exception = AcquireExceptionInfo();

    ending_of_path(path, ending, sizeof ending);
    const MagickInfo *known = *ending ? GetMagickInfo(ending, exception) : NULL;
    snprintf(format, IMAGE_FORMAT_MAX, "%s", known ? known->name : "");
    DestroyExceptionInfo(exception);
    if (!known && dot)
        return mirl_fail(error, MIRL_ERROR_ARGUMENT,
                         "'%s' cannot be written: ImageMagick knows no format '%s'", path, dot);
    return MIRL_OK;
}

mirl_status image_format_check(const char *format, int frames, mirl_error *error) {
    ExceptionInfo *exception = AcquireExceptionInfo();
    const MagickInfo *known = GetMagickInfo(format, exception);
    mirl_status status = MIRL_OK;

    if (!known || !GetImageEncoder(known))
        status = mirl_fail(error, MIRL_ERROR_ARGUMENT,
                           "ImageMagick cannot write %s files: name an output that ends "
                           "in .png, .tif or .jpg",
                           format);
    else if (frames > 1 && !GetMagickAdjoin(known))
        status = mirl_fail(error, MIRL_ERROR_ARGUMENT,
                           "the file has %d frames and %s files hold one: name an output "
                           "that ends in .tif or .gif",
                           frames, format);
    DestroyExceptionInfo(exception);
    return status;
}

/* Animations store the parts of frames that change: makes them whole pictures. */
static void make_frames_whole(image_file *file, ExceptionInfo *exception) {
    bool partial = false;

    for (Image *image = file->images; image; image = GetNextImageInList(image))
        partial |= image->page.width && (image->page.width != image->columns ||
                                         image->page.height != image->rows || image->page.x || image->page.y);
    bool animation = strcmp(file->images->magick, "GIF") == 0 || strcmp(file->images->magick, "WEBP") == 0 ||
                     strcmp(file->images->magick, "MNG") == 0;
    if (!partial || !animation || !GetNextImageInList(file->images))
        return;
    Image *whole = CoalesceImages(file->images, exception);
    if (whole) {
        DestroyImageList(file->images);
        file->images = whole;
    }
}

static bool list_frames(image_file *file) {
    file->count = (int)GetImageListLength(file->images);
    file->frames = calloc((size_t)file->count, sizeof *file->frames);
    Image *image = file->images;
    for (int i = 0; file->frames && i < file->count; i++, image = GetNextImageInList(image))
        file->frames[i].image = image;
    return file->frames != NULL;
}

/* ImageMagick 6 passes over the EXIF chunk of PNG files: reads it where it is missing. */
static void read_png_exif(image_file *file, FILE *from, ExceptionInfo *exception) {
    enum { HEAD = 8, LIMIT = 1 << 24 };
    static const unsigned char start[] = {'E', 'x', 'i', 'f', 0, 0};
    unsigned char head[HEAD];

    if (strcmp(file->images->magick, "PNG") != 0 || GetImageProfile(file->images, "exif"))
        return;
    for (long at = HEAD; fseek(from, at, SEEK_SET) == 0 && fread(head, HEAD, 1, from) == 1;) {
        size_t length = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
        if (memcmp(head + 4, "eXIf", 4) == 0 && length && length <= LIMIT) {
            StringInfo *exif = AcquireStringInfo(sizeof start + length);
            memcpy(GetStringInfoDatum(exif), start, sizeof start);
            if (fread(GetStringInfoDatum(exif) + sizeof start, length, 1, from) == 1)
                magick_set_profile(file->images, "exif", exif, exception);
            DestroyStringInfo(exif);
            return;
        }
        at += HEAD + (long)length + 4;
    }
}

/* When writing, ImageMagick puts what it knows of the orientation into EXIF: lets it know. */
static void read_orientation(Image *image, ExceptionInfo *exception) {
    const char *text = magick_property(image, "exif:Orientation", exception);
    int value = text ? atoi(text) : 0;

    if (image->orientation == UndefinedOrientation && value >= TopLeftOrientation &&
        value <= LeftBottomOrientation)
        image->orientation = (OrientationType)value;
}

/* Tells ImageMagick what to read: the path if none of its characters means anything to it, otherwise the open
 * file, which it copies, with the ending alone. */
static void name_source(const char *path, FILE *from, ImageInfo *info) {
    char *real = realpath(path, NULL), ending[16];

    if (real && strlen(real) < sizeof info->filename && !strpbrk(real, ":%[]{}*?")) {
        strcpy(info->filename, real);
    } else {
        ending_of_path(path, ending, sizeof ending);
        snprintf(info->filename, sizeof info->filename, "image.%s", ending);
        SetImageInfoFile(info, from);
    }
    free(real);
}

static mirl_status read_images(image_file *file, FILE *from, bool *partial, mirl_error *error) {
    ExceptionInfo *exception = AcquireExceptionInfo();
    ImageInfo *info = AcquireImageInfo();
    mirl_status status = MIRL_OK;

    name_source(file->path, from, info);
    SetImageInfoProgressMonitor(info, go_on, file);
    file->images = ReadImage(info, exception);
    magick_collect(file->images, exception);
    if (file->images && exception->severity < ErrorException) {
        make_frames_whole(file, exception);
        read_png_exif(file, from, exception);
        read_orientation(file->images, exception);
    }
    if (!file->images || exception->severity >= ErrorException || (file->stop && file->stop()))
        status = fail(file, "read", exception, error);
    else if (!list_frames(file))
        status = mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for the frames of '%s'", file->path);
    else if (exception->severity == CorruptImageWarning) {
        *partial = true;
        fail(file, "read completely", exception, error);
    }
    DestroyImageInfo(info);
    DestroyExceptionInfo(exception);
    return status;
}

image_file *image_file_read(const char *path, image_stop stop, bool *partial, mirl_error *error) {
    image_file *file = calloc(1, sizeof *file);
    char *copy = strdup(path);
    FILE *from = fopen(path, "rb");
    struct stat about;
    mirl_status status = MIRL_OK;

    *partial = false;
    if (!from)
        status = mirl_fail(error, MIRL_ERROR_FILE, "'%s' cannot be read: %s", path, strerror(errno));
    else if (fstat(fileno(from), &about) == 0 && S_ISDIR(about.st_mode))
        status = mirl_fail(error, MIRL_ERROR_FILE, "'%s' cannot be read: it is a folder", path);
    else if (!file || !copy)
        status = mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory to read '%s'", path);
    if (file)
        *file = (image_file){.path = copy, .stop = stop};
    else
        free(copy);
    if (!status)
        status = read_images(file, from, partial, error);
    if (from)
        fclose(from);
    if (!status)
        return file;
    image_file_close(file);
    return NULL;
}

void image_file_close(image_file *file) {
    if (!file)
        return;
    for (int i = 0; i < file->count; i++)
        colours_free(&file->frames[i].was);
    if (file->images)
        DestroyImageList(file->images);
    free(file->frames);
    free(file->path);
    free(file);
}

int image_file_frames(const image_file *file) {
    return file->count;
}

const char *image_file_format(const image_file *file) {
    return file->images->magick;
}

/* The frame's pixels are not needed until import: gives their memory back. Alpha stays with them. */
static void drop_pixels(image_file *file, int index, ExceptionInfo *exception) {
    Image *image = file->frames[index].image;
    if (magick_has_alpha(image))
        return;
    Image *blank = CloneImage(image, image->columns, image->rows, MagickTrue, exception);
    if (!blank)
        return;
    file->frames[index].image = blank;
    if (image == file->images && !GetNextImageInList(image)) {
        DestroyImage(image);
        file->images = blank;
    } else {
        ReplaceImageInList(&image, blank);
        file->images = GetFirstImageInList(blank);
    }
}

mirl_status image_file_export(image_file *file, int index, mirl_image *image, mirl_error *error) {
    image_frame *frame = &file->frames[index];
    ExceptionInfo *exception = AcquireExceptionInfo();
    bool done = colours_encode(frame->image, &frame->was, exception);
    size_t width = frame->image->columns, height = frame->image->rows;
    size_t channels = done ? (size_t)GetImageSampleChannels(frame->image, exception) : 3;
    float *data = malloc(width * height * channels * sizeof *data);
    const mirl_image samples = {
        data, width, height, (int)channels, (ptrdiff_t)channels, (ptrdiff_t)(width * channels), 1};
    mirl_status status = MIRL_OK;

    if (!data)
        status = mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for the %zux%zu pixels of '%s'",
                           width, height, file->path);
    else if (!done || !GetImageSamples(frame->image, &samples, exception))
        status = fail(file, "read", exception, error);
    if (status) {
        free(data);
    } else {
        *image = samples;
        drop_pixels(file, index, exception);
    }
    DestroyExceptionInfo(exception);
    return status;
}

/* ImageMagick's writers of 8 bits cut what lies between two levels, so that a mean error of half a level
 * would stay. Samples outside 0..1 are left: formats that hold them hold floats. */
static void round_to_8_bits(const mirl_image *image) {
    for (size_t y = 0; y < image->height; y++)
        for (size_t x = 0; x < image->width; x++)
            for (int c = 0; c < image->channels; c++) {
                float *sample = image->data + (ptrdiff_t)x * image->pixel_stride +
                                (ptrdiff_t)y * image->row_stride + c * image->channel_stride;
                if (*sample >= 0 && *sample <= 1)
                    *sample = roundf(*sample * 255) / 255;
            }
}

mirl_status image_file_import(image_file *file, int index, const mirl_image *image, mirl_error *error) {
    image_frame *frame = &file->frames[index];
    ExceptionInfo *exception = AcquireExceptionInfo();
    mirl_status status = MIRL_OK;

    if (frame->image->depth <= 8)
        round_to_8_bits(image);
    if (!SetImageSamples(frame->image, image, exception))
        status = fail(file, "restored", exception, error);
    DestroyExceptionInfo(exception);
    return status;
}

static bool loses_something(const char *format) {
    static const char *const lossy[] = {"JPEG", "JPG", "WEBP", "HEIC", "AVIF", "JXL", "JP2", "J2K", "JPM"};
    for (size_t i = 0; i < sizeof lossy / sizeof *lossy; i++)
        if (strcasecmp(format, lossy[i]) == 0)
            return true;
    return false;
}

/* Two-level pictures and their compressions cannot hold what comes out of the network. */
static void choose_storage(Image *image) {
    if (image->depth < 8)
        image->depth = 8;
    if (image->compression == FaxCompression || image->compression == Group4Compression ||
        image->compression == JBIG1Compression || image->compression == JBIG2Compression)
        image->compression = ZipCompression;
}

mirl_status image_file_write(image_file *file, FILE *to, const char *format, int quality, mirl_error *error) {
    ExceptionInfo *exception = AcquireExceptionInfo();
    ImageInfo *info = AcquireImageInfo();
    const char *numbers = magick_property(file->images, "quantum:format", exception);
    char name[IMAGE_FORMAT_MAX + 8];
    mirl_status status = MIRL_OK;

    SetImageInfoFile(info, to);
    if (numbers)
        SetImageOption(info, "quantum:format", numbers);
    if (loses_something(format)) {
        size_t own = file->images->quality;
        info->quality = quality ? (size_t)quality : own > QUALITY_LEAST ? own : QUALITY_LEAST;
    }
    bool done = true;
    for (int i = 0; i < file->count && done; i++) {
        choose_storage(file->frames[i].image);
        SetImageProgressMonitor(file->frames[i].image, go_on, file);
        done = colours_decode(file->frames[i].image, &file->frames[i].was, format, exception);
    }
    snprintf(name, sizeof name, "%s:image", format);
    if (!done || !WriteImages(info, file->images, name, exception) || (file->stop && file->stop()))
        status = fail(file, "written", exception, error);
    DestroyImageInfo(info);
    DestroyExceptionInfo(exception);
    return status;
}
