/* Rounds, in this process: the schedule, the resets, rounds that do not learn, losses that are no numbers,
 * checkpoints on a full disk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "scenes.h"
#include "trainer/rounds.h"
#include "weights/weights.h"

static char *folder, data_folder[512];
static char said[1 << 14]; ///< all sentences of the last run

static int enter(void **state) {
    (void)state;
    folder = scene_folder();
    snprintf(data_folder, sizeof data_folder, "%s/data", folder);
    scene_write_clean(folder, 3, 72, 64);
    return 0;
}

static int leave(void **state) {
    (void)state;
    scene_remove(folder);
    return 0;
}

/* The tiny recipe on this test's images. */
static trainer_recipe recipe_with(const char *more) {
    trainer_recipe recipe = trainer_recipe_default();
    mirl_error error;
    assert_int_equal(trainer_recipe_read(&recipe, MIRL_SOURCE_DIR "/weights/recipes/tiny.recipe", &error),
                     MIRL_OK);
    assert_int_equal(trainer_recipe_parse(&recipe, more, "test", &error), MIRL_OK);
    memcpy(recipe.data_folder, data_folder, sizeof data_folder);
    recipe.threads = 2;
    assert_int_equal(trainer_recipe_check(&recipe, &error), MIRL_OK);
    recipe.data.folder = data_folder; // the checked one points into this copy
    return recipe;
}

static void keep_sentence(const char *sentence, void *user) {
    (void)user;
    size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, "%s\n", sentence);
}

/* Runs in folder/name, whose path is left in `path`. */
static trainer_ending run_in(const trainer_recipe *recipe, const char *name, bool resume, char path[512],
                             mirl_error *error) {
    trainer_run_options options = {.recipe = recipe, .folder = path, .resume = resume, .say = keep_sentence};
    snprintf(path, 512, "%s/%s", folder, name);
    mkdir(path, 0777);
    said[0] = 0;
    return trainer_run(&options, error);
}

static void the_rate_is_the_published_one(void **state) {
    (void)state;
    assert_float_equal(trainer_rate(2e-4, 0, 15, 120), 0, 0);
    assert_float_equal(trainer_rate(2e-4, 7, 15, 120), 1e-4, 1e-12);
    assert_float_equal(trainer_rate(2e-4, 14, 15, 120), 2e-4, 1e-12);
    assert_float_equal(trainer_rate(2e-4, 15, 15, 120), 2e-4, 1e-12);
    assert_float_equal(trainer_rate(2e-4, 67.5, 15, 120), 1e-4, 1e-12);
    assert_float_equal(trainer_rate(2e-4, 119, 15, 120), 2e-4 * (1 + cos(M_PI * 104 / 105)) / 2, 1e-12);
}

/* All values of a weights file; to be freed. */
static float *read_weights(const char *path, const char *name, mirl_graph **graph) {
    char file[600];
    snprintf(file, sizeof file, "%s/%s", path, name);
    mirl_weights *weights = mirl_weights_open(file, NULL);
    assert_non_null(weights);
    *graph = mirl_graph_create(&mirl_weights_graph(weights)->config, NULL);
    float *values = malloc((*graph)->parameters * sizeof *values), *at = values;
    for (int i = 0; i < (*graph)->layer_count; at += (*graph)->layers[i++].count)
        mirl_weights_values(weights, i, at);
    mirl_weights_close(weights);
    return values;
}

static void assert_same_weights(const char *path, const char *name, const char *other_path,
                                const char *other_name) {
    mirl_graph *graph;
    float *values = read_weights(path, name, &graph);
    size_t bytes = graph->parameters * sizeof *values;
    mirl_graph_free(graph);
    float *others = read_weights(other_path, other_name, &graph);
    assert_memory_equal(values, others, bytes);
    free(values);
    free(others);
    mirl_graph_free(graph);
}

/* After one step of round 1 at a rate of 0, survivors have their values in the origin. */
static void check_reset(const char *reset, const char *name, const char *origin) {
    char text[160], path[512], origin_path[512];
    mirl_error error;
    mirl_graph *graph, *same;
    snprintf(text, sizeof text,
             "reset = %s\nrounds = 1\nlast_round = 1 steps\nwarmup = 0.5\nweight_decay = 0\n", reset);
    trainer_recipe recipe = recipe_with(text);
    assert_int_equal(run_in(&recipe, name, false, path, &error), TRAINER_COMPLETE);
    float *dense = read_weights(path, "round-0.safetensors", &graph);
    float *pruned = read_weights(path, "round-1.safetensors", &same);
    snprintf(origin_path, sizeof origin_path, "%s/%s", folder, origin);
    mirl_graph_free(same);
    float *expected = read_weights(origin_path, "round-0.safetensors", &same);
    size_t first = 0, dead = 0, prunable = 0;
    for (int l = 0; l < graph->layer_count; first += graph->layers[l++].count) {
        const mirl_layer *layer = &graph->layers[l];
        bool kept = layer->kind == MIRL_TEMPERATURE || layer->kind == MIRL_PROMPT_PARAM;
        for (size_t i = first; i < first + layer->count; i++) {
            bool gone = mirl_layer_is_prunable(layer) && pruned[i] == 0;
            prunable += mirl_layer_is_prunable(layer);
            dead += gone;
            if (!gone)
                assert_true(pruned[i] == (kept ? dense[i] : expected[i]));
        }
    }
    assert_float_equal((double)dead / (double)prunable, 0.2, 0.001);
    free(dense);
    free(pruned);
    free(expected);
    mirl_graph_free(graph);
    mirl_graph_free(same);
}

static void resets_are_what_they_say(void **state) {
    (void)state;
    check_reset("none", "none", "none");
    /* The first step of a run with warm-up has rate 0 and no decay here, so it leaves the initial values. */
    check_reset("rewind=1", "rewound", "rewound-origin");
    check_reset("published", "published", "rewound-origin");
}

static int make_origins(void **state) {
    (void)state;
    char path[512];
    mirl_error error;
    trainer_recipe recipe =
        recipe_with("rounds = 1\nfirst_round = 1 steps\nround = 1 steps\nlast_round = 1 steps\nwarmup = 0.5\n"
                    "weight_decay = 0\n");
    return run_in(&recipe, "rewound-origin", false, path, &error) != TRAINER_COMPLETE;
}

static volatile sig_atomic_t stop;

static void stop_after_two_steps(const trainer_progress *progress, void *user) {
    (void)user;
    stop = progress->step >= 1; // seen by the step that comes next
}

/* A recipe may be given a later rewind point until it is reached. */
static void a_rewind_point_can_be_put_off(void **state) {
    (void)state;
    static const char text[] = "reset = rewind=%d\nrounds = 1\nfirst_round = 5 steps\nlast_round = 2 steps\n"
                               "warmup = 1\n";
    char early_text[160], late_text[160], path[512], straight_path[512];
    mirl_error error;
    snprintf(early_text, sizeof early_text, text, 1);
    snprintf(late_text, sizeof late_text, text, 3);
    trainer_recipe early = recipe_with(early_text), late = recipe_with(late_text);
    trainer_run_options options = {
        .recipe = &early, .folder = path, .stop = &stop, .progress = stop_after_two_steps};
    snprintf(path, sizeof path, "%s/put-off", folder);
    mkdir(path, 0777);
    assert_int_equal(trainer_run(&options, &error), TRAINER_STOPPED);
    assert_int_equal(run_in(&late, "put-off", true, path, &error), TRAINER_COMPLETE);
    assert_int_equal(run_in(&late, "straight", false, straight_path, &error), TRAINER_COMPLETE);

    assert_same_weights(path, "round-1.safetensors", straight_path, "round-1.safetensors");
}

/* Weights are trained further: the first step at a rate of 0 leaves them, later ones leave their zeros. */
static void a_run_starts_from_weights(void **state) {
    (void)state;
    char text[700], path[512], again_path[512];
    mirl_error error;
    mirl_graph *graph;
    trainer_recipe first = recipe_with("rounds = 1\n");
    assert_int_equal(run_in(&first, "first", false, path, &error), TRAINER_COMPLETE);
    static const char *const lengths[] = {"1 steps", "20 steps"};
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof text,
                 "start = %s/round-1.safetensors\nrounds = 0\nround = %s\nwarmup = 0.5\nweight_decay = 0\n",
                 path, lengths[i]);
        trainer_recipe recipe = recipe_with(text);
        assert_int_equal(run_in(&recipe, lengths[i], false, again_path, &error), TRAINER_COMPLETE);
        if (i == 0)
            assert_same_weights(path, "round-1.safetensors", again_path, "round-0.safetensors");
    }
    float *before = read_weights(path, "round-1.safetensors", &graph);
    size_t first_value = 0, dead = 0, changed = 0;
    mirl_graph *same;
    float *after = read_weights(again_path, "tiny.safetensors", &same);
    for (int l = 0; l < graph->layer_count; first_value += graph->layers[l++].count)
        for (size_t i = first_value; i < first_value + graph->layers[l].count; i++) {
            if (mirl_layer_is_prunable(&graph->layers[l]) && before[i] == 0) {
                assert_true(after[i] == 0);
                dead++;
            }
            changed += before[i] != after[i];
        }
    assert_true(dead > 0 && changed > graph->parameters / 2);
    free(before);
    free(after);
    mirl_graph_free(graph);
    mirl_graph_free(same);
}

static void a_start_that_does_not_fit_is_refused(void **state) {
    (void)state;
    char path[512];
    mirl_error error;
    trainer_recipe missing = recipe_with("start = nowhere/to.safetensors\n");
    assert_int_equal(run_in(&missing, "missing", false, path, &error), TRAINER_REFUSED);
    assert_non_null(strstr(error.message, "nowhere/to.safetensors"));
    trainer_recipe other = recipe_with("start = " MIRL_SOURCE_DIR "/weights/all-in-one.safetensors\n");
    assert_int_equal(run_in(&other, "other", false, path, &error), TRAINER_REFUSED);
    assert_non_null(strstr(error.message, "all-in-one.safetensors is of another network"));
}

static void a_round_that_does_not_learn_ends_the_run(void **state) {
    (void)state;
    char path[512];
    mirl_error error;
    trainer_recipe still = recipe_with("learning_rate = 0\nleast_gain = 0.02\n");
    assert_int_equal(run_in(&still, "still", false, path, &error), TRAINER_FAILED);
    assert_non_null(strstr(error.message, "the dense round did not learn"));

    trainer_recipe ruined = recipe_with("percent = 99.9\nleast_gain = 0.02\nfirst_round = 300 steps\n"
                                        "round = 20 steps\nreset = published\n");
    assert_int_equal(run_in(&ruined, "ruined", false, path, &error), TRAINER_STUCK);
    assert_non_null(strstr(said, "round 1 did not learn"));
    assert_non_null(strstr(said, "the network of round 0 is"));
    assert_same_weights(path, "round-0.safetensors", path, "tiny.safetensors");
}

static void a_loss_that_is_no_number_names_its_batch(void **state) {
    (void)state;
    char path[512], *text;
    mirl_error error;
    trainer_recipe recipe = recipe_with("rounds = 1\n");
    mirl_graph *graph = mirl_graph_create(&recipe.config, NULL);
    trainer_state poisoned;
    assert_int_equal(trainer_state_create(&poisoned, graph->parameters, NULL), MIRL_OK);
    poisoned.values[0] = NAN;
    poisoned.step = poisoned.total_step = 3;
    text = trainer_recipe_print(&recipe, true);
    snprintf(path, sizeof path, "%s/poisoned", folder);
    mkdir(path, 0777);
    assert_int_equal(trainer_checkpoint_write(path, &poisoned, text, &error), MIRL_OK);
    assert_int_equal(run_in(&recipe, "poisoned", true, path, &error), TRAINER_FAILED);
    assert_non_null(strstr(error.message, "the loss is no number in round 0, step 3"));
    assert_non_null(strstr(error.message, "poisoned/checkpoint"));
    assert_non_null(strstr(error.message, ".png"));
    free(text);
    trainer_state_free(&poisoned);
    mirl_graph_free(graph);
}

static void a_checkpoint_of_another_network_is_refused(void **state) {
    (void)state;
    char path[512];
    mirl_error error;
    trainer_recipe other = recipe_with("prompt_sizes = 16 8 4\n");
    assert_int_equal(run_in(&other, "poisoned", true, path, &error), TRAINER_REFUSED);
    assert_non_null(strstr(error.message, "it holds a network of"));
    trainer_recipe same_count = recipe_with("ffn = 2.661\n");
    assert_int_equal(run_in(&same_count, "none", true, path, &error), TRAINER_REFUSED);
    assert_non_null(strstr(error.message, "is of another network"));
}

static void a_full_disk_leaves_the_checkpoint_before(void **state) {
    (void)state;
    char path[512], warning[256], *text = NULL;
    mirl_error error;
    trainer_state state_one, state_two;
    struct rlimit limit, small;
    snprintf(path, sizeof path, "%s/full", folder);
    mkdir(path, 0777);
    assert_int_equal(trainer_state_create(&state_one, 5000, NULL), MIRL_OK);
    assert_int_equal(trainer_state_create(&state_two, 5000, NULL), MIRL_OK);
    state_one.step = 17;
    state_one.values[4999] = 3;
    assert_int_equal(trainer_checkpoint_write(path, &state_one, "a = b", &error), MIRL_OK);

    getrlimit(RLIMIT_FSIZE, &limit);
    small = limit;
    small.rlim_cur = 20000;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    state_one.step = 18;
    mirl_status status = trainer_checkpoint_write(path, &state_one, "a = b", &error);
    setrlimit(RLIMIT_FSIZE, &limit);
    assert_int_equal(status, MIRL_ERROR_FILE);
    assert_int_equal(trainer_checkpoint_read(path, &state_two, &text, warning, sizeof warning, &error),
                     MIRL_OK);
    assert_string_equal(text, "a = b");
    assert_string_equal(warning, "");
    assert_int_equal(state_two.step, 17);
    assert_float_equal(state_two.values[4999], 3, 0);
    free(text);
    trainer_state_free(&state_one);
    trainer_state_free(&state_two);
}

static void recipes_print_what_they_read(void **state) {
    (void)state;
    trainer_recipe recipe =
        recipe_with("reset = rewind=12\ntasks = denoise 2 dehaze 0.5\nrain_angle = -10 20\n"
                    "sigmas = 5 50\nlast_round = 90 steps\nscope = compute\n");
    trainer_recipe again = trainer_recipe_default();
    mirl_error error;
    char *text = trainer_recipe_print(&recipe, true);
    assert_int_equal(trainer_recipe_parse(&again, text, "printed", &error), MIRL_OK);
    char *text_again = trainer_recipe_print(&again, true);
    assert_string_equal(text, text_again);
    assert_int_equal(again.rewind, 12);
    assert_float_equal(again.data.mix[TRAINER_DEHAZE], 0.5, 0);
    assert_float_equal(again.data.ranges.rain_angle.low, -10, 0);
    assert_int_equal(again.data.ranges.sigma_count, 2);
    free(text);
    free(text_again);
    assert_int_equal(trainer_recipe_read(&again, MIRL_SOURCE_DIR "/weights/recipes/paper.recipe", &error),
                     MIRL_OK);
    assert_int_equal(
        trainer_recipe_read(&again, MIRL_SOURCE_DIR "/weights/recipes/all-in-one.recipe", &error), MIRL_OK);
    assert_int_equal(trainer_recipe_read(
                         &again, MIRL_SOURCE_DIR "/weights/recipes/all-in-one-large-patches.recipe", &error),
                     MIRL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rate_is_the_published_one),
        cmocka_unit_test_setup(resets_are_what_they_say, make_origins),
        cmocka_unit_test(a_rewind_point_can_be_put_off),
        cmocka_unit_test(a_run_starts_from_weights),
        cmocka_unit_test(a_start_that_does_not_fit_is_refused),
        cmocka_unit_test(a_round_that_does_not_learn_ends_the_run),
        cmocka_unit_test(a_loss_that_is_no_number_names_its_batch),
        cmocka_unit_test(a_checkpoint_of_another_network_is_refused),
        cmocka_unit_test(a_full_disk_leaves_the_checkpoint_before),
        cmocka_unit_test(recipes_print_what_they_read),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
