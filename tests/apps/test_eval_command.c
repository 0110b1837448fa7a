/* `mirl eval`: its table, its JSON and its errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "program.h"
#include "scenes.h"

static int enter(void **state) {
    int failed = program_enter(state);
    program_make_weights("none.safetensors", 0);
    program_make_weights("some.safetensors", 0.1f);
    scene_write(".", "test/denoise/own/a.png", 70, 50, 1);
    scene_write(".", "test/denoise/own/b.png", 48, 64, 2);
    scene_write(".", "test/dejpeg/web/input/1_jpeg.png", 64, 48, 3);
    scene_write(".", "test/dejpeg/web/target/1_gt.png", 64, 48, 4);
    return failed;
}

static double number(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

static const char *text(const cJSON *object, const char *key) {
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

static void json_has_every_set(void **state) {
    (void)state;
    const program_run *run = program("eval none.safetensors --data test --json");
    assert_int_equal(run->code, 0);
    assert_string_equal(run->err, "");
    cJSON *list = cJSON_Parse(run->out);
    assert_int_equal(cJSON_GetArraySize(list), 4);
    const cJSON *noise = cJSON_GetArrayItem(list, 1), *web = cJSON_GetArrayItem(list, 3);
    assert_string_equal(text(noise, "task"), "denoise");
    assert_string_equal(text(noise, "set"), "own σ25");
    assert_float_equal(number(noise, "sigma"), 25, 0);
    assert_float_equal(number(noise, "images"), 2, 0);
    assert_float_equal(number(noise, "input_psnr"), 20.4, 0.5);
    assert_float_equal(number(noise, "psnr"), number(noise, "input_psnr"), 0);
    assert_string_equal(text(web, "task"), "dejpeg");
    assert_string_equal(text(web, "set"), "web");
    assert_null(text(web, "sigma"));
    const cJSON *each = cJSON_GetObjectItemCaseSensitive(web, "each");
    assert_int_equal(cJSON_GetArraySize(each), 1);
    assert_string_equal(text(cJSON_GetArrayItem(each, 0), "name"), "1");
    assert_float_equal(number(cJSON_GetArrayItem(each, 0), "ssim"), number(web, "ssim"), 1e-12);
    cJSON_Delete(list);
}

static void the_table_has_a_line_a_set(void **state) {
    (void)state;
    const program_run *run = program("eval some.safetensors -d test -t dejpeg --each --save out --threads 2");
    assert_int_equal(run->code, 0);
    int lines = 0;
    for (const char *at = run->out; (at = strchr(at, '\n')); at++)
        lines++;
    assert_int_equal(lines, 3);
    assert_non_null(strstr(run->out, "dejpeg   web"));
    assert_int_equal(access("out/dejpeg/web/1.png", F_OK), 0);
}

static void expect_error(const program_run *run, int code, const char *words) {
    assert_int_equal(run->code, code);
    assert_string_equal(run->out, "");
    if (!strstr(run->err, words))
        fail_msg("\"%s\" should be in \"%s\"", words, run->err);
}

static void errors_have_their_codes(void **state) {
    (void)state;
    expect_error(program("eval none.safetensors"), 2, "--data DIR is missing");
    expect_error(program("eval none.safetensors -d test -t denoise,snow"), 2, "'snow' is none of");
    expect_error(program("eval missing.safetensors -d test"), 3, "missing.safetensors");
    expect_error(program("eval none.safetensors -d nowhere"), 1, "nowhere is not a folder");
    expect_error(program("eval none.safetensors -d test -t derain"), 1, "no images of the tasks");
    expect_error(program("eval none.safetensors -d test --memory 1K"), 4, "memory");
    expect_error(program("eval none.safetensors -d test --save /proc/none"), 5, "cannot write to /proc/none");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_has_every_set),
        cmocka_unit_test(the_table_has_a_line_a_set),
        cmocka_unit_test(errors_have_their_codes),
    };
    return cmocka_run_group_tests(tests, enter, program_leave);
}
