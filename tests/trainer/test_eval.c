/* Scoring: the protocol's crop, noise and clipping, the same figures for any threads, and errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scenes.h"
#include "trainer/eval.h"
#include "trainer/photo.h"

/** A small network; its correction is scaled by `output`. */
typedef struct network {
    mirl_graph *graph;
    float **values;
} network;

static network make_network(float output) {
    const mirl_config config = {4, {1, 1, 1, 1}, 1, {1, 2, 2, 2}, 2.66, 2, {4, 4, 8}, {8, 4, 2}};
    network net = {.graph = mirl_graph_create(&config, NULL)};
    trainer_random random = trainer_random_stream(1, 0, 0);
    net.values = calloc((size_t)net.graph->layer_count, sizeof *net.values);
    for (int i = 0; i < net.graph->layer_count; i++) {
        const mirl_layer *layer = &net.graph->layers[i];
        net.values[i] = malloc(layer->count * sizeof **net.values);
        for (size_t k = 0; k < layer->count; k++) {
            double scale = i == net.graph->output ? output : 0.3;
            double value = trainer_random_uniform(&random, -scale, scale);
            net.values[i][k] = layer->kind == MIRL_NORM_WEIGHT ? 1 : (float)value;
        }
    }
    return net;
}

static void free_network(network net) {
    for (int i = 0; i < net.graph->layer_count; i++)
        free(net.values[i]);
    free(net.values);
    mirl_graph_free(net.graph);
}

/** test/ with three clean images and two rain pairs of one more size. */
static int make_folder(void **state) {
    char *folder = scene_folder();
    scene_write(folder, "denoise/own/a.png", 70, 50, 1);
    scene_write(folder, "denoise/own/b.png", 48, 64, 2);
    scene_write(folder, "denoise/own/c.png", 64, 64, 3);
    scene_write(folder, "derain/wet/input/1_rainy.png", 65, 49, 4);
    scene_write(folder, "derain/wet/target/1_gt.png", 65, 49, 5);
    scene_write(folder, "derain/wet/input/2_rainy.png", 65, 49, 6);
    scene_write(folder, "derain/wet/target/2_gt.png", 65, 49, 6);
    *state = folder;
    return 0;
}

static int remove_folder(void **state) {
    scene_remove(*state);
    return 0;
}

static trainer_scores *evaluate(network net, const trainer_eval_options *options) {
    mirl_error error;
    trainer_scores *scores = trainer_eval_values(net.graph, net.values, options, &error);
    if (!scores)
        fail_msg("%s", error.message);
    return scores;
}

static void a_network_that_does_nothing_scores_the_input(void **state) {
    network net = make_network(0);
    trainer_eval_options options = trainer_eval_options_default();
    options.folder = *state;
    trainer_scores *scores = evaluate(net, &options);
    assert_int_equal(scores->count, 4);
    const char *const labels[] = {"own σ15", "own σ25", "own σ50"};
    const double inputs[] = {24.7, 20.4, 14.9}; // -20 log10(sigma / 255), and a little for clipping
    for (int i = 0; i < 3; i++) {
        char label[32];
        const trainer_score *set = &scores->sets[i];
        trainer_score_label(set, label, sizeof label);
        assert_string_equal(label, labels[i]);
        assert_int_equal(set->count, 3);
        assert_string_equal(set->images[1].name, "b");
        assert_float_equal(set->means.input_psnr, inputs[i], 0.4);
        assert_true(set->means.psnr == set->means.input_psnr);
        assert_true(set->means.ssim == set->means.input_ssim && set->means.ssim < 0.95);
        double sum = 0;
        for (int k = 0; k < 3; k++)
            sum += set->images[k].figures.psnr;
        assert_float_equal(set->means.psnr, sum / 3, 1e-12);
    }
    // Pairs are taken as they are: different scenes, and equal ones.
    assert_string_equal(scores->sets[3].set, "wet");
    assert_true(scores->sets[3].images[0].figures.psnr < 30);
    assert_true(scores->sets[3].images[1].figures.psnr == 1.0 / 0.0);
    assert_float_equal(scores->sets[3].images[1].figures.ssim, 1, 1e-12);
    trainer_scores_free(scores);
    free_network(net);
}

static void figures_do_not_depend_on_threads_or_company(void **state) {
    network net = make_network(0.05f);
    trainer_eval_options options = trainer_eval_options_default();
    options.folder = *state;
    options.threads = 1;
    trainer_scores *one = evaluate(net, &options);
    options.threads = 3;
    trainer_scores *three = evaluate(net, &options);
    for (size_t i = 0; i < one->count; i++)
        for (size_t k = 0; k < one->sets[i].count; k++)
            assert_memory_equal(&one->sets[i].images[k].figures, &three->sets[i].images[k].figures,
                                sizeof(trainer_figures));
    assert_true(one->sets[0].means.psnr != one->sets[0].means.input_psnr);
    trainer_scores_free(three);
    options.tasks[TRAINER_DENOISE] = true;
    options.sigmas[0] = 25;
    options.sigma_count = 1;
    options.limit = 2;
    three = evaluate(net, &options);
    assert_int_equal(three->count, 1);
    assert_int_equal(three->sets[0].count, 2);
    assert_string_equal(three->sets[0].images[1].name, "b");
    assert_memory_equal(&three->sets[0].images[1].figures, &one->sets[1].images[1].figures,
                        sizeof(trainer_figures));
    trainer_scores_free(three);
    options.seed = 1;
    three = evaluate(net, &options);
    assert_true(three->sets[0].images[1].figures.psnr != one->sets[1].images[1].figures.psnr);
    trainer_scores_free(three);
    trainer_scores_free(one);
    free_network(net);
}

static void results_are_saved_cropped(void **state) {
    network net = make_network(0);
    char *folder = scene_folder(), path[256];
    trainer_eval_options options = trainer_eval_options_default();
    options.folder = *state;
    options.save = folder;
    trainer_scores_free(evaluate(net, &options));
    int width, height;
    snprintf(path, sizeof path, "%s/denoise/own/a_25.png", folder);
    assert_int_equal(trainer_photo_size(path, &width, &height, NULL), MIRL_OK);
    assert_int_equal(width, 64);
    assert_int_equal(height, 48);
    snprintf(path, sizeof path, "%s/derain/wet/2.png", folder);
    trainer_picture saved, scene = scene_make(65, 49, 6);
    assert_int_equal(trainer_photo_read(path, &saved, NULL), MIRL_OK);
    assert_int_equal(saved.width, 64);
    for (int y = 0; y < 48; y++) // one column and one row too many: the last ones go
        assert_memory_equal(saved.rgb + y * 64 * 3, scene.rgb + y * 65 * 3, 64 * 3);
    free(saved.rgb);
    free(scene.rgb);
    scene_remove(folder);
    free_network(net);
}

static void refused(network net, const trainer_eval_options *options, mirl_status status, const char *words) {
    mirl_error error = {.status = MIRL_OK};
    assert_null(trainer_eval_values(net.graph, net.values, options, &error));
    if (!strstr(error.message, words))
        fail_msg("\"%s\" should be in \"%s\"", words, error.message);
    assert_int_equal(error.status, status);
}

static bool stop_after_two(size_t done, size_t images, void *user) {
    (void)images, (void)user;
    return done < 2;
}

static void errors_are_said(void **state) {
    network net = make_network(0);
    trainer_eval_options options = trainer_eval_options_default();
    options.folder = "/nonexistent";
    refused(net, &options, MIRL_ERROR_FILE, "/nonexistent is not a folder");
    options.folder = *state;
    options.tasks[TRAINER_DEHAZE] = true;
    refused(net, &options, MIRL_ERROR_ARGUMENT, "has no images of the tasks");
    options = trainer_eval_options_default();
    options.folder = *state;
    options.progress = stop_after_two;
    refused(net, &options, MIRL_ERROR_CANCELLED, "stopped");
    options.progress = NULL;
    options.memory = 1000;
    refused(net, &options, MIRL_ERROR_MEMORY, "");
    options.memory = 0;
    char *folder = scene_folder();
    options.folder = folder;
    scene_write(folder, "derain/wet/input/1_rainy.png", 65, 49, 4);
    scene_write(folder, "derain/wet/target/1_gt.png", 65, 48, 5);
    refused(net, &options, MIRL_ERROR_FORMAT, "1_rainy.png is 65x49 pixels, but its target");
    scene_write(folder, "derain/wet/input/1_rainy.png", 65, 15, 4);
    scene_write(folder, "derain/wet/target/1_gt.png", 65, 15, 5);
    refused(net, &options, MIRL_ERROR_FORMAT, "1_gt.png is 65x15 pixels; at least 16 a side");
    scene_remove(folder);
    free_network(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_network_that_does_nothing_scores_the_input),
        cmocka_unit_test(figures_do_not_depend_on_threads_or_company),
        cmocka_unit_test(results_are_saved_cropped),
        cmocka_unit_test(errors_are_said),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
