/* Damage done on purpose: Gaussian noise, rain streaks, haze and JPEG compression, for training pairs made on
 * the fly and for fixed test sets. Formulas, ranges and sources: DEGRADATIONS.md.
 *
 * Everything works on 8-bit sRGB-encoded R'G'B', because that is what a damaged photograph is. The same
 * picture, damage and random stream give the same bytes.
 */
#ifndef MIRL_TRAINER_DEGRADE_H
#define MIRL_TRAINER_DEGRADE_H

#include "mirl.h"
#include "trainer/random.h"

/** The restoration tasks, named as the folders of MIR-L's data layout are. */
typedef enum trainer_task {
    TRAINER_DENOISE,
    TRAINER_DERAIN,
    TRAINER_DEHAZE,
    TRAINER_DEJPEG,
    TRAINER_TASKS ///< their number
} trainer_task;

/** "denoise", "derain", "dehaze", "dejpeg". */
const char *trainer_task_name(trainer_task task);

/** The task of that name, or TRAINER_TASKS. */
trainer_task trainer_task_find(const char *name);

/** A picture's pixels, interleaved R'G'B', rows one after the other without padding. */
typedef struct trainer_picture {
    int width, height;
    uint8_t *rgb; ///< width * height * 3 bytes
} trainer_picture;

/** A rectangle of a picture, inside it. */
typedef struct trainer_rectangle {
    int x, y, width, height;
} trainer_rectangle;

typedef struct trainer_range {
    double low, high; ///< both included; low == high fixes the value
} trainer_range;

enum { TRAINER_SIGMAS = 8 };

/** What damage is drawn from. */
typedef struct trainer_ranges {
    double sigmas[TRAINER_SIGMAS]; ///< noise: the standard deviations, on the 0..255 scale, 0..255
    int sigma_count;               ///< 1..TRAINER_SIGMAS

    trainer_range rain_layers;     ///< whole numbers, 1..8
    trainer_range rain_length;     ///< of a streak, pixels, 1..500
    trainer_range rain_angle;      ///< of the rain from the vertical, degrees, -80..80
    trainer_range rain_width;      ///< of a streak, pixels, 0.5..20
    trainer_range rain_density;    ///< streaks a layer for every 10 000 pixels, 0..1000
    trainer_range rain_brightness; ///< of a streak's middle, 0..1

    trainer_range haze_airlight; ///< A, 0..1
    trainer_range haze_beta;     ///< 0..10

    trainer_range jpeg_quality; ///< libjpeg's, whole numbers, 1..100
    double jpeg_full_chroma;    ///< share of files whose colour is not subsampled, 0..1; the others are 4:2:0
} trainer_ranges;

/** The published noise; for the rest DEGRADATIONS.md's ranges. */
trainer_ranges trainer_ranges_default(void);

/** Checks every range against the limits given above. MIRL_ERROR_ARGUMENT with a sentence that names it. */
mirl_status trainer_ranges_check(const trainer_ranges *ranges, mirl_error *error);

/** One image's damage; random holds the stream that its details (noise, streaks, depth) come from. */
typedef struct trainer_damage {
    trainer_task task;
    double sigma;
    int rain_layers;
    double rain_length, rain_angle, rain_width, rain_density, rain_brightness;
    double haze_airlight, haze_beta;
    int jpeg_quality;
    bool jpeg_full_chroma;
    trainer_random random;
} trainer_damage;

/** Draws the damage of one image. */
trainer_damage trainer_damage_draw(trainer_task task, const trainer_ranges *ranges, trainer_random random);

/** Writes the damaged version of a rectangle of the picture: rectangle.width * rectangle.height * 3 bytes.
 * Haze looks at the whole picture for its depth; JPEG lays its grid of blocks at random over the picture
 * unless the rectangle is the whole picture. Thread-safe. MIRL_ERROR_MEMORY. */
mirl_status trainer_damage_apply(const trainer_damage *damage, const trainer_picture *picture,
                                 trainer_rectangle rectangle, uint8_t *rgb, mirl_error *error);

/** clean + N(0, sigma^2), clipped to 0..255 and truncated to 8 bits, sample by sample. */
void trainer_degrade_noise(const uint8_t *clean, size_t samples, double sigma, trainer_random *random,
                           uint8_t *noisy);

/** Writes the damage's parameters in words, e.g. "noise of sigma 25", cut to size bytes. */
void trainer_damage_describe(const trainer_damage *damage, char *text, size_t size);

#endif
