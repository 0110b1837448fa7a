#include "program.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "weights/weights.h"

enum { WORDS_MAX = 64 };

static char folder[] = "/tmp/mirl-apps-XXXXXX";

int program_enter(void **state) {
    (void)state;
    if (!mkdtemp(folder) || chdir(folder))
        return -1;
    setenv("MIRL_WEIGHTS_PATH", folder, 1);
    setenv("LSAN_OPTIONS", "suppressions=" MIRL_TEST_DATA "/apps/lsan.supp:print_suppressions=0", 1);
    unsetenv("XDG_DATA_HOME");
    setenv("HOME", folder, 1);
    return 0;
}

int program_leave(void **state) {
    (void)state;
    char command[sizeof folder + 32];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return chdir("/") || system(command);
}

static void read_all(FILE *file, char *text, size_t size) {
    rewind(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

/* What a run does beside running. */
typedef struct plan {
    void (*prepare)(void); ///< called in the child, or NULL
    int signal;            ///< sent to the child when `when` exists
    const char *when;      ///< or NULL
} plan;

static const program_run *run(plan plan, const char *format, va_list arguments) {
    static program_run result;
    static char line[4096];
    char *words[WORDS_MAX] = {"mirl"};
    FILE *out = tmpfile(), *err = tmpfile();
    int status, count = 1;

    assert_true(out && err);
    vsnprintf(line, sizeof line, format, arguments);
    for (char *word = strtok(line, " "); word && count < WORDS_MAX - 1; word = strtok(NULL, " "))
        words[count++] = word;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(fileno(out), STDOUT_FILENO);
        dup2(fileno(err), STDERR_FILENO);
        if (plan.prepare)
            plan.prepare();
        execv(MIRL_PROGRAM, words);
        _exit(127);
    }
    while (plan.when && access(plan.when, F_OK) && waitpid(child, &status, WNOHANG) == 0)
        usleep(10000);
    if (plan.when)
        kill(child, plan.signal);
    assert_int_equal(waitpid(child, &status, 0), child);
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    read_all(out, result.out, sizeof result.out);
    read_all(err, result.err, sizeof result.err);
    return &result;
}

const program_run *program(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const program_run *result = run((plan){0}, format, arguments);
    va_end(arguments);
    return result;
}

const program_run *program_prepared(void (*prepare)(void), const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const program_run *result = run((plan){.prepare = prepare}, format, arguments);
    va_end(arguments);
    return result;
}

const program_run *program_cancelled(int signal, const char *when, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const program_run *result = run((plan){.signal = signal, .when = when}, format, arguments);
    va_end(arguments);
    return result;
}

static float random_value(unsigned *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(*seed >> 8) / (1 << 23) - 1;
}

void program_make_weights(const char *path, float output) {
    const mirl_config config = {4, {1, 1, 1, 1}, 1, {1, 2, 2, 2}, 2.66, 2, {4, 4, 8}, {8, 4, 2}};
    mirl_error error = {0};
    mirl_graph *graph = mirl_graph_create(&config, &error);
    assert_non_null(graph);
    float **values = calloc((size_t)graph->layer_count, sizeof *values);
    unsigned seed = 1;

    for (int i = 0; i < graph->layer_count; i++) {
        const mirl_layer *layer = &graph->layers[i];
        values[i] = malloc(layer->count * sizeof **values);
        for (size_t j = 0; j < layer->count; j++) {
            float value = random_value(&seed);
            values[i][j] = layer->kind == MIRL_NORM_WEIGHT ? 1 : value / 4;
            if (i == graph->output)
                values[i][j] = value * output;
            else if ((layer->kind == MIRL_CONV1 || layer->kind == MIRL_CONV3) && j % 4)
                values[i][j] = 0;
        }
    }
    assert_int_equal(
        mirl_weights_write(path, graph, values, MIRL_F32, "{\"task\":\"test\",\"origin\":\"made\"}", &error),
        MIRL_OK);
    for (int i = 0; i < graph->layer_count; i++)
        free(values[i]);
    free(values);
    mirl_graph_free(graph);
}
