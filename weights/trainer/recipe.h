/* Recipes: everything that a pruning run depends on, as a small text file of `key = value` lines; `#` begins
 * a comment. weights/recipes/README.md lists the keys.
 */
#ifndef MIRL_TRAINER_RECIPE_H
#define MIRL_TRAINER_RECIPE_H

#include "network/graph.h"
#include "trainer/data.h"
#include "trainer/masks.h"

/** What surviving weights and biases go back to before a round. Temperatures and prompts keep their trained
 * values, as published. */
typedef enum trainer_reset {
    TRAINER_RESET_PUBLISHED, ///< the initial values, or those of `start`
    TRAINER_RESET_REWIND,    ///< the values after `rewind` steps of round 0
    TRAINER_RESET_NONE,      ///< nothing: training goes on from the trained values
} trainer_reset;

typedef enum trainer_unit { TRAINER_EPOCHS, TRAINER_STEPS, TRAINER_MINUTES } trainer_unit;

/** "120 epochs", "5000 steps", "20 minutes" */
typedef struct trainer_length {
    double amount;
    trainer_unit unit;
} trainer_length;

typedef struct trainer_recipe {
    char name[64]; ///< what the weights' "task" says
    mirl_config config;

    char start[512]; ///< weights that round 0 begins with, zeros of which stay; "": initial values
    int rounds;      ///< of pruning, after round 0; 1..1000, or 0 where there is a start
    double percent;
    trainer_scope scope;
    double slack; ///< of the compute scope, masks.h
    trainer_reset reset;
    int rewind; ///< steps

    trainer_length first_round, round, last_round; ///< amounts of 0: as `round`
    double warmup;                                 ///< in the round's unit
    double learning_rate, beta1, beta2, epsilon, weight_decay;
    double
        least_gain; ///< a round has learned if its loss ends this share below the identity's; may be negative

    char data_folder[512],
        test_folder[512];      ///< that hold train/, that is test/; test_folder "": no evaluation
    trainer_data_options data; ///< its folder points to data_folder once checked
    int last_crop, last_batch; ///< of the last round; 0: as the data's
    int threads;               ///< 0: as many as the process may run on
    int group;                 ///< samples that a thread runs at once
    double checkpoint_minutes;
    int log_steps;
    int evaluate_images; ///< of each test set; 0: all
} trainer_recipe;

/** The published settings: the paper's network, 15 rounds of 120 epochs. */
trainer_recipe trainer_recipe_default(void);

/** Sets one key. MIRL_ERROR_ARGUMENT with a sentence that names the key. */
mirl_status trainer_recipe_set(trainer_recipe *recipe, const char *key, const char *value, mirl_error *error);

/** Whether a key of that name exists. */
bool trainer_recipe_has(const char *key);

/** Reads a file's lines into the recipe, over what it holds. MIRL_ERROR_FILE, or _ARGUMENT naming the line.
 */
mirl_status trainer_recipe_read(trainer_recipe *recipe, const char *path, mirl_error *error);

/** The same for text in memory; `name` stands for the file in messages. */
mirl_status trainer_recipe_parse(trainer_recipe *recipe, const char *text, const char *name,
                                 mirl_error *error);

/** Checks what single keys cannot, and completes the recipe. Reads no data. */
mirl_status trainer_recipe_check(trainer_recipe *recipe, mirl_error *error);

/** All keys with their values, as a recipe; to be freed. NULL: no memory. local false: without those that do
 * not change what comes out, or that only this machine understands (folders, threads, logging). */
char *trainer_recipe_print(const trainer_recipe *recipe, bool local);

#endif
