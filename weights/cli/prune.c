/* `mirl prune`: makes weights from a recipe, by iterative magnitude pruning. */
#define _GNU_SOURCE // asprintf
#include "commands.h"
#include "options.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "trainer/comm.h"
#include "trainer/device/device.h"
#include "trainer/device/restorer.h"
#include "trainer/report.h"
#include "trainer/rounds.h"

static volatile sig_atomic_t stop_signal;

static void on_signal(int number) {
    stop_signal = number;
}

/* How progress is shown: a line rewritten on a terminal, or one a minute. */
typedef struct display {
    const trainer_recipe *recipe;
    const char *folder; ///< the run's
    const trainer_ops *ops;
    bool terminal, quiet;
    double last; ///< clock
    bool open;   ///< the cursor stands behind a line that is to be rewritten
} display;

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void show_progress(const trainer_progress *progress, void *user) {
    display *display = user;
    double now = seconds_now(), left = progress->seconds_left;
    char time_left[32] = "?";

    if (display->quiet || now - display->last < (display->terminal ? 0.5 : 60))
        return;
    display->last = now;
    if (left >= 0)
        snprintf(time_left, sizeof time_left, "%d:%02d h", (int)(left / 3600), (int)(left / 60) % 60);
    fprintf(stderr,
            "%sround %d/%d (%.1f %% alive)  %3.0f %%  step %" PRIu64
            "  loss %.5f (input %.5f)  %.1f patches/s  %s left%s",
            display->terminal ? "\r\033[K" : "", progress->round, progress->rounds, 100 * progress->alive,
            100 * progress->share, progress->step, progress->loss, progress->identity,
            progress->patches_per_second, time_left, display->terminal ? "" : "\n");
    display->open = display->terminal;
}

static void show_sentence(const char *sentence, void *user) {
    display *display = user;
    fprintf(stderr, "%smirl prune: %s\n", display->open ? "\n" : "", sentence);
    display->open = false;
}

static bool go_on(size_t done, size_t images, void *user) {
    (void)done, (void)images, (void)user;
    return !stop_signal;
}

/* Scores the tasks that are trained, and renews report.html. */
static mirl_status report_round(int round, const char *weights, void *user, mirl_error *error) {
    const display *display = user;
    const trainer_recipe *recipe = display->recipe;
    trainer_eval_options eval = trainer_eval_options_default();
    eval.folder = recipe->test_folder;
    eval.limit = (size_t)recipe->evaluate_images;
    eval.threads = recipe->threads;
    eval.progress = go_on;
    for (int i = 0; i < TRAINER_TASKS; i++)
        eval.tasks[i] = recipe->data.tasks[i] || recipe->data.mix[i] > 0;
    if (*recipe->test_folder && display->ops->memory) {
        eval.restore = trainer_restorer_run;
        eval.restore_user = trainer_restorer_open(weights, display->ops, error);
        if (!eval.restore_user)
            return error->status;
    }
    mirl_status status = trainer_report_round(display->folder, recipe->name, round, weights,
                                              *recipe->test_folder ? &eval : NULL, error);
    trainer_restorer_close(eval.restore_user);
    return status;
}

/* ---- The recipe and what the command line says over it ----------------------------------------------- */

typedef struct overrides {
    const char **keys, **values;
    int count;
} overrides;

/* Takes `--set key=value`, `--key value` and `--key=value` out of argv; false after a complaint. */
static bool take_overrides(const command_line *line, int *argc, char **argv, overrides *overrides) {
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        char *argument = argv[i], *equals;
        bool set = strcmp(argument, "--set") == 0;
        if (set && i + 1 < *argc)
            argument = argv[++i];
        else if (strncmp(argument, "--", 2) == 0)
            argument += 2;
        else
            argument = NULL;
        char *key = argument ? strdup(argument) : NULL;
        equals = key ? strchr(key, '=') : NULL;
        if (equals)
            *equals = '\0';
        if (set && !equals) {
            free(key);
            options_complain(line, "--set takes KEY=VALUE");
            return false;
        }
        bool option = key && (!trainer_recipe_has(key) || strcmp(key, "data") == 0);
        if (!key || (!set && option)) {
            free(key);
            argv[kept++] = argv[i];
            continue;
        }
        if (!equals && i + 1 == *argc) {
            options_complain(line, "--%s takes a value", key);
            free(key);
            return false;
        }
        overrides->keys[overrides->count] = key;
        overrides->values[overrides->count++] = equals ? equals + 1 : argv[++i];
    }
    argv[kept] = NULL;
    *argc = kept;
    return true;
}

static mirl_status read_recipe(trainer_recipe *recipe, const char *path, const overrides *overrides,
                               const char *data, mirl_error *error) {
    mirl_status status = trainer_recipe_read(recipe, path, error);
    for (int i = 0; i < overrides->count && !status; i++)
        status = trainer_recipe_set(recipe, overrides->keys[i], overrides->values[i], error);
    if (!status && data)
        status = trainer_recipe_set(recipe, "data", data, error);
    return status ? status : trainer_recipe_check(recipe, error);
}

/* ---- The command ------------------------------------------------------------------------------------- */

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static int exit_code(trainer_ending ending) {
    switch (ending) {
    case TRAINER_COMPLETE:
    case TRAINER_STUCK:
        return EXIT_OK;
    case TRAINER_STOPPED:
        return 128 + (stop_signal ? (int)stop_signal : SIGTERM);
    case TRAINER_REFUSED:
        return EXIT_USAGE;
    default:
        return EXIT_INPUT;
    }
}

static int run_recipe(const trainer_recipe *recipe, const char *out, const trainer_ops *ops, bool resume,
                      bool quiet) {
    display display = {.recipe = recipe,
                       .folder = out,
                       .ops = ops,
                       .terminal = isatty(STDERR_FILENO),
                       .quiet = quiet,
                       .last = seconds_now()};
    trainer_run_options options = {.recipe = recipe,
                                   .folder = out,
                                   .ops = ops,
                                   .resume = resume,
                                   .stop = &stop_signal,
                                   .progress = show_progress,
                                   .say = show_sentence,
                                   .round_done = report_round,
                                   .user = &display};
    mirl_error error;

    if (mkdir(out, 0777) && errno != EEXIST) {
        fprintf(stderr, "mirl prune: '%s' cannot be made: %s\n", out, strerror(errno));
        return EXIT_USAGE;
    }
    catch_signals();
    trainer_ending ending = trainer_run(&options, &error);
    if (ending == TRAINER_STOPPED)
        show_sentence("stopped; --resume goes on from here", &display);
    if (ending == TRAINER_REFUSED || ending == TRAINER_FAILED)
        show_sentence(error.message, &display);
    return exit_code(ending);
}

/* Opens the device and says which it is. NULL after a complaint. */
static const trainer_ops *open_device(const char *device, const char *precision, bool quiet) {
    char name[200];
    mirl_error error;
    trainer_precision products;
    if (!trainer_precision_find(precision, &products)) {
        fprintf(stderr, "mirl prune: '%s' is no precision; there are float32, tf32 and bf16\n", precision);
        return NULL;
    }
    const trainer_ops *ops = trainer_device_open(device, products, name, sizeof name, &error);
    if (!ops)
        fprintf(stderr, "mirl prune: %s\n", error.message);
    else if (ops->memory && !quiet)
        fprintf(stderr, "mirl prune: on %s, in %s\n", name, precision);
    return ops;
}

int command_prune(int argc, char **argv) {
    const char *data = NULL, *out = NULL, *device = "auto", *precision = "tf32";
    bool resume = false, quiet = false;
    const option_entry entries[] = {
        {"data", 'd', OPTION_TEXT, "DIR", "the folder that holds train/; over the recipe's `data`", &data, 0,
         0},
        {"out", 'o', OPTION_TEXT, "DIR", "the run's folder; without it, NAME.run of the recipe's `name`",
         &out, 0, 0},
        {"resume", 'r', OPTION_FLAG, NULL, "go on from the checkpoint in the run's folder, if there is one",
         &resume, 0, 0},
        {"device", 0, OPTION_TEXT, "DEVICE",
         "cuda, cpu, or auto: a GPU if there is one that this mirl can use", &device, 0, 0},
        {"precision", 0, OPTION_TEXT, "NAME",
         "of a GPU: float32, tf32 for products of matrices (unless given), or bf16 for these and\n"
         "activations",
         &precision, 0, 0},
        {"quiet", 'q', OPTION_FLAG, NULL, "show no progress", &quiet, 0, 0},
        {NULL, 0, OPTION_FLAG, NULL, NULL, NULL, 0, 0},
    };
    const command_line line = {
        .name = "prune",
        .operands = "RECIPE",
        .help = "Trains a network after a recipe, and prunes it round by round.",
        .notes = "Every key of the recipe can be given as --KEY VALUE or --set KEY=VALUE.\n"
                 "Ctrl-C writes a checkpoint and stops; --resume goes on to the same weights.",
        .options = entries,
        .operands_min = 1,
        .operands_max = 1,
    };
    overrides overrides = {calloc((size_t)argc + 1, sizeof(char *)), calloc((size_t)argc + 1, sizeof(char *)),
                           0};
    trainer_recipe recipe = trainer_recipe_default();
    char *folder = NULL;
    mirl_error error;
    int status = EXIT_USAGE, first;

    if (!overrides.keys || !overrides.values)
        return EXIT_MEMORY;
    trainer_comm_open(&argc, &argv);
    if (take_overrides(&line, &argc, argv, &overrides) &&
        (first = options_read(&line, argc, argv, &status)) > 0) {
        if (read_recipe(&recipe, argv[first], &overrides, data, &error)) {
            fprintf(stderr, "mirl prune: %s\n", error.message);
            status = EXIT_USAGE;
        } else if (!out && asprintf(&folder, "%s.run", recipe.name) < 0) {
            status = EXIT_MEMORY;
        } else {
            const trainer_ops *ops = open_device(device, precision, quiet);
            status = ops ? run_recipe(&recipe, out ? out : folder, ops, resume, quiet) : EXIT_USAGE;
        }
    }
    trainer_comm_close();
    for (int i = 0; i < overrides.count; i++)
        free((char *)overrides.keys[i]);
    free(overrides.keys);
    free(overrides.values);
    free(folder);
    return status;
}
