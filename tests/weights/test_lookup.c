/* Weights by name: the order of the folders, and what is said when there are none. Sizes as users type them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "mirl.h"

static char top[] = "/tmp/mirl-lookup-XXXXXX";

static const char *below(const char *path) {
    static char whole[4][256];
    static int next;
    char *result = whole[next++ % 4];
    snprintf(result, sizeof whole[0], "%s/%s", top, path);
    return result;
}

static void touch(const char *path) {
    FILE *file = fopen(below(path), "w");
    assert_non_null(file);
    fclose(file);
}

static int make_folders(void **state) {
    (void)state;
    char path[600];
    assert_non_null(mkdtemp(top));
    mkdir(below("first"), 0777);
    mkdir(below("second"), 0777);
    mkdir(below("data"), 0777);
    mkdir(below("data/mirl"), 0777);
    mkdir(below("data/mirl/weights"), 0777);
    touch("second/rain.safetensors");
    touch("data/mirl/weights/rain.safetensors");
    touch("data/mirl/weights/haze.safetensors");
    touch("data/mirl/weights/notes.txt");
    snprintf(path, sizeof path, "%s::%s", below("first"), below("second"));
    setenv("MIRL_WEIGHTS_PATH", path, 1);
    setenv("XDG_DATA_HOME", below("data"), 1);
    return 0;
}

static int remove_folders(void **state) {
    (void)state;
    unlink(below("second/rain.safetensors"));
    unlink(below("data/mirl/weights/rain.safetensors"));
    unlink(below("data/mirl/weights/haze.safetensors"));
    unlink(below("data/mirl/weights/notes.txt"));
    rmdir(below("first"));
    rmdir(below("second"));
    rmdir(below("data/mirl/weights"));
    rmdir(below("data/mirl"));
    rmdir(below("data"));
    return rmdir(top);
}

static void expect(const char *name, const char *path) {
    char *found = mirl_weights_find(name, NULL);
    assert_non_null(found);
    assert_string_equal(found, path);
    free(found);
}

static void the_first_folder_wins(void **state) {
    (void)state;
    expect("rain", below("second/rain.safetensors"));
    expect("haze", below("data/mirl/weights/haze.safetensors"));
}

static void a_path_is_a_path(void **state) {
    (void)state;
    mirl_error error;
    expect(below("data/mirl/weights/notes.txt"), below("data/mirl/weights/notes.txt"));
    assert_null(mirl_weights_find("haze.safetensors", &error));
    assert_int_equal(error.status, MIRL_ERROR_FILE);
    assert_non_null(strstr(error.message, "'haze.safetensors' cannot be read: No such file"));
    assert_null(mirl_weights_find(top, &error));
    assert_non_null(strstr(error.message, "it is not a file"));
}

static void folders_tried_are_listed(void **state) {
    (void)state;
    mirl_error error;
    assert_null(mirl_weights_find("snow", &error));
    assert_int_equal(error.status, MIRL_ERROR_FILE);
    assert_non_null(strstr(error.message, "'snow'"));
    const char *last = error.message;
    const char *const order[] = {below("first"), below("second"), "/weights", below("data/mirl/weights")};
    for (int i = 0; i < 4; i++) {
        last = strstr(last, order[i]);
        assert_non_null(last);
    }
}

static void the_list_is_sorted_and_has_no_repeats(void **state) {
    (void)state;
    char **names = mirl_weights_list();
    int haze = -1, rain = -1;
    assert_non_null(names);
    for (int i = 0; names[i]; i++) {
        if (i)
            assert_true(strcmp(names[i - 1], names[i]) < 0);
        if (strcmp(names[i], "haze") == 0)
            haze = i;
        if (strcmp(names[i], "rain") == 0)
            rain = i;
        assert_string_not_equal(names[i], "notes");
    }
    assert_true(haze >= 0 && rain > haze);
    mirl_weights_list_free(names);
}

static void sizes_are_read(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"300000000", 300000000},
        {"512M", 536870912},
        {"1.5G", 1610612736},
        {"1.5GiB", 1610612736},
        {"2kb", 2048},
        {".5K", 512},
        {"7b", 7},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t bytes = 1;
        assert_int_equal(mirl_parse_size(good[i].text, &bytes, NULL), MIRL_OK);
        assert_int_equal(bytes, good[i].bytes);
    }
}

static void other_sizes_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"",    "M",      ".",     "-1",           "1,5G", "12X",
                                      "1e9", "1.2.3K", "512 M", "99999999999G", "nan"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mirl_error error;
        uint64_t bytes;
        assert_int_equal(mirl_parse_size(bad[i], &bytes, &error), MIRL_ERROR_ARGUMENT);
        assert_non_null(strstr(error.message, "512M"));
    }
    assert_int_equal(mirl_parse_size(NULL, NULL, NULL), MIRL_ERROR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_folder_wins),    cmocka_unit_test(a_path_is_a_path),
        cmocka_unit_test(folders_tried_are_listed), cmocka_unit_test(the_list_is_sorted_and_has_no_repeats),
        cmocka_unit_test(sizes_are_read),           cmocka_unit_test(other_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, make_folders, remove_folders);
}
