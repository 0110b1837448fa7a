/* Uses the module mirl as a long-running program would, through MagickCore: stops it every few calls of the
 * monitor, again and again, then lets it finish, and watches that pixels stay and memory does not grow.
 * usage: test-magick-stop IMAGE ROUNDS */
#if __has_include(<MagickCore/MagickCore.h>)
#include <MagickCore/MagickCore.h>
#define SIGNATURE(image, exception) SignatureImage(image, exception)
#define SIGNATURE_OF(image, exception) GetImageProperty(image, "signature", exception)
#else
#include <magick/MagickCore.h>
#define SIGNATURE(image, exception) SignatureImage(image)
#define SIGNATURE_OF(image, exception) GetImageProperty(image, "signature")
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How many more calls of the monitor are answered with true; below 0: all. */
static int patience;
static int calls;

static MagickBooleanType Monitor(const char *tag, const MagickOffsetType offset, const MagickSizeType extent,
                                 void *user) {
    (void)tag, (void)offset, (void)extent, (void)user;
    calls++;
    return patience < 0 || patience-- > 0 ? MagickTrue : MagickFalse;
}

static long ResidentKiB(void) {
    long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file != NULL) {
        if (fscanf(file, "%ld %ld", &size, &resident) != 2)
            resident = 0;
        fclose(file);
    }
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static int Complain(const char *what, int round) {
    fprintf(stderr, "round %d: %s\n", round, what);
    return 1;
}

/* One use of the module that is stopped after `allowed` calls, or runs to the end if that is below 0. */
static int Round(const Image *original, int allowed, int round) {
    static const char *const arguments[] = {"strength=0.9", "tile=128"};
    ExceptionInfo *exception = AcquireExceptionInfo();
    Image *image = CloneImage(original, 0, 0, MagickTrue, exception);
    const char *before, *after;
    char kept[128];
    int failures = 0;

    SIGNATURE(image, exception);
    before = SIGNATURE_OF(image, exception);
    snprintf(kept, sizeof kept, "%s", before != NULL ? before : "");
    SetImageProgressMonitor(image, Monitor, NULL);
    patience = allowed;
    const MagickBooleanType done =
        InvokeDynamicImageFilter("mirl", &image, 2, (const char **)arguments, exception);
    patience = -1;
    SIGNATURE(image, exception);
    after = SIGNATURE_OF(image, exception);
    const int same = after != NULL && strcmp(kept, after) == 0;
    if (allowed >= 0 && (done != MagickFalse || exception->severity != MonitorError))
        failures += Complain("was stopped, but no MonitorError says so", round);
    if (allowed >= 0 && !same)
        failures += Complain("was stopped, but the pixels changed", round);
    if (allowed < 0 && done == MagickFalse)
        failures += Complain(exception->reason != NULL ? exception->reason : "failed", round);
    if (allowed < 0 && same)
        failures += Complain("ran to the end, but the pixels did not change", round);
    DestroyImageList(image);
    DestroyExceptionInfo(exception);
    return failures;
}

int main(int argc, char **argv) {
    int failures = 0;
    long settled = 0;

    if (argc != 3)
        return 2;
    MagickCoreGenesis("stop", MagickFalse);
    ExceptionInfo *exception = AcquireExceptionInfo();
    ImageInfo *info = AcquireImageInfo();
    CopyMagickString(info->filename, argv[1], sizeof info->filename);
    Image *original = ReadImage(info, exception);
    if (original == NULL)
        return Complain("the image cannot be read", 0);

    const int rounds = atoi(argv[2]);
    failures += Round(original, -1, 0);
    const int all = calls;
    for (int round = 1; round <= rounds && failures == 0; round++) {
        failures += Round(original, round % 5 == 0 ? -1 : round * 37 % (all / 2), round);
        if (round == rounds / 4)
            settled = ResidentKiB();
    }
    const long growth = ResidentKiB() - settled;
    printf("%d calls of the monitor for an image; memory grew by %ld KiB in the last %d rounds\n", all,
           growth, rounds - rounds / 4);
    if (getenv("ANY_GROWTH") == NULL && growth > 4096)
        failures += Complain("memory grows", rounds);
    DestroyImageList(original);
    DestroyImageInfo(info);
    DestroyExceptionInfo(exception);
    MagickCoreTerminus();
    return failures != 0;
}
