/* Damaged weights files and checkpoints: each is refused with a sentence, or gives the right values. Files
 * lie in memory of exactly their size, so that a sanitizer sees any look beyond it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints.h"
#include "fixtures.h"
#include "fuzz.h"
#include "weights/safetensors.h"

/* ---- Outcomes ---------------------------------------------------------------------------------------- */

/** The values of a file that opens. */
static float **decode(const bytes *file) {
    mirl_weights *weights = mirl_weights_read(file->data, file->size, NULL);
    assert_non_null(weights);
    float **values = calloc((size_t)tiny_graph->layer_count, sizeof *values);
    assert_non_null(values);
    for (int i = 0; i < tiny_graph->layer_count; i++) {
        values[i] = malloc(tiny_graph->layers[i].count * sizeof **values);
        assert_non_null(values[i]);
        mirl_weights_values(weights, i, values[i]);
    }
    mirl_weights_close(weights);
    return values;
}

static bool has_values(const mirl_weights *weights, float *const *expected) {
    const mirl_graph *read = mirl_weights_graph(weights);
    bool same = read->layer_count == tiny_graph->layer_count;
    for (int i = 0; same && i < tiny_graph->layer_count; i++) {
        size_t size = tiny_graph->layers[i].count * sizeof(float);
        float *values = malloc(size);
        assert_int_equal(read->layers[i].count, tiny_graph->layers[i].count);
        mirl_weights_values(weights, i, values);
        same = memcmp(values, expected[i], size) == 0;
        free(values);
    }
    return same;
}

/** Reads a copy of exactly this size. Returns whether it was refused. */
static bool is_refused(const uint8_t *data, size_t size, float *const *expected, const char *what) {
    uint8_t *copy = malloc(size + !size);
    assert_non_null(copy);
    memcpy(copy, data, size);
    mirl_error error = {.message = ""};
    mirl_weights *weights = mirl_weights_read(copy, size, &error);
    if (weights && !has_values(weights, expected))
        fail_msg("%s: opened with other values", what);
    if (!weights && (error.status == MIRL_OK || !*error.message))
        fail_msg("%s: refused without a word", what);
    mirl_weights_close(weights);
    free(copy);
    return !weights;
}

/* ---- Weights files ----------------------------------------------------------------------------------- */

static bytes weights_file(mirl_type type, double sparsity) {
    float **values = make_values(tiny_graph, sparsity);
    char *path = scratch_path("weights.safetensors");
    assert_int_equal(mirl_weights_write(path, tiny_graph, values, type, "{\"task\":\"none\"}", NULL),
                     MIRL_OK);
    bytes file = {0};
    file.data = read_whole(path, &file.size);
    remove_scratch(path);
    free_values(tiny_graph, values);
    return file;
}

static uint64_t header_length(const bytes *file) {
    uint64_t length;
    memcpy(&length, file->data, sizeof length);
    return length;
}

static void check_truncation(const bytes *file, float *const *expected, const char *what) {
    for (size_t size = 0; size < file->size; size += size < 64 || size % 1024 ? 1 : 1024)
        if (!is_refused(file->data, size, expected, what))
            fail_msg("%s: %zu of %zu bytes were opened", what, size, file->size);
    assert_true(is_refused(file->data, file->size - 1, expected, what));
    assert_false(is_refused(file->data, file->size, expected, what));
}

static void weights_files_cut_short_are_refused(void **state) {
    (void)state;
    for (int type = MIRL_F32; type <= MIRL_I8; type++) {
        bytes file = weights_file((mirl_type)type, 0.97);
        float **expected = decode(&file);
        check_truncation(&file, expected, "weights file");
        put(&file, "", 1);
        assert_true(is_refused(file.data, file.size, expected, "a byte too many"));
        free_values(tiny_graph, expected);
        free(file.data);
    }
}

/** One bit of every 23rd byte of the header, and every bit of its length. */
static void flipped_header_bits_are_noticed(void **state) {
    (void)state;
    bytes file = weights_file(MIRL_I8, 0.97);
    float **expected = decode(&file);
    uint64_t length = header_length(&file);
    for (int bit = 0; bit < 64; bit++) {
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_true(is_refused(file.data, file.size, expected, "the header's length"));
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    size_t refused = 0, flips = 0;
    for (size_t at = 8; at < 8 + length; at += 23, flips++) {
        uint8_t old = file.data[at];
        file.data[at] ^= (uint8_t)(1 << at % 8);
        refused += is_refused(file.data, file.size, expected, "the header");
        file.data[at] = old;
    }
    assert_true(refused > flips * 9 / 10); /* what is left: spaces and the task's text */
    free_values(tiny_graph, expected);
    free(file.data);
}

/** Flips in the arrays: values may change, but columns stay in range and everything finite. */
static void flipped_data_is_never_followed(void **state) {
    (void)state;
    for (int type = MIRL_F32; type <= MIRL_I8; type++) {
        bytes file = weights_file((mirl_type)type, 0.97);
        for (size_t at = 8 + header_length(&file); at < file.size; at += 29) {
            file.data[at] ^= (uint8_t)(0x80 >> at % 3);
            fuzz_weights(file.data, file.size);
            file.data[at] ^= (uint8_t)(0x80 >> at % 3);
        }
        free(file.data);
    }
}

/** The file with another header. */
static bytes with_header(const bytes *file, const cJSON *header) {
    bytes changed = {0};
    uint64_t old_length = header_length(file);
    char *text = cJSON_PrintUnformatted(header);
    uint64_t length = strlen(text);
    put(&changed, &length, sizeof length);
    put(&changed, text, length);
    put(&changed, file->data + 8 + old_length, file->size - 8 - old_length);
    cJSON_free(text);
    return changed;
}

static void expect_refusal(const bytes *file, const cJSON *header, const char *name, const char *field) {
    bytes changed = with_header(file, header);
    mirl_error error = {.message = ""};
    mirl_weights *weights = mirl_weights_read(changed.data, changed.size, &error);
    if (weights || !*error.message)
        fail_msg("'%s': a wrong %s was accepted", name, field);
    free(changed.data);
}

/** Replaces `item` by each of some wrong values of which number `turn` is next. */
static void check_field(const bytes *file, cJSON *header, cJSON *entry, const char *field, int *turn) {
    static const char *const dtypes[] = {"\"F32\"", "\"F16\"", "\"I8\"",  "\"U16\"",
                                         "\"U32\"", "\"F64\"", "\"f32\"", "7"};
    static const char *const others[] = {"null",    "[]",   "{}",    "\"1\"",
                                         "[1,2,3]", "[-1]", "[0.5]", "[1e300,1e300]"};
    cJSON *old = cJSON_Duplicate(cJSON_GetObjectItem(entry, field), true);
    bool dtype = strcmp(field, "dtype") == 0;
    cJSON *wrong = cJSON_Parse(dtype ? dtypes[*turn % 8] : others[*turn % 8]);
    bool empty = cJSON_GetNumberValue(cJSON_GetObjectItem(entry, "shape")->child) == 0;
    if (!cJSON_Compare(wrong, old, true) && !(dtype && empty)) { /* no values are the same in any type */
        cJSON_ReplaceItemInObject(entry, field, wrong);
        expect_refusal(file, header, entry->string, field);
    } else {
        cJSON_Delete(wrong);
    }
    cJSON_ReplaceItemInObject(entry, field, old);
    (*turn)++;

    double steps[] = {1, -1, 4294967296.0, 0.5};
    cJSON *number, *numbers = dtype ? NULL : old;
    cJSON_ArrayForEach(number, numbers) {
        double value = number->valuedouble;
        cJSON_SetNumberValue(number, value + steps[*turn % 4]);
        expect_refusal(file, header, entry->string, field);
        cJSON_SetNumberValue(number, value);
        (*turn)++;
    }
}

/** Every dtype, every shape and its every side, both offsets of every tensor in turn. */
static void every_header_field_is_checked(void **state) {
    (void)state;
    bytes file = weights_file(MIRL_I8, 0.97);
    cJSON *header = cJSON_ParseWithLength((char *)file.data + 8, header_length(&file));
    int turn = 0, tensors = 0;
    cJSON *entry;
    cJSON_ArrayForEach(entry, header) {
        if (strcmp(entry->string, "__metadata__") == 0)
            continue;
        check_field(&file, header, entry, "dtype", &turn);
        check_field(&file, header, entry, "shape", &turn);
        check_field(&file, header, entry, "data_offsets", &turn);
        tensors++;
    }
    assert_true(tensors > tiny_graph->layer_count);
    cJSON_Delete(header);
    free(file.data);
}

/** Wrongs of which each tensor gets the next: its name, or its fields too few, too many, one of them twice.
 */
static void check_entry(const bytes *file, cJSON *header, cJSON *entry, int turn) {
    char *name = entry->string, renamed[96];
    cJSON *first = entry->child, *twice = NULL;
    switch (turn % 4) {
    case 0:
        snprintf(renamed, sizeof renamed, "%s%s", turn % 8 ? "x" : "net.", name);
        entry->string = renamed;
        expect_refusal(file, header, name, "name");
        entry->string = name;
        break;
    case 1:
        cJSON_DetachItemViaPointer(entry, first);
        expect_refusal(file, header, name, "set of fields");
        cJSON_AddItemToArray(entry, first);
        break;
    case 2:
        cJSON_AddNullToObject(entry, "extra");
        expect_refusal(file, header, name, "set of fields");
        cJSON_DeleteItemFromObject(entry, "extra");
        break;
    case 3:
        twice = cJSON_Duplicate(first, true);
        cJSON_AddItemToArray(entry, twice); /* a copy has its name */
        expect_refusal(file, header, name, "set of fields");
        cJSON_Delete(cJSON_DetachItemViaPointer(entry, twice));
        break;
    }
}

static void every_tensor_is_needed_and_no_other(void **state) {
    (void)state;
    bytes file = weights_file(MIRL_I8, 0.97);
    cJSON *header = cJSON_ParseWithLength((char *)file.data + 8, header_length(&file));
    cJSON *entry;
    int turn = 0;
    cJSON_ArrayForEach(entry, header) {
        if (strcmp(entry->string, "__metadata__") != 0)
            check_entry(&file, header, entry, turn++);
    }
    bytes same = with_header(&file, header);
    mirl_weights *weights = mirl_weights_read(same.data, same.size, NULL);
    assert_non_null(weights); /* nothing was left behind */
    mirl_weights_close(weights);
    free(same.data);
    for (int i = 0; i < 3; i++) { /* the first is __metadata__, which is needed too */
        cJSON *copy = cJSON_Duplicate(header, true);
        cJSON_DeleteItemFromArray(copy, i);
        expect_refusal(&file, copy, "one of the first three", "absence");
        cJSON_Delete(copy);
    }
    cJSON_Delete(header);
    free(file.data);
}

/** Every number of the configuration, and the configuration itself. */
static void the_configuration_is_checked(void **state) {
    (void)state;
    bytes file = weights_file(MIRL_F16, 0.97);
    cJSON *header = cJSON_ParseWithLength((char *)file.data + 8, header_length(&file));
    cJSON *metadata = cJSON_GetObjectItem(header, "__metadata__");
    static const char *const wrong[] = {
        "",
        "[]",
        "{}",
        "{\"dim\":2}",
        "{\"dim\":4,\"blocks\":[1,1,1,1],\"refinement\":1,\"heads\":[1,2,1,2],\"ffn\":0.5,\"prompt_len\":1,"
        "\"prompt_dims\":[1,1,1],\"prompt_sizes\":[1,1,1]}",
        "{\"dim\":2,\"blocks\":[1,1,1],\"refinement\":1,\"heads\":[1,2,1,2],\"ffn\":0.5,\"prompt_len\":1,"
        "\"prompt_dims\":[1,1,1],\"prompt_sizes\":[1,1,1]}",
        "{\"dim\":2,\"blocks\":[1,1,1,2],\"refinement\":1,\"heads\":[1,2,1,2],\"ffn\":0.5,\"prompt_len\":1,"
        "\"prompt_dims\":[1,1,1],\"prompt_sizes\":[1,1,1]}",
        "{\"dim\":2,\"blocks\":[1,1,1,1],\"refinement\":1e99,\"heads\":[1,2,1,2],\"ffn\":0.5,\"prompt_len\":"
        "1,"
        "\"prompt_dims\":[1,1,1],\"prompt_sizes\":[1,1,1]}",
        "{\"dim\":2,\"blocks\":[1,1,1,1],\"refinement\":1,\"heads\":[1,2,1,0],\"ffn\":0.5,\"prompt_len\":1,"
        "\"prompt_dims\":[1,1,1],\"prompt_sizes\":[1,1,1]}",
        "{\"dim\":2,\"blocks\":[1,1,1,1],\"refinement\":1,\"heads\":[1,2,1,2],\"ffn\":2,\"prompt_len\":1,"
        "\"prompt_dims\":[1,1,1],\"prompt_sizes\":[1,1,1]}",
        "{\"dim\":2,\"blocks\":[1,1,1,1],\"refinement\":1,\"heads\":[1,2,1,2],\"ffn\":0.5,\"prompt_len\":1,"
        "\"prompt_dims\":[1,1,1],\"prompt_sizes\":[1,1,1],\"colour\":1}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cJSON_ReplaceItemInObject(metadata, "config", cJSON_CreateString(wrong[i]));
        expect_refusal(&file, header, "__metadata__", "configuration");
    }
    cJSON_ReplaceItemInObject(metadata, "config", cJSON_CreateNumber(5));
    expect_refusal(&file, header, "__metadata__", "configuration");
    cJSON_DeleteItemFromObject(metadata, "config");
    expect_refusal(&file, header, "__metadata__", "configuration");
    cJSON_Delete(header);
    free(file.data);
}

/* ---- What messages name ------------------------------------------------------------------------------ */

static void expect_words(const bytes *file, const char *words) {
    mirl_error error = {.message = ""};
    assert_null(mirl_weights_read(file->data, file->size, &error));
    if (!strstr(error.message, words))
        fail_msg("expected '%s', got '%s'", words, error.message);
}

/** Overwrites an item of a tensor, expects a refusal, and puts it back. */
static void check_item(bytes *file, const char *name, size_t offset, const void *item, size_t size,
                       const char *words) {
    mirl_safetensors container;
    uint8_t old[8];
    assert_int_equal(mirl_safetensors_parse(file->data, file->size, &container, NULL), MIRL_OK);
    const mirl_tensor *tensor = mirl_tensors_find(&container.tensors, name);
    assert_non_null(tensor);
    assert_true(offset + size <= tensor->bytes);
    uint8_t *at = file->data + (tensor->data - file->data) + offset;
    mirl_safetensors_close(&container);
    memcpy(old, at, size);
    memcpy(at, item, size);
    expect_words(file, words);
    memcpy(at, old, size);
}

static void wrong_items_are_named(void **state) {
    (void)state;
    const float infinite = HUGE_VALF, negative = -1;
    const uint32_t far = 70000, one = 1;
    const uint16_t nan = 0x7e00, column = 9999, zero = 0;
    bytes file = weights_file(MIRL_F16, 0.97);
    const char *conv = "up4_3.body.0.weight"; /* [16, 8, 3, 3]: 72 columns */
    char rows[64], columns[64], values[64];
    snprintf(rows, sizeof rows, "%s.rows", conv);
    snprintf(columns, sizeof columns, "%s.columns", conv);
    snprintf(values, sizeof values, "%s.values", conv);
    check_item(&file, rows, 0, &one, 4, "'up4_3.body.0.weight.rows' goes from 1");
    check_item(&file, rows, 16 * 4, &far, 4, "goes from 0 to 70000, it must go from 0 to");
    check_item(&file, rows, 5 * 4, &far, 4, "'up4_3.body.0.weight.rows' falls after row 5");
    check_item(&file, columns, 2, &column, 2,
               "'up4_3.body.0.weight.columns' holds column 9999, there are 72");
    check_item(&file, values, 2, &nan, 2, "'up4_3.body.0.weight.values' holds an infinity or NaN");
    check_item(&file, values, 2, &zero, 2, "'up4_3.body.0.weight.values' holds a zero");
    check_item(&file, "noise_level3.norm1.body.bias", 4, &infinite, 4, "holds an infinity or NaN");
    free(file.data);

    file = weights_file(MIRL_I8, 0.97);
    check_item(&file, "up4_3.body.0.weight.scales", 4, &negative, 4, "scale 1 is -1");
    check_item(&file, "up4_3.body.0.weight.scales", 4, &infinite, 4, "scale 1 is inf");
    free(file.data);
}

/** A safetensors file of this header and so many zero bytes of data. */
static void expect_header_words(const char *header, size_t data, const char *words) {
    bytes file = {0};
    uint64_t length = strlen(header);
    put(&file, &length, sizeof length);
    put(&file, header, length);
    for (size_t i = 0; i < data; i++)
        put(&file, "", 1);
    expect_words(&file, words);
    free(file.data);
}

static void wrong_containers_are_named(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *words;
    } wrong[] = {
        {"", 0, "not a JSON object"},
        {"[]", 0, "not a JSON object"},
        {"{}{", 0, "not a JSON object"},
        {"{}  ", 0, "'patch_embed.proj.weight' is missing"},
        {"{\"a\":1}", 0, "'a' must be an object"},
        {"{\"__metadata__\":1}", 0, "__metadata__ must be an object"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "__metadata__: 'a' must be a string"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ is there twice"},
        {"{\"a\":{\"dtype\":\"F5\"}}", 0, "'a' has the unknown dtype 'F5'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4],\"data_offsets\":[0,0]}}", 0,
         "'a': its shape is too large"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
         "more than 8"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4,
         "the file has 4 bytes of data"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         8, "'b' begins at byte 4 of the data, it must begin at 8"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "it must begin at 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 8,
         "the tensors have 4 bytes, the file"},
        {"{\"a\":{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[0,0]},"
         "\"a\":{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
         0, "'a' is there twice"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_header_words(wrong[i].header, wrong[i].data, wrong[i].words);
    bytes old = {0};
    put(&old,
        "\x80\x02\x8a\x0a"
        "and so on",
        13);
    expect_words(&old, "before version 1.6");
    free(old.data);
}

static void strangers_and_misplaced_tensors_are_named(void **state) {
    (void)state;
    bytes file = weights_file(MIRL_F16, 0.97);
    cJSON *header = cJSON_ParseWithLength((char *)file.data + 8, header_length(&file));
    cJSON *empty = cJSON_Parse("{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}");
    cJSON_AddItemToObject(header, "colour", empty);
    bytes changed = with_header(&file, header);
    expect_words(&changed, "'colour' is not part of the network");
    free(changed.data);
    free(empty->string);
    empty->string = strdup("chnl_reduce2.weight");
    changed = with_header(&file, header);
    mirl_weights *weights = mirl_weights_read(changed.data, changed.size, NULL);
    assert_non_null(weights);
    mirl_weights_close(weights);
    free(changed.data);
    cJSON_Delete(header);
    free(file.data);
}

/** Names come from the file; messages stay one line of text. */
static void messages_are_printable(void **state) {
    (void)state;
    char *path = scratch_path("strange.safetensors");
    const char *header = "{\"a\\nb\\u00e4\xff\xc3\\u001b[31m\xe2\x82\xac\":1}";
    uint64_t length = strlen(header);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fwrite(&length, sizeof length, 1, file);
    fwrite(header, 1, length, file);
    fclose(file);
    mirl_error error;
    assert_null(mirl_weights_open(path, &error));
    assert_non_null(strstr(error.message, "tensor 'a?b\xc3\xa4???[31m\xe2\x82\xac' must be"));
    assert_non_null(strstr(error.message, path));
    remove_scratch(path);
}

/* ---- Checkpoints ------------------------------------------------------------------------------------- */

static bytes checkpoint_file(void) {
    bytes pickle = state_dict(tiny_graph, "net.", "FloatStorage"), storage = {0};
    float **values = make_values(tiny_graph, 0.5);
    for (int i = 0; i < tiny_graph->layer_count; i++)
        put(&storage, values[i], tiny_graph->layers[i].count * sizeof **values);
    bytes file = make_archive(&pickle, storage.data, storage.size);
    free_values(tiny_graph, values);
    free(storage.data);
    free(pickle.data);
    return file;
}

static void checkpoints_cut_short_are_refused(void **state) {
    (void)state;
    bytes file = checkpoint_file();
    float **expected = decode(&file);
    check_truncation(&file, expected, "checkpoint");
    free_values(tiny_graph, expected);
    free(file.data);

    size_t size;
    uint8_t *published = read_whole(MIRL_TEST_DATA "/golden/lightning.ckpt", &size);
    for (size_t cut = 0; cut < size; cut += 1024) {
        mirl_error error = {.message = ""};
        assert_null(mirl_weights_read(published, cut, &error));
        assert_true(error.message[0]);
    }
    free(published);
}

/** Checksums guard what is read, so a flip is refused or changes nothing. The beginning, where the pickle is,
 * and the directory at the end count more than the storage between them. */
static void flipped_bits_of_a_checkpoint_are_noticed(void **state) {
    (void)state;
    bytes file = checkpoint_file();
    float **expected = decode(&file);
    for (size_t at = 0; at < file.size; at += at < 128 || at + 1024 > file.size ? 1 : 61) {
        uint8_t old = file.data[at];
        file.data[at] ^= (uint8_t)(1 << at % 8);
        is_refused(file.data, file.size, expected, "the archive");
        file.data[at] = old;
    }
    free_values(tiny_graph, expected);
    free(file.data);
}

/** The same within a pickle whose checksum is right: other values are possible, wild ones are not. */
static void flipped_bits_of_a_pickle_are_never_followed(void **state) {
    (void)state;
    bytes pickle = state_dict(tiny_graph, "net.", "HalfStorage");
    uint8_t *storage = calloc(tiny_graph->parameters, 2);
    for (size_t at = 0; at < pickle.size; at += 17) {
        pickle.data[at] ^= (uint8_t)(1 << at % 8);
        bytes file = make_archive(&pickle, storage, tiny_graph->parameters * 2);
        fuzz_weights(file.data, file.size);
        free(file.data);
        pickle.data[at] ^= (uint8_t)(1 << at % 8);
    }
    free(storage);
    free(pickle.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_files_cut_short_are_refused),
        cmocka_unit_test(flipped_header_bits_are_noticed),
        cmocka_unit_test(flipped_data_is_never_followed),
        cmocka_unit_test(every_header_field_is_checked),
        cmocka_unit_test(every_tensor_is_needed_and_no_other),
        cmocka_unit_test(the_configuration_is_checked),
        cmocka_unit_test(wrong_items_are_named),
        cmocka_unit_test(wrong_containers_are_named),
        cmocka_unit_test(strangers_and_misplaced_tensors_are_named),
        cmocka_unit_test(messages_are_printable),
        cmocka_unit_test(checkpoints_cut_short_are_refused),
        cmocka_unit_test(flipped_bits_of_a_checkpoint_are_noticed),
        cmocka_unit_test(flipped_bits_of_a_pickle_are_never_followed),
    };
    return cmocka_run_group_tests(tests, make_tiny_graph, free_tiny_graph);
}
