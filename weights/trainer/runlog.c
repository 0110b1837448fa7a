#include "trainer/runlog.h"

#include "error.h"
#include "weights/replace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char LOG_HEAD[] = "round,step,seconds,loss,identity,rate,patches_per_second\n";
static const char ROUNDS_HEAD[] = "round,alive,prunable,macs,dense_macs,loss,identity,steps,seconds\n";

static void path_of(const char *folder, const char *name, char *path, size_t size) {
    snprintf(path, size, "%s/%s", folder, name);
}

/* Whether a line is about what lies before the state. */
static bool is_past(const char *line, const trainer_state *state, bool rounds) {
    int round;
    uint64_t step;
    if (sscanf(line, "%d,%" SCNu64, &round, &step) != 2)
        return false;
    return round < state->round || (!rounds && round == state->round && step <= state->step);
}

static mirl_status keep_past(const char *folder, const char *name, const char *head,
                             const trainer_state *state, bool rounds, mirl_error *error) {
    char path[1024], line[512];
    path_of(folder, name, path, sizeof path);
    FILE *old = fopen(path, "r");
    mirl_replacement *file = mirl_replace_begin(path, error);
    if (file) {
        mirl_replace_append(file, head, strlen(head));
        while (old && fgets(line, sizeof line, old))
            if (is_past(line, state, rounds) && strchr(line, '\n'))
                mirl_replace_append(file, line, strlen(line));
    }
    if (old)
        fclose(old);
    return file ? mirl_replace_commit(file, error) : MIRL_ERROR_FILE;
}

mirl_status trainer_log_open(const char *folder, const trainer_state *state, mirl_error *error) {
    mirl_status status = keep_past(folder, "log.csv", LOG_HEAD, state, false, error);
    return status ? status : keep_past(folder, "rounds.csv", ROUNDS_HEAD, state, true, error);
}

static mirl_status append(const char *folder, const char *name, const char *line, mirl_error *error) {
    char path[1024];
    path_of(folder, name, path, sizeof path);
    FILE *file = fopen(path, "a");
    bool good = file && fputs(line, file) >= 0;
    if (file && fclose(file))
        good = false;
    return good ? MIRL_OK
                : mirl_fail(error, MIRL_ERROR_FILE, "'%.300s' cannot be written: %s", path, strerror(errno));
}

mirl_status trainer_log_steps(const char *folder, const trainer_state *state, double rate,
                              double patches_per_second, mirl_error *error) {
    char line[256];
    double steps = (double)state->log_steps;
    snprintf(line, sizeof line, "%d,%" PRIu64 ",%.1f,%.9g,%.9g,%.6g,%.2f\n", state->round, state->step,
             state->total_elapsed, state->log_loss / steps, state->log_identity / steps, rate,
             patches_per_second);
    return append(folder, "log.csv", line, error);
}

mirl_status trainer_log_round(const char *folder, const trainer_state *state, const mirl_remains *remains,
                              mirl_error *error) {
    char line[256];
    double judged = state->judged ? (double)state->judged : 1;
    snprintf(line, sizeof line, "%d,%zu,%zu,%.6g,%.6g,%.9g,%.9g,%" PRIu64 ",%.1f\n", state->round,
             remains->alive, remains->prunable, remains->macs, remains->dense_macs, state->loss_sum / judged,
             state->identity_sum / judged, state->step, state->total_elapsed);
    return append(folder, "rounds.csv", line, error);
}
