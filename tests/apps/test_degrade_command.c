/* `mirl degrade`: sets in the layout, the same for the same seed, and its errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "program.h"
#include "scenes.h"
#include "trainer/layout.h"
#include "trainer/photo.h"

static int enter(void **state) {
    int failed = program_enter(state);
    scene_write(".", "one.png", 120, 90, 1);
    scene_write(".", "two.png", 90, 120, 2);
    return failed;
}

static trainer_picture read_picture(const char *path) {
    trainer_picture picture;
    mirl_error error;
    if (trainer_photo_read(path, &picture, &error))
        fail_msg("%s", error.message);
    return picture;
}

/** PSNR between two image files of the same size. */
static double compare(const char *a, const char *b) {
    trainer_picture first = read_picture(a), second = read_picture(b);
    assert_int_equal(first.width, second.width);
    assert_int_equal(first.height, second.height);
    double psnr = scene_psnr(first.rgb, second.rgb, (size_t)first.width * (size_t)first.height * 3);
    free(first.rgb);
    free(second.rgb);
    return psnr;
}

static void succeed(const program_run *run) {
    if (run->code)
        fail_msg("exit code %d: %s", run->code, run->err);
    assert_string_equal(run->err, "");
}

static void sets_are_in_the_layout(void **state) {
    (void)state;
    succeed(program("degrade rain one.png two.png -o test/derain/own"));
    succeed(program("degrade haze one.png two.png -o test/dehaze/own"));
    succeed(program("degrade jpeg one.png two.png -o test/dejpeg/own --quality 10..20"));
    trainer_layout *layout = trainer_layout_read("test", NULL);
    assert_non_null(layout);
    assert_int_equal(layout->count, 3);
    for (size_t i = 0; i < layout->count; i++) {
        const trainer_set *set = &layout->sets[i];
        assert_int_equal(set->task, TRAINER_DERAIN + i);
        assert_int_equal(set->count, 2);
        assert_string_equal(set->items[0].name, "one");
        assert_true(compare(set->items[0].target, "one.png") == 1.0 / 0.0);
        double psnr = compare(set->items[1].input, "two.png");
        assert_true(psnr > 5 && psnr < 40);
    }
    trainer_layout_free(layout);
}

static void a_seed_and_a_name_make_the_damage(void **state) {
    (void)state;
    succeed(program("degrade noise one.png two.png -o a --sigma 25 --seed 3"));
    succeed(program("degrade noise two.png -o b --sigma 25 --seed 3"));
    succeed(program("degrade noise two.png -o c --sigma 25 --seed 4"));
    assert_true(compare("a/input/two_noisy.png", "b/input/two_noisy.png") == 1.0 / 0.0);
    assert_true(compare("a/input/two_noisy.png", "c/input/two_noisy.png") < 30);
    assert_float_equal(compare("a/input/one_noisy.png", "one.png"), 20.2, 0.3); // 20 log10(255 / 25)
    const program_run *run = program("degrade jpeg one.png -o d --quality 33 --full-chroma 1 -v");
    succeed(run);
    assert_string_equal(run->out, "one: JPEG of quality 33, 4:4:4\n");
}

static void expect_error(const program_run *run, int code, const char *words) {
    assert_int_equal(run->code, code);
    if (!strstr(run->err, words))
        fail_msg("\"%s\" should be in \"%s\"", words, run->err);
}

static void errors_are_one_sentence(void **state) {
    (void)state;
    expect_error(program("degrade snow one.png -o e"), 2, "'snow' is none of noise, rain, haze and jpeg");
    expect_error(program("degrade rain one.png"), 2, "-o DIR is missing");
    expect_error(program("degrade rain one.png -o e --length 5-6"), 2, "--length is '5-6'");
    expect_error(program("degrade rain one.png -o e --length 9..6"), 2,
                 "rain length 9..6 must lie within 1..500");
    expect_error(program("degrade noise one.png -o e --sigma 15..25"), 2, "--sigma takes one number");
    expect_error(program("degrade rain one.png ./one.png -o e"), 2, "would be written to the same file");
    expect_error(program("degrade rain none.png one.png -o e"), 1, "none.png: No such file");
    assert_true(compare("e/target/one_gt.png", "one.png") == 1.0 / 0.0); // the others are made all the same
    expect_error(program("degrade rain one.png -o one.png"), 5, "cannot make the folder one.png/input");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_are_in_the_layout),
        cmocka_unit_test(a_seed_and_a_name_make_the_damage),
        cmocka_unit_test(errors_are_one_sentence),
    };
    return cmocka_run_group_tests(tests, enter, program_leave);
}
