/* `mirl restore`: what it keeps of each kind of file, and what it says and leaves behind when it cannot.
 * Where only the file matters the network changes nothing (its last layer is zero). */
#include "pictures.h"
#include "program.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <lcms2.h>

static int enter(void **state) {
    MagickCoreGenesis("test", MagickFalse);
    if (program_enter(state))
        return -1;
    program_make_weights("same.safetensors", 0);
    program_make_weights("default.safetensors", 0.1f);
    return 0;
}

static int leave(void **state) {
    MagickCoreTerminus();
    return program_leave(state);
}

static void succeed(const program_run *run) {
    assert_string_equal(run->err, "");
    assert_string_equal(run->out, "");
    assert_int_equal(run->code, 0);
}

static void complain(const program_run *run, int code, const char *sentence) {
    if (!strstr(run->err, sentence))
        fail_msg("'%s' does not say '%s'", run->err, sentence);
    assert_int_equal(run->code, code);
}

static int files_here(void) {
    DIR *folder = opendir(".");
    int count = 0;
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* Restores `in` to `out`; checks that depth, size, colour space, alpha and frames are the input's, and that
 * each channel of `map` is within `tolerance` if the network changes nothing, and that colours change but
 * alpha does not if it does. */
static void check_kept(const char *in, const char *out, const char *map, double tolerance) {
    succeed(program("restore %s -o %s -w same", in, out));
    Image *before = picture_read(in), *after = picture_read(out), *a = before, *b = after;
    for (; a && b; a = GetNextImageInList(a), b = GetNextImageInList(b)) {
        assert_int_equal(a->depth, b->depth);
        assert_int_equal(a->colorspace, b->colorspace);
        assert_int_equal(magick_has_alpha(a), magick_has_alpha(b));
        assert_int_equal(a->orientation, b->orientation);
        for (const char *channel = map; *channel; channel++) {
            double apart = picture_difference(a, b, *channel);
            if (!(apart <= tolerance))
                fail_msg("%s: channel %c differs by %g", in, *channel, apart);
        }
    }
    assert_true(!a && !b);
    DestroyImageList(after);

    succeed(program("restore %s -o %s", in, out));
    after = picture_read(out);
    assert_true(picture_difference(before, after, *map) > 0.002);
    if (strchr(map, 'A'))
        assert_true(picture_difference(before, after, 'A') == 0);
    DestroyImageList(after);
    DestroyImageList(before);
}

static void colours_alpha_and_depth_are_kept(void **state) {
    (void)state;
    static const struct {
        const char *in, *out, *map;
        size_t depth;
    } files[] = {
        {"rgb8.png", "o1.png", "RGB", 8},      {"rgb16.png", "o2.png", "RGB", 16},
        {"rgba8.png", "o3.png", "RGBA", 8},    {"rgba16.png", "o4.png", "RGBA", 16},
        {"grey8.png", "o5.png", "I", 8},       {"grey16.png", "o6.png", "I", 16},
        {"greya16.png", "o7.png", "IA", 16},   {"rgb16.tif", "o8.tif", "RGB", 16},
        {"rgba8.tif", "o9.tif", "RGBA", 8},    {"grey16.tif", "o10.tif", "I", 16},
        {"rgb8.bmp", "o11.bmp", "RGB", 8},     {"rgb16.ppm", "o12.ppm", "RGB", 16},
        {"grey16.pgm", "o13.pgm", "I", 16},    {"rgb8.tga", "o14.tga", "RGB", 8},
        {"float.tif", "o15.tif", "RGB", 32},   {"floata.tif", "o16.tif", "RGBA", 32},
        {"greyfloat.tif", "o17.tif", "I", 32},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *map = files[i].map;
        picture_write(picture_make(37, 21, map, 1), files[i].in, files[i].depth);
        char channels[8];
        snprintf(channels, sizeof channels, "%s%s", *map == 'I' ? "R" : "RGB", strchr(map, 'A') ? "A" : "");
        check_kept(files[i].in, files[i].out, channels, files[i].depth == 32 ? 1e-7 : 0);
    }
}

/* 8 bits must hold what 16 bits do, rounded: ImageMagick's writers cut. */
static void eight_bits_are_rounded(void **state) {
    (void)state;
    static const char *const names[] = {"cut.png", "cut.ppm", "cut.tif"};
    picture_write(picture_make(37, 21, "RGB", 1), "eight.png", 8);
    picture_write(picture_read("eight.png"), "sixteen.png", 16);
    succeed(program("restore sixteen.png -o exact.png"));
    Image *exact = picture_read("exact.png");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        succeed(program("restore eight.png -o %s", names[i]));
        Image *image = picture_read(names[i]);
        for (const char *channel = "RGB"; *channel; channel++)
            assert_true(picture_difference(exact, image, *channel) < 0.51 / 255);
        DestroyImageList(image);
    }
    DestroyImageList(exact);
}

static void grey_stays_grey(void **state) {
    (void)state;
    picture_write(picture_make(40, 24, "I", 1), "grey.jpg", 8);
    succeed(program("restore grey.jpg -o grey-out.png"));
    Image *after = picture_read("grey-out.png");
    assert_int_equal(after->colorspace, GRAYColorspace);
    DestroyImageList(after);
}

/* Only the builds of ImageMagick with floating-point pixels can read such values at all. */
static void floats_keep_their_range(void **state) {
    (void)state;
#if !MAGICKCORE_HDRI_ENABLE
    skip();
#endif
    picture_write(picture_make(20, 20, "RGB", 3), "wide.tif", 32);
    check_kept("wide.tif", "wide-out.tif", "RGB", 1e-6);
    Image *after = picture_read("wide-out.tif");
    const char *numbers;
    ExceptionInfo *exception = AcquireExceptionInfo();
    numbers = magick_property(after, "quantum:format", exception);
    assert_non_null(numbers);
    assert_string_equal(numbers, "floating-point");
    DestroyExceptionInfo(exception);
    DestroyImageList(after);
}

static void other_colour_spaces_come_back(void **state) {
    (void)state;
    picture_write(picture_make(30, 18, "CMYK", 0.6f), "inks.tif", 16);
    succeed(program("restore inks.tif -o inks-out.tif -w same"));
    Image *before = picture_read("inks.tif"), *after = picture_read("inks-out.tif");
    assert_int_equal(before->colorspace, CMYKColorspace);
    assert_int_equal(after->colorspace, CMYKColorspace);
    assert_int_equal(after->depth, 16);
    /* The inks may be other ones of the same colour. */
    ExceptionInfo *exception = AcquireExceptionInfo();
    assert_true(magick_to_colorspace(before, sRGBColorspace, exception));
    assert_true(magick_to_colorspace(after, sRGBColorspace, exception));
    DestroyExceptionInfo(exception);
    for (const char *channel = "RGB"; *channel; channel++)
        assert_true(picture_difference(before, after, *channel) < 1e-4);
    DestroyImageList(after);
    succeed(program("restore inks.tif -o inks-out.png -w same"));
    after = picture_read("inks-out.png");
    for (const char *channel = "RGB"; *channel; channel++)
        assert_true(picture_difference(before, after, *channel) < 1e-4);
    DestroyImageList(before);
    DestroyImageList(after);
}

/* Values are linear: what the network sees must be encoded, and what is written must be linear again. */
static void linear_light_comes_back(void **state) {
    (void)state;
    Image *linear = picture_make(30, 18, "RGB", 0.8f);
    linear->colorspace = RGBColorspace;
    picture_write(linear, "linear.miff", 16);
    check_kept("linear.miff", "linear-out.miff", "RGB", 4e-5);

    Image *encoded = picture_read("linear.miff");
    ExceptionInfo *exception = AcquireExceptionInfo();
    assert_true(magick_to_colorspace(encoded, sRGBColorspace, exception));
    picture_write(encoded, "encoded.miff", 16);
    succeed(program("restore encoded.miff -o encoded-out.miff"));
    Image *expected = picture_read("encoded-out.miff"), *got = picture_read("linear-out.miff");
    assert_true(magick_to_colorspace(got, sRGBColorspace, exception));
    for (const char *channel = "RGB"; *channel; channel++)
        assert_true(picture_difference(expected, got, *channel) < 2e-3);
    DestroyExceptionInfo(exception);
    DestroyImageList(expected);
    DestroyImageList(got);
}

/* Formats of linear light and encoded ones hold the same picture. */
static void linear_formats_hold_the_same_picture(void **state) {
    (void)state;
    static const char *const formats[] = {"EXR", "HDR"};
    picture_write(picture_smooth(30, 18, 0), "light.png", 16);
    Image *before = picture_read("light.png");
    for (int i = 0; i < 2; i++) {
        ExceptionInfo *exception = AcquireExceptionInfo();
        const MagickInfo *known = GetMagickInfo(formats[i], exception);
        DestroyExceptionInfo(exception);
        if (!known || !GetImageEncoder(known) || !GetImageDecoder(known))
            continue;
        succeed(program("restore light.png -o light.%s -w same", formats[i]));
        succeed(program("restore light.%s -o light2.%s -w same", formats[i], formats[i]));
        succeed(program("restore light2.%s -o light2.png -w same", formats[i]));
        Image *after = picture_read("light2.png"), *linear = picture_read(i ? "light2.HDR" : "light2.EXR");
        for (const char *channel = "RGB"; *channel; channel++)
            assert_true(picture_difference(before, after, *channel) < 0.01);
        assert_true(picture_difference(before, linear, 'G') > 0.15);
        DestroyImageList(after);
        DestroyImageList(linear);
    }
    DestroyImageList(before);
}

static void *save_profile(cmsHPROFILE profile, cmsUInt32Number *size) {
    assert_true(cmsSaveProfileToMem(profile, NULL, size));
    void *bytes = malloc(*size);
    assert_true(cmsSaveProfileToMem(profile, bytes, size));
    cmsCloseProfile(profile);
    return bytes;
}

/* A profile may say that what looks like sRGB is linear: then the network sees it encoded. */
static void a_linear_profile_is_believed(void **state) {
    (void)state;
    cmsCIExyY white;
    cmsCIExyYTRIPLE primaries = {{0.64, 0.33, 1}, {0.30, 0.60, 1}, {0.15, 0.06, 1}};
    cmsToneCurve *line = cmsBuildGamma(NULL, 1.0), *curves[] = {line, line, line};
    cmsUInt32Number size = 0;
    cmsWhitePointFromTemp(&white, 6504);
    unsigned char *icc = save_profile(cmsCreateRGBProfile(&white, &primaries, curves), &size);
    cmsFreeToneCurve(line);

    Image *image = picture_make(40, 24, "RGB", 0.8f);
    picture_set_profile(image, "icc", icc, size);
    picture_write(image, "straight.tif", 16);
    check_kept("straight.tif", "straight-out.tif", "RGB", 4e-5);
    Image *with = picture_read("straight-out.tif");
    const StringInfo *kept = GetImageProfile(with, "icc");
    assert_non_null(kept);
    assert_int_equal(GetStringInfoLength(kept), size);
    assert_memory_equal(GetStringInfoDatum(kept), icc, size);

    picture_write(picture_make(40, 24, "RGB", 0.8f), "bare.tif", 16);
    succeed(program("restore bare.tif -o bare-out.tif"));
    Image *without = picture_read("bare-out.tif");
    assert_true(picture_difference(with, without, 'R') > 0.002);
    DestroyImageList(with);
    DestroyImageList(without);
    free(icc);
}

static const unsigned char exif[] = {
    'E',  'x', 'i', 'f', 0, 0, 'I', 'I', 42,  0,   8,   0, 0, 0,       /* TIFF header, IFD at 8 */
    2,    0,                                                           /* two entries */
    0x12, 1,   3,   0,   1, 0, 0,   0,   6,   0,   0,   0,             /* Orientation: 6 */
    0x31, 1,   2,   0,   4, 0, 0,   0,   'c', 'a', 'm', 0, 0, 0, 0, 0, /* Software: "cam" */
};

/* ImageMagick 6 does not read EXIF from PNG files, so looks for its bytes. */
static bool contains(const char *path, const unsigned char *bytes, size_t size) {
    static unsigned char all[1 << 20];
    FILE *file = fopen(path, "rb");
    size_t length = fread(all, 1, sizeof all, file);
    fclose(file);
    return memmem(all, length, bytes, size) != NULL;
}

static void profiles_are_kept(void **state) {
    (void)state;
    cmsUInt32Number size = 0;
    unsigned char *icc = save_profile(cmsCreate_sRGBProfile(), &size);

    static const char *const names[][2] = {{"p.jpg", "p-out.jpg"},
                                           {"p.jpg", "p-out.png"},
                                           {"p.png", "p-out2.png"},
                                           {"p.tif", "p-out.tif"},
                                           {"p.jpg", "p-out.webp"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Image *image = picture_make(40, 24, "RGB", 1);
        picture_set_profile(image, "icc", icc, size);
        if (!strstr(names[i][0], "tif"))
            picture_set_profile(image, "exif", exif, sizeof exif);
        image->orientation = RightTopOrientation;
        picture_write(image, names[i][0], 8);
        succeed(program("restore %s -o %s", names[i][0], names[i][1]));
        Image *after = picture_read(names[i][1]);
        const StringInfo *kept = GetImageProfile(after, "icc");
        assert_non_null(kept);
        assert_int_equal(GetStringInfoLength(kept), size);
        assert_memory_equal(GetStringInfoDatum(kept), icc, size);
        if (!strstr(names[i][0], "tif"))
            assert_true(contains(names[i][1], exif + 6, sizeof exif - 6));
        if (!strstr(names[i][1], "png") && !strstr(names[i][1], "webp"))
            assert_int_equal(after->orientation, RightTopOrientation);
        DestroyImageList(after);
    }
    free(icc);
}

static void every_frame_is_restored(void **state) {
    (void)state;
    Image *frames = picture_make(16, 16, "RGB", 1);
    AppendImageToList(&frames, picture_make(20, 10, "RGB", 0.5f));
    AppendImageToList(&frames, picture_make(9, 30, "I", 1));
    picture_write(frames, "pages.tif", 8);
    check_kept("pages.tif", "pages-out.tif", "RGB", 0);
    complain(program("restore pages.tif -o pages.jpg"), 5, "has 3 frames and JPG files hold one");
    assert_int_equal(access("pages.jpg", F_OK), -1);
}

static void use_bundled_weights(void) {
    unsetenv("MIRL_WEIGHTS_PATH");
}

/* How far two pictures are apart, as PSNR of the green channel. */
static double psnr(const Image *a, const Image *b) {
    size_t count = a->columns * a->rows;
    float *x = malloc(count * sizeof *x), *y = malloc(count * sizeof *y);
    double sum = 0;
    picture_samples(a, 'G', x);
    picture_samples(b, 'G', y);
    for (size_t i = 0; i < count; i++)
        sum += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
    free(x);
    free(y);
    return -10 * log10(sum / (double)count);
}

/* The build tree's default is found without being told, and does what its card says. */
static void the_bundled_weights_remove_noise(void **state) {
    (void)state;
    picture_write(picture_smooth(160, 120, 0), "clean.png", 8);
    picture_write(picture_smooth(160, 120, 25 / 255.0f), "noisy.png", 8);
    succeed(program_prepared(use_bundled_weights, "restore noisy.png -o denoised.png"));
    Image *clean = picture_read("clean.png"), *noisy = picture_read("noisy.png"),
          *got = picture_read("denoised.png");
    double before = psnr(clean, noisy), after = psnr(clean, got);
    if (!(before < 21.5 && after > before + 10))
        fail_msg("PSNR %.2f dB with noise, %.2f dB restored", before, after);
    DestroyImageList(clean);
    DestroyImageList(noisy);
    DestroyImageList(got);
}

static void odd_sizes_are_restored(void **state) {
    (void)state;
    static const size_t sizes[][2] = {{1, 1}, {7, 5}, {8, 8}, {3000, 9}, {2, 130}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        picture_write(picture_make(sizes[i][0], sizes[i][1], "RGB", 1), "odd.png", 16);
        check_kept("odd.png", "odd-out.png", "RGB", 0);
    }
}

static void too_little_memory_exits_with_4(void **state) {
    (void)state;
    picture_write(picture_make(300, 200, "RGB", 1), "m.png", 8);
    complain(program("restore m.png -o m-out.png --memory 100K"), 4, "'m.png': 300 x 200 pixels");
    assert_int_equal(access("m-out.png", F_OK), -1);
}

static void strength_mixes(void **state) {
    (void)state;
    picture_write(picture_make(32, 32, "RGB", 1), "s.png", 16);
    succeed(program("restore s.png -o s0.png --strength 0"));
    succeed(program("restore s.png -o s5.png --strength 0.5"));
    succeed(program("restore s.png -o s1.png --strength 1 --threads 1"));
    Image *in = picture_read("s.png"), *none = picture_read("s0.png"), *half = picture_read("s5.png"),
          *full = picture_read("s1.png");
    double whole = picture_difference(in, full, 'G');
    assert_true(picture_difference(in, none, 'G') == 0);
    assert_float_equal(picture_difference(in, half, 'G'), whole / 2, 0.02 * whole + 1e-4);
    complain(program("restore s.png -o s2.png --strength 1.5"), 2,
             "--strength is '1.5', it must be a number from 0 to 1");
    DestroyImageList(in);
    DestroyImageList(none);
    DestroyImageList(half);
    DestroyImageList(full);
}

static void a_bad_file_does_not_stop_the_rest(void **state) {
    (void)state;
    picture_write(picture_make(16, 16, "RGB", 1), "good1.png", 8);
    picture_write(picture_make(16, 16, "RGB", 1), "good2.png", 8);
    FILE *file = fopen("bad.png", "w");
    fputs("this is no picture", file);
    fclose(file);
    complain(program("restore good1.png bad.png missing.png good2.png -o many/"), 1,
             "'bad.png' cannot be read: ");
    complain(program("restore good1.png bad.png missing.png good2.png -o many"), 1,
             "'missing.png' cannot be read: No such file");
    assert_int_equal(access("many/good1.png", F_OK), 0);
    assert_int_equal(access("many/good2.png", F_OK), 0);
    assert_int_equal(access("many/bad.png", F_OK), -1);
    assert_int_equal(access("many/missing.png", F_OK), -1);
}

static void what_is_left_of_a_damaged_file_is_restored(void **state) {
    (void)state;
    struct stat about;
    picture_write(picture_make(200, 200, "RGB", 1), "cut.jpg", 8);
    assert_int_equal(stat("cut.jpg", &about), 0);
    assert_int_equal(truncate("cut.jpg", about.st_size / 2), 0);
    complain(program("restore cut.jpg -o cut-out.png"), 1,
             "'cut.jpg' cannot be read completely: Premature end");
    Image *after = picture_read("cut-out.png");
    assert_int_equal(after->rows, 200);
    DestroyImageList(after);

    picture_write(picture_make(200, 200, "RGB", 1), "cut.tif", 8);
    assert_int_equal(truncate("cut.tif", 5000), 0);
    complain(program("restore cut.tif -o none.tif"), 1, "'cut.tif' cannot be read");
    assert_int_equal(access("none.tif", F_OK), -1);
}

static void animations_are_restored_as_whole_pictures(void **state) {
    (void)state;
    Image *frames = picture_make(32, 24, "RGB", 1), *patch = picture_make(10, 8, "RGB", 0.5f);
    patch->page = (RectangleInfo){32, 24, 5, 6};
    patch->delay = frames->delay = 20;
    AppendImageToList(&frames, patch);
    picture_write(frames, "moving.gif", 8);
    succeed(program("restore moving.gif -o moving-out.gif"));
    Image *after = picture_read("moving-out.gif");
    assert_int_equal(GetImageListLength(after), 2);
    assert_int_equal(GetNextImageInList(after)->delay, 20);
    assert_int_equal(GetNextImageInList(after)->columns, 32);
    DestroyImageList(after);
}

static void wrong_names_are_said(void **state) {
    (void)state;
    mkdir("sub", 0777);
    picture_write(picture_make(16, 16, "RGB", 1), "n.png", 8);
    picture_write(picture_make(16, 16, "RGB", 1), "sub/n.png", 8);
    complain(program("restore n.png"), 2, "-o says where");
    complain(program("restore -o x.png"), 2, "too few names");
    complain(program("restore n.png sub/n.png -o x.png"), 2, "'x.png' is not a folder");
    complain(program("restore n.png -o n.xyz"), 5, "knows no format '.xyz'");
    complain(program("restore n.png -o n.png"), 5, "say --overwrite if that is meant");
    complain(program("restore n.png -o ."), 5, "say --overwrite if that is meant");
    complain(program("restore sub -o x.png"), 1, "'sub' cannot be read: it is a folder");
    complain(program("restore n.png sub/n.png -o two/"), 5,
             "'sub/n.png' would replace the result of 'n.png'");
    complain(program("restore n.png -o x.png --tile 100"), 2,
             "--tile is '100', it must be auto, 0 or 128 to 65536");
    complain(program("restore n.png -o x.png --memory lots"), 2, "'lots' is not a size");
    complain(program("restore n.png -o x.png --weights snow"), 3, "no weights called 'snow'");
    complain(program("restore n.png -o nowhere/x.png"), 5, "'nowhere/x.png' cannot be written: No such file");
    complain(program("restore n.png -o /dev/full"), 5,
             "'/dev/full' cannot be written: it is not a regular file");
    assert_int_equal(access("x.png", F_OK), -1);
}

static void names_are_taken_literally(void **state) {
    (void)state;
    static const char *const names[] = {"png:x.png", "x[0].png", "x%d.png", "@x.png", "|x.png", "*.png"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        picture_write(picture_make(16, 16, "RGB", 1), "plain.png", 8);
        assert_int_equal(rename("plain.png", names[i]), 0);
        succeed(program("restore %s -o lit/", names[i]));
        char path[64];
        snprintf(path, sizeof path, "lit/%s", names[i]);
        assert_int_equal(access(path, F_OK), 0);
    }
}

static void overwriting_replaces_the_file_behind_a_link(void **state) {
    (void)state;
    struct stat about;
    picture_write(picture_make(16, 16, "RGB", 1), "target.png", 8);
    chmod("target.png", 0640);
    assert_int_equal(symlink("target.png", "link.png"), 0);
    Image *before = picture_read("target.png");
    succeed(program("restore link.png -o link.png --overwrite"));
    Image *after = picture_read("target.png");
    assert_true(picture_difference(before, after, 'R') > 0);
    assert_int_equal(lstat("link.png", &about), 0);
    assert_true(S_ISLNK(about.st_mode));
    assert_int_equal(stat("target.png", &about), 0);
    assert_int_equal(about.st_mode & 0777, 0640);
    DestroyImageList(before);
    DestroyImageList(after);
}

static void be_nobody(void) {
    if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
        _exit(99);
}

static void a_read_only_target_is_left_alone(void **state) {
    (void)state;
    picture_write(picture_make(16, 16, "RGB", 1), "r.png", 8);
    chmod(".", 0755);
    mkdir("locked", 0555);
    complain(program_prepared(be_nobody, "restore r.png -o locked/r.png"), 5,
             "'locked/r.png' cannot be written: Permission denied");
    mkdir("open", 0777);
    chmod("open", 0777);
    picture_write(picture_make(8, 8, "RGB", 1), "open/r.png", 8);
    chmod("open/r.png", 0444);
    complain(program_prepared(be_nobody, "restore r.png -o open/r.png"), 5, "Permission denied");
    Image *kept = picture_read("open/r.png");
    assert_int_equal(kept->columns, 8);
    DestroyImageList(kept);
}

static void limit_files(void) {
    struct rlimit limit = {4096, 4096};
    setrlimit(RLIMIT_FSIZE, &limit);
}

static void a_result_that_does_not_fit_leaves_nothing(void **state) {
    (void)state;
    static const char *const names[] = {"full.png", "full.jpg", "full.tif", "full.ppm", "full.webp"};
    picture_write(picture_make(200, 200, "RGB", 1), "big.png", 8);
    picture_write(picture_make(8, 8, "RGB", 1), "full.png", 8);
    mkdir("full", 0777);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int before = files_here();
        complain(program_prepared(limit_files, "restore big.png -o full/%s", names[i]), 5,
                 "cannot be written");
        assert_int_equal(files_here(), before);
        assert_int_equal(rmdir("full"), 0);
        mkdir("full", 0777);
    }
}

/* A batch that takes long enough to be stopped in the middle. */
static void cancelling_leaves_whole_files_only(void **state) {
    (void)state;
    enum { FILES = 12 };
    char command[512] = "restore", name[32];
    struct stat in, about;
    picture_write(picture_make(1500, 1500, "RGB", 1), "long0.ppm", 8);
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "long%d.ppm", i);
        assert_true(i == 0 || link("long0.ppm", name) == 0);
        strcat(strcat(command, " "), name);
    }
    assert_int_equal(stat("long0.ppm", &in), 0);
    strcat(command, " -o cancelled/");
    complain(program_cancelled(SIGINT, "cancelled/long1.ppm", "%s", command), 128 + SIGINT, "cancelled");

    int whole = 0;
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "cancelled/long%d.ppm", i);
        if (stat(name, &about) == 0) {
            assert_int_equal(about.st_size, in.st_size);
            whole++;
            unlink(name);
        }
    }
    assert_true(whole >= 2 && whole < FILES);
    assert_int_equal(rmdir("cancelled"), 0); /* nothing else is in it */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(colours_alpha_and_depth_are_kept),
        cmocka_unit_test(eight_bits_are_rounded),
        cmocka_unit_test(grey_stays_grey),
        cmocka_unit_test(floats_keep_their_range),
        cmocka_unit_test(other_colour_spaces_come_back),
        cmocka_unit_test(linear_light_comes_back),
        cmocka_unit_test(linear_formats_hold_the_same_picture),
        cmocka_unit_test(a_linear_profile_is_believed),
        cmocka_unit_test(profiles_are_kept),
        cmocka_unit_test(every_frame_is_restored),
        cmocka_unit_test(the_bundled_weights_remove_noise),
        cmocka_unit_test(odd_sizes_are_restored),
        cmocka_unit_test(too_little_memory_exits_with_4),
        cmocka_unit_test(strength_mixes),
        cmocka_unit_test(a_bad_file_does_not_stop_the_rest),
        cmocka_unit_test(what_is_left_of_a_damaged_file_is_restored),
        cmocka_unit_test(animations_are_restored_as_whole_pictures),
        cmocka_unit_test(wrong_names_are_said),
        cmocka_unit_test(names_are_taken_literally),
        cmocka_unit_test(overwriting_replaces_the_file_behind_a_link),
        cmocka_unit_test(a_read_only_target_is_left_alone),
        cmocka_unit_test(a_result_that_does_not_fit_leaves_nothing),
        cmocka_unit_test(cancelling_leaves_whole_files_only),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
