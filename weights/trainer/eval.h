/* MIR-L's scores: test images restored whole, PSNR and SSIM of the clipped, unrounded result.
 *
 * Images are cropped at the centre to multiples of 16. Denoising adds noise to the clean images, as
 * degrade.h says, from a stream of its own for every seed, sigma and image name; pairs are taken as they are.
 */
#ifndef MIRL_TRAINER_EVAL_H
#define MIRL_TRAINER_EVAL_H

#include "network/graph.h"
#include "trainer/degrade.h"

/** dB, and SSIM 0..1 (metrics.h), of the restored image and of the network's input. */
typedef struct trainer_figures {
    double psnr, ssim, input_psnr, input_ssim;
} trainer_figures;

typedef struct trainer_image_score {
    char *name;
    trainer_figures figures;
} trainer_image_score;

/** One set; a denoising set once for each sigma. */
typedef struct trainer_score {
    trainer_task task;
    char *set;             ///< the folder's name
    double sigma;          ///< of denoising, else 0
    trainer_figures means; ///< over the images
    trainer_image_score *images;
    size_t count; ///< at least 1
} trainer_score;

typedef struct trainer_scores {
    trainer_score *sets;
    size_t count;
} trainer_scores;

/** One image's planes [3][height][width]: clean, input (0..1) and restored (clipped). */
typedef struct trainer_result {
    const trainer_score *set; ///< without its figures
    size_t image;             ///< 0..set->count-1
    size_t width, height;
    const float *clean, *input, *restored;
} trainer_result;

typedef struct trainer_eval_options {
    const char *folder;            ///< the layout's test/ folder
    bool tasks[TRAINER_TASKS];     ///< none set: all that have images
    double sigmas[TRAINER_SIGMAS]; ///< of denoising
    int sigma_count;
    uint64_t seed;   ///< of the noise
    size_t limit;    ///< at most so many images a set, spread evenly over it; 0: all
    int threads;     ///< 1..256; 0: as many as the process may run on
    uint64_t memory; ///< bytes for restoring; 0: half of the machine's
    const char
        *save; ///< NULL, or a folder for the results: <save>/<task>/<set>/<name>.png, sigma in the name
    bool (*progress)(size_t done, size_t images, void *user); ///< or NULL; false stops; called by any thread
    void *user;
    /** Restores planes [3][height][width] in place of the model, on a device say; or NULL. By any thread. */
    mirl_status (*restore)(void *user, const float *input, float *restored, size_t width, size_t height,
                           mirl_error *error);
    void *restore_user;
    void (*result)(const trainer_result *result, void *user); ///< or NULL; by any thread, one at a time
    void *result_user;
} trainer_eval_options;

/** All tasks, sigma 15, 25 and 50, seed 0, no limit. `folder` is NULL and must be set. */
trainer_eval_options trainer_eval_options_default(void);

/** Scores a model. The result does not depend on threads and memory. Sets come in the layout's order, a
 * denoising set's sigmas as given. NULL with MIRL_ERROR_ARGUMENT (no images of these tasks), _FILE, _FORMAT
 * (also: an image under 16 pixels, a pair of different sizes), _MEMORY or _CANCELLED. Free with
 * trainer_scores_free(). */
trainer_scores *trainer_eval(const mirl_model *model, const trainer_eval_options *options, mirl_error *error);

/** Scores a network that is in memory; values[i] holds layer i's values. It goes through a weights file in
 * the system's temporary folder. */
trainer_scores *trainer_eval_values(const mirl_graph *graph, float *const *values,
                                    const trainer_eval_options *options, mirl_error *error);

void trainer_scores_free(trainer_scores *scores);

/** Writes "CBSD68 σ15" for denoising, else the set's name, cut to size bytes. */
void trainer_score_label(const trainer_score *score, char *text, size_t size);

#endif
