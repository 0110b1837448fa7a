/* The kernels in plain C: what every other table is tested against. */
#include <math.h>
#include <string.h>

#include "kernels/tables.h"

static void sparse_product(const mirl_sparse *w, const float *in, size_t in_pitch, float *out,
                           size_t out_pitch, size_t pixels, const float *add, size_t add_pitch) {
    const uint32_t *start = w->start;
    for (int block = 0; block < w->blocks; block++)
        for (int r = 0; r < w->rows; r++, start++)
            for (size_t p = 0; p < pixels; p++) {
                float sum = block > 0 ? out[r * out_pitch + p] : add ? add[r * add_pitch + p] : 0;
                for (uint32_t k = start[0]; k < start[1]; k++)
                    sum += w->value[k] * in[w->column[k] * in_pitch + p];
                out[r * out_pitch + p] = sum;
            }
}

static void pack(const float *w, size_t row_pitch, int rows, int columns, float *packed) {
    for (int r = 0; r < rows; r++)
        memcpy(packed + r * mirl_packed_row(columns), w + r * row_pitch, (size_t)columns * sizeof *w);
}

static void dense_product(const float *packed, int rows, int columns, const float *in, size_t in_pitch,
                          float *out, size_t out_pitch, size_t pixels, const float *add, size_t add_pitch) {
    for (int r = 0; r < rows; r++)
        for (size_t p = 0; p < pixels; p++) {
            float sum = add ? add[r * add_pitch + p] : 0;
            for (int k = 0; k < columns; k++)
                sum += packed[r * mirl_packed_row(columns) + k] * in[k * in_pitch + p];
            out[r * out_pitch + p] = sum;
        }
}

static void dots(const float *a, size_t a_pitch, const float *a_squares, int a_rows, const float *b,
                 size_t b_pitch, const float *b_squares, int b_rows, size_t pixels, float *scratch,
                 float *out, size_t out_pitch, bool add) {
    (void)a_squares;
    (void)b_squares;
    (void)scratch;
    for (int i = 0; i < a_rows; i++)
        for (int j = 0; j < b_rows; j++) {
            float sum = add ? out[i * out_pitch + j] : 0;
            for (size_t p = 0; p < pixels; p++)
                sum += a[i * a_pitch + p] * b[j * b_pitch + p];
            out[i * out_pitch + j] = sum;
        }
}

static void norm(const float *in, size_t in_pitch, const float *weight, const float *bias, int channels,
                 float *out, size_t out_pitch, size_t pixels) {
    for (size_t p = 0; p < pixels; p++) {
        float mean = 0, variance = 0;
        for (int c = 0; c < channels; c++)
            mean += in[c * in_pitch + p];
        mean /= (float)channels;
        for (int c = 0; c < channels; c++) {
            float difference = in[c * in_pitch + p] - mean;
            variance += difference * difference;
        }
        float scale = 1 / sqrtf(variance / (float)channels + 1e-5f);
        for (int c = 0; c < channels; c++)
            out[c * out_pitch + p] = (in[c * in_pitch + p] - mean) * scale * weight[c] + bias[c];
    }
}

static void depthwise(const float *w, float *sums, float *in, float *out, size_t out_row, int rows,
                      size_t width) {
    float *next = sums + mirl_padded(width);
    const float *sides = in + rows * width;
    for (int y = 0; y < rows; y++, in += width, sides += 2) {
        float left = sides[0];
        for (size_t x = 0; x < width; x++) {
            const float middle = in[x], right = x + 1 < width ? in[x + 1] : sides[1];
            out[y * out_row + x] = sums[x] + w[6] * left + w[7] * middle + w[8] * right;
            sums[x] = next[x] + w[3] * left + w[4] * middle + w[5] * right;
            next[x] = w[0] * left + w[1] * middle + w[2] * right;
            left = middle;
        }
    }
}

static void gate(float *gate, const float *value, size_t count) {
    for (size_t i = 0; i < count; i++)
        gate[i] = (float)(0.5 * gate[i] * (1 + erf(gate[i] * 0.70710678118654752)) * value[i]);
}

static float sum_of_squares(const float *x, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)x[i] * x[i];
    return (float)sum;
}

const mirl_kernels mirl_kernels_plain = {
    "plain", 1,    144 << 10, 1,    mirl_plain_dense_cost, sparse_product, pack, dense_product,
    dots,    norm, depthwise, gate, sum_of_squares,
};
