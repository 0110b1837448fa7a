/* Convolutions cut into parts: end to end, these do what the whole does. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "network/matrix.h"

enum { PIXELS = 40, PITCH = 48 };

static float *memory(int channels) {
    float *floats = aligned_alloc(MIRL_ALIGN, (size_t)channels * PITCH * sizeof *floats);
    assert_non_null(floats);
    for (int i = 0; i < channels * PITCH; i++)
        floats[i] = (float)(i * 7919 % 1009) / 1009 - 0.5f;
    return floats;
}

/* Column `at` of the parts, end to end, in the whole. */
static int column_of(mirl_cut cut, int at) {
    const int part = at / cut.step, place = at % cut.step;
    return cut.along == MIRL_CUT_KERNEL_ROWS ? place / 3 * 9 + 3 * part + place % 3 : at;
}

/* All parts' products: rows stand in the order of the cut. */
static void multiply(const mirl_kernels *kernels, const mirl_convolution *convolution, const float *in,
                     float *out) {
    const bool columns =
        convolution->cut.along == MIRL_CUT_COLUMNS || convolution->cut.along == MIRL_CUT_KERNEL_ROWS;
    const float *add = NULL;

    for (int i = 0; i < convolution->parts; i++) {
        const mirl_matrix *part = &convolution->part[i];
        mirl_matrix_product(kernels, part, in, PITCH, out, PITCH, PIXELS, add, PITCH);
        in += columns ? part->columns * PITCH : 0;
        out += columns ? 0 : part->rows * PITCH;
        add = columns ? out : NULL;
    }
}

static void check(const mirl_kernels *kernels, const mirl_weights *weights, int layer, mirl_cut cut) {
    const mirl_layer *shape = &mirl_weights_graph(weights)->layers[layer];
    const mirl_cut not = {MIRL_CUT_ROWS, shape->rows};
    mirl_convolution whole, parts;
    float *in = memory(shape->columns), *arranged = memory(shape->columns);
    float *expected = memory(shape->rows), *got = memory(shape->rows);

    assert_int_equal(mirl_convolution_pack(&whole, kernels, weights, layer, not, NULL), MIRL_OK);
    assert_int_equal(mirl_convolution_pack(&parts, kernels, weights, layer, cut, NULL), MIRL_OK);
    assert_int_equal(whole.parts, 1);
    assert_true(parts.parts > 2);
    multiply(kernels, &whole, in, expected);
    for (int at = 0; at < shape->columns; at++)
        memcpy(arranged + at * PITCH, in + column_of(cut, at) * PITCH, PITCH * sizeof *in);
    multiply(kernels, &parts, arranged, got);
    for (int r = 0; r < shape->rows; r++)
        for (int p = 0; p < PIXELS; p++)
            assert_float_equal(got[r * PITCH + p], expected[mirl_cut_row(cut, shape->rows, r) * PITCH + p],
                               1e-5f);
    mirl_convolution_free(&whole);
    mirl_convolution_free(&parts);
    free(in);
    free(arranged);
    free(expected);
    free(got);
}

static void parts_do_what_the_whole_does(void **state) {
    (void)state;
    mirl_weights *weights = mirl_weights_open(MIRL_TEST_DATA "/golden/lightning.ckpt", NULL);
    assert_non_null(weights);
    const mirl_graph *graph = mirl_weights_graph(weights);
    const mirl_block *block = &graph->blocks[0];
    const int down = graph->down[0];
    const mirl_cut rows = {MIRL_CUT_ROWS, 7}, pairs = {MIRL_CUT_PAIRED_ROWS, 6},
                   columns = {MIRL_CUT_COLUMNS, 6},
                   kernel_rows = {MIRL_CUT_KERNEL_ROWS, graph->layers[down].columns / 3};

    for (const mirl_kernels *const *table = mirl_kernels_all(); *table; table++)
        for (int dense = 0; dense < 2; dense++) {
            mirl_kernels kernels = **table;
            kernels.sparse_cost = dense ? INFINITY : 0; /* all parts alike */
            check(&kernels, weights, block->qkv, rows);
            check(&kernels, weights, block->project_in, pairs);
            check(&kernels, weights, block->ffn_project_out, columns);
            check(&kernels, weights, down, kernel_rows);
        }
    mirl_weights_close(weights);
}

static void the_last_rows_can_be_had_alone(void **state) {
    (void)state;
    mirl_weights *weights = mirl_weights_open(MIRL_TEST_DATA "/golden/lightning.ckpt", NULL);
    assert_non_null(weights);
    const int layer = mirl_weights_graph(weights)->blocks[0].qkv;
    const mirl_layer *shape = &mirl_weights_graph(weights)->layers[layer];
    float *in = memory(shape->columns), *expected = memory(shape->rows), *got = memory(shape->rows);

    for (const mirl_kernels *const *table = mirl_kernels_all(); *table; table++)
        for (int dense = 0; dense < 2; dense++) {
            mirl_kernels kernels = **table;
            mirl_convolution whole;
            kernels.sparse_cost = dense ? INFINITY : 0;
            assert_int_equal(mirl_convolution_pack(&whole, &kernels, weights, layer,
                                                   (mirl_cut){MIRL_CUT_ROWS, shape->rows}, NULL),
                             MIRL_OK);
            multiply(&kernels, &whole, in, expected);
            for (int asked = 0; asked < shape->rows; asked += 5) {
                int first = asked;
                const mirl_matrix rest = mirl_matrix_from(whole.part, &first);
                assert_true(first <= asked && first > asked - MIRL_PAD && rest.rows == shape->rows - first);
                mirl_matrix_product(&kernels, &rest, in, PITCH, got, PITCH, PIXELS, NULL, 0);
                for (int r = 0; r < rest.rows; r++)
                    for (int p = 0; p < PIXELS; p++)
                        assert_float_equal(got[r * PITCH + p], expected[(first + r) * PITCH + p], 1e-5f);
            }
            mirl_convolution_free(&whole);
        }
    free(in);
    free(expected);
    free(got);
    mirl_weights_close(weights);
}

/* Of 10 rows in pairs of 2: the last part has one row of each half. */
static void paired_rows_follow_each_other(void **state) {
    (void)state;
    static const int expected[10] = {0, 1, 5, 6, 2, 3, 7, 8, 4, 9};
    for (int at = 0; at < 10; at++)
        assert_int_equal(mirl_cut_row((mirl_cut){MIRL_CUT_PAIRED_ROWS, 2}, 10, at), expected[at]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_do_what_the_whole_does),
        cmocka_unit_test(the_last_rows_can_be_had_alone),
        cmocka_unit_test(paired_rows_follow_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
