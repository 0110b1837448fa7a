/* Every table of kernels against the plain C one, on random and extreme inputs. With MIRL_TIME=1 in the
 * environment it also times them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "kernels/kernels.h"

static uint64_t random_state = 1;

static float uniform(void) { /* -1..1, Knuth's MMIX generator */
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(random_state >> 32) / 2147483648.0f;
}

static float *filled(size_t count, float size) {
    float *values = aligned_alloc(MIRL_ALIGN, mirl_padded(count + 2 * MIRL_PAD) * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < mirl_padded(count + 2 * MIRL_PAD); i++)
        values[i] = size * uniform();
    return values;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Runs `call` and, when asked to, prints its rate for `work` multiply-adds. */
#define TIMED(table, label, work, call)                                                                      \
    do {                                                                                                     \
        call;                                                                                                \
        if (getenv("MIRL_TIME")) {                                                                           \
            double best = 1e9;                                                                               \
            for (int repeat = 0; repeat < 20; repeat++) {                                                    \
                double begin = now();                                                                        \
                for (int call_ = 0; call_ < 5; call_++)                                                      \
                    call;                                                                                    \
                best = fmin(best, (now() - begin) / 5);                                                      \
            }                                                                                                \
            printf("%-28s %-9s %7.1f GFLOP/s\n", label, (table)->name, 2e-9 * (double)(work) / best);        \
        }                                                                                                    \
    } while (0)

static void assert_close(const mirl_kernels *table, const float *a, const float *b, size_t count,
                         float tolerance) {
    for (size_t i = 0; i < count; i++)
        if (!(fabsf(a[i] - b[i]) <= tolerance * fmaxf(1, fabsf(b[i]))))
            fail_msg("%s: value %zu is %.9g, it should be %.9g", table->name, i, a[i], b[i]);
}

#define FOR_TABLES(table)                                                                                    \
    for (const mirl_kernels *const *list_ = mirl_kernels_all(), *table = *list_; table;                      \
         list_++, table = *list_)

static const mirl_kernels *plain(void) {
    const mirl_kernels *table = mirl_kernels_find("plain");
    assert_non_null(table);
    return table;
}

static mirl_sparse random_sparse(int rows, int columns, int blocks, float density) {
    mirl_sparse w = {.rows = rows, .columns = columns, .blocks = blocks};
    w.start = calloc((size_t)(blocks * rows + 1), sizeof *w.start);
    w.column = malloc((size_t)(rows * columns) * sizeof *w.column);
    w.value = malloc((size_t)(rows * columns) * sizeof *w.value);
    assert_true(w.start && w.column && w.value);
    uint32_t k = 0;
    for (int block = 0; block < blocks; block++)
        for (int r = 0; r < rows; r++) {
            for (int c = columns * block / blocks; c < columns * (block + 1) / blocks; c++)
                if (uniform() < 2 * density - 1) {
                    w.column[k] = (uint16_t)c;
                    w.value[k++] = uniform();
                }
            w.start[block * rows + r + 1] = k;
        }
    return w;
}

static void free_sparse(mirl_sparse *w) {
    free(w->start);
    free(w->column);
    free(w->value);
}

static void sparse_product(void **state) {
    (void)state;
    static const struct {
        int rows, columns, blocks;
        float density;
        size_t pixels;
    } cases[] = {{510, 96, 1, 0.1f, 272}, {96, 255, 2, 0.1f, 256}, {5, 7, 1, 0, 16},  {1, 1, 1, 1, 1},
                 {33, 64, 3, 0.5f, 100},  {7, 300, 2, 0.02f, 37},  {16, 9, 1, 1, 500}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int rows = cases[i].rows, columns = cases[i].columns;
        size_t pitch = mirl_pitch(cases[i].pixels);
        mirl_sparse w = random_sparse(rows, columns, cases[i].blocks, cases[i].density);
        float *in = filled((size_t)columns * pitch, 1);
        float *out = filled((size_t)rows * pitch, 1), *expected = filled((size_t)rows * pitch, 1);
        FOR_TABLES(table)
        for (int add = 0; add < 2; add++) {
            plain()->sparse_product(&w, in, pitch, expected, pitch, cases[i].pixels, NULL, pitch);
            table->sparse_product(&w, in, pitch, out, pitch, cases[i].pixels, NULL, pitch);
            if (add) {
                plain()->sparse_product(&w, in, pitch, expected, pitch, cases[i].pixels, expected, pitch);
                table->sparse_product(&w, in, pitch, out, pitch, cases[i].pixels, out, pitch);
            }
            for (int r = 0; r < rows; r++)
                assert_close(table, out + r * pitch, expected + r * pitch, cases[i].pixels, 2e-5f);
        }
        FOR_TABLES(table)
        TIMED(table, "sparse product", w.start[w.blocks * rows] * cases[i].pixels,
              table->sparse_product(&w, in, pitch, out, pitch, cases[i].pixels, NULL, pitch));
        free_sparse(&w);
        free(in);
        free(out);
        free(expected);
    }
}

/* For sums of `count` products of numbers up to 1; where these are rounded to 2^-17, they err at random. */
static float product_tolerance(const mirl_kernels *table, int count) {
    return 5e-5f + (strcmp(table->name, "amx") == 0 ? sqrtf((float)count) / (1 << 16) : 0);
}

static void dense_product(void **state) {
    (void)state;
    static const int cases[][3] = {{96, 96, 256}, {48, 48, 272}, {1, 1, 1},     {13, 27, 61},  {7, 5, 16},
                                   {3, 864, 33},  {40, 33, 81},  {17, 600, 67}, {64, 32, 208}, {16, 64, 16}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int rows = cases[i][0], columns = cases[i][1];
        size_t pixels = (size_t)cases[i][2], pitch = mirl_pitch(pixels), row_pitch = (size_t)columns + 3;
        float *w = filled((size_t)rows * row_pitch, 1), *in = filled((size_t)columns * pitch, 1);
        float *out = filled((size_t)rows * pitch, 1), *expected = filled((size_t)rows * pitch, 1);
        float *packed = filled(mirl_packed(rows, columns), 1);
        FOR_TABLES(table)
        for (int add = 0; add < 2; add++) {
            plain()->pack(w, row_pitch, rows, columns, packed);
            plain()->dense_product(packed, rows, columns, in, pitch, expected, pitch, pixels, NULL, pitch);
            if (add)
                plain()->dense_product(packed, rows, columns, in, pitch, expected, pitch, pixels, expected,
                                       pitch);
            table->pack(w, row_pitch, rows, columns, packed);
            out[(size_t)rows * pitch] = 7;
            table->dense_product(packed, rows, columns, in, pitch, out, pitch, pixels, NULL, pitch);
            if (add)
                table->dense_product(packed, rows, columns, in, pitch, out, pitch, pixels, out, pitch);
            for (int r = 0; r < rows; r++)
                assert_close(table, out + r * pitch, expected + r * pitch, pixels,
                             product_tolerance(table, columns));
            assert_true(out[(size_t)rows * pitch] == 7);
        }
        FOR_TABLES(table) {
            table->pack(w, row_pitch, rows, columns, packed);
            TIMED(table, "dense product", (size_t)(rows * columns) * pixels,
                  table->dense_product(packed, rows, columns, in, pitch, out, pitch, pixels, NULL, pitch));
        }
        free(w);
        free(in);
        free(out);
        free(expected);
        free(packed);
    }
}

/* Integers of 16 bits err by some 2^-15 of the product of the rows' lengths. */
static float dots_tolerance(const mirl_kernels *table, int pixels) {
    return product_tolerance(table, pixels) +
           (strcmp(table->name, "vnni") == 0 ? 2 * (float)pixels / (1 << 15) : 0);
}

static float *squares_of(const float *x, size_t pitch, int rows, size_t pixels) {
    float *squares = filled((size_t)rows, 0);
    for (int r = 0; r < rows; r++)
        squares[r] = plain()->sum_of_squares(x + (size_t)r * pitch, pixels);
    return squares;
}

static void dots(void **state) {
    (void)state;
    static const int cases[][3] = {{96, 96, 198}, {48, 48, 198}, {1, 1, 1},
                                   {13, 27, 61},  {33, 16, 128}, {8, 70, 300}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int rows = cases[i][0], columns = cases[i][1];
        size_t pixels = (size_t)cases[i][2], pitch = mirl_pitch(pixels),
               out_pitch = mirl_pitch((size_t)columns);
        float *a = filled((size_t)rows * pitch, 1), *b = filled((size_t)columns * pitch, 1);
        float *out = filled((size_t)rows * out_pitch, 1), *expected = filled((size_t)rows * out_pitch, 1);
        float *scratch = filled(mirl_dots_scratch(rows, columns, pixels), 1);
        /* The extremes: equal rows, rows of zeros, and all of a row in one pixel. */
        memcpy(b, a, pixels * sizeof *b);
        if (rows > 2) {
            memset(a + pitch, 0, pixels * sizeof *a);
            memset(a + 2 * pitch, 0, pixels * sizeof *a);
            a[2 * pitch + pixels - 1] = 1;
        }
        float *a_squares = squares_of(a, pitch, rows, pixels),
              *b_squares = squares_of(b, pitch, columns, pixels);
        /* What lies behind the pixels must not matter. */
        for (int r = 0; r < rows; r++)
            for (size_t p = pixels; p < pitch; p++)
                a[(size_t)r * pitch + p] = NAN;
        for (int r = 0; r < columns; r++)
            for (size_t p = pixels; p < pitch; p++)
                b[(size_t)r * pitch + p] = INFINITY;
        FOR_TABLES(table)
        for (int add = 0; add < 2; add++) {
            out[(size_t)rows * out_pitch] = 7;
            plain()->dots(a, pitch, a_squares, rows, b, pitch, b_squares, columns, pixels, scratch, expected,
                          out_pitch, add);
            table->dots(a, pitch, a_squares, rows, b, pitch, b_squares, columns, pixels, scratch, out,
                        out_pitch, add);
            for (int r = 0; r < rows; r++)
                assert_close(table, out + (size_t)r * out_pitch, expected + (size_t)r * out_pitch,
                             (size_t)columns, dots_tolerance(table, (int)pixels));
            assert_true(out[(size_t)rows * out_pitch] == 7);
        }
        FOR_TABLES(table)
        TIMED(table, "dots", (size_t)(rows * columns) * pixels,
              table->dots(a, pitch, a_squares, rows, b, pitch, b_squares, columns, pixels, scratch, out,
                          out_pitch, false));
        free(a_squares);
        free(b_squares);
        free(a);
        free(b);
        free(out);
        free(expected);
        free(scratch);
    }
}

static void norm(void **state) {
    (void)state;
    static const float sizes[] = {1, 1e4f, 1e-4f, 0};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int channels = 1; channels < 100; channels += 19) {
            size_t pixels = 83, pitch = mirl_pitch(pixels);
            float *in = filled((size_t)channels * pitch, sizes[i]);
            float *weight = filled((size_t)channels, 1), *bias = filled((size_t)channels, 1);
            float *out = filled((size_t)channels * pitch, 1), *expected = filled((size_t)channels * pitch, 1);
            plain()->norm(in, pitch, weight, bias, channels, expected, pitch, pixels);
            FOR_TABLES(table) {
                table->norm(in, pitch, weight, bias, channels, out, pitch, pixels);
                for (int c = 0; c < channels; c++)
                    assert_close(table, out + c * pitch, expected + c * pitch, pixels,
                                 channels == 1 ? 1e-3f : 2e-5f);
            }
            free(in);
            free(weight);
            free(bias);
            free(out);
            free(expected);
        }
}

static void depthwise(void **state) {
    (void)state;
    float *w = filled(9, 1);
    for (int rows = 1; rows < 9; rows += 3)
        for (size_t width = 1; width < 150; width += 17) {
            size_t sums_count = 2 * mirl_padded(width);
            size_t in_count = (size_t)rows * (width + 2) + MIRL_PAD;
            float *in = filled(in_count, 1), *copy = filled(in_count, 1), *start = filled(sums_count, 1);
            float *out = filled((size_t)rows * width, 1), *expected = filled((size_t)rows * width, 1);
            float *sums = filled(sums_count, 1), *expected_sums = filled(sums_count, 1);
            memcpy(expected_sums, start, sums_count * sizeof *sums);
            memcpy(copy, in, in_count * sizeof *in);
            plain()->depthwise(w, expected_sums, copy, expected, width, rows, width);
            FOR_TABLES(table) {
                memcpy(sums, start, sums_count * sizeof *sums);
                memcpy(copy, in, in_count * sizeof *in);
                out[(size_t)rows * width] = 7;
                table->depthwise(w, sums, copy, out, width, rows, width);
                assert_close(table, out, expected, (size_t)rows * width, 1e-5f);
                assert_close(table, sums, expected_sums, width, 1e-5f);
                assert_close(table, sums + sums_count / 2, expected_sums + sums_count / 2, width, 1e-5f);
                assert_true(out[(size_t)rows * width] == 7);
                memcpy(sums, start, sums_count * sizeof *sums);
                memcpy(copy, in, in_count * sizeof *in);
                table->depthwise(w, sums, copy, copy, width, rows, width);
                assert_memory_equal(copy, out, (size_t)rows * width * sizeof *out);
            }
            free(in);
            free(copy);
            free(start);
            free(out);
            free(expected);
            free(sums);
            free(expected_sums);
        }
    float *in = filled(66 * 64 + MIRL_PAD, 1), *out = filled(64 * 64, 1), *sums = filled(128, 1);
    FOR_TABLES(table)
    TIMED(table, "depthwise 64x64", 9 * 64 * 64, table->depthwise(w, sums, in, out, 64, 64, 64));
    free(in);
    free(out);
    free(sums);
    free(w);
}

static void gate(void **state) {
    (void)state;
    enum { COUNT = 4096 };
    static const float sizes[] = {0, 0.01f, 1, 5, 100, 1e30f};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        float *in = filled(COUNT, sizes[i]), *value = filled(COUNT, 1);
        float *out = filled(COUNT, 1), *expected = filled(COUNT, 1);
        memcpy(expected, in, COUNT * sizeof *in);
        plain()->gate(expected, value, COUNT);
        FOR_TABLES(table) {
            memcpy(out, in, COUNT * sizeof *in);
            table->gate(out, value, COUNT);
            for (size_t k = 0; k < COUNT; k++)
                if (!(fabsf(out[k] - expected[k]) <= 1.5e-6f + 3e-7f * fabsf(in[k])))
                    fail_msg("%s: the gate of %.9g is %.9g, it should be %.9g", table->name, in[k], out[k],
                             expected[k]);
        }
        FOR_TABLES(table)
        TIMED(table, "gate (values)", COUNT / 2, table->gate(out, value, COUNT));
        free(in);
        free(value);
        free(out);
        free(expected);
    }
}

static void sum_of_squares(void **state) {
    (void)state;
    float *x = filled(1000, 1);
    for (size_t count = 0; count < 1000; count += 37)
        FOR_TABLES(table) {
            float sum = table->sum_of_squares(x, count), expected = plain()->sum_of_squares(x, count);
            assert_close(table, &sum, &expected, 1, 1e-5f);
        }
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sparse_product), cmocka_unit_test(dense_product), cmocka_unit_test(dots),
        cmocka_unit_test(norm),           cmocka_unit_test(depthwise),     cmocka_unit_test(gate),
        cmocka_unit_test(sum_of_squares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
