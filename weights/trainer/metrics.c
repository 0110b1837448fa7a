/* PSNR and SSIM. SSIM sums each column of a row of windows once and slides the window along these sums. */
#include "trainer/metrics.h"

#include <math.h>

enum { WINDOW = 7 };

double trainer_psnr(const float *a, const float *b, size_t width, size_t height) {
    size_t samples = 3 * width * height;
    double sum = 0;
    for (size_t i = 0; i < samples; i++) {
        double difference = (double)a[i] - b[i];
        sum += difference * difference;
    }
    return -10 * log10(sum / (double)samples);
}

/** Sums over a window: of a, b, a*a, b*b and a*b. */
typedef struct moments {
    double a, b, aa, bb, ab;
} moments;

static void add(moments *sums, double a, double b) {
    sums->a += a;
    sums->b += b;
    sums->aa += a * a;
    sums->bb += b * b;
    sums->ab += a * b;
}

static double similarity(const moments *sums) {
    const double n = WINDOW * WINDOW, c1 = 0.01 * 0.01, c2 = 0.03 * 0.03;
    double mean_a = sums->a / n, mean_b = sums->b / n;
    double unbiased = n / (n - 1);
    double variance_a = unbiased * (sums->aa / n - mean_a * mean_a);
    double variance_b = unbiased * (sums->bb / n - mean_b * mean_b);
    double covariance = unbiased * (sums->ab / n - mean_a * mean_b);
    return (2 * mean_a * mean_b + c1) * (2 * covariance + c2) /
           ((mean_a * mean_a + mean_b * mean_b + c1) * (variance_a + variance_b + c2));
}

/** Sum of the similarities of all windows whose first row is y. */
static double row_similarity(const float *a, const float *b, size_t width, size_t y) {
    moments columns[WINDOW] = {0}, window = {0};
    double sum = 0;
    for (size_t x = 0; x < width; x++) {
        moments column = {0};
        for (size_t k = 0; k < WINDOW; k++)
            add(&column, a[(y + k) * width + x], b[(y + k) * width + x]);
        moments *oldest = &columns[x % WINDOW];
        window.a += column.a - oldest->a;
        window.b += column.b - oldest->b;
        window.aa += column.aa - oldest->aa;
        window.bb += column.bb - oldest->bb;
        window.ab += column.ab - oldest->ab;
        *oldest = column;
        if (x + 1 >= WINDOW)
            sum += similarity(&window);
    }
    return sum;
}

double trainer_ssim(const float *a, const float *b, size_t width, size_t height) {
    double sum = 0;
    for (int channel = 0; channel < 3; channel++) {
        size_t plane = (size_t)channel * width * height;
        for (size_t y = 0; y + WINDOW <= height; y++)
            sum += row_similarity(a + plane, b + plane, width, y);
    }
    return sum / (3.0 * (double)(width - WINDOW + 1) * (double)(height - WINDOW + 1));
}
