/* `mirl convert`: any weights that can be read, written as a weights file of ours. */
#include "commands.h"
#include "error.h"
#include "options.h"
#include "weights/weights.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETTINGS_MAX = 2 };

/* An array of layer_count pointers into one block of all values; NULL if memory runs out. */
static float **decode(const mirl_weights *weights) {
    const mirl_graph *graph = mirl_weights_graph(weights);
    float **values = malloc((size_t)graph->layer_count * sizeof *values);
    float *block = malloc(graph->parameters * sizeof *block);

    if (!values || !block) {
        free(values);
        free(block);
        return NULL;
    }
    for (int i = 0; i < graph->layer_count; i++) {
        values[i] = block;
        mirl_weights_values(weights, i, block);
        block += graph->layers[i].count;
    }
    return values;
}

/* The input's metadata with what the user set; to be freed with cJSON_free(), NULL if memory runs out. */
static char *make_metadata(const mirl_weights *weights, const char *task, const char *name) {
    const char *const settings[SETTINGS_MAX][2] = {{"task", task}, {"name", name}};
    cJSON *metadata = cJSON_Parse(mirl_weights_metadata(weights));
    char *text = NULL;

    if (metadata) {
        for (int i = 0; i < SETTINGS_MAX; i++) {
            if (!settings[i][1])
                continue;
            cJSON_DeleteItemFromObjectCaseSensitive(metadata, settings[i][0]);
            cJSON_AddStringToObject(metadata, settings[i][0], settings[i][1]);
        }
        text = cJSON_PrintUnformatted(metadata);
    }
    cJSON_Delete(metadata);
    return text;
}

static mirl_status convert(const mirl_weights *weights, const char *to, mirl_type type, const char *task,
                           const char *name, mirl_error *error) {
    float **values = decode(weights);
    char *metadata = make_metadata(weights, task, name);
    mirl_status status;

    if (values && metadata)
        status = mirl_weights_write(to, mirl_weights_graph(weights), values, type, metadata, error);
    else
        status = mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory to convert the weights");
    if (values)
        free(values[0]);
    free(values);
    cJSON_free(metadata);
    return status;
}

static bool read_type(const char *text, mirl_type *type) {
    static const char *const names[] = {[MIRL_F32] = "f32", [MIRL_F16] = "f16", [MIRL_I8] = "i8"};
    for (int i = 0; i < 3; i++)
        if (strcmp(text, names[i]) == 0) {
            *type = (mirl_type)i;
            return true;
        }
    return false;
}

int command_convert(int argc, char **argv) {
    const char *type_text = "f32", *task = NULL, *name = NULL;
    const option_entry options[] = {
        {.name = "type",
         .letter = 't',
         .kind = OPTION_TEXT,
         .argument = "TYPE",
         .help = "how weights are stored: f32 (default, exact), f16, or i8\nwith a scale for each row",
         .value = &type_text},
        {.name = "task",
         .kind = OPTION_TEXT,
         .argument = "TASK",
         .help = "what it restores, e.g. denoise",
         .value = &task},
        {.name = "name",
         .kind = OPTION_TEXT,
         .argument = "NAME",
         .help = "what it is called",
         .value = &name},
        {0},
    };
    const command_line line = {
        .name = "convert",
        .operands = "IN OUT",
        .help =
            "Writes the weights in IN to OUT as a weights file of ours. IN is a published MIR-L or PromptIR\n"
            "checkpoint (.ckpt), a safetensors state dict, or a weights file of ours.",
        .notes = "exit codes: 0 done, 2 wrong command line, 3 IN cannot be found or opened, 4 not enough\n"
                 "memory, 5 OUT cannot be written.",
        .options = options,
        .operands_min = 2,
        .operands_max = 2,
    };
    int status, first = options_read(&line, argc, argv, &status);
    mirl_type type;
    if (first < 0)
        return status;
    if (!read_type(type_text, &type))
        return options_complain(&line, "--type is '%s', it must be f32, f16 or i8", type_text);

    mirl_error error;
    char *path = find_weights(argv[first], &error);
    mirl_weights *weights = path ? mirl_weights_open(path, &error) : NULL;
    if (!weights)
        status = error.status == MIRL_ERROR_MEMORY ? EXIT_MEMORY : EXIT_WEIGHTS;
    else if (convert(weights, argv[first + 1], type, task, name, &error))
        status = error.status == MIRL_ERROR_MEMORY ? EXIT_MEMORY : EXIT_OUTPUT;
    if (status)
        fprintf(stderr, "mirl convert: %s\n", error.message);
    mirl_weights_close(weights);
    free(path);
    return status;
}
