/* `mirl eval`: scores weights on test sets by MIR-L's protocol. */
#include "commands.h"
#include "options.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trainer/device/device.h"
#include "trainer/device/restorer.h"
#include "trainer/eval.h"

static bool show_progress(size_t done, size_t images, void *user) {
    (void)user;
    fprintf(stderr, "\r%zu of %zu images%s", done, images, done == images ? "\r\033[K" : "");
    return true;
}

/* Adds the tasks of a list such as "denoise,derain". Returns the one that is unknown, or NULL. */
static const char *read_tasks(const char *list, bool *tasks) {
    static char name[32];
    while (*list) {
        size_t length = strcspn(list, ",");
        snprintf(name, sizeof name, "%.*s", (int)length, list);
        trainer_task task = trainer_task_find(name);
        if (task == TRAINER_TASKS)
            return name;
        tasks[task] = true;
        list += length + (list[length] == ',');
    }
    return NULL;
}

static void print_row(const char *left, const char *name, size_t count, const trainer_figures *figures) {
    char number[24] = "";
    if (count)
        snprintf(number, sizeof number, "%zu", count);
    // The padding counts bytes, of which the sigma in a name has one more than it shows.
    int width = 22 + (strstr(name, "σ") != NULL);
    printf("%-8s %-*s %6s %9.3f %7.4f %9.3f %7.4f\n", left, width, name, number, figures->input_psnr,
           figures->input_ssim, figures->psnr, figures->ssim);
}

static void print_table(const trainer_scores *scores, bool each) {
    printf("%-8s %-22s %6s %9s %7s %9s %7s\n", "task", "set", "images", "in PSNR", "SSIM", "out PSNR",
           "SSIM");
    for (size_t i = 0; i < scores->count; i++) {
        const trainer_score *set = &scores->sets[i];
        char label[256];
        trainer_score_label(set, label, sizeof label);
        for (size_t k = 0; each && k < set->count; k++)
            print_row("", set->images[k].name, 0, &set->images[k].figures);
        print_row(trainer_task_name(set->task), label, set->count, &set->means);
    }
}

static void add_figures(cJSON *object, const trainer_figures *figures) {
    cJSON_AddNumberToObject(object, "psnr", figures->psnr);
    cJSON_AddNumberToObject(object, "ssim", figures->ssim);
    cJSON_AddNumberToObject(object, "input_psnr", figures->input_psnr);
    cJSON_AddNumberToObject(object, "input_ssim", figures->input_ssim);
}

static int print_json(const trainer_scores *scores) {
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < scores->count; i++) {
        const trainer_score *set = &scores->sets[i];
        cJSON *object = cJSON_CreateObject();
        char label[256];
        trainer_score_label(set, label, sizeof label);
        cJSON_AddItemToArray(list, object);
        cJSON_AddStringToObject(object, "task", trainer_task_name(set->task));
        cJSON_AddStringToObject(object, "set", label);
        if (set->task == TRAINER_DENOISE)
            cJSON_AddNumberToObject(object, "sigma", set->sigma);
        add_figures(object, &set->means);
        cJSON_AddNumberToObject(object, "images", (double)set->count);
        cJSON *each = cJSON_AddArrayToObject(object, "each");
        for (size_t k = 0; k < set->count; k++) {
            cJSON *image = cJSON_CreateObject();
            cJSON_AddItemToArray(each, image);
            cJSON_AddStringToObject(image, "name", set->images[k].name);
            add_figures(image, &set->images[k].figures);
        }
    }
    char *text = cJSON_Print(list);
    cJSON_Delete(list);
    if (!text) {
        fprintf(stderr, "mirl eval: not enough memory\n");
        return EXIT_MEMORY;
    }
    puts(text);
    cJSON_free(text);
    return EXIT_OK;
}

/* Whether results can be saved in the folder, which is made if it is missing. */
static bool can_save(const char *folder) {
    return (mkdir(folder, 0777) == 0 || errno == EEXIST) && access(folder, W_OK | X_OK) == 0;
}

static int run(const char *weights, trainer_eval_options *options, const trainer_ops *ops, bool json,
               bool each) {
    mirl_error error;
    if (options->save && !can_save(options->save)) {
        fprintf(stderr, "mirl eval: cannot write to %s: %s\n", options->save, strerror(errno));
        return EXIT_OUTPUT;
    }
    char *path = find_weights(weights, &error);
    mirl_model *model = path ? mirl_model_open(path, &error) : NULL;
    if (model && ops->memory) {
        options->restore = trainer_restorer_run;
        options->restore_user = trainer_restorer_open(path, ops, &error);
    }
    free(path);
    if (!model || (options->restore && !options->restore_user)) {
        mirl_model_close(model);
        fprintf(stderr, "mirl eval: %s\n", error.message);
        return error.status == MIRL_ERROR_MEMORY ? EXIT_MEMORY : EXIT_WEIGHTS;
    }
    int code = EXIT_OK;
    trainer_scores *scores = trainer_eval(model, options, &error);
    if (!scores) {
        fprintf(stderr, "mirl eval: %s\n", error.message);
        code = error.status == MIRL_ERROR_MEMORY ? EXIT_MEMORY : EXIT_INPUT;
    } else if (json) {
        code = print_json(scores);
    } else {
        print_table(scores, each);
    }
    trainer_scores_free(scores);
    trainer_restorer_close(options->restore_user);
    mirl_model_close(model);
    return code;
}

int command_eval(int argc, char **argv) {
    trainer_eval_options settings = trainer_eval_options_default();
    const char *tasks = NULL, *device = "cpu", *precision = "float32";
    bool json = false, each = false;
    int limit = 0, seed = 0;
    const option_entry options[] = {
        {.name = "data",
         .letter = 'd',
         .kind = OPTION_TEXT,
         .argument = "DIR",
         .value = &settings.folder,
         .help = "the test folder: DIR/denoise/<set>/*, DIR/derain/<set>/{input,target}/*,\n"
                 "DIR/dehaze/..., DIR/dejpeg/..."},
        {.name = "task",
         .letter = 't',
         .kind = OPTION_TEXT,
         .argument = "TASK,...",
         .value = &tasks,
         .help = "denoise, derain, dehaze, dejpeg (all that have images)"},
        {.name = "save",
         .kind = OPTION_TEXT,
         .argument = "DIR",
         .value = &settings.save,
         .help = "keep the restored images, as PNG, in DIR/<task>/<set>/"},
        {.name = "each", .kind = OPTION_FLAG, .value = &each, .help = "a line for every image, too"},
        {.name = "json",
         .kind = OPTION_FLAG,
         .value = &json,
         .help = "print JSON: a list of sets, each with its images in \"each\""},
        {.name = "limit",
         .kind = OPTION_INTEGER,
         .argument = "N",
         .value = &limit,
         .low = 1,
         .high = 1 << 30,
         .help = "only N images of each set, spread over it"},
        {.name = "seed",
         .kind = OPTION_INTEGER,
         .argument = "N",
         .value = &seed,
         .high = 2147483647,
         .help = "of the noise (0)"},
        {.name = "threads",
         .kind = OPTION_INTEGER,
         .argument = "N",
         .value = &settings.threads,
         .low = 1,
         .high = 256,
         .help = "processor threads (all); the figures do not depend on it"},
        {.name = "device",
         .kind = OPTION_TEXT,
         .argument = "DEVICE",
         .value = &device,
         .help = "cpu (unless given), cuda, or auto: a GPU if there is one that this mirl can use"},
        {.name = "precision",
         .kind = OPTION_TEXT,
         .argument = "NAME",
         .value = &precision,
         .help = "of a GPU: float32 (unless given), tf32 for products of matrices, or bf16 for these and\n"
                 "activations"},
        {.name = "memory",
         .kind = OPTION_SIZE,
         .argument = "SIZE",
         .value = &settings.memory,
         .help = "for restoring (half of the machine's)"},
        {0},
    };
    const command_line line = {
        .name = "eval",
        .operands = "[WEIGHTS] --data DIR",
        .help =
            "Scores weights (without a name: the default ones) by MIR-L's protocol: images cropped at the\n"
            "centre to multiples of 16 and restored whole; PSNR and SSIM of the clipped, unrounded result.\n"
            "Denoising adds noise of sigma 15, 25 and 50.",
        .notes =
            "exit codes: 0 done, 1 an image cannot be read or there is none, 2 wrong command line, 3 the\n"
            "weights cannot be found or opened, 4 not enough memory, 5 a result cannot be written.",
        .options = options,
        .operands_max = 1,
    };
    int status, first = options_read(&line, argc, argv, &status);
    if (first < 0)
        return status;
    if (!settings.folder)
        return options_complain(&line, "--data DIR is missing");
    const char *unknown = tasks ? read_tasks(tasks, settings.tasks) : NULL;
    if (unknown)
        return options_complain(&line, "'%s' is none of denoise, derain, dehaze and dejpeg", unknown);
    settings.limit = (size_t)limit;
    settings.seed = (uint64_t)seed;
    if (isatty(STDERR_FILENO))
        settings.progress = show_progress;
    char name[200];
    mirl_error error;
    trainer_precision products;
    if (!trainer_precision_find(precision, &products))
        return options_complain(&line, "'%s' is no precision; there are float32, tf32 and bf16", precision);
    const trainer_ops *ops = trainer_device_open(device, products, name, sizeof name, &error);
    if (!ops)
        return options_complain(&line, "%s", error.message);
    return run(argv[first], &settings, ops, json, each);
}
