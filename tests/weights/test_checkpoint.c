/* PyTorch checkpoints: what is read comes back to the bit, what is around it is skipped, nothing runs, and
 * what is not understood is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints.h"
#include "fixtures.h"
#include "weights/half.h"
#include "weights/internal.h"
#include "weights/pickle.h"

static uint32_t crc32_of(const void *data, size_t size) {
    uint32_t crc = ~0u;
    for (const uint8_t *at = data; size--; at++) {
        crc ^= *at;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static void published_checkpoint_is_read_to_the_bit(void **state) {
    (void)state;
    mirl_error error = {.message = ""};
    mirl_weights *weights = mirl_weights_open(MIRL_TEST_DATA "/golden/lightning.ckpt", &error);
    if (!weights)
        fail_msg("%s", error.message);
    const mirl_graph *graph = mirl_weights_graph(weights);
    assert_int_equal(graph->config.dim, 8);
    assert_float_equal(graph->config.ffn, 2.66, 0);
    assert_int_equal(graph->config.prompt_sizes[0], 16);
    assert_string_equal(mirl_weights_metadata(weights), "{}");

    FILE *list = fopen(MIRL_TEST_DATA "/golden/lightning.crc32", "r");
    assert_non_null(list);
    char name[64];
    unsigned expected;
    int layers = 0;
    for (; fscanf(list, "%8x %63s", &expected, name) == 2; layers++) {
        int layer = mirl_graph_find(graph, name);
        assert_true(layer >= 0);
        float *values = malloc(graph->layers[layer].count * sizeof *values);
        mirl_weights_values(weights, layer, values);
        assert_int_equal(crc32_of(values, graph->layers[layer].count * sizeof *values), expected);
        free(values);
    }
    fclose(list);
    assert_int_equal(layers, graph->layer_count);
    mirl_weights_close(weights);
}

/* ---- Checkpoints made here --------------------------------------------------------------------------- */

/** Value i of the storage: exact in every type of storage. */
static float expected_value(size_t i) {
    return (float)((int)(i % 255) - 127) / 128;
}

/** A storage of the tiny_graph's values as f32, or the upper (bf16) or encoded (f16) halves of them. */
static bytes make_storage(const char *class, size_t count) {
    bytes storage = {0};
    for (size_t i = 0; i < count; i++) {
        float value = expected_value(i);
        uint16_t half = mirl_f16_encode(value);
        if (strcmp(class, "FloatStorage") == 0)
            put(&storage, &value, sizeof value);
        else if (strcmp(class, "HalfStorage") == 0)
            put(&storage, &half, sizeof half);
        else
            put(&storage, (char *)&value + 2, 2);
    }
    return storage;
}

/** Reads the pickle with a storage of `stored` values of the class; frees the pickle. */
static mirl_weights *read_with(bytes pickle, const char *class, size_t stored, mirl_error *error) {
    bytes storage = make_storage(class, stored), archive = make_archive(&pickle, storage.data, storage.size);
    *error = (mirl_error){.message = ""};
    mirl_weights *weights = mirl_weights_read(archive.data, archive.size, error);
    free(pickle.data);
    free(storage.data);
    free(archive.data); /* checkpoints are copied */
    return weights;
}

static void expect_values(bytes pickle, const char *class) {
    mirl_error error;
    size_t offset = 0;
    mirl_weights *weights = read_with(pickle, class, tiny_graph->parameters, &error);
    if (!weights)
        fail_msg("%s", error.message);
    for (int i = 0; i < tiny_graph->layer_count; i++) {
        size_t count = tiny_graph->layers[i].count;
        float *values = malloc(count * sizeof *values);
        mirl_weights_values(weights, i, values);
        for (size_t k = 0; k < count; k++)
            assert_true(values[k] == expected_value(offset + k));
        offset += count;
        free(values);
    }
    mirl_weights_close(weights);
}

static void expect_refusal_of(bytes pickle, const char *words) {
    mirl_error error;
    mirl_weights *weights = read_with(pickle, "FloatStorage", tiny_graph->parameters, &error);
    assert_null(weights);
    if (error.status == MIRL_OK || !strstr(error.message, words))
        fail_msg("expected '%s', got '%s'", words, error.message);
}

static void plain_state_dicts_are_read(void **state) {
    (void)state;
    expect_values(state_dict(tiny_graph, "", "FloatStorage"), "FloatStorage");
    expect_values(state_dict(tiny_graph, "net.", "FloatStorage"), "FloatStorage");
    expect_values(state_dict(tiny_graph, "", "HalfStorage"), "HalfStorage");
    expect_values(state_dict(tiny_graph, "net.", "BFloat16Storage"), "BFloat16Storage");
}

static void what_stands_around_is_skipped(void **state) {
    (void)state;
    bytes pickle = {0};
    put_opcodes(&pickle, "\x80\x02}(");
    put_string(&pickle, "parameter");
    put_opcodes(&pickle, "ctorch._utils\n_rebuild_parameter\n(");
    put_tensor(&pickle, "HalfStorage", "8", 1, 0, 1, (int[]){1}, NULL);
    put_opcodes(&pickle, "\x88NtR");
    put_string(&pickle, "before");
    put_opcodes(&pickle, "cargparse\nNamespace\n)\x81}(");
    put_string(&pickle, "path");
    put_opcodes(&pickle, "cpathlib\nPosixPath\n(");
    put_string(&pickle, "x");
    put_opcodes(&pickle, "tRub");
    put_string(&pickle, "ordered");
    put_opcodes(&pickle, "ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R(KKNu"
                         "K\x01\x8a\x0c"
                         "abcdefghijkls");
    put_string(&pickle, "state_dict");
    put_opcodes(&pickle, "ccollections\nOrderedDict\n)R(");
    put_layers(&pickle, tiny_graph, "net.", "FloatStorage", tiny_graph->parameters);
    put_string(&pickle, "net.chnl_reduce1.weight");
    put_tensor(&pickle, "LongStorage", "7", 1, 0, 1, (int[]){1}, NULL);
    put_opcodes(&pickle, "u}");
    put_string(&pickle, "_metadata");
    put_opcodes(&pickle, "Nsb"); /* BUILD, as nn.Module.state_dict() leaves it */
    put_string(&pickle, "after");
    put_opcodes(&pickle, "cbuiltins\nset\n](G\x3f\xf0xxxxxxNe\x85R");
    put_opcodes(&pickle, "u.");
    expect_values(pickle, "FloatStorage");
}

static void strided_tensors_are_gathered(void **state) {
    (void)state;
    const int layer = mirl_graph_find(tiny_graph, "latent.0.ffn.project_in.weight");
    const mirl_layer *shape = &tiny_graph->layers[layer];
    size_t offset = 0;
    bytes pickle = {0};
    put_opcodes(&pickle, "\x80\x02}(");
    put_layers(&pickle, tiny_graph, "", "FloatStorage", tiny_graph->parameters);
    put_opcodes(&pickle, "u(");
    put_opcodes(&pickle, "1."); /* an unused mark, then the end */
    for (int i = 0; i < layer; i++)
        offset += tiny_graph->layers[i].count;

    /* Written again as the transposed view of the same values. */
    bytes changed = {0};
    put_opcodes(&changed, "\x80\x02}(");
    for (int i = 0, at = 0; i < tiny_graph->layer_count; at += (int)tiny_graph->layers[i++].count) {
        const mirl_layer *other = &tiny_graph->layers[i];
        put_string(&changed, other->name);
        put_tensor(&changed, "FloatStorage", "0", tiny_graph->parameters, (size_t)at, other->rank,
                   other->shape, i == layer ? (int64_t[]){1, shape->rows, 1, 1} : NULL);
    }
    put_opcodes(&changed, "u.");
    expect_values(pickle, "FloatStorage");

    mirl_error error;
    mirl_weights *weights = read_with(changed, "FloatStorage", tiny_graph->parameters, &error);
    assert_non_null(weights);
    float *values = malloc(shape->count * sizeof *values);
    mirl_weights_values(weights, layer, values);
    for (int row = 0; row < shape->rows; row++)
        for (int column = 0; column < shape->columns; column++)
            assert_true(values[row * shape->columns + column] ==
                        expected_value(offset + (size_t)(column * shape->rows + row)));
    free(values);
    mirl_weights_close(weights);
}

/** A state dict whose last layer, output.weight, is `opcodes` instead. */
static bytes with_output(const char *opcodes) {
    mirl_graph shorter = *tiny_graph;
    bytes pickle = {0};
    shorter.layer_count--;
    assert_int_equal(tiny_graph->output, shorter.layer_count);
    put_opcodes(&pickle, "\x80\x02}(");
    put_layers(&pickle, &shorter, "", "FloatStorage", tiny_graph->parameters);
    if (opcodes) {
        put_string(&pickle, "output.weight");
        put_opcodes(&pickle, opcodes);
    }
    put_opcodes(&pickle, "u.");
    return pickle;
}

static bytes with_output_tensor(const char *storage, const char *key, size_t stored, size_t offset,
                                int64_t stride) {
    bytes tensor = {0};
    bytes pickle = with_output(NULL);
    pickle.size -= 2;
    put_string(&tensor, "output.weight");
    put_tensor(&tensor, storage, key, stored, offset, 4, tiny_graph->layers[tiny_graph->output].shape,
               (int64_t[]){36, 9, 3, stride});
    put(&pickle, tensor.data, tensor.size);
    put_opcodes(&pickle, "u.");
    free(tensor.data);
    return pickle;
}

static void tensors_that_are_none_are_named(void **state) {
    (void)state;
    const size_t all = tiny_graph->parameters, last = all - tiny_graph->layers[tiny_graph->output].count;
    expect_refusal_of(with_output(NULL), "'output.weight' is missing");
    expect_refusal_of(with_output("cother.module\nThing\n)\x81"),
                      "'output.weight' is a 'other.module.Thing'");
    expect_refusal_of(with_output("K\x01"), "'output.weight' is an integer");
    expect_refusal_of(with_output("ctorch._utils\n_rebuild_tensor_v2\n)R"),
                      "'output.weight' has no sound storage");
    expect_refusal_of(with_output_tensor("DoubleStorage", "0", all, last, 1), "holds torch.DoubleStorage");
    expect_refusal_of(with_output_tensor("FloatStorage", "5", all, last, 1),
                      "'5' of 'output.weight' is not in");
    expect_refusal_of(with_output_tensor("FloatStorage", "0", all + 1, last, 1), "does not have the size");
    expect_refusal_of(with_output_tensor("HalfStorage", "0", all, last, 1), "does not have the size");
    expect_refusal_of(with_output_tensor("FloatStorage", "0", all, last + 1, 1), "beyond its storage");
    expect_refusal_of(with_output_tensor("FloatStorage", "0", all, last, 2), "beyond its storage");
    expect_refusal_of(with_output_tensor("FloatStorage", "0", all, last, INT64_MAX), "beyond its storage");
    expect_refusal_of(with_output_tensor("FloatStorage", "0", all, last, -1), "no sound storage, offset");
    expect_values(with_output_tensor("FloatStorage", "0", all, last, 1), "FloatStorage");
}

static bytes only(const char *opcodes, size_t size) {
    bytes pickle = {0};
    put(&pickle, opcodes, size);
    return pickle;
}

#define ONLY(opcodes) only(opcodes, sizeof opcodes - 1)

static void nothing_runs_and_strangers_are_named(void **state) {
    (void)state;
    expect_refusal_of(ONLY("\x80\x02"
                           "cposix\nsystem\nX\4\0\0\0true\x85R."),
                      "'posix.system'");
    expect_refusal_of(ONLY("\x80\x02"
                           "cos.path\njoin\n)R."),
                      "'os.path.join'");
    expect_refusal_of(ONLY("\x80\x02"
                           "c__builtin__\neval\n)R."),
                      "'__builtin__.eval'");
    expect_refusal_of(ONLY("\x80\x02"
                           "csubprocess\nPopen\n)R."),
                      "'subprocess.Popen'");
    expect_refusal_of(ONLY("\x80\x02(ios\nsystem\n."), "0x69 INST");
    expect_refusal_of(ONLY("\x80\x02\xff."), "0xff");
    expect_refusal_of(ONLY("\x80\x04\x95\0\0\0\0\0\0\0\0}."), "protocol 2");
    expect_refusal_of(ONLY("\x80\x02"
                           "cfoo\nBar\n)\x81."),
                      "its state dict is a 'foo.Bar'");
    expect_refusal_of(ONLY("\x80\x02]."), "its state dict is a list");
    expect_refusal_of(ONLY("\x80\x02}X\x0a\0\0\0state_dictK\5s."), "its state dict is an integer");
    expect_refusal_of(ONLY("\x80\x02}K\1Ns."), "has an integer for a name");
    expect_refusal_of(ONLY("\x80\x02}."), "'patch_embed.proj.weight' is missing");
    expect_refusal_of(ONLY("\x80\x02NN)RR."), "calls what is no class");
}

static void broken_pickles_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *opcodes;
        size_t size;
    } broken[] = {
#define BROKEN(opcodes) {opcodes, sizeof opcodes - 1}
        BROKEN(""),
        BROKEN("\x80"),
        BROKEN("\x80\x02"),
        BROKEN("\x80\x02."),
        BROKEN("\x80\x02t."),
        BROKEN("\x80\x02u."),
        BROKEN("\x80\x02(0."),
        BROKEN("\x80\x02N(0."),
        BROKEN("\x80\x02s."),
        BROKEN("\x80\x02}Ns."),
        BROKEN("\x80\x02}(Nu."),
        BROKEN("\x80\x02(Nu."),
        BROKEN("\x80\x02}N("
               "Ns."),
        BROKEN("\x80\x02]}a("),
        BROKEN("\x80\x02}Na."),
        BROKEN("\x80\x02h\1."),
        BROKEN("\x80\x02q\1."),
        BROKEN("\x80\x02Nr\xff\xff\xff\xff."),
        BROKEN("\x80\x02j\xff\xff\xff\xff."),
        BROKEN("\x80\x02X\xff\xff\xff\xffx."),
        BROKEN("\x80\x02\x8b\xff\xff\xff\xff."),
        BROKEN("\x80\x02"
               "cfoo"),
        BROKEN("\x80\x02"
               "cfoo\nbar"),
        BROKEN("\x80\x02R."),
        BROKEN("\x80\x02NQ."),
        BROKEN("\x80\x02\x86."),
        BROKEN("\x80\x02(N\x86."),
        BROKEN("\x80\x02"
               "b."),
        BROKEN("\x80\x02"
               "1."),
        BROKEN("\x80\x02"
               "cfoo\nbar\nNR."),
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        mirl_pickle pickle;
        mirl_error error = {.message = ""};
        uint8_t *copy = malloc(broken[i].size + !broken[i].size); /* so that a sanitizer sees its end */
        memcpy(copy, broken[i].opcodes, broken[i].size);
        mirl_status status = mirl_pickle_read(copy, broken[i].size, &pickle, &error);
        if (status == MIRL_OK)
            fail_msg("broken pickle %zu was read", i);
        assert_non_null(strstr(error.message, "its pickle "));
        assert_null(pickle.root);
        free(copy);
    }
}

/** Deep and endless structures stop at a limit, in a moment and in little memory. */
static void bombs_are_refused(void **state) {
    (void)state;
    static const char *const units[] = {"(", "N", "]", "}(", "X\1", "2"};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        bytes bomb = {0};
        put(&bomb, "\x80\x02", 2);
        while (bomb.size < (8 << 20))
            put_opcodes(&bomb, units[i]);
        mirl_pickle pickle;
        mirl_error error;
        assert_int_not_equal(mirl_pickle_read(bomb.data, bomb.size, &pickle, &error), MIRL_OK);
        free(bomb.data);
    }
    uint8_t *large = calloc(1, MIRL_PICKLE_MAX + 1);
    mirl_pickle pickle;
    assert_int_equal(mirl_pickle_read(large, MIRL_PICKLE_MAX + 1, &pickle, NULL), MIRL_ERROR_FORMAT);
    free(large);
}

/** Views of one value may pose as any number of parameters. */
static void large_tensors_in_small_files_are_refused(void **state) {
    (void)state;
    mirl_config config = tiny_config();
    config.prompt_sizes[0] = 256;
    mirl_graph *large = mirl_graph_create(&config, NULL);
    bytes pickle = {0};
    put_opcodes(&pickle, "\x80\x02}(");
    for (int i = 0; i < large->layer_count; i++) {
        put_string(&pickle, large->layers[i].name);
        put_tensor(&pickle, "FloatStorage", "0", 1, 0, large->layers[i].rank, large->layers[i].shape,
                   (int64_t[]){0, 0, 0, 0, 0});
    }
    put_opcodes(&pickle, "u.");
    mirl_error error;
    assert_null(read_with(pickle, "FloatStorage", 1, &error));
    assert_non_null(strstr(error.message, "too short for its 76923 parameters"));
    mirl_graph_free(large);
}

/** A list that holds itself, remembered and recalled, is as good as any other value around the state dict. */
static void circles_are_skipped(void **state) {
    (void)state;
    bytes pickle = {0};
    put_opcodes(&pickle, "\x80\x02}q\1(");
    put_string(&pickle, "self");
    put_opcodes(&pickle, "h\1");
    put_string(&pickle, "list");
    put_opcodes(&pickle, "]q\2h\2a");
    put_string(&pickle, "state_dict");
    put_opcodes(&pickle, "}(");
    put_layers(&pickle, tiny_graph, "", "FloatStorage", tiny_graph->parameters);
    put_opcodes(&pickle, "uu.");
    expect_values(pickle, "FloatStorage");
}

static void archives_that_are_no_checkpoint_are_refused(void **state) {
    (void)state;
    mirl_error error;
    bytes pickle = state_dict(tiny_graph, "", "FloatStorage"),
          storage = make_storage("FloatStorage", tiny_graph->parameters);
    bytes archive = make_archive(&pickle, storage.data, storage.size);
    assert_null(mirl_weights_read((const uint8_t *)"PK\3\4", 4, &error));
    assert_non_null(strstr(error.message, "not a whole zip archive"));

    /* A value that is not the one whose checksum the archive holds. */
    uint8_t *found = NULL;
    for (size_t i = 0; i + 6 < archive.size && !found; i++)
        if (memcmp(archive.data + i, "little", 6) == 0)
            found = archive.data + i;
    assert_non_null(found);
    memcpy(found, "bigger", 6);
    assert_null(mirl_weights_read(archive.data, archive.size, &error));
    assert_non_null(strstr(error.message, "archive/byteorder' is damaged"));
    free(pickle.data);
    free(storage.data);
    free(archive.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_checkpoint_is_read_to_the_bit),
        cmocka_unit_test(plain_state_dicts_are_read),
        cmocka_unit_test(what_stands_around_is_skipped),
        cmocka_unit_test(strided_tensors_are_gathered),
        cmocka_unit_test(tensors_that_are_none_are_named),
        cmocka_unit_test(nothing_runs_and_strangers_are_named),
        cmocka_unit_test(broken_pickles_are_refused),
        cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(large_tensors_in_small_files_are_refused),
        cmocka_unit_test(circles_are_skipped),
        cmocka_unit_test(archives_that_are_no_checkpoint_are_refused),
    };
    return cmocka_run_group_tests(tests, make_tiny_graph, free_tiny_graph);
}
