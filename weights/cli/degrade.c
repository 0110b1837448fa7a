/* `mirl degrade`: fixed test sets in MIR-L's layout, with the damage that the trainer makes on the fly. */
#define _GNU_SOURCE // asprintf
#include "commands.h"
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/degrade.h"
#include "trainer/layout.h"
#include "trainer/photo.h"

/* Option --name's text, and the range it sets; NULL: it takes one number. */
typedef struct range_option {
    const char *name, *text;
    trainer_range *range;
} range_option;

typedef struct job {
    trainer_task task;
    const char *folder; ///< with input/ and target/ in it
    uint64_t seed;
    trainer_ranges ranges;
    bool verbose;
} job;

static bool find_kind(const char *name, trainer_task *task) {
    static const char *const kinds[TRAINER_TASKS] = {"noise", "rain", "haze", "jpeg"};
    for (int i = 0; i < TRAINER_TASKS; i++) {
        if (strcmp(kinds[i], name) == 0) {
            *task = (trainer_task)i;
            return true;
        }
    }
    return false;
}

/* "VALUE" or "LOW..HIGH". */
static bool read_range(const char *text, trainer_range *range) {
    char *end;
    range->low = range->high = strtod(text, &end);
    if (end == text)
        return false;
    // strtod() takes the first point of "20..30" for its own.
    if (*end == '.' && end[-1] == '.')
        end--;
    if (strncmp(end, "..", 2) == 0) {
        text = end + 2;
        range->high = strtod(text, &end);
    }
    return end != text && *end == '\0';
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int stem_length(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot && dot != name ? (int)(dot - name) : (int)strlen(name);
}

static mirl_status write_half(const job *work, const char *half, const char *name, const char *suffix,
                              const trainer_picture *picture, mirl_error *error) {
    char *path;
    if (asprintf(&path, "%s/%s/%.*s%s.png", work->folder, half, stem_length(name), name, suffix) < 0) {
        error->status = MIRL_ERROR_MEMORY;
        snprintf(error->message, sizeof error->message, "not enough memory");
        return MIRL_ERROR_MEMORY;
    }
    mirl_status status = trainer_make_folders(path, error);
    if (status == MIRL_OK)
        status = trainer_photo_write(path, picture, error);
    free(path);
    return status;
}

/* Returns an exit code. */
static int degrade_file(const job *work, const char *path) {
    mirl_error error;
    trainer_picture clean, damaged;
    if (trainer_photo_read(path, &clean, &error)) {
        fprintf(stderr, "mirl degrade: %s\n", error.message);
        return error.status == MIRL_ERROR_MEMORY ? EXIT_MEMORY : EXIT_INPUT;
    }
    const char *name = base_name(path);
    trainer_random random = trainer_random_stream(work->seed, (uint64_t)work->task,
                                                  trainer_random_name(name, (size_t)stem_length(name)));
    trainer_damage damage = trainer_damage_draw(work->task, &work->ranges, random);
    const char *suffix = work->task == TRAINER_DENOISE ? "_noisy" : trainer_layout_suffix(work->task);
    damaged = clean;
    damaged.rgb = malloc((size_t)clean.width * (size_t)clean.height * 3);
    int code = EXIT_OK;
    if (!damaged.rgb ||
        trainer_damage_apply(&damage, &clean, (trainer_rectangle){0, 0, clean.width, clean.height},
                             damaged.rgb, &error)) {
        fprintf(stderr, "mirl degrade: not enough memory for %s\n", path);
        code = EXIT_MEMORY;
    } else if (write_half(work, "input", name, suffix, &damaged, &error) ||
               write_half(work, "target", name, "_gt", &clean, &error)) {
        fprintf(stderr, "mirl degrade: %s\n", error.message);
        code = EXIT_OUTPUT;
    } else if (work->verbose) {
        char text[200];
        trainer_damage_describe(&damage, text, sizeof text);
        printf("%.*s: %s\n", stem_length(name), name, text);
    }
    free(damaged.rgb);
    free(clean.rgb);
    return code;
}

static int run(const job *work, int count, char **paths) {
    for (int i = 0; i < count; i++) {
        const char *name = base_name(paths[i]);
        for (int k = 0; k < i; k++) {
            const char *other = base_name(paths[k]);
            if (stem_length(name) == stem_length(other) &&
                strncmp(name, other, (size_t)stem_length(name)) == 0) {
                fprintf(stderr, "mirl degrade: %s and %s would be written to the same file\n", paths[k],
                        paths[i]);
                return EXIT_USAGE;
            }
        }
    }
    int code = EXIT_OK;
    for (int i = 0; i < count; i++) {
        int failed = degrade_file(work, paths[i]);
        code = code ? code : failed;
    }
    return code;
}

/* Reads the options' texts into their ranges and checks them all. Returns an exit code. */
static int set_ranges(const command_line *line, const range_option *options, int count, job *work) {
    for (int i = 0; i < count; i++) {
        if (!options[i].text)
            continue;
        trainer_range range;
        if (!read_range(options[i].text, &range))
            return options_complain(line, "--%s is '%s', it must be a number or LOW..HIGH", options[i].name,
                                    options[i].text);
        if (options[i].range) {
            *options[i].range = range;
        } else if (range.low != range.high) {
            return options_complain(line, "--%s takes one number", options[i].name);
        } else if (strcmp(options[i].name, "sigma") == 0) {
            work->ranges.sigmas[0] = range.low;
            work->ranges.sigma_count = 1;
        } else {
            work->ranges.jpeg_full_chroma = range.low;
        }
    }
    mirl_error error;
    if (trainer_ranges_check(&work->ranges, &error))
        return options_complain(line, "%s", error.message);
    return EXIT_OK;
}

int command_degrade(int argc, char **argv) {
    job work = {.ranges = trainer_ranges_default()};
    int seed = 0;
    range_option ranges[] = {
        {"sigma", NULL, NULL},
        {"layers", NULL, &work.ranges.rain_layers},
        {"length", NULL, &work.ranges.rain_length},
        {"angle", NULL, &work.ranges.rain_angle},
        {"width", NULL, &work.ranges.rain_width},
        {"density", NULL, &work.ranges.rain_density},
        {"brightness", NULL, &work.ranges.rain_brightness},
        {"airlight", NULL, &work.ranges.haze_airlight},
        {"beta", NULL, &work.ranges.haze_beta},
        {"quality", NULL, &work.ranges.jpeg_quality},
        {"full-chroma", NULL, NULL},
    };
    enum { RANGES = sizeof ranges / sizeof *ranges };
    static const char *const help[RANGES] = {
        "noise: standard deviation, 0..255 scale (15, 25 or 50)",
        "rain: layers of streaks (1..3)",
        "rain: length of a streak, pixels (20..60)",
        "rain: degrees from the vertical (-30..30)",
        "rain: width of a streak, pixels (1..2)",
        "rain: streaks a layer for 10 000 pixels (5..25)",
        "rain: brightness of a streak (0.2..0.6)",
        "haze: brightness of the haze, A (0.7..1)",
        "haze: thickness, beta (0.6..1.8)",
        "jpeg: libjpeg's quality (10..60)",
        "jpeg: share of images with full colour resolution (0.2)",
    };
    option_entry options[RANGES + 4] = {
        {.name = "output",
         .letter = 'o',
         .kind = OPTION_TEXT,
         .argument = "DIR",
         .value = &work.folder,
         .help = "the set to make: DIR/input/ and DIR/target/"},
        {.name = "seed",
         .kind = OPTION_INTEGER,
         .argument = "N",
         .value = &seed,
         .high = 2147483647,
         .help = "another seed, another set (0)"},
        {.name = "verbose",
         .letter = 'v',
         .kind = OPTION_FLAG,
         .value = &work.verbose,
         .help = "print what is done to each image"},
    };
    for (int i = 0; i < RANGES; i++)
        options[3 + i] = (option_entry){.name = ranges[i].name,
                                        .kind = OPTION_TEXT,
                                        .argument = ranges[i].range ? "X|LOW..HIGH" : "X",
                                        .help = help[i],
                                        .value = &ranges[i].text};
    const command_line line = {
        .name = "degrade",
        .operands = "noise|rain|haze|jpeg IN... -o DIR",
        .help = "Damages clean images (JPEG, PNG, BMP) and writes pairs in the layout that `mirl eval` and\n"
                "`mirl prune` read, as PNG: DIR/input/<n>_rainy.png (_noisy, _hazy, _jpeg) and\n"
                "DIR/target/<n>_gt.png. The same seed and name give the same damage.",
        .notes = "exit codes: 0 done, 1 an image cannot be read, 2 wrong command line, 4 not enough memory,\n"
                 "5 a file cannot be written.",
        .options = options,
        .operands_min = 2,
        .operands_max = 1 << 30,
    };
    int status, first = options_read(&line, argc, argv, &status);
    if (first < 0)
        return status;
    if (!find_kind(argv[first], &work.task))
        return options_complain(&line, "'%s' is none of noise, rain, haze and jpeg", argv[first]);
    if (!work.folder)
        return options_complain(&line, "-o DIR is missing");
    if ((status = set_ranges(&line, ranges, RANGES, &work)))
        return status;
    work.seed = (uint64_t)seed;
    return run(&work, argc - first - 1, argv + first + 1);
}
