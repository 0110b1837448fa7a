#include "trainer/recipe.h"

#include "error.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum key_kind {
    KEY_INTEGERS, ///< `count` ints
    KEY_NUMBERS,  ///< `count` doubles
    KEY_SEED,     ///< one uint64_t
    KEY_TEXT,     ///< char [count]
    KEY_LENGTH,
    KEY_SCOPE,
    KEY_RESET,
    KEY_TASKS, ///< names, each with an optional share: "denoise 2 derain 1"
    KEY_SIGMAS,
} key_kind;

typedef struct key {
    const char *name;
    key_kind kind;
    size_t offset;
    int count;
    double low, high;
    bool local; ///< it does not change what comes out, or only this machine understands it
} key;

#define AT(field) offsetof(trainer_recipe, field)
#define RANGE(name, low, high)                                                                               \
    { #name, KEY_NUMBERS, AT(data.ranges.name), 2, low, high, false }

/* Ranges that the graph or the data check again in their own words are wide here. */
static const key keys[] = {
    {"name", KEY_TEXT, AT(name), 64, 0, 0, false},
    {"dim", KEY_INTEGERS, AT(config.dim), 1, 1, 1e6, false},
    {"blocks", KEY_INTEGERS, AT(config.blocks), 4, 0, 1e6, false},
    {"refinement", KEY_INTEGERS, AT(config.refinement), 1, 0, 1e6, false},
    {"heads", KEY_INTEGERS, AT(config.heads), 4, 0, 1e6, false},
    {"ffn", KEY_NUMBERS, AT(config.ffn), 1, 0, 1e6, false},
    {"prompt_len", KEY_INTEGERS, AT(config.prompt_len), 1, 0, 1e6, false},
    {"prompt_dims", KEY_INTEGERS, AT(config.prompt_dims), 3, 0, 1e6, false},
    {"prompt_sizes", KEY_INTEGERS, AT(config.prompt_sizes), 3, 0, 1e6, false},
    {"start", KEY_TEXT, AT(start), 512, 0, 0, false},
    {"rounds", KEY_INTEGERS, AT(rounds), 1, 0, 1000, false},
    {"percent", KEY_NUMBERS, AT(percent), 1, 0.01, 99.99, false},
    {"scope", KEY_SCOPE, AT(scope), 1, 0, 0, false},
    {"slack", KEY_NUMBERS, AT(slack), 1, 0, 100, false},
    {"reset", KEY_RESET, 0, 1, 0, 0, false},
    {"first_round", KEY_LENGTH, AT(first_round), 1, 0, 0, false},
    {"round", KEY_LENGTH, AT(round), 1, 0, 0, false},
    {"last_round", KEY_LENGTH, AT(last_round), 1, 0, 0, false},
    {"warmup", KEY_NUMBERS, AT(warmup), 1, 0, 1e9, false},
    {"learning_rate", KEY_NUMBERS, AT(learning_rate), 1, 0, 1, false},
    {"beta1", KEY_NUMBERS, AT(beta1), 1, 0, 0.999999, false},
    {"beta2", KEY_NUMBERS, AT(beta2), 1, 0, 0.99999999, false},
    {"epsilon", KEY_NUMBERS, AT(epsilon), 1, 1e-20, 1, false},
    {"weight_decay", KEY_NUMBERS, AT(weight_decay), 1, 0, 10, false},
    {"least_gain", KEY_NUMBERS, AT(least_gain), 1, -1e9, 0.99, false},
    {"data", KEY_TEXT, AT(data_folder), 512, 0, 0, true},
    {"test_data", KEY_TEXT, AT(test_folder), 512, 0, 0, true},
    {"tasks", KEY_TASKS, 0, 1, 0, 0, false},
    {"crop", KEY_INTEGERS, AT(data.crop), 1, 8, 1024, false},
    {"batch", KEY_INTEGERS, AT(data.batch), 1, 1, 4096, false},
    {"last_crop", KEY_INTEGERS, AT(last_crop), 1, 8, 1024, false},
    {"last_batch", KEY_INTEGERS, AT(last_batch), 1, 1, 4096, false},
    {"seed", KEY_SEED, AT(data.seed), 1, 0, 0, false},
    {"sigmas", KEY_SIGMAS, AT(data.ranges.sigmas), TRAINER_SIGMAS, 0, 255, false},
    RANGE(rain_layers, 1, 8),
    RANGE(rain_length, 1, 500),
    RANGE(rain_angle, -80, 80),
    RANGE(rain_width, 0.5, 20),
    RANGE(rain_density, 0, 1000),
    RANGE(rain_brightness, 0, 1),
    RANGE(haze_airlight, 0, 1),
    RANGE(haze_beta, 0, 10),
    RANGE(jpeg_quality, 1, 100),
    {"jpeg_full_chroma", KEY_NUMBERS, AT(data.ranges.jpeg_full_chroma), 1, 0, 1, false},
    {"threads", KEY_INTEGERS, AT(threads), 1, 0, 256, true},
    {"group", KEY_INTEGERS, AT(group), 1, 1, 4096, false},
    {"data_threads", KEY_INTEGERS, AT(data.threads), 1, 1, 64, true},
    {"checkpoint_minutes", KEY_NUMBERS, AT(checkpoint_minutes), 1, 0.001, 1e6, true},
    {"log_steps", KEY_INTEGERS, AT(log_steps), 1, 1, 1e9, true},
    {"evaluate_images", KEY_INTEGERS, AT(evaluate_images), 1, 0, 1e9, true},
};

enum { KEYS = sizeof keys / sizeof *keys };

trainer_recipe trainer_recipe_default(void) {
    trainer_recipe recipe = {
        .name = "restore",
        .config = mirl_config_paper(),
        .rounds = 15,
        .percent = 20,
        .scope = TRAINER_GLOBAL,
        .slack = 0.25,
        .reset = TRAINER_RESET_PUBLISHED,
        .round = {120, TRAINER_EPOCHS},
        .warmup = 15,
        .learning_rate = 2e-4,
        .beta1 = 0.9,
        .beta2 = 0.999,
        .epsilon = 1e-8,
        .weight_decay = 0.01,
        .least_gain = 0.02,
        .data = trainer_data_options_default(),
        .group = 1,
        .checkpoint_minutes = 5,
        .log_steps = 50,
    };
    recipe.data.seed = 1;
    return recipe;
}

/* ---- Reading values ---------------------------------------------------------------------------------- */

/* Reads up to `most` numbers separated by spaces or commas; -1 if there is anything else or more. */
static int read_numbers(const char *text, double *numbers, int most) {
    int count = 0;
    while (*text) {
        char *end;
        if (isspace((unsigned char)*text) || *text == ',') {
            text++;
            continue;
        }
        double number = strtod(text, &end);
        if (end == text || count == most || !isfinite(number) ||
            (*end && !isspace((unsigned char)*end) && *end != ','))
            return -1;
        numbers[count++] = number;
        text = end;
    }
    return count;
}

static mirl_status bad_value(const key *key, const char *value, const char *wanted, mirl_error *error) {
    return mirl_fail(error, MIRL_ERROR_ARGUMENT, "%s is '%.80s', it must be %s", key->name, value, wanted);
}

static mirl_status set_numbers(const key *key, char *field, const char *value, mirl_error *error) {
    double numbers[8];
    int count = read_numbers(value, numbers, 8);
    bool integers = key->kind == KEY_INTEGERS, range = !integers && key->count == 2;
    char wanted[96];

    if (range && count == 1)
        numbers[count++] = numbers[0];
    bool good = count == key->count;
    for (int i = 0; good && i < count; i++)
        good = numbers[i] >= key->low && numbers[i] <= key->high &&
               (!integers || numbers[i] == floor(numbers[i]));
    if (!good) {
        snprintf(wanted, sizeof wanted, "%s%s from %g to %g",
                 key->count == 1   ? (integers ? "a whole number" : "a number")
                 : range           ? "one number or two"
                 : key->count == 3 ? "three whole numbers"
                                   : "four whole numbers",
                 key->count == 1 ? "" : ", each", key->low, key->high);
        return bad_value(key, value, wanted, error);
    }
    for (int i = 0; i < count; i++) {
        int integer = (int)numbers[i];
        if (integers)
            memcpy(field + (size_t)i * sizeof integer, &integer, sizeof integer);
        else
            memcpy(field + (size_t)i * sizeof *numbers, &numbers[i], sizeof *numbers);
    }
    return MIRL_OK;
}

static mirl_status set_sigmas(trainer_recipe *recipe, const key *key, const char *value, mirl_error *error) {
    double numbers[TRAINER_SIGMAS];
    int count = read_numbers(value, numbers, TRAINER_SIGMAS);
    for (int i = 0; i < count; i++)
        if (numbers[i] < key->low || numbers[i] > key->high)
            count = 0;
    if (count < 1)
        return bad_value(key, value, "one to eight numbers from 0 to 255", error);
    memcpy(recipe->data.ranges.sigmas, numbers, sizeof numbers);
    recipe->data.ranges.sigma_count = count;
    return MIRL_OK;
}

static const char *const unit_names[] = {"epochs", "steps", "minutes"};

static mirl_status set_length(const key *key, trainer_length *length, const char *value, mirl_error *error) {
    char unit[16], rest;
    double amount;
    if (sscanf(value, "%lf %15s %c", &amount, unit, &rest) == 2 && amount > 0 && amount < 1e12)
        for (int u = 0; u < 3; u++)
            if (strncmp(unit, unit_names[u], strlen(unit_names[u]) - 1) == 0) {
                *length = (trainer_length){amount, (trainer_unit)u};
                return MIRL_OK;
            }
    return bad_value(key, value, "a number of epochs, steps or minutes, such as '20 minutes'", error);
}

static mirl_status set_reset(trainer_recipe *recipe, const key *key, const char *value, mirl_error *error) {
    int steps;
    char rest;
    if (strcmp(value, "published") == 0) {
        recipe->reset = TRAINER_RESET_PUBLISHED;
    } else if (strcmp(value, "none") == 0) {
        recipe->reset = TRAINER_RESET_NONE;
    } else if (sscanf(value, "rewind=%d%c", &steps, &rest) == 1 && steps > 0) {
        recipe->reset = TRAINER_RESET_REWIND;
        recipe->rewind = steps;
    } else {
        return bad_value(key, value, "'published', 'none' or 'rewind=STEPS'", error);
    }
    return MIRL_OK;
}

static mirl_status set_scope(trainer_recipe *recipe, const key *key, const char *value, mirl_error *error) {
    for (trainer_scope scope = 0; scope < TRAINER_SCOPES; scope++)
        if (strcmp(value, trainer_scope_name(scope)) == 0) {
            recipe->scope = scope;
            return MIRL_OK;
        }
    return bad_value(key, value, "'global', 'layerwise' or 'compute'", error);
}

/* "denoise 2 derain 1", or names only. */
static mirl_status set_tasks(trainer_recipe *recipe, const key *key, const char *value, mirl_error *error) {
    static const char wanted[] =
        "some of denoise, derain, dehaze and dejpeg, all or none with a share behind";
    bool tasks[TRAINER_TASKS] = {false};
    double mix[TRAINER_TASKS] = {0};
    int named = 0, shared = 0, used;
    char word[32];

    for (const char *at = value; sscanf(at, "%31s%n", word, &used) == 1;) {
        trainer_task task = trainer_task_find(word);
        if (task == TRAINER_TASKS || tasks[task])
            return bad_value(key, value, wanted, error);
        tasks[task] = true;
        named++;
        at += used;
        if (sscanf(at, "%lf%n", &mix[task], &used) == 1) {
            if (!(mix[task] > 0 && mix[task] < 1e9))
                return bad_value(key, value, wanted, error);
            shared++;
            at += used;
        }
    }
    if (!named || (shared && shared != named))
        return bad_value(key, value, wanted, error);
    memcpy(recipe->data.tasks, tasks, sizeof tasks);
    memcpy(recipe->data.mix, mix, sizeof mix);
    return MIRL_OK;
}

static mirl_status set_seed(const key *key, uint64_t *seed, const char *value, mirl_error *error) {
    char *end;
    unsigned long long number = strtoull(value, &end, 10);
    if (!isdigit((unsigned char)*value) || *end)
        return bad_value(key, value, "a whole number", error);
    *seed = number;
    return MIRL_OK;
}

static mirl_status set_text(const key *key, char *field, const char *value, mirl_error *error) {
    if (strlen(value) >= (size_t)key->count || strpbrk(value, "\n#"))
        return bad_value(key, value, "shorter, and without '#'", error);
    strcpy(field, value);
    return MIRL_OK;
}

static const key *find_key(const char *name) {
    for (int i = 0; i < KEYS; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

bool trainer_recipe_has(const char *name) {
    return find_key(name);
}

mirl_status trainer_recipe_set(trainer_recipe *recipe, const char *name, const char *value,
                               mirl_error *error) {
    const key *key = find_key(name);
    if (!key)
        return mirl_fail(error, MIRL_ERROR_ARGUMENT, "there is no key '%.60s' in recipes", name);
    void *field = (char *)recipe + key->offset;
    switch (key->kind) {
    case KEY_TEXT:
        return set_text(key, field, value, error);
    case KEY_SEED:
        return set_seed(key, field, value, error);
    case KEY_LENGTH:
        return set_length(key, field, value, error);
    case KEY_SCOPE:
        return set_scope(recipe, key, value, error);
    case KEY_RESET:
        return set_reset(recipe, key, value, error);
    case KEY_TASKS:
        return set_tasks(recipe, key, value, error);
    case KEY_SIGMAS:
        return set_sigmas(recipe, key, value, error);
    default:
        return set_numbers(key, field, value, error);
    }
}

/* ---- Files ------------------------------------------------------------------------------------------- */

static char *trim(char *text) {
    char *end;
    while (isspace((unsigned char)*text))
        text++;
    for (end = text + strlen(text); end > text && isspace((unsigned char)end[-1]); end--)
        ;
    *end = 0;
    return text;
}

static mirl_status parse_line(trainer_recipe *recipe, char *line, mirl_error *error) {
    line[strcspn(line, "#")] = 0;
    line = trim(line);
    if (!*line)
        return MIRL_OK;
    char *equals = strchr(line, '=');
    if (!equals)
        return mirl_fail(error, MIRL_ERROR_ARGUMENT, "'%.80s' is not of the form 'key = value'", line);
    *equals = 0;
    return trainer_recipe_set(recipe, trim(line), trim(equals + 1), error);
}

mirl_status trainer_recipe_parse(trainer_recipe *recipe, const char *text, const char *name,
                                 mirl_error *error) {
    for (int number = 1; *text; number++) {
        char line[1024];
        size_t length = strcspn(text, "\n");
        mirl_error inner;
        if (length >= sizeof line)
            return mirl_fail(error, MIRL_ERROR_ARGUMENT, "%.200s:%d: the line is longer than 1023 bytes",
                             name, number);
        memcpy(line, text, length);
        line[length] = 0;
        if (parse_line(recipe, line, &inner))
            return mirl_fail(error, MIRL_ERROR_ARGUMENT, "%.200s:%d: %s", name, number, inner.message);
        text += length + (text[length] == '\n');
    }
    return MIRL_OK;
}

mirl_status trainer_recipe_read(trainer_recipe *recipe, const char *path, mirl_error *error) {
    char text[1 << 16];
    FILE *file = fopen(path, "r");
    size_t size = file ? fread(text, 1, sizeof text, file) : 0;
    bool good = file && !ferror(file) && size < sizeof text;

    if (file)
        fclose(file);
    if (!good)
        return mirl_fail(error, MIRL_ERROR_FILE, "%.300s cannot be read as a recipe", path);
    text[size] = 0;
    return trainer_recipe_parse(recipe, text, path, error);
}

mirl_status trainer_recipe_check(trainer_recipe *recipe, mirl_error *error) {
    mirl_graph *graph = mirl_graph_create(&recipe->config, error);
    if (!graph)
        return MIRL_ERROR_ARGUMENT;
    mirl_graph_free(graph);
    if (!recipe->rounds && !recipe->start[0])
        return mirl_fail(
            error, MIRL_ERROR_ARGUMENT,
            "rounds is '0', it must be a whole number from 1 to 1000 unless `start` names weights "
            "to train further");
    if (!recipe->first_round.amount)
        recipe->first_round = recipe->round;
    if (!recipe->last_round.amount)
        recipe->last_round = recipe->round;
    if (recipe->first_round.unit != recipe->round.unit || recipe->last_round.unit != recipe->round.unit)
        return mirl_fail(error, MIRL_ERROR_ARGUMENT, "first_round and last_round must be in %s, as round is",
                         unit_names[recipe->round.unit]);
    if (recipe->warmup >= recipe->round.amount || recipe->warmup >= recipe->first_round.amount ||
        recipe->warmup >= recipe->last_round.amount)
        return mirl_fail(error, MIRL_ERROR_ARGUMENT, "warmup is %g %s, it must be shorter than every round",
                         recipe->warmup, unit_names[recipe->round.unit]);
    if (!recipe->last_crop)
        recipe->last_crop = recipe->data.crop;
    if (!recipe->last_batch)
        recipe->last_batch = recipe->data.batch;
    recipe->data.least_side = recipe->last_crop;
    if (recipe->data.crop % 8 || recipe->last_crop % 8)
        return mirl_fail(error, MIRL_ERROR_ARGUMENT, "%s is %d, it must be a multiple of 8",
                         recipe->data.crop % 8 ? "crop" : "last_crop",
                         recipe->data.crop % 8 ? recipe->data.crop : recipe->last_crop);
    if (!recipe->data_folder[0])
        return mirl_fail(error, MIRL_ERROR_ARGUMENT,
                         "the recipe has no key 'data': the folder that holds train/ (or use --data)");
    recipe->data.folder = recipe->data_folder;
    return trainer_ranges_check(&recipe->data.ranges, error);
}

/* ---- Printing ---------------------------------------------------------------------------------------- */

static void print_numbers(FILE *out, const key *key, const char *field, int count) {
    for (int i = 0; i < count; i++) {
        double number;
        int integer;
        memcpy(&integer, field + (size_t)i * sizeof integer, sizeof integer);
        if (key->kind != KEY_INTEGERS)
            memcpy(&number, field + (size_t)i * sizeof number, sizeof number);
        else
            number = integer;
        fprintf(out, "%s%.15g", i ? " " : "", number);
    }
}

static void print_tasks(FILE *out, const trainer_recipe *recipe) {
    bool first = true;
    for (trainer_task task = 0; task < TRAINER_TASKS; task++) {
        if (!recipe->data.tasks[task])
            continue;
        fprintf(out, "%s%s", first ? "" : " ", trainer_task_name(task));
        if (recipe->data.mix[task] > 0)
            fprintf(out, " %.15g", recipe->data.mix[task]);
        first = false;
    }
}

/* A key whose value cannot be written as one: not set. */
static bool is_unset(const trainer_recipe *recipe, const key *key) {
    bool any_task = false;
    for (int task = 0; task < TRAINER_TASKS; task++)
        any_task |= recipe->data.tasks[task];
    if (key->kind == KEY_LENGTH)
        return !((const trainer_length *)((const char *)recipe + key->offset))->amount;
    return key->kind == KEY_TASKS && !any_task;
}

static void print_value(FILE *out, const trainer_recipe *recipe, const key *key) {
    const void *field = (const char *)recipe + key->offset;
    const trainer_length *length = field;

    switch (key->kind) {
    case KEY_TEXT:
        fputs(field, out);
        break;
    case KEY_SEED:
        fprintf(out, "%llu", (unsigned long long)recipe->data.seed);
        break;
    case KEY_LENGTH:
        fprintf(out, "%.15g %s", length->amount, unit_names[length->unit]);
        break;
    case KEY_SCOPE:
        fputs(trainer_scope_name(recipe->scope), out);
        break;
    case KEY_RESET:
        if (recipe->reset == TRAINER_RESET_REWIND)
            fprintf(out, "rewind=%d", recipe->rewind);
        else
            fputs(recipe->reset == TRAINER_RESET_NONE ? "none" : "published", out);
        break;
    case KEY_TASKS:
        print_tasks(out, recipe);
        break;
    case KEY_SIGMAS:
        print_numbers(out, key, field, recipe->data.ranges.sigma_count);
        break;
    default:
        print_numbers(out, key, field, key->count);
    }
}

char *trainer_recipe_print(const trainer_recipe *recipe, bool local) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    for (int i = 0; i < KEYS; i++) {
        if (is_unset(recipe, &keys[i]) || (keys[i].local && !local))
            continue;
        fprintf(out, "%s = ", keys[i].name);
        print_value(out, recipe, &keys[i]);
        fputc('\n', out);
    }
    if (fclose(out)) {
        free(text);
        return NULL;
    }
    return text;
}
