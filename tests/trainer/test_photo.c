/* Image files: exact for PNG and BMP, grey as three equal channels, and nothing but images. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jpeglib.h>

#include "scenes.h"
#include "trainer/photo.h"

static char path[4096];

static int make_folder(void **state) {
    *state = scene_folder();
    return 0;
}

static int remove_folder(void **state) {
    scene_remove(*state);
    return 0;
}

static trainer_picture read_picture(void) {
    trainer_picture picture;
    mirl_error error;
    if (trainer_photo_read(path, &picture, &error))
        fail_msg("%s", error.message);
    return picture;
}

static void png_keeps_every_sample(void **state) {
    trainer_picture picture = scene_make(37, 21, 1);
    for (int grey = 0; grey < 2; grey++) {
        if (grey)
            for (int i = 0; i < 37 * 21; i++)
                memset(picture.rgb + 3 * i, i % 256, 3);
        snprintf(path, sizeof path, "%s/a: %%d [1].png", (const char *)*state);
        assert_int_equal(trainer_photo_write(path, &picture, NULL), MIRL_OK);
        trainer_picture read = read_picture();
        assert_int_equal(read.width, 37);
        assert_int_equal(read.height, 21);
        assert_memory_equal(read.rgb, picture.rgb, 37 * 21 * 3);
        free(read.rgb);
    }
    size_t first_size, second_size;
    uint8_t *first = trainer_photo_png(&picture, &first_size, NULL);
    uint8_t *second = trainer_photo_png(&picture, &second_size, NULL);
    assert_int_equal(first_size, second_size);
    assert_memory_equal(first, second, first_size);
    free(first);
    free(second);
    free(picture.rgb);
}

static void bmp_is_read(void **state) {
    // 2x1 pixels, bottom-up BGR rows padded to 4 bytes
    static const unsigned char bmp[62] = {'B', 'M', 62, 0, 0, 0, 0,  0,  0,  0,  54, 0,  0,  0, 40, 0,
                                          0,   0,   2,  0, 0, 0, 1,  0,  0,  0,  1,  0,  24, 0, 0,  0,
                                          0,   0,   8,  0, 0, 0, 0,  0,  0,  0,  0,  0,  0,  0, 0,  0,
                                          0,   0,   0,  0, 0, 0, 10, 20, 30, 40, 50, 60, 0,  0};
    static const uint8_t rgb[6] = {30, 20, 10, 60, 50, 40};
    snprintf(path, sizeof path, "%s/a.bmp", (const char *)*state);
    FILE *file = fopen(path, "wb");
    assert_int_equal(fwrite(bmp, 1, sizeof bmp, file), sizeof bmp);
    fclose(file);
    trainer_picture read = read_picture();
    assert_int_equal(read.width, 2);
    assert_int_equal(read.height, 1);
    assert_memory_equal(read.rgb, rgb, sizeof rgb);
    free(read.rgb);
}

/** A JPEG of 16x8 pixels of one value; one component is grey, four are Adobe's inverted CMYK. */
static void write_jpeg(int components, uint8_t value) {
    struct jpeg_compress_struct codec;
    struct jpeg_error_mgr errors;
    uint8_t row[16 * 4];
    memset(row, value, sizeof row);
    codec.err = jpeg_std_error(&errors);
    jpeg_create_compress(&codec);
    FILE *file = fopen(path, "wb");
    jpeg_stdio_dest(&codec, file);
    codec.image_width = 16;
    codec.image_height = 8;
    codec.input_components = components;
    codec.in_color_space = components == 1 ? JCS_GRAYSCALE : JCS_CMYK;
    jpeg_set_defaults(&codec);
    jpeg_set_quality(&codec, 100, TRUE);
    jpeg_start_compress(&codec, TRUE);
    JSAMPROW rows[] = {row};
    while (codec.next_scanline < codec.image_height)
        jpeg_write_scanlines(&codec, rows, 1);
    jpeg_finish_compress(&codec);
    jpeg_destroy_compress(&codec);
    fclose(file);
}

static void grey_and_cmyk_become_rgb(void **state) {
    snprintf(path, sizeof path, "%s/a.jpg", (const char *)*state);
    for (int components = 1; components <= 4; components += 3) {
        write_jpeg(components, 100);
        trainer_picture read = read_picture();
        assert_int_equal(read.width, 16);
        for (int i = 0; i < 16 * 8; i++) {
            const uint8_t *rgb = read.rgb + 3 * i;
            assert_int_equal(rgb[0], rgb[1]);
            assert_int_equal(rgb[1], rgb[2]);
            if (components == 1)
                assert_float_equal(rgb[0], 100, 1);
            else
                assert_true(rgb[0] < 100); // ink upon ink
        }
        free(read.rgb);
    }
}

static void only_images_are_read(void **state) {
    mirl_error error;
    trainer_picture picture;
    int width, height;
    snprintf(path, sizeof path, "%s/a.png", (const char *)*state);
    static const char *const files[] = {
        "",   "P6 1 1 255 abc", "<svg width='9' height='9'/>", "push graphic-context", "GIF89a",
        "BM", "\xff\xd8\xff",   "\x89PNG\r\n\x1a\n\n"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        scene_write_text(*state, "a.png", files[i]);
        assert_int_equal(trainer_photo_read(path, &picture, &error), MIRL_ERROR_FORMAT);
        assert_non_null(strstr(error.message, "a.png"));
        assert_int_equal(trainer_photo_size(path, &width, &height, NULL), MIRL_ERROR_FORMAT);
    }
    assert_int_equal(trainer_photo_read(*state, &picture, &error), MIRL_ERROR_FILE); // a folder
    assert_true(trainer_photo_is_named("x.JPeG"));
    assert_false(trainer_photo_is_named("x.png.txt"));
    assert_false(trainer_photo_is_named("png"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_keeps_every_sample),
        cmocka_unit_test(bmp_is_read),
        cmocka_unit_test(grey_and_cmyk_become_rgb),
        cmocka_unit_test(only_images_are_read),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
