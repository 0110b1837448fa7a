/* `mirl restore`: image files in, restored image files out. */
#define _GNU_SOURCE /* asprintf() */
#include "commands.h"
#include "error.h"
#include "image_file.h"
#include "options.h"
#include "output.h"
#include "progress.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* What the user asked for. */
typedef struct job {
    const char *out, *weights, *tile;
    double strength;
    int threads, quality;
    uint64_t memory;
    bool overwrite, quiet;
    char **inputs;
    int count;
    bool into_folder; ///< `out` is a folder

    mirl_model *model;
    mirl_options options;
    int current;       ///< index of the input that is being worked on
    double done, next; ///< shares of it: before this frame, and with it
} job;

static bool stop_asked(void) {
    return output_stop_signal() != 0;
}

static void show(const job *job, double done) {
    char label[PATH_MAX + 32];
    const char *path = job->inputs[job->current], *slash = strrchr(path, '/');

    if (job->count > 1)
        snprintf(label, sizeof label, "%d/%d %s", job->current + 1, job->count, slash ? slash + 1 : path);
    else
        snprintf(label, sizeof label, "%s", slash ? slash + 1 : path);
    progress_show(label, (job->current + done) / job->count);
}

static bool on_progress(double done, void *user) {
    const job *job = user;
    show(job, job->done + done * (job->next - job->done));
    return !stop_asked();
}

static int exit_code(mirl_status status) {
    switch (status) {
    case MIRL_OK:
        return EXIT_OK;
    case MIRL_ERROR_MEMORY:
        return EXIT_MEMORY;
    case MIRL_ERROR_CANCELLED:
        return 128 + output_stop_signal();
    default:
        return EXIT_INPUT;
    }
}

static bool is_folder(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static bool is_same_file(const char *a, const char *b) {
    struct stat about_a, about_b;
    return stat(a, &about_a) == 0 && stat(b, &about_b) == 0 && about_a.st_dev == about_b.st_dev &&
           about_a.st_ino == about_b.st_ino;
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Where input `index` goes; to be freed, NULL if memory runs out. */
static char *output_path(const job *job, int index) {
    char *path;
    size_t length = strlen(job->out);
    if (!job->into_folder)
        return strdup(job->out);
    const char *joint = length && job->out[length - 1] == '/' ? "" : "/";
    return asprintf(&path, "%s%s%s", job->out, joint, base_name(job->inputs[index])) < 0 ? NULL : path;
}

/* An output must not be an input (unless that is wanted) nor an earlier input's output. */
static mirl_status check_output(const job *job, int index, const char *path, mirl_error *error) {
    for (int i = 0; i < job->count; i++)
        if (is_same_file(path, job->inputs[i]) && !(job->overwrite && i == index))
            return mirl_fail(error, MIRL_ERROR_ARGUMENT,
                             i == index
                                 ? "'%s' would be replaced by its own restored version; say --overwrite if "
                                   "that is meant"
                                 : "the result would replace the input '%s'",
                             job->inputs[i]);
    for (int i = 0; i < index && job->into_folder; i++)
        if (strcmp(base_name(job->inputs[i]), base_name(job->inputs[index])) == 0)
            return mirl_fail(error, MIRL_ERROR_ARGUMENT, "'%s' would replace the result of '%s'",
                             job->inputs[index], job->inputs[i]);
    return MIRL_OK;
}

static mirl_status restore_frame(job *job, image_file *file, int index, mirl_error *error) {
    mirl_image image;
    int frames = image_file_frames(file);
    mirl_status status = image_file_export(file, index, &image, error);
    if (status)
        return status;

    job->done = (double)index / frames;
    job->next = (index + 1.0) / frames;
    status = mirl_restore(job->model, &image, &image, &job->options, error);
    if (!status)
        status = image_file_import(file, index, &image, error);
    free(image.data);
    return status;
}

/* The result is written beside its place and then renamed. Returns an exit code. */
static int write_result(job *job, image_file *file, const char *path, const char *format, mirl_error *error) {
    output output;
    mirl_status status = output_open(&output, path, error);
    if (status)
        return status == MIRL_ERROR_MEMORY ? EXIT_MEMORY : EXIT_OUTPUT;

    status = image_file_write(file, output.file, format, job->quality, error);
    bool disk = ferror(output.file);
    if (status && (status == MIRL_ERROR_CANCELLED || !disk)) {
        output_discard(&output);
        return status == MIRL_ERROR_FORMAT ? EXIT_OUTPUT : exit_code(status);
    }
    return output_commit(&output, error) ? EXIT_OUTPUT : EXIT_OK;
}

/* As the output's ending says; in a folder, or without an ending, as the input is. */
static mirl_status choose_format(const job *job, const image_file *file, const char *path, char *format,
                                 mirl_error *error) {
    mirl_status status = MIRL_OK;

    *format = '\0';
    if (!job->into_folder)
        status = image_format_of_path(path, format, error);
    if (!*format)
        snprintf(format, IMAGE_FORMAT_MAX, "%s", image_file_format(file));
    return status ? status : image_format_check(format, image_file_frames(file), error);
}

static int restore_to(job *job, const char *path, mirl_error *error) {
    const char *input = job->inputs[job->current];
    char format[IMAGE_FORMAT_MAX];
    bool partial;
    int code = EXIT_OK;
    image_file *file = image_file_read(input, stop_asked, &partial, error);
    if (!file)
        return exit_code(error->status);

    mirl_error reading = *error;
    if (choose_format(job, file, path, format, error))
        code = EXIT_OUTPUT;
    for (int i = 0; i < image_file_frames(file) && !code; i++)
        code = exit_code(restore_frame(job, file, i, error));
    if (!code)
        code = write_result(job, file, path, format, error);
    image_file_close(file);
    if (code || !partial)
        return code;
    *error = reading;
    return EXIT_INPUT;
}

/* Returns an exit code, after printing what went wrong. */
static int restore_input(job *job, int index) {
    mirl_error error = {0};
    char *path = output_path(job, index);
    int code = EXIT_MEMORY;

    job->current = index;
    job->done = job->next = 0;
    show(job, 0);
    if (!path)
        mirl_fail(&error, MIRL_ERROR_MEMORY, "not enough memory");
    else if (check_output(job, index, path, &error))
        code = EXIT_OUTPUT;
    else
        code = restore_to(job, path, &error);
    if (code && code < 128 && strstr(error.message, job->inputs[index]))
        progress_say("restore", "%s", error.message);
    else if (code && code < 128)
        progress_say("restore", "'%s': %s", job->inputs[index], error.message);
    free(path);
    return code;
}

static bool read_tile(const char *text, int *tile) {
    char *end;
    long side = strtol(text, &end, 10);

    if (strcmp(text, "auto") == 0) {
        *tile = MIRL_TILE_AUTO;
        return true;
    }
    *tile = (int)side;
    return end != text && !*end && (side == 0 || (side >= 128 && side <= 65536));
}

/* Decides whether -o is a file or a folder, which is made if its name ends in '/'. */
static int check_job(const command_line *line, job *job) {
    size_t length;

    if (!job->out || !*job->out)
        return options_complain(line, "-o says where the result goes");
    if (!read_tile(job->tile, &job->options.tile))
        return options_complain(line, "--tile is '%s', it must be auto, 0 or 128 to 65536", job->tile);
    length = strlen(job->out);
    if (job->out[length - 1] == '/' && !is_folder(job->out) && mkdir(job->out, 0777)) {
        progress_say("restore", "the folder '%s' cannot be made", job->out);
        return EXIT_OUTPUT;
    }
    job->into_folder = is_folder(job->out);
    if (job->count > 1 && !job->into_folder)
        return options_complain(line,
                                "'%s' is not a folder, as there are several inputs: '%s/' would make it",
                                job->out, job->out);
    job->options.strength = (float)job->strength;
    job->options.threads = job->threads;
    job->options.memory = job->memory;
    job->options.progress = on_progress;
    job->options.user = job;
    return EXIT_OK;
}

static int open_model(job *job) {
    mirl_error error;
    char *path = find_weights(job->weights, &error);

    job->model = path ? mirl_model_open(path, &error) : NULL;
    free(path);
    if (job->model)
        return EXIT_OK;
    progress_say("restore", "%s", error.message);
    return error.status == MIRL_ERROR_MEMORY ? EXIT_MEMORY : EXIT_WEIGHTS;
}

static int run(job *job) {
    int code = open_model(job);
    if (code)
        return code;

    output_catch_signals();
    image_files_begin(job->threads);
    progress_begin(!job->quiet);
    int restored = 0, index = 0;
    for (; index < job->count && !stop_asked(); index++) {
        int result = restore_input(job, index);
        restored += result == EXIT_OK;
        if (!code || result > 128)
            code = result;
    }
    if (stop_asked() && (index < job->count || code > 128)) {
        progress_say("restore", "cancelled; %d of %d are restored", restored, job->count);
        code = 128 + output_stop_signal();
    }
    progress_end();
    image_files_end();
    mirl_model_close(job->model);
    return code;
}

int command_restore(int argc, char **argv) {
    job job = {.tile = "auto", .strength = 1, .options = mirl_options_default()};
    const option_entry options[] = {
        {.name = "output",
         .letter = 'o',
         .kind = OPTION_TEXT,
         .argument = "OUT",
         .value = &job.out,
         .help = "the result: a file, or a folder for files of the same names;\na folder whose name ends in "
                 "/ is made"},
        {.name = "weights",
         .letter = 'w',
         .kind = OPTION_TEXT,
         .argument = "NAME|FILE",
         .value = &job.weights,
         .help = "what restores; without it, the default weights"},
        {.name = "strength",
         .letter = 's',
         .kind = OPTION_NUMBER,
         .argument = "S",
         .value = &job.strength,
         .high = 1,
         .help = "0 (as it was) to 1 (restored), default 1"},
        {.name = "tile",
         .kind = OPTION_TEXT,
         .argument = "auto|0|N",
         .value = &job.tile,
         .help = "auto: whole up to about a megapixel, otherwise tiles,\nsmaller ones where memory is short "
                 "(default);\n0: always whole; N: tiles of at most N x N pixels"},
        {.name = "threads",
         .letter = 't',
         .kind = OPTION_INTEGER,
         .argument = "N",
         .value = &job.threads,
         .high = 256,
         .help = "default 0: as many as there are processors"},
        {.name = "memory",
         .letter = 'm',
         .kind = OPTION_SIZE,
         .argument = "SIZE",
         .value = &job.memory,
         .help = "what restoring may use beside the weights and the\nimage itself, e.g. 1.5G; default 512M"},
        {.name = "quality",
         .kind = OPTION_INTEGER,
         .argument = "Q",
         .value = &job.quality,
         .low = 1,
         .high = 100,
         .help = "of JPEG and other lossy files; default: the input's own, at\nleast 95"},
        {.name = "overwrite",
         .kind = OPTION_FLAG,
         .value = &job.overwrite,
         .help = "let a result replace its own input"},
        {.name = "quiet", .letter = 'q', .kind = OPTION_FLAG, .value = &job.quiet, .help = "no progress bar"},
        {0},
    };
    const command_line line = {
        .name = "restore",
        .operands = "IN... -o OUT",
        .help =
            "Restores image files of any format that ImageMagick reads. Depth, colour space, profile, EXIF,\n"
            "orientation, alpha and all frames are kept. A result appears whole or not at all; a file that\n"
            "cannot be restored does not stop the others.",
        .notes = "exit codes: 0 all restored. Otherwise the first failure's: 1 an input cannot be read or\n"
                 "restored (or is damaged: what is left of it is restored), 2 wrong command line, 3 the\n"
                 "weights cannot be found or opened, 4 not enough memory, 5 a result cannot be written;\n"
                 "128 + the signal's number if cancelled (130: Ctrl-C).",
        .options = options,
        .operands_min = 1,
        .operands_max = INT_MAX,
    };
    int status, first = options_read(&line, argc, argv, &status);
    if (first < 0)
        return status;

    job.inputs = argv + first;
    job.count = argc - first;
    status = check_job(&line, &job);
    return status ? status : run(&job);
}
