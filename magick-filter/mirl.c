/* The ImageMagick filter module behind `-process 'mirl weights=all-in-one strength=0.8'`: restores every
 * image of the sequence in place. ImageMagick loads the module for each use of -process and unloads it again,
 * so it is linked to stay in memory and keeps the last model it used. */
#include "pixels.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RestoreImageTag "Restore/Image"
#define ProgressSteps 100
#define ProgressStride 50 /* -monitor of the programs shows every 50th step only */

#define DefaultMemory ((uint64_t)512 << 20) /* mirl_restore()'s own with automatic tiles */

/* ResourceLimitError is the one error after which ImageMagick's programs go on and exit with 0. */
#define LimitError ModuleError

#define ThrowMirlException(severity, tag, ...)                                                               \
    ThrowMagickException(exception, GetMagickModule(), severity, tag, __VA_ARGS__)

typedef struct _RestoreInfo {
    const char *weights; /* a name or path as in the argument, "" for the default */
    mirl_options options;
} RestoreInfo;

/* An opened model and the file it was read from. */
typedef struct _ModelInfo {
    mirl_model *model;
    char *path;
    struct stat attributes;
} ModelInfo;

/* What the progress callback watches. */
typedef struct _WatchInfo {
    Image *image;
    double time_limit; /* seconds of the image's life, 0 for no limit */
    MagickSizeType throttle;
    MagickBooleanType expired;
    int step; /* of ProgressSteps, the last one that was shown */
} WatchInfo;

/* The model that the last call used. Whoever restores takes it out and puts it back. */
static SemaphoreInfo *model_semaphore = NULL;
static ModelInfo last_model;

static MagickBooleanType ParseNumber(const char *text, double minimum, double maximum, double *value) {
    char *end;

    *value = InterpretLocaleValue(text, &end);
    return end != text && *end == '\0' && *value >= minimum && *value <= maximum ? MagickTrue : MagickFalse;
}

static MagickBooleanType ParseTile(const char *text, int *tile) {
    double value;

    if (LocaleCompare(text, "auto") == 0)
        *tile = MIRL_TILE_AUTO;
    else if (LocaleCompare(text, "whole") == 0 || LocaleCompare(text, "0") == 0)
        *tile = MIRL_TILE_WHOLE;
    else if (ParseNumber(text, 1, 65536, &value) != MagickFalse && value == (int)value)
        *tile = (int)value;
    else
        return MagickFalse;
    return MagickTrue;
}

/* Takes one argument; returns NULL or what would be right. */
static const char *ParseArgument(const char *key, const char *value, RestoreInfo *info) {
    double number;

    if (LocaleCompare(key, "weights") == 0) {
        info->weights = value;
        return NULL;
    }
    if (LocaleCompare(key, "strength") == 0) {
        if (ParseNumber(value, 0, 1, &number) == MagickFalse)
            return "strength is a number from 0 to 1";
        info->options.strength = (float)number;
        return NULL;
    }
    if (LocaleCompare(key, "tile") == 0)
        return ParseTile(value, &info->options.tile) != MagickFalse
                   ? NULL
                   : "tile is auto, whole, or a tile's side in pixels";
    if (LocaleCompare(key, "memory") == 0)
        return mirl_parse_size(value, &info->options.memory, NULL) == MIRL_OK && info->options.memory > 0
                   ? NULL
                   : "memory is a size such as 512M or 1.5G";
    if (LocaleCompare(key, "threads") == 0) {
        if (ParseNumber(value, 1, 256, &number) == MagickFalse || number != (int)number)
            return "threads is a whole number from 1 to 256";
        info->options.threads = (int)number;
        return NULL;
    }
    return "the arguments are weights, strength, tile, memory and threads";
}

static MagickBooleanType ParseArguments(int argc, const char **argv, RestoreInfo *info,
                                        ExceptionInfo *exception) {
    info->weights = "";
    info->options = mirl_options_default();
    for (int i = 0; i < argc; i++) {
        const char *equals = strchr(argv[i], '=');
        const char *advice = "arguments are written KEY=VALUE";
        char key[16];

        if (equals != NULL) {
            const size_t length = (size_t)(equals - argv[i]);
            CopyMagickString(key, argv[i], length < sizeof(key) ? length + 1 : sizeof(key));
            advice = ParseArgument(key, equals + 1, info);
        }
        if (advice != NULL) {
            ThrowMirlException(OptionError, "InvalidArgument", "`%s': %s", argv[i], advice);
            return MagickFalse;
        }
    }
    return MagickTrue;
}

/* Throws what mirl_restore() or a model said; `subject` is the file it is about. */
static void ThrowRestoreException(const mirl_error *error, const char *subject, ExceptionInfo *exception) {
    switch (error->status) {
    case MIRL_ERROR_FILE:
        ThrowMirlException(FileOpenError, "UnableToOpenFile", "`%s': %s", subject, error->message);
        break;
    case MIRL_ERROR_MEMORY:
        ThrowMirlException(LimitError, "not enough memory",
                           "`%s': %s; memory= and -limit memory or policy.xml set the bounds", subject,
                           error->message);
        break;
    case MIRL_ERROR_FORMAT:
        ThrowMirlException(ModuleError, "unusable weights", "`%s': %s", subject, error->message);
        break;
    default:
        ThrowMirlException(OptionError, "InvalidArgument", "`%s': %s", subject, error->message);
        break;
    }
}

static void DestroyModel(ModelInfo *info) {
    mirl_model_close(info->model);
    free(info->path);
    *info = (ModelInfo){0};
}

static MagickBooleanType IsSameFile(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
                   a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec
               ? MagickTrue
               : MagickFalse;
}

/* Takes the last model if it is the one wanted and no other thread has it, or opens it. */
static MagickBooleanType AcquireModel(const char *weights, ModelInfo *info, ExceptionInfo *exception) {
    mirl_error error = {0};

    *info = (ModelInfo){0};
    info->path = mirl_weights_find(weights, &error);
    if (info->path != NULL)
        (void)stat(info->path, &info->attributes); /* a failure is mirl_model_open()'s to explain */
    if (model_semaphore == NULL)
        ActivateSemaphoreInfo(&model_semaphore);
    LockSemaphoreInfo(model_semaphore);
    if (info->path != NULL && last_model.model != NULL && strcmp(info->path, last_model.path) == 0 &&
        IsSameFile(&info->attributes, &last_model.attributes) != MagickFalse) {
        info->model = last_model.model;
        free(last_model.path);
        last_model = (ModelInfo){0};
    }
    UnlockSemaphoreInfo(model_semaphore);
    if (info->path != NULL && info->model == NULL)
        info->model = mirl_model_open(info->path, &error);
    if (info->model != NULL)
        return MagickTrue;
    ThrowRestoreException(&error,
                          info->path != NULL ? info->path
                          : *weights != '\0' ? weights
                                             : "default",
                          exception);
    DestroyModel(info);
    return MagickFalse;
}

static void RelinquishModel(ModelInfo *info) {
    LockSemaphoreInfo(model_semaphore);
    ModelInfo previous = last_model;
    last_model = *info;
    UnlockSemaphoreInfo(model_semaphore);
    DestroyModel(&previous);
}

static bool RestoreProgress(double done, void *user) {
    WatchInfo *watch = user;
    TimerInfo timer = watch->image->timer; /* a copy, as asking a timer stops it */

    if (watch->time_limit > 0 && GetElapsedTime(&timer) >= watch->time_limit) {
        watch->expired = MagickTrue;
        return false;
    }
    /* The last step is the end of the line, shown once when the pixels are written. The monitor is asked each
     * time, but sees one multiple of the stride for each step. */
    const int step = (int)(done * (ProgressSteps - 1));
    const int shown = step != watch->step;
    if (shown && watch->throttle != 0)
        MagickDelay(watch->throttle);
    watch->step = step;
    return SetImageProgress(watch->image, RestoreImageTag, (MagickOffsetType)step * ProgressStride + !shown,
                            ProgressSteps * ProgressStride + 1) != MagickFalse;
}

/* The arguments' threads and memory within ImageMagick's limits. */
static mirl_options LimitOptions(const RestoreInfo *info, WatchInfo *watch) {
    mirl_options options = info->options;
    const MagickSizeType threads = GetMagickResourceLimit(ThreadResource);
    const MagickSizeType memory = GetMagickResourceLimit(MemoryResource);
    const MagickSizeType used = GetMagickResource(MemoryResource);
    const MagickSizeType time_limit = GetMagickResourceLimit(TimeResource);
    const MagickSizeType available = memory > used ? memory - used : 1;

    if (threads > 0 && (options.threads == 0 || threads < (MagickSizeType)options.threads))
        options.threads = threads < 256 ? (int)threads : 256;
    if (options.memory == 0 && options.tile == MIRL_TILE_AUTO)
        options.memory = DefaultMemory;
    if (options.memory == 0 || available < options.memory)
        options.memory = available;
    watch->time_limit = time_limit == MagickResourceInfinity ? 0 : (double)time_limit;
    watch->throttle = GetMagickResourceLimit(ThrottleResource);
    options.progress = RestoreProgress;
    options.user = watch;
    return options;
}

static void ThrowStopped(const WatchInfo *watch, ExceptionInfo *exception) {
    if (watch->expired != MagickFalse)
        ThrowMirlException(LimitError, "time limit exceeded", "`%s'", watch->image->filename);
    else
        ThrowMirlException(MonitorError, "restoring was stopped", "`%s'", watch->image->filename);
}

/* Restores the image through samples that ImageMagick allocates, in memory or beyond its limit in a file. */
static MagickBooleanType RestoreSamples(const mirl_model *model, const mirl_options *options,
                                        mirl_image *samples, Image *image, ExceptionInfo *exception) {
    MemoryInfo *memory = AcquireVirtualMemory(samples->width * samples->height * (size_t)samples->channels,
                                              sizeof(*samples->data));
    MagickBooleanType status = MagickFalse;
    mirl_error error = {0};

    if (memory == NULL) {
        ThrowMirlException(LimitError, "not enough memory", "`%s'", image->filename);
        return MagickFalse;
    }
    samples->data = GetVirtualMemoryBlob(memory);
    if (GetImageSamples(image, samples, exception) != MagickFalse) {
        if (mirl_restore(model, samples, samples, options, &error) == MIRL_OK)
            status = SetImageSamples(image, samples, exception);
        else if (error.status == MIRL_ERROR_CANCELLED)
            ThrowStopped(options->user, exception);
        else
            ThrowRestoreException(&error, image->filename, exception);
    }
    RelinquishVirtualMemory(memory);
    return status;
}

/* Restores one image, the library's working memory counted among ImageMagick's. */
static MagickBooleanType RestoreImage(const mirl_model *model, Image *image, const RestoreInfo *info,
                                      ExceptionInfo *exception) {
    const char *obstacle = GetImageSampleObstacle(image);

    if (obstacle != NULL) {
        ThrowMirlException(OptionError, "colourspace is not supported", "`%s': %s", image->filename,
                           obstacle);
        return MagickFalse;
    }
    mirl_image samples = {.width = image->columns, .height = image->rows, .channel_stride = 1};
    samples.channels = GetImageSampleChannels(image, exception);
    samples.pixel_stride = samples.channels;
    samples.row_stride = (ptrdiff_t)samples.width * samples.channels;

    WatchInfo watch = {.image = image, .step = -1};
    const mirl_options options = LimitOptions(info, &watch);
    mirl_plan_info plan;
    mirl_error error = {0};
    if (mirl_plan(model, samples.width, samples.height, &options, &plan, &error) != MIRL_OK) {
        ThrowRestoreException(&error, image->filename, exception);
        return MagickFalse;
    }
    if (AcquireMagickResource(MemoryResource, plan.memory) == MagickFalse) {
        ThrowMirlException(LimitError, "not enough memory", "`%s'", image->filename);
        return MagickFalse;
    }
    const MagickBooleanType status = RestoreSamples(model, &options, &samples, image, exception);
    RelinquishMagickResource(MemoryResource, plan.memory);
    if (status != MagickFalse)
        SetImageProgress(image, RestoreImageTag, ProgressSteps * ProgressStride,
                         ProgressSteps * ProgressStride + 1);
    return status;
}

/* mogrify writes what -process leaves even if it failed: here to nowhere, so that the originals stay.
 * `magick` stops by itself; version 6's convert writes the image it has, as after every failure. */
static void WithholdImages(Image *images) {
    if (LocaleNCompare(GetClientName(), "mogrify", 7) != 0)
        return;
    for (Image *image = images; image != NULL; image = GetNextImageInList(image))
        CopyMagickString(image->filename, "null:", sizeof(image->filename));
}

ModuleExport size_t mirlImage(Image **images, const int argc, const char **argv, ExceptionInfo *exception) {
    RestoreInfo info;
    ModelInfo model;
    MagickBooleanType status = MagickFalse;

    if (ParseArguments(argc, argv, &info, exception) != MagickFalse &&
        AcquireModel(info.weights, &model, exception) != MagickFalse) {
        status = MagickTrue;
        for (Image *image = *images; image != NULL && status != MagickFalse;
             image = GetNextImageInList(image))
            status = RestoreImage(model.model, image, &info, exception);
        RelinquishModel(&model);
    }
    if (status == MagickFalse)
        WithholdImages(*images);
    return MagickImageFilterSignature;
}
