/* How a restored image is scored: PSNR and SSIM as MIR-L computes them (scikit-image's definitions). */
#ifndef MIRL_TRAINER_METRICS_H
#define MIRL_TRAINER_METRICS_H

#include <stddef.h>

/** PSNR in dB of two planar images [3][height][width] with data range 1: -10 log10(MSE), the mean over all
 * pixels and channels. Infinite for equal images. */
double trainer_psnr(const float *a, const float *b, size_t width, size_t height);

/** SSIM (Wang et al. 2004) of two planar images [3][height][width], data range 1: 7x7 uniform window,
 * K1 0.01, K2 0.03, sample covariance (N/(N-1)), the mean over the interior without a 3-pixel border,
 * averaged over the channels. Width and height at least 7. */
double trainer_ssim(const float *a, const float *b, size_t width, size_t height);

#endif
