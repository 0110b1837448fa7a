/* Our own weights files: what is written comes back, within the step of its type. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <float.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fixtures.h"
#include "weights/config.h"
#include "weights/internal.h"
#include "weights/safetensors.h"

/** Largest error that the type may make of a value in a row whose largest magnitude is `largest`. */
static double step(mirl_type type, double value, double largest) {
    if (type == MIRL_I8)
        return largest / 127 / 2 * (1 + 1e-5);
    return type == MIRL_F16 ? fmax(fabs(value) * 0x1p-11, 0x1p-25) : 0;
}

static void check_row(const mirl_weights *weights, int layer, int row, const float *decoded) {
    const mirl_layer *shape = &mirl_weights_graph(weights)->layers[layer];
    size_t length = shape->count / (size_t)shape->rows, count = 0;
    uint16_t *columns = malloc(length * sizeof *columns);
    float *values = malloc(length * sizeof *values);
    size_t alive = mirl_weights_row(weights, layer, row, columns, values);
    assert_int_equal(mirl_weights_row(weights, layer, row, NULL, NULL), alive);
    for (size_t i = 0; i < length; i++) {
        if (decoded[i] == 0)
            continue;
        assert_true(count < alive);
        assert_int_equal(columns[count], i);
        assert_memory_equal(&values[count], &decoded[i], sizeof *decoded);
        count++;
    }
    assert_int_equal(count, alive);
    free(columns);
    free(values);
}

static void check_layer(const mirl_weights *weights, int layer, const float *expected, mirl_type type) {
    const mirl_layer *shape = &mirl_weights_graph(weights)->layers[layer];
    size_t length = shape->count / (size_t)shape->rows, alive = 0;
    float *decoded = malloc(shape->count * sizeof *decoded);
    if (!mirl_layer_is_matrix(shape))
        type = MIRL_F32;
    assert_int_equal(mirl_weights_type(weights, layer), type);
    mirl_weights_values(weights, layer, decoded);
    for (int row = 0; row < shape->rows; row++) {
        double largest = 0;
        for (size_t i = (size_t)row * length; i < (size_t)(row + 1) * length; i++)
            largest = fmax(largest, fabs(expected[i]));
        for (size_t i = (size_t)row * length; i < (size_t)(row + 1) * length; i++) {
            assert_true(fabs((double)decoded[i] - expected[i]) <= step(type, expected[i], largest));
            alive += decoded[i] != 0;
        }
        check_row(weights, layer, row, decoded + (size_t)row * length);
    }
    assert_int_equal(mirl_weights_alive(weights, layer), alive);
    free(decoded);
}

static void round_trip(mirl_type type, double sparsity) {
    mirl_config config = small_config();
    mirl_graph *graph = mirl_graph_create(&config, NULL);
    float **values = make_values(graph, sparsity);
    char *path = scratch_path("weights.safetensors");
    mirl_error error = {.message = ""};
    const char *metadata = "{\"task\":\"denoise\",\"config\":\"{}\",\"note\":\"a \\\"quoted\\\" word\"}";
    assert_int_equal(mirl_weights_write(path, graph, values, type, metadata, &error), MIRL_OK);

    mirl_weights *weights = mirl_weights_open(path, &error);
    if (!weights)
        fail_msg("%s", error.message);
    char *expected = mirl_config_print(&config);
    assert_string_equal(mirl_weights_metadata_get(weights, "config"), expected);
    free(expected);
    assert_string_equal(mirl_weights_metadata_get(weights, "task"), "denoise");
    assert_string_equal(mirl_weights_metadata_get(weights, "note"), "a \"quoted\" word");
    assert_string_equal(mirl_weights_metadata_get(weights, "absent"), "");
    int sparse = 0;
    for (int i = 0; i < graph->layer_count; i++) {
        check_layer(weights, i, values[i], type);
        sparse += mirl_weights_is_sparse(weights, i);
    }
    assert_true(sparsity > 0.8 ? sparse > 30 : sparse == 0);
    mirl_weights_close(weights);
    remove_scratch(path);
    free_values(graph, values);
    mirl_graph_free(graph);
}

static void every_type_comes_back_sparse_and_dense(void **state) {
    (void)state;
    for (int type = MIRL_F32; type <= MIRL_I8; type++) {
        round_trip((mirl_type)type, 0.9);
        round_trip((mirl_type)type, 0);
    }
}

static void arrays_lie_at_multiples_of_their_items(void **state) {
    (void)state;
    mirl_config config = small_config();
    mirl_graph *graph = mirl_graph_create(&config, NULL);
    float **values = make_values(graph, 0.9);
    char *path = scratch_path("weights.safetensors");
    assert_int_equal(mirl_weights_write(path, graph, values, MIRL_F16, NULL, NULL), MIRL_OK);
    mirl_safetensors file;
    assert_int_equal(mirl_safetensors_open(path, &file, NULL), MIRL_OK);
    uint64_t length;
    memcpy(&length, file.map.data, sizeof length);
    assert_int_equal((8 + length) % 64, 0);
    for (size_t i = 0; i < file.tensors.count; i++) {
        const mirl_tensor *tensor = &file.tensors.items[i];
        size_t item = tensor->count ? tensor->bytes / tensor->count : 1;
        assert_int_equal((size_t)(tensor->data - file.map.data) % item, 0);
    }
    mirl_safetensors_close(&file);
    remove_scratch(path);
    free_values(graph, values);
    mirl_graph_free(graph);
}

static void values_that_do_not_fit_are_refused(void **state) {
    (void)state;
    mirl_config config = small_config();
    mirl_graph *graph = mirl_graph_create(&config, NULL);
    float **values = make_values(graph, 0.5);
    char *path = scratch_path("weights.safetensors");
    mirl_error error;
    values[graph->output][5] = 65520;
    assert_int_equal(mirl_weights_write(path, graph, values, MIRL_F16, NULL, &error), MIRL_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "'output.weight': value 5 is 65520"));
    values[graph->output][5] = 65519;
    assert_int_equal(mirl_weights_write(path, graph, values, MIRL_F16, NULL, &error), MIRL_OK);
    unlink(path);
    values[graph->output][5] = NAN;
    for (int type = MIRL_F32; type <= MIRL_I8; type++) {
        assert_int_equal(mirl_weights_write(path, graph, values, (mirl_type)type, NULL, &error),
                         MIRL_ERROR_ARGUMENT);
        assert_non_null(strstr(error.message, "not finite"));
    }
    values[graph->output][5] = FLT_MAX;
    assert_int_equal(mirl_weights_write(path, graph, values, MIRL_I8, NULL, &error), MIRL_ERROR_ARGUMENT);
    values[graph->output][5] = 0;
    assert_int_equal(mirl_weights_write(path, graph, values, MIRL_F32, "{\"a\":1}", &error),
                     MIRL_ERROR_ARGUMENT);
    assert_int_equal(mirl_weights_write(path, graph, values, MIRL_F32, "[", &error), MIRL_ERROR_ARGUMENT);
    remove_scratch(path); /* fails if anything was left beside it */
    free_values(graph, values);
    mirl_graph_free(graph);
}

static void a_failed_write_leaves_the_old_file(void **state) {
    (void)state;
    mirl_config config = small_config();
    mirl_graph *graph = mirl_graph_create(&config, NULL);
    float **values = make_values(graph, 0.9);
    char *path = scratch_path("weights.safetensors");
    mirl_error error;
    assert_int_equal(mirl_weights_write(path, graph, values, MIRL_F32, NULL, &error), MIRL_OK);
    size_t before, after;
    uint8_t *old = read_whole(path, &before);

    /* A size limit fails in mid-write as a full disk does. */
    struct rlimit limit, low;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    low = (struct rlimit){4096, limit.rlim_max};
    setrlimit(RLIMIT_FSIZE, &low);
    mirl_status status = mirl_weights_write(path, graph, values, MIRL_F16, NULL, &error);
    setrlimit(RLIMIT_FSIZE, &limit);
    assert_int_equal(status, MIRL_ERROR_FILE);
    assert_non_null(strstr(error.message, path));
    assert_non_null(strstr(error.message, strerror(EFBIG)));

    uint8_t *now = read_whole(path, &after);
    assert_int_equal(before, after);
    assert_memory_equal(old, now, before);
    free(old);
    free(now);
    assert_int_equal(mirl_weights_write("/nowhere/at/all", graph, values, MIRL_F32, NULL, &error),
                     MIRL_ERROR_FILE);
    assert_non_null(strstr(error.message, "/nowhere/at/all"));
    remove_scratch(path);
    free_values(graph, values);
    mirl_graph_free(graph);
}

static void what_is_no_weights_file_is_named(void **state) {
    (void)state;
    mirl_error error;
    assert_null(mirl_weights_open("/nowhere.safetensors", &error));
    assert_int_equal(error.status, MIRL_ERROR_FILE);
    assert_non_null(strstr(error.message, "/nowhere.safetensors: cannot be opened: "));
    assert_null(mirl_weights_open("/tmp", &error));
    assert_int_equal(error.status, MIRL_ERROR_FILE);
    assert_null(mirl_weights_open("/dev/null", &error));
    assert_non_null(strstr(error.message, "not a regular file"));
    assert_null(mirl_weights_open(MIRL_SOURCE_DIR "/LICENSE", &error));
    assert_int_equal(error.status, MIRL_ERROR_FORMAT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_comes_back_sparse_and_dense),
        cmocka_unit_test(arrays_lie_at_multiples_of_their_items),
        cmocka_unit_test(values_that_do_not_fit_are_refused),
        cmocka_unit_test(a_failed_write_leaves_the_old_file),
        cmocka_unit_test(what_is_no_weights_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
