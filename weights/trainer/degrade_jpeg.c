/* JPEG compression, by libjpeg itself: encoded and decoded in memory, with the grid of blocks at any place.
 */
#include <setjmp.h>
#include <stdio.h> // before jpeglib.h, which needs FILE
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "error.h"
#include "trainer/degrade_jpeg.h"
#include "trainer/degrade_kinds.h"

typedef struct failure {
    struct jpeg_error_mgr manager; // first: libjpeg hands out a pointer to it
    jmp_buf back;
} failure;

static void leave(j_common_ptr codec) {
    longjmp(((failure *)codec->err)->back, 1);
}

static void keep_silent(j_common_ptr codec) {
    (void)codec;
}

static struct jpeg_error_mgr *handle_errors(failure *f) {
    struct jpeg_error_mgr *manager = jpeg_std_error(&f->manager);
    manager->error_exit = leave;
    manager->output_message = keep_silent;
    return manager;
}

/** *bytes is malloc'ed. It is NULL on failure, because libjpeg may have freed what it pointed to. */
static bool encode(const uint8_t *rgb, int width, int height, int quality, bool full_chroma,
                   unsigned char **bytes, unsigned long *size) {
    struct jpeg_compress_struct codec;
    failure f;
    codec.err = handle_errors(&f);
    jpeg_create_compress(&codec);
    if (setjmp(f.back)) {
        jpeg_destroy_compress(&codec);
        *bytes = NULL;
        return false;
    }
    jpeg_mem_dest(&codec, bytes, size);
    codec.image_width = (JDIMENSION)width;
    codec.image_height = (JDIMENSION)height;
    codec.input_components = 3;
    codec.in_color_space = JCS_RGB;
    jpeg_set_defaults(&codec);
    jpeg_set_quality(&codec, quality, TRUE);
    codec.comp_info[0].h_samp_factor = codec.comp_info[0].v_samp_factor = full_chroma ? 1 : 2;
    jpeg_start_compress(&codec, TRUE);
    while (codec.next_scanline < codec.image_height) {
        JSAMPROW row = (JSAMPROW)(rgb + (size_t)codec.next_scanline * (size_t)width * 3);
        jpeg_write_scanlines(&codec, &row, 1);
    }
    jpeg_finish_compress(&codec);
    jpeg_destroy_compress(&codec);
    return true;
}

static bool decode(const unsigned char *bytes, unsigned long size, uint8_t *rgb) {
    struct jpeg_decompress_struct codec;
    failure f;
    codec.err = handle_errors(&f);
    jpeg_create_decompress(&codec);
    if (setjmp(f.back)) {
        jpeg_destroy_decompress(&codec);
        return false;
    }
    jpeg_mem_src(&codec, bytes, size);
    jpeg_read_header(&codec, TRUE);
    codec.out_color_space = JCS_RGB;
    jpeg_start_decompress(&codec);
    while (codec.output_scanline < codec.output_height) {
        JSAMPROW row = rgb + (size_t)codec.output_scanline * codec.output_width * 3;
        jpeg_read_scanlines(&codec, &row, 1);
    }
    jpeg_finish_decompress(&codec);
    jpeg_destroy_decompress(&codec);
    return true;
}

mirl_status trainer_degrade_jpeg(const trainer_damage *damage, const trainer_picture *picture,
                                 trainer_rectangle rectangle, uint8_t *rgb, mirl_error *error) {
    trainer_rectangle all = trainer_jpeg_region(damage, picture, rectangle);
    size_t row = (size_t)all.width * 3, out_row = (size_t)rectangle.width * 3;
    uint8_t *region = malloc(row * (size_t)all.height);
    unsigned char *bytes = NULL;
    unsigned long size = 0;
    bool done = region != NULL;
    if (done)
        trainer_picture_cut(picture, all, region);
    done = done &&
           encode(region, all.width, all.height, damage->jpeg_quality, damage->jpeg_full_chroma, &bytes,
                  &size) &&
           decode(bytes, size, region);
    for (int i = 0; done && i < rectangle.height; i++)
        memcpy(rgb + (size_t)i * out_row,
               region + (size_t)(rectangle.y - all.y + i) * row + (size_t)(rectangle.x - all.x) * 3, out_row);
    free(bytes);
    free(region);
    if (!done)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "no memory to compress %dx%d pixels as JPEG", all.width,
                         all.height);
    return MIRL_OK;
}
