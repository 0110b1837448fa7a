#include "trainer/rounds.h"

#include "error.h"
#include "trainer/comm.h"
#include "trainer/runlog.h"
#include "trainer/team.h"
#include "trainer/winner.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The part of a round, from its end, over which it is judged whether it learns. */
static const double JUDGED_FROM = 0.75;

typedef struct run {
    const trainer_run_options *options;
    const trainer_recipe *recipe;
    mirl_graph *graph;
    trainer_network *network;
    trainer_team *team;
    trainer_data *data;
    trainer_state state;
    char *recipe_text;
    int crop, batch;         ///< of the present round
    float *degraded, *clean; ///< the batch
    size_t batch_floats;
    int rank, ranks;
    double last_checkpoint, last_step; ///< clock
    double pace;                       ///< seconds a step of late
    bool stop;                         ///< some process was asked to stop
} run;

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void say(const run *run, const char *format, ...) MIRL_PRINTF(2, 3);

static void say(const run *run, const char *format, ...) {
    char sentence[2048];
    va_list arguments;
    if (run->rank != 0 || !run->options->say)
        return;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    run->options->say(sentence, run->options->user);
}

/* ---- The schedule ------------------------------------------------------------------------------------ */

double trainer_rate(double rate, double time, double warmup, double length) {
    if (time < warmup)
        return warmup > 1 ? fmin(rate, rate * time / (warmup - 1)) : 0;
    return rate * (1 + cos(M_PI * (time - warmup) / (length - warmup))) / 2;
}

static trainer_length round_length(const run *run) {
    int round = run->state.round;
    return round == 0                     ? run->recipe->first_round
           : round == run->recipe->rounds ? run->recipe->last_round
                                          : run->recipe->round;
}

/* How much of the round is done, in its unit; epochs in whole ones, as published. */
static double round_time(const run *run) {
    switch (run->recipe->round.unit) {
    case TRAINER_MINUTES:
        return run->state.elapsed / 60;
    case TRAINER_EPOCHS:
        return floor((double)run->state.step / (double)trainer_data_steps_per_epoch(run->data));
    default:
        return (double)run->state.step;
    }
}

static double round_share(const run *run) {
    trainer_length length = round_length(run);
    if (length.unit == TRAINER_EPOCHS)
        return (double)run->state.step / (length.amount * (double)trainer_data_steps_per_epoch(run->data));
    return round_time(run) / length.amount;
}

static double current_rate(const run *run) {
    const trainer_recipe *recipe = run->recipe;
    double time = round_time(run), length = round_length(run).amount, warmup = recipe->warmup;
    if (recipe->round.unit == TRAINER_MINUTES && time < warmup)
        return recipe->learning_rate * time / warmup;
    return trainer_rate(recipe->learning_rate, time, warmup, fmax(length, time));
}

/* How many times as long a unit of the last round takes as one of the rounds before. */
static double last_cost(const trainer_recipe *recipe) {
    double crops = (double)recipe->last_crop / recipe->data.crop;
    return recipe->round.unit == TRAINER_MINUTES  ? 1
           : recipe->round.unit == TRAINER_EPOCHS ? crops * crops
                                                  : crops * crops * recipe->last_batch / recipe->data.batch;
}

/* Rounds are as long as each other but for the first and the last. */
static double seconds_left(const run *run) {
    const trainer_recipe *recipe = run->recipe;
    double share = round_share(run), length = round_length(run).amount, rest = length * (1 - share);
    for (int round = run->state.round + 1; round <= recipe->rounds; round++)
        rest +=
            round == recipe->rounds ? recipe->last_round.amount * last_cost(recipe) : recipe->round.amount;
    if (recipe->round.unit == TRAINER_MINUTES)
        return 60 * rest;
    if (recipe->round.unit == TRAINER_EPOCHS)
        rest *= (double)trainer_data_steps_per_epoch(run->data);
    return run->pace > 0 ? rest * run->pace : -1;
}

/* ---- Steps ------------------------------------------------------------------------------------------- */

/* Brings what steps have changed into the state's arrays. */
static mirl_status pull_state(run *run, mirl_error *error) {
    trainer_state *state = &run->state;
    return trainer_team_pull(run->team, state->values, state->moment1, state->moment2, error);
}

static void push_state(run *run) {
    trainer_state *state = &run->state;
    trainer_team_push(run->team, state->values, state->moment1, state->moment2, state->mask);
}

static double batch_identity(const run *run) {
    double sum = 0;
    for (size_t i = 0; i < run->batch_floats; i++)
        sum += fabs((double)run->degraded[i] - run->clean[i]);
    return sum / (double)(run->batch_floats * (size_t)run->ranks);
}

static mirl_status name_culprits(const run *run, mirl_error *error) {
    char files[300];
    uint64_t lag = (uint64_t)trainer_team_lag(run->team), step = run->state.total_step;
    trainer_data_describe(run->data, step > lag ? step - lag : 0, files, sizeof files);
    for (char *c = files; *c; c++)
        *c = *c == '\n' ? ';' : *c;
    return mirl_fail(error, MIRL_ERROR_FORMAT,
                     "the loss is no number in round %d, step %" PRIu64
                     "; the last good state is in %.60s/checkpoint; the batch: %s",
                     run->state.round, run->state.step, run->options->folder, files);
}

/* What every process has to know of all others. */
enum { SHARED_LOSS, SHARED_IDENTITY, SHARED_STOP, SHARED_ELAPSED, SHARED };

static void count_step(run *run, double loss, double identity, double seconds) {
    trainer_state *state = &run->state;
    if (round_share(run) >= JUDGED_FROM) {
        state->loss_sum += loss;
        state->identity_sum += identity;
        state->judged++;
    }
    state->log_loss += loss;
    state->log_identity += identity;
    state->log_steps++;
    state->step++;
    state->total_step++;
    state->elapsed += seconds;
    state->total_elapsed += seconds;
    run->pace = run->pace > 0 ? 0.95 * run->pace + 0.05 * seconds : seconds;
}

/* This process's share of the loss and of that of the batch left as it is. */
static mirl_status compute_gradients(run *run, double *loss, double *identity, mirl_error *error) {
    uint64_t step = run->state.total_step;
    if (trainer_team_has_images(run->team))
        return trainer_team_gradients_at(run->team, step, run->ranks, loss, identity, error);
    mirl_status status = trainer_data_batch(run->data, step, run->degraded, run->clean, error);
    if (status)
        return status;
    *loss = trainer_team_gradients(run->team, run->state.values, run->degraded, run->clean, run->ranks);
    *identity = batch_identity(run);
    return MIRL_OK;
}

static mirl_status train_step(run *run, mirl_error *error) {
    trainer_state *state = &run->state;
    const trainer_recipe *recipe = run->recipe;
    double shared[SHARED] = {0};
    trainer_adamw adamw = {current_rate(run), recipe->beta1,        recipe->beta2,
                           recipe->epsilon,   recipe->weight_decay, state->step + 1};
    mirl_status status = compute_gradients(run, &shared[SHARED_LOSS], &shared[SHARED_IDENTITY], error);

    if (status)
        return status;
    shared[SHARED_STOP] = run->options->stop && *run->options->stop;
    shared[SHARED_ELAPSED] = run->rank == 0 ? seconds_now() - run->last_step : 0;
    run->last_step = seconds_now();
    trainer_comm_sum_doubles(shared, SHARED);
    if (!isfinite(shared[SHARED_LOSS])) {
        mirl_error failure;
        status = pull_state(run, &failure);
        return status && status != MIRL_ERROR_FORMAT ? mirl_fail(error, status, "%s", failure.message)
                                                     : name_culprits(run, error);
    }
    trainer_team_step(run->team, &adamw, state->values, state->moment1, state->moment2, state->mask);
    count_step(run, shared[SHARED_LOSS], shared[SHARED_IDENTITY], shared[SHARED_ELAPSED]);
    run->stop = shared[SHARED_STOP] > 0;
    if (recipe->reset == TRAINER_RESET_REWIND && state->total_step == (uint64_t)recipe->rewind) {
        status = pull_state(run, error);
        memcpy(state->origin, state->values, state->parameters * sizeof *state->origin);
        state->origin_taken = true;
    }
    return status;
}

static mirl_status checkpoint(run *run, mirl_error *error) {
    mirl_status status = pull_state(run, error);
    run->last_checkpoint = seconds_now();
    if (status || run->rank != 0)
        return status;
    return trainer_checkpoint_write(run->options->folder, &run->state, run->recipe_text, error);
}

/* Log, progress and checkpoint, whatever is due. A failure to write is said, and training goes on. */
static void after_step(run *run, double alive) {
    trainer_state *state = &run->state;
    mirl_error error;
    double patches = run->batch * run->ranks / run->pace;
    trainer_progress progress = {.round = state->round,
                                 .rounds = run->recipe->rounds,
                                 .step = state->step,
                                 .share = round_share(run),
                                 .loss = state->log_loss / (double)state->log_steps,
                                 .identity = state->log_identity / (double)state->log_steps,
                                 .patches_per_second = patches,
                                 .seconds_left = seconds_left(run),
                                 .alive = alive};
    if (run->rank == 0 && run->options->progress)
        run->options->progress(&progress, run->options->user);
    if (state->log_steps >= (uint64_t)run->recipe->log_steps) {
        if (run->rank == 0 &&
            trainer_log_steps(run->options->folder, state, current_rate(run), patches, &error))
            say(run, "%s", error.message);
        state->log_loss = state->log_identity = 0;
        state->log_steps = 0;
    }
    if (seconds_now() - run->last_checkpoint > 60 * run->recipe->checkpoint_minutes &&
        checkpoint(run, &error))
        say(run, "%s; the checkpoint before is kept and training goes on", error.message);
}

/* ---- Batches ----------------------------------------------------------------------------------------- */

/* Where the network runs on a device, that makes the batches, if it has room for the images. */
static mirl_status place_images(run *run, mirl_error *error) {
    mirl_status status = trainer_team_images(run->team, run->data, error);
    if (status != MIRL_ERROR_MEMORY)
        return status;
    say(run, "%s: the processor makes the batches", error->message);
    return MIRL_OK;
}

static void close_batches(run *run) {
    trainer_data_close(run->data);
    trainer_team_free(run->team);
    free(run->degraded);
    free(run->clean);
    run->data = NULL;
    run->team = NULL;
    run->degraded = run->clean = NULL;
}

/* The data and the team that the present round's batches take, unless they are there. */
static mirl_status open_batches(run *run, mirl_error *error) {
    const trainer_recipe *recipe = run->recipe;
    const bool last = run->state.round == recipe->rounds;
    trainer_data_options data = recipe->data;

    data.crop = last ? recipe->last_crop : data.crop;
    data.batch = last ? recipe->last_batch : data.batch;
    if (run->team && run->crop == data.crop && run->batch == data.batch)
        return MIRL_OK;
    close_batches(run);
    data.rank = run->rank;
    data.ranks = run->ranks;
    run->crop = data.crop;
    run->batch = data.batch;
    run->pace = 0;
    run->data = trainer_data_open(&data, error);
    run->team = run->data ? trainer_team_create(run->network, recipe->threads, data.batch, data.crop,
                                                recipe->group, error)
                          : NULL;
    if (!run->team)
        return error->status;
    run->batch_floats = 3 * (size_t)data.batch * (size_t)(data.crop * data.crop);
    run->degraded = malloc(run->batch_floats * sizeof *run->degraded);
    run->clean = malloc(run->batch_floats * sizeof *run->clean);
    if (!run->degraded || !run->clean)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for a batch");
    return place_images(run, error);
}

/* ---- Rounds ------------------------------------------------------------------------------------------ */

/* Weights and biases go back to the origin; temperatures and prompts keep their trained values. */
static void reset_values(run *run) {
    trainer_state *state = &run->state;
    size_t first = 0;
    for (int l = 0; l < run->graph->layer_count; first += run->graph->layers[l++].count) {
        const mirl_layer *layer = &run->graph->layers[l];
        bool kept = run->recipe->reset == TRAINER_RESET_NONE || layer->kind == MIRL_TEMPERATURE ||
                    layer->kind == MIRL_PROMPT_PARAM;
        for (size_t i = first; i < first + layer->count; i++)
            state->values[i] = !state->mask[i] ? 0 : kept ? state->values[i] : state->origin[i];
    }
}

/* From the end of a round to the beginning of the next. */
static mirl_status next_round(run *run, mirl_error *error) {
    trainer_state *state = &run->state;
    const trainer_recipe *recipe = run->recipe;
    if (recipe->reset == TRAINER_RESET_REWIND && !state->origin_taken)
        return mirl_fail(error, MIRL_ERROR_ARGUMENT,
                         "reset is rewind=%d, but round 0 ended after %" PRIu64 " steps; it must be longer",
                         recipe->rewind, state->step);
    mirl_status status = trainer_prune(run->graph, recipe->scope, recipe->percent, recipe->slack,
                                       state->values, state->mask, error);
    if (status)
        return status;
    reset_values(run);
    memset(state->moment1, 0, state->parameters * sizeof *state->moment1);
    memset(state->moment2, 0, state->parameters * sizeof *state->moment2);
    state->round++;
    state->step = state->judged = state->log_steps = 0;
    state->elapsed = state->loss_sum = state->identity_sum = state->log_loss = state->log_identity = 0;
    status = trainer_network_structure(run->network, state->mask, error);
    if (!status)
        status = open_batches(run, error);
    if (status)
        return status;
    push_state(run);
    return checkpoint(run, error);
}

/* The mean of a sum over the judged part of the round. */
static double judged_mean(const trainer_state *state, double sum) {
    return sum / (state->judged ? (double)state->judged : 1);
}

static bool has_learned(const run *run) {
    const trainer_state *state = &run->state;
    return !state->judged || state->loss_sum < (1 - run->recipe->least_gain) * state->identity_sum;
}

/* Keeps the round's network as good, writes it and has it evaluated. */
static mirl_status finish_round(run *run, mirl_error *error) {
    trainer_state *state = &run->state;
    mirl_remains remains = trainer_remains_of(run->graph, state->mask);
    char path[1100];
    mirl_status status;

    memcpy(state->good, state->values, state->parameters * sizeof *state->good);
    memcpy(state->good_mask, state->mask, state->parameters);
    state->good_round = state->round;
    if (run->rank != 0)
        return MIRL_OK;
    snprintf(path, sizeof path, "%s/round-%d.safetensors", run->options->folder, state->round);
    status =
        trainer_weights_write(path, run->graph, state->values, MIRL_F32, run->recipe, state->round, error);
    if (!status)
        status = trainer_log_round(run->options->folder, state, &remains, error);
    if (status)
        return status;
    say(run,
        "round %d: loss %.5f (input %.5f), %.2f %% of the prunable weights, %.0f multiply-adds a pixel of "
        "%.0f",
        state->round, judged_mean(state, state->loss_sum), judged_mean(state, state->identity_sum),
        100 * (double)remains.alive / (double)remains.prunable, remains.macs, remains.dense_macs);
    mirl_error trouble;
    if (run->options->round_done &&
        run->options->round_done(state->round, path, run->options->user, &trouble))
        say(run, "round %d could not be evaluated: %s", state->round, trouble.message);
    return MIRL_OK;
}

static mirl_status train_round(run *run, mirl_error *error) {
    mirl_remains remains = trainer_remains_of(run->graph, run->state.mask);
    double alive = (double)remains.alive / (double)remains.prunable;

    run->last_step = seconds_now();
    while (!run->stop && round_share(run) < 1) {
        mirl_status status = train_step(run, error);
        if (status)
            return status;
        after_step(run, alive);
    }
    return MIRL_OK;
}

static trainer_ending finish_run(run *run, trainer_ending ending, mirl_error *error) {
    trainer_state *state = &run->state;
    trainer_winner winner = {.graph = run->graph,
                             .recipe = run->recipe,
                             .values = state->good,
                             .mask = state->good_mask,
                             .round = state->good_round,
                             .folder = run->options->folder,
                             .batch_floats = run->batch_floats};
    state->finished = true;
    if (run->rank != 0)
        return ending;
    if (trainer_winner_write(&winner, run->network, run->team, run->data, state->total_step, error))
        return TRAINER_FAILED;
    push_state(run); // the winner was measured in their place
    if (checkpoint(run, error))
        return TRAINER_FAILED;
    say(run, "the network of round %d is %s/%s.safetensors; on %d batches its loss is %.5f, as i8 %.5f",
        winner.round, run->options->folder, run->recipe->name, winner.batches, winner.loss, winner.loss_i8);
    return ending;
}

static trainer_ending train(run *run, mirl_error *error) {
    trainer_state *state = &run->state;
    for (;;) {
        if (train_round(run, error))
            return TRAINER_FAILED;
        if (run->stop)
            return checkpoint(run, error) ? TRAINER_FAILED : TRAINER_STOPPED;
        if (!has_learned(run)) {
            say(run, "round %d did not learn: its loss ended at %.5f, the input's is %.5f", state->round,
                judged_mean(state, state->loss_sum), judged_mean(state, state->identity_sum));
            if (state->good_round >= 0)
                return finish_run(run, TRAINER_STUCK, error);
            mirl_fail(error, MIRL_ERROR_FORMAT,
                      "the dense round did not learn; a longer round or a larger learning_rate may");
            return TRAINER_FAILED;
        }
        if (checkpoint(run, error) || finish_round(run, error))
            return TRAINER_FAILED;
        if (state->round == run->recipe->rounds)
            return finish_run(run, TRAINER_COMPLETE, error);
        if (next_round(run, error))
            return TRAINER_FAILED;
    }
}

/* ---- Beginning and end ------------------------------------------------------------------------------- */

/* A checkpoint's recipe must be of the same network; everything else may have changed. */
static mirl_status check_network(const run *run, const char *text, mirl_error *error) {
    trainer_recipe recipe = trainer_recipe_default();
    mirl_status status = trainer_recipe_parse(&recipe, text, "checkpoint", error);
    if (status)
        return status;
    char path[1100];
    snprintf(path, sizeof path, "%s/checkpoint", run->options->folder);
    return trainer_same_network(&run->recipe->config, &recipe.config, path, error);
}

/* θ0: the values that round 0 begins with. */
static mirl_status first_values(const run *run, float *values, mirl_error *error) {
    if (!run->recipe->start[0]) {
        trainer_network_initial(run->network, run->recipe->data.seed, values);
        return MIRL_OK;
    }
    char *path = mirl_weights_find(run->recipe->start, error);
    mirl_status status = path ? trainer_weights_read(path, run->graph, values, error) : error->status;
    free(path);
    return status;
}

/* Prunable weights that are zero already stay so. */
static void mask_zeros(const run *run) {
    size_t first = 0;
    for (int l = 0; l < run->graph->layer_count; first += run->graph->layers[l++].count)
        if (mirl_layer_is_prunable(&run->graph->layers[l]))
            for (size_t i = first; i < first + run->graph->layers[l].count; i++)
                run->state.mask[i] = run->state.values[i] != 0;
}

/* The recipe may name another origin than that of the run before. */
static mirl_status check_origin(run *run, mirl_error *error) {
    trainer_state *state = &run->state;
    mirl_status status = MIRL_OK;
    if (run->recipe->reset == TRAINER_RESET_PUBLISHED && state->origin_taken)
        status = first_values(run, state->origin, error);
    if (run->recipe->reset == TRAINER_RESET_PUBLISHED || state->total_step < (uint64_t)run->recipe->rewind)
        state->origin_taken = false;
    return status;
}

static mirl_status start_state(run *run, mirl_error *error) {
    trainer_state *state = &run->state;
    char warning[1024] = "", *text = NULL;
    mirl_error inner = {0};
    mirl_status status = trainer_state_create(state, run->graph->parameters, error);

    if (status)
        return status;
    if (run->options->resume) {
        status = trainer_checkpoint_read(run->options->folder, state, &text, warning, sizeof warning, &inner);
        if (!status)
            status = check_network(run, text, &inner);
        free(text);
        if (status && status != MIRL_ERROR_FILE)
            return mirl_fail(error, status, "%s", inner.message);
        if (warning[0])
            say(run, "%s", warning);
        if (!status) {
            say(run, "going on in round %d after step %" PRIu64, state->round, state->step);
            status = check_origin(run, error);
            return status ? status : trainer_network_structure(run->network, state->mask, error);
        }
    }
    status = first_values(run, state->values, error);
    if (status)
        return status;
    memcpy(state->origin, state->values, state->parameters * sizeof *state->origin);
    if (run->recipe->start[0])
        mask_zeros(run);
    return trainer_network_structure(run->network, state->mask, error);
}

static mirl_status open_run(run *run, mirl_error *error) {
    const trainer_ops *ops = run->options->ops ? run->options->ops : trainer_ops_get(NULL);
    mirl_status status;

    run->graph = mirl_graph_create(&run->recipe->config, error);
    run->network = run->graph ? trainer_network_create(run->graph, ops, error) : NULL;
    if (!run->network)
        return error->status;
    run->recipe_text = trainer_recipe_print(run->recipe, true);
    if (!run->recipe_text)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory for the recipe");
    status = start_state(run, error);
    if (!status)
        status = open_batches(run, error);
    if (status)
        return status;
    push_state(run);
    return run->rank == 0 ? trainer_log_open(run->options->folder, &run->state, error) : MIRL_OK;
}

static void close_run(run *run) {
    close_batches(run);
    trainer_network_free(run->network);
    mirl_graph_free(run->graph);
    trainer_state_free(&run->state);
    free(run->recipe_text);
}

trainer_ending trainer_run(const trainer_run_options *options, mirl_error *error) {
    run run = {.options = options,
               .recipe = options->recipe,
               .rank = trainer_comm_rank(),
               .ranks = trainer_comm_ranks(),
               .last_checkpoint = seconds_now()};
    trainer_ending ending = TRAINER_REFUSED;
    mirl_error local;

    error = error ? error : &local;
    *error = (mirl_error){0};
    if (!open_run(&run, error))
        ending = run.state.finished ? TRAINER_COMPLETE : train(&run, error);
    close_run(&run);
    return ending;
}
