/* The program itself, `mirl info` and `mirl convert`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "program.h"
#include "weights/weights.h"

static const program_run *expect(const program_run *run, int code, const char *out, const char *err) {
    assert_int_equal(run->code, code);
    if (out)
        assert_non_null(strstr(run->out, out));
    else
        assert_string_equal(run->out, "");
    if (err)
        assert_non_null(strstr(run->err, err));
    else
        assert_string_equal(run->err, "");
    return run;
}

static void help_goes_to_standard_output(void **state) {
    (void)state;
    expect(program("--help"), 0, "commands:", NULL);
    expect(program("info --help"), 0, "--json", NULL);
    expect(program("convert -h"), 0, "exit codes:", NULL);
    expect(program("--version"), 0, "mirl ", NULL);
}

static void a_wrong_command_line_is_said_and_exits_with_2(void **state) {
    (void)state;
    expect(program("%s", ""), 2, NULL, "commands:");
    expect(program("polish"), 2, NULL, "there is no command 'polish'");
    expect(program("info --jsn"), 2, NULL, "there is no option --jsn");
    expect(program("info -x"), 2, NULL, "there is no option -x");
    expect(program("info a b"), 2, NULL, "too many names");
    expect(program("convert a"), 2, NULL, "too few names");
    expect(program("convert a b --type"), 2, NULL, "--type needs a value");
    expect(program("convert a b --type f64"), 2, NULL, "it must be f32, f16 or i8");
}

static void missing_weights_exit_with_3(void **state) {
    (void)state;
    expect(program("info snow"), 3, NULL, "no weights called 'snow'");
    expect(program("info ./snow"), 3, NULL, "No such file");
    FILE *file = fopen("junk.safetensors", "w");
    fputs("not weights", file);
    fclose(file);
    expect(program("info junk"), 3, NULL, "junk.safetensors");
    expect(program("convert junk.safetensors out.safetensors"), 3, NULL, "junk.safetensors");
    assert_int_equal(access("out.safetensors", F_OK), -1);
}

static void info_says_what_is_in_the_file(void **state) {
    (void)state;
    program_make_weights("default.safetensors", 1);
    program_make_weights("other.safetensors", 1);
    const program_run *run = expect(program("info"), 0, "multiply-adds", NULL);
    assert_non_null(strstr(run->out, "task           test\n"));
    assert_non_null(strstr(run->out, "encoder_level1.0.attn.qkv.weight "));
    expect(program("info other"), 0, "other.safetensors", NULL);
    expect(program("info other.safetensors"), 0, "other.safetensors", NULL);
}

static void info_as_json_adds_up(void **state) {
    (void)state;
    program_make_weights("default.safetensors", 1);
    cJSON *info = cJSON_Parse(expect(program("info --json"), 0, "{", NULL)->out), *layer;
    assert_non_null(info);
    double values = 0, macs = 0;
    cJSON_ArrayForEach(layer, cJSON_GetObjectItem(info, "layers")) {
        values += cJSON_GetObjectItem(layer, "values")->valuedouble;
        macs += cJSON_GetObjectItem(layer, "macs")->valuedouble;
    }
    mirl_weights *weights = mirl_weights_open("default.safetensors", NULL);
    const mirl_graph *graph = mirl_weights_graph(weights);
    assert_true(values == (double)graph->parameters);
    assert_true(values == cJSON_GetObjectItem(info, "parameters")->valuedouble);
    assert_float_equal(macs + mirl_graph_attention_macs(graph),
                       cJSON_GetObjectItem(info, "macs")->valuedouble, 1e-6);
    assert_true(macs < cJSON_GetObjectItem(info, "dense_macs")->valuedouble);
    assert_string_equal(cJSON_GetObjectItem(info, "task")->valuestring, "test");
    assert_int_equal(cJSON_GetObjectItem(cJSON_GetObjectItem(info, "config"), "dim")->valueint,
                     graph->config.dim);
    mirl_weights_close(weights);
    cJSON_Delete(info);
}

/* The largest difference between the values of two files. */
static double difference(const char *a, const char *b) {
    mirl_weights *first = mirl_weights_open(a, NULL), *second = mirl_weights_open(b, NULL);
    assert_true(first && second);
    const mirl_graph *graph = mirl_weights_graph(first);
    double worst = 0;
    for (int i = 0; i < graph->layer_count; i++) {
        size_t count = graph->layers[i].count;
        float *x = malloc(count * sizeof *x), *y = malloc(count * sizeof *y);
        mirl_weights_values(first, i, x);
        mirl_weights_values(second, i, y);
        for (size_t j = 0; j < count; j++) {
            double apart = x[j] > y[j] ? (double)x[j] - y[j] : (double)y[j] - x[j];
            worst = apart > worst ? apart : worst;
        }
        free(x);
        free(y);
    }
    mirl_weights_close(first);
    mirl_weights_close(second);
    return worst;
}

static void convert_keeps_values_and_metadata(void **state) {
    (void)state;
    program_make_weights("in.safetensors", 1);
    expect(program("convert in.safetensors a.safetensors"), 0, NULL, NULL);
    assert_true(difference("in.safetensors", "a.safetensors") == 0);
    expect(program("convert in.safetensors b.safetensors --type f16"), 0, NULL, NULL);
    double apart = difference("in.safetensors", "b.safetensors");
    assert_true(apart > 0 && apart <= 0x1p-12);
    expect(program("convert in c.safetensors -t i8 --task denoise --name small"), 0, NULL, NULL);
    apart = difference("in.safetensors", "c.safetensors");
    assert_true(apart > 0 && apart <= 0.5 / 127 * 1.001);

    mirl_weights *weights = mirl_weights_open("c.safetensors", NULL);
    assert_string_equal(mirl_weights_metadata_get(weights, "task"), "denoise");
    assert_string_equal(mirl_weights_metadata_get(weights, "name"), "small");
    assert_string_equal(mirl_weights_metadata_get(weights, "origin"), "made");
    mirl_weights_close(weights);
}

static void convert_says_when_it_cannot_write(void **state) {
    (void)state;
    program_make_weights("in.safetensors", 1);
    expect(program("convert in.safetensors nowhere/out.safetensors"), 5, NULL, "nowhere/out.safetensors");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_goes_to_standard_output),
        cmocka_unit_test(a_wrong_command_line_is_said_and_exits_with_2),
        cmocka_unit_test(missing_weights_exit_with_3),
        cmocka_unit_test(info_says_what_is_in_the_file),
        cmocka_unit_test(info_as_json_adds_up),
        cmocka_unit_test(convert_keeps_values_and_metadata),
        cmocka_unit_test(convert_says_when_it_cannot_write),
    };
    return cmocka_run_group_tests(tests, program_enter, program_leave);
}
