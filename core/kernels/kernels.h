/* The kernels: everything that runs once a pixel and channel, as one table of functions for each
 * instruction set.
 *
 * All of them work on planes: `channels` runs of `pixels` floats, `pitch` floats from one channel to the
 * next. A run has no shape; only the depthwise convolution knows rows. Pointers are aligned to floats, best
 * to MIRL_ALIGN bytes. Kernels that say "padded" may read and write up to the next multiple of MIRL_PAD
 * pixels (what lies there has to be finite and becomes meaningless). No kernel allocates, fails or keeps
 * state; inputs and outputs do not overlap unless said.
 */
#ifndef MIRL_CORE_KERNELS_KERNELS_H
#define MIRL_CORE_KERNELS_KERNELS_H

#include "mirl.h"

enum {
    MIRL_ALIGN = 64, ///< bytes
    MIRL_PAD = 16,   ///< floats in the widest vector
};

/** n rounded up to a multiple of MIRL_PAD. */
static inline size_t mirl_padded(size_t n) {
    return (n + MIRL_PAD - 1) / MIRL_PAD * MIRL_PAD;
}

/** n rounded up to an odd multiple of MIRL_PAD: a pitch whose channels do not fall on the same cache sets. */
static inline size_t mirl_pitch(size_t n) {
    return mirl_padded(n) | MIRL_PAD;
}

/** The values of a matrix [rows, columns] that are not zero, in the order in which the product walks them:
 * columns are cut into blocks whose inputs stay in the first-level cache; within a block row by row, of at
 * most MIRL_SPARSE_VALUES values. */
typedef struct mirl_sparse {
    int rows, columns, blocks;
    uint32_t *start;  ///< [blocks * rows + 1]: where each block's rows begin in column and value
    uint16_t *column; ///< rising within a row of a block
    float *value;
} mirl_sparse;

enum {
    MIRL_SPARSE_VALUES = 4096, ///< that sparse_product() may prepare at a time
    MIRL_DOTS_PIXELS = 128,    ///< that dots() may prepare at a time
};

/** Floats that a packed dense matrix takes for a row. */
static inline size_t mirl_packed_row(int columns) {
    return ((size_t)columns + 31) / 32 * 32;
}

/** Floats for a packed dense matrix. Where `rows` is a multiple of MIRL_PAD, those of one that has more rows
 * begin there. */
static inline size_t mirl_packed(int rows, int columns) {
    return mirl_padded((size_t)rows) * mirl_packed_row(columns);
}

/** Floats of scratch memory for dots(). */
static inline size_t mirl_dots_scratch(int a_rows, int b_rows, size_t pixels) {
    return (mirl_padded((size_t)a_rows) + mirl_pitch((size_t)b_rows)) *
           ((pixels > MIRL_DOTS_PIXELS ? pixels : MIRL_DOTS_PIXELS) + 2 * MIRL_PAD);
}

typedef struct mirl_kernels {
    const char *name;    ///< "amx", "vnni", "avx512", "avx2", "portable", "plain"
    int lanes;           ///< floats in a vector
    size_t strip_floats; ///< of all channels of a strip: with more of them it was slower
    double sparse_cost;  ///< of a multiply-add of sparse_product(), in those of a large dense_product()

    /** What a dense_product() costs for each pixel, in its multiply-adds where it is large. */
    double (*dense_cost)(int rows, int columns);

    /** out[r][p] = add[r][p] + sum over k of w[r][k] * in[k][p]. `add` may be NULL for zeros, or out. Padded.
     */
    void (*sparse_product)(const mirl_sparse *w, const float *in, size_t in_pitch, float *out,
                           size_t out_pitch, size_t pixels, const float *add, size_t add_pitch);

    /** Lays out a dense w of `rows` rows, row_pitch floats apart, for dense_product(): mirl_packed() floats,
     * aligned to MIRL_ALIGN. */
    void (*pack)(const float *w, size_t row_pitch, int rows, int columns, float *packed);

    /** sparse_product() with a packed matrix. Table amx: to 2^-15 of the sum of |w[r][k] * in[k][p]|. */
    void (*dense_product)(const float *packed, int rows, int columns, const float *in, size_t in_pitch,
                          float *out, size_t out_pitch, size_t pixels, const float *add, size_t add_pitch);

    /** out[i][j] = (add ? out[i][j] : 0) + sum over p of a[i][p] * b[j][p], as exact as dense_product();
     * table vnni: to sqrt(pixels) * 2^-15 of the product of the rows' lengths, for random errors some 2^-15
     * of it. a_squares and b_squares: the rows' sum_of_squares(). Rows of out are padded, those of a and b
     * are not read beyond `pixels`. scratch: mirl_dots_scratch() floats, aligned to MIRL_ALIGN. */
    void (*dots)(const float *a, size_t a_pitch, const float *a_squares, int a_rows, const float *b,
                 size_t b_pitch, const float *b_squares, int b_rows, size_t pixels, float *scratch,
                 float *out, size_t out_pitch, bool add);

    /** Each pixel over its channels: out = (in - mean) / sqrt(variance + 1e-5) * weight + bias with the
     * biased variance. In place allowed. Padded. */
    void (*norm)(const float *in, size_t in_pitch, const float *weight, const float *bias, int channels,
                 float *out, size_t out_pitch, size_t pixels);

    /** Streams the rows of one channel through a 3x3 convolution: output row y, which looks at input rows
     * y-1..y+1, is complete once row y+1 has come in. `sums` carries what earlier rows gave to the next two
     * output rows, 2 x width floats padded each by itself (mirl_padded); all zeros before the first row.
     *
     * Takes `rows` input rows of `width` pixels, end to end; behind the last the pixel to the left and the
     * one to the right of each row, then MIRL_PAD more readable floats. out[y][x] += sum of w[3*i+j] *
     * row[y+i-2][x+j-1], rows of `out` being out_row >= width floats apart: the first row given out belongs
     * to the input row before the first one taken. Exact sizes. out may be in, with out_row = width; what
     * lies behind the rows is used up.
     */
    void (*depthwise)(const float *w, float *sums, float *in, float *out, size_t out_row, int rows,
                      size_t width);

    /** gate[i] = gelu(gate[i]) * value[i], gelu(x) = x/2 * (1 + erf(x/sqrt 2)) to 1.5e-6 or 3e-7 |x|.
     * Padded. */
    void (*gate)(float *gate, const float *value, size_t count);

    /** sum of x[i]^2 over i < count. */
    float (*sum_of_squares)(const float *x, size_t count);
} mirl_kernels;

/** The fastest table this processor runs. */
const mirl_kernels *mirl_kernels_best(void);

/** A table by name, NULL if this processor or build does not have it. */
const mirl_kernels *mirl_kernels_find(const char *name);

/** All tables that run here, fastest first, "plain" last; NULL-terminated. Static storage. */
const mirl_kernels *const *mirl_kernels_all(void);

#endif
