/* The report: from a run's files alone, complete in one file, and the same when a round comes again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "scenes.h"
#include "trainer/chart.h"
#include "trainer/report.h"
#include "trainer/report_data.h"
#include "weights/weights.h"

/** Writes round-<number>.safetensors: a small network with every `every`th value of each layer left, which
 * adds `output` times something to its input. */
static char *write_weights(const char *folder, int number, int every, float output) {
    const mirl_config config = {4, {1, 1, 1, 1}, 1, {1, 2, 2, 2}, 2.66, 2, {4, 4, 8}, {8, 4, 2}};
    mirl_graph *graph = mirl_graph_create(&config, NULL);
    float **values = calloc((size_t)graph->layer_count, sizeof *values);
    for (int i = 0; i < graph->layer_count; i++) {
        values[i] = calloc(graph->layers[i].count, sizeof **values);
        for (size_t k = 0; k < graph->layers[i].count; k += (size_t)every)
            values[i][k] = i == graph->output ? output : 0.1f;
    }
    char *path = malloc(4096);
    snprintf(path, 4096, "%s/round-%d.safetensors", folder, number);
    assert_int_equal(mirl_weights_write(path, graph, values, MIRL_F32, NULL, NULL), MIRL_OK);
    for (int i = 0; i < graph->layer_count; i++)
        free(values[i]);
    free(values);
    mirl_graph_free(graph);
    return path;
}

/** A run of two rounds, and test/ beside its files. */
static int make_run(void **state) {
    char *folder = scene_folder();
    scene_write(folder, "test/denoise/own/a.png", 64, 48, 1);
    scene_write(folder, "test/dejpeg/a<b/input/1_jpeg.png", 64, 48, 2);
    scene_write(folder, "test/dejpeg/a<b/target/1_gt.png", 64, 48, 3);
    scene_write_text(folder, "rounds.csv",
                     "round,alive,prunable,macs,dense_macs,loss,identity,steps,seconds\n"
                     "0,1000,1000,500,500,0.0201,0.05,40,10\n"
                     "1,800,1000,450,500,0.0302,0.05,40,20\n"
                     "a broken line\n");
    scene_write_text(folder, "log.csv",
                     "round,step,seconds,loss,identity,rate,patches_per_second\n"
                     "0,20,1,0.04,0.05,0.0002,3\n0,40,2,0.02,0.05,0.0002,3\n"
                     "1,20,3,0.05,0.05,0.0002,3\n1,40,4,0.03,0.05,0.0002,3\n");
    *state = folder;
    return 0;
}

static int remove_run(void **state) {
    scene_remove(*state);
    return 0;
}

static char *read_text(const char *folder, const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char *text = calloc(1, 1 << 22);
    assert_true(fread(text, 1, (1 << 22) - 1, file) > 0);
    fclose(file);
    return text;
}

static int count(const char *text, const char *word) {
    int found = 0;
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
        found++;
    return found;
}

static void add_round(const char *folder, int round, const char *weights) {
    char test[4096];
    snprintf(test, sizeof test, "%s/test", folder);
    trainer_eval_options eval = trainer_eval_options_default();
    eval.folder = test;
    eval.sigma_count = 1;
    mirl_error error;
    if (trainer_report_round(folder, "A & <B>", round, weights, &eval, &error))
        fail_msg("%s", error.message);
}

static void a_report_is_complete_in_one_file(void **state) {
    const char *folder = *state;
    char *dense = write_weights(folder, 0, 1, 0), *sparse = write_weights(folder, 1, 2, 0.01f);
    add_round(folder, 0, dense);
    add_round(folder, 1, sparse);
    char *page = read_text(folder, "report.html");
    assert_non_null(strstr(page, "<title>A &amp; &lt;B></title>"));
    assert_non_null(strstr(page, "<td>80.00 %</td><td>450</td><td>0.03020</td>"));
    assert_non_null(strstr(page, "dejpeg, a&lt;b</h3>"));
    assert_int_equal(count(page, "data:image/svg+xml;base64,"), 5);
    assert_int_equal(count(page, "data:image/png;base64,"), 8); // two sets: input, two rounds, clean
    // Nothing is fetched: every source is in the file.
    assert_int_equal(count(page, "src=\""), 13);
    assert_int_equal(count(page, "src=\"data:"), 13);
    assert_int_equal(count(page, "href"), 0);
    assert_int_equal(count(page, "<script"), 0);

    char *scores = read_text(folder, "scores.csv");
    assert_int_equal(count(scores, "\n"), 5);
    assert_non_null(strstr(scores, "\n0,denoise,15,1,"));
    assert_non_null(strstr(scores, ",a<b\n"));
    // Round 1 comes again, as after a stop: nothing changes. Round 0 again: round 1 is forgotten.
    add_round(folder, 1, sparse);
    char *again = read_text(folder, "scores.csv");
    assert_string_equal(scores, again);
    free(again);
    add_round(folder, 0, dense);
    again = read_text(folder, "scores.csv");
    assert_int_equal(count(again, "\n"), 3);
    free(again);
    free(scores);
    free(page);
    free(dense);
    free(sparse);
}

static void files_are_read_as_they_are(void **state) {
    report_data data;
    assert_int_equal(report_data_read(*state, &data, NULL), MIRL_OK);
    assert_int_equal(data.round_count, 2);
    assert_int_equal(data.loss_count, 4);
    assert_float_equal(data.losses[3].step, 80, 0);
    assert_int_equal(data.score_count, 2);
    assert_true(data.layer_count > 20);
    for (size_t i = 0; i < data.layer_count; i++) {
        assert_float_equal(data.layer_alive[2 * i], (strstr(data.layers[i], "output") ? 0 : 1), 0);
        assert_float_equal(data.layer_alive[2 * i + 1], 0.5, 0.06);
    }
    report_data_free(&data);
}

static void missing_files_leave_their_part_out(void **state) {
    (void)state;
    char *folder = scene_folder();
    assert_int_equal(trainer_report_write(folder, "empty", NULL), MIRL_OK);
    char *page = read_text(folder, "report.html");
    assert_non_null(strstr(page, "<h1>empty</h1>"));
    assert_int_equal(count(page, "<img"), 0);
    free(page);
    scene_write_text(folder, "log.csv", "0,20,1,0.04,0.05,0.0002,3\n");
    mirl_error error;
    assert_int_equal(trainer_report_round(folder, "no scores", 0, "", NULL, &error), MIRL_OK);
    page = read_text(folder, "report.html");
    assert_int_equal(count(page, "<img"), 1);
    free(page);
    trainer_eval_options eval = trainer_eval_options_default();
    eval.folder = "/nonexistent";
    char *weights = write_weights(folder, 0, 1, 0);
    assert_int_equal(trainer_report_round(folder, "x", 0, weights, &eval, &error), MIRL_ERROR_FILE);
    assert_int_equal(trainer_report_write("/nonexistent", "x", &error), MIRL_ERROR_FILE);
    free(weights);
    scene_remove(folder);
}

static void charts_bear_any_numbers(void **state) {
    (void)state;
    const double x[] = {100, 80, 0.001}, y[] = {0.0 / 0.0, 1.0 / 0.0, 0.0 / 0.0}, flat[] = {3, 3, 3};
    const trainer_series series[] = {{.name = "none", .x = x, .y = y, .count = 3, .marks = true},
                                     {.name = "flat", .x = x, .y = flat, .count = 3, .dashed = true}};
    for (size_t first = 0; first < 2; first++) {
        for (size_t lines = 0; lines <= 2 - first; lines++) {
            trainer_chart chart = {
                "x", "y", series + first, lines, .falling = true, .log_x = lines == 1 && first};
            size_t size = 0;
            char *svg = trainer_chart_lines(&chart, &size);
            assert_non_null(svg);
            assert_int_equal(strlen(svg), size);
            assert_non_null(strstr(svg, "</svg>"));
            assert_null(strstr(svg, "nan"));
            free(svg);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_is_complete_in_one_file),
        cmocka_unit_test(files_are_read_as_they_are),
        cmocka_unit_test(missing_files_leave_their_part_out),
        cmocka_unit_test(charts_bear_any_numbers),
    };
    return cmocka_run_group_tests(tests, make_run, remove_run);
}
