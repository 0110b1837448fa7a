/* report.html: tables, charts and pictures, all inside one file. */
#define _GNU_SOURCE // open_memstream
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "trainer/chart.h"
#include "trainer/photo.h"
#include "trainer/report.h"
#include "trainer/report_data.h"
#include "weights/replace.h"

enum { PATH = 4096, COLUMNS = 24 }; // rounds shown by layer

static const char style[] =
    "body{font:15px/1.45 sans-serif;color:#222;max-width:1060px;margin:24px auto;padding:0 16px}"
    "h1{font-size:24px}h2{font-size:18px;margin-top:36px}table{border-collapse:collapse;font-size:13px}"
    "th,td{padding:3px 9px;text-align:right;border-bottom:1px solid #ddd}th{background:#f4f4f4}"
    "td:first-child,th:first-child{text-align:left}figure{display:inline-block;margin:4px 6px 4px 0}"
    "figcaption{font-size:12px;color:#555}.note{color:#555;font-size:13px}img{max-width:100%}";

static void write_text(FILE *page, const char *text) {
    for (; *text; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", page);
            break;
        case '&':
            fputs("&amp;", page);
            break;
        case '"':
            fputs("&quot;", page);
            break;
        default:
            putc(*text, page);
        }
    }
}

static void write_base64(FILE *page, const void *data, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i += 3) {
        unsigned left = size - i < 3 ? (unsigned)(size - i) : 3;
        unsigned bits = (unsigned)bytes[i] << 16;
        bits |= left > 1 ? (unsigned)bytes[i + 1] << 8 : 0;
        bits |= left > 2 ? bytes[i + 2] : 0;
        putc(digits[bits >> 18], page);
        putc(digits[bits >> 12 & 63], page);
        putc(left > 1 ? digits[bits >> 6 & 63] : '=', page);
        putc(left > 2 ? digits[bits & 63] : '=', page);
    }
}

/** Takes the SVG over. */
static void write_chart(FILE *page, char *svg, size_t size, const char *description) {
    if (!svg)
        return;
    fprintf(page, "<p><img alt=\"%s\" src=\"data:image/svg+xml;base64,", description);
    write_base64(page, svg, size);
    fputs("\"></p>\n", page);
    free(svg);
}

static double alive_percent(const report_round *round) {
    return 100 * round->alive / round->prunable;
}

/** The round's score of the same set, or NULL. */
static const report_score *score_in(const report_data *data, const report_score *like, int round) {
    for (size_t i = 0; i < data->score_count; i++) {
        const report_score *score = &data->scores[i];
        if (score->round == round && score->task == like->task && score->sigma == like->sigma &&
            strcmp(score->set, like->set) == 0)
            return score;
    }
    return NULL;
}

/** The different sets of all scores, at most `room`. */
static size_t list_sets(const report_data *data, const report_score **sets, size_t room) {
    size_t count = 0;
    for (size_t i = 0; i < data->score_count && count < room; i++)
        if (score_in(data, &data->scores[i], data->scores[i].round) == &data->scores[i]) {
            size_t k = 0;
            while (k < count &&
                   (sets[k]->task != data->scores[i].task || sets[k]->sigma != data->scores[i].sigma ||
                    strcmp(sets[k]->set, data->scores[i].set) != 0))
                k++;
            if (k == count)
                sets[count++] = &data->scores[i];
        }
    return count;
}

static void name_set(const report_score *set, char *text, size_t size) {
    if (set->task == TRAINER_DENOISE)
        snprintf(text, size, "%s σ%g", trainer_task_name(set->task), set->sigma);
    else
        snprintf(text, size, "%s", trainer_task_name(set->task));
}

enum { SETS = 10 };

static void write_rounds(FILE *page, const report_data *data, const report_score **sets, size_t set_count) {
    char name[64];
    fputs("<h2>Rounds</h2>\n<table><tr><th>round</th><th>weights left</th><th>multiply-adds a pixel</th>"
          "<th>loss</th><th>of the input</th>",
          page);
    for (size_t k = 0; k < set_count; k++) {
        name_set(sets[k], name, sizeof name);
        fprintf(page, "<th>%s</th>", name);
    }
    fputs("<th>mean change</th></tr>\n", page);
    if (set_count) {
        fputs("<tr><td>input</td><td></td><td></td><td></td><td></td>", page);
        for (size_t k = 0; k < set_count; k++)
            fprintf(page, "<td>%.2f</td>", sets[k]->means.input_psnr);
        fputs("<td></td></tr>\n", page);
    }
    for (size_t i = 0; i < data->round_count; i++) {
        const report_round *round = &data->rounds[i];
        double change = 0;
        int changes = 0;
        fprintf(page, "<tr><td>%d</td><td>%.2f %%</td><td>%.0f</td><td>%.5f</td><td>%.5f</td>", round->number,
                alive_percent(round), round->macs, round->loss, round->identity);
        for (size_t k = 0; k < set_count; k++) {
            const report_score *score = score_in(data, sets[k], round->number);
            const report_score *dense = score_in(data, sets[k], 0);
            if (score)
                fprintf(page, "<td>%.2f</td>", score->means.psnr);
            else
                fputs("<td></td>", page);
            if (score && dense) {
                change += score->means.psnr - dense->means.psnr;
                changes++;
            }
        }
        if (changes)
            fprintf(page, "<td>%+.2f</td></tr>\n", change / changes);
        else
            fputs("<td></td></tr>\n", page);
    }
    fputs("</table>\n<p class=note>Loss: mean absolute error over the round's last quarter. Right: PSNR in "
          "dB by "
          "MIR-L's protocol, and its mean change from round 0, which is dense.</p>\n",
          page);
}

static mirl_status no_memory(mirl_error *error) {
    return mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for the report");
}

/** One line for each set: PSNR, or its change from round 0, by weights left. */
static mirl_status write_psnr(FILE *page, const report_data *data, const report_score **sets,
                              size_t set_count, bool change, mirl_error *error) {
    trainer_series series[SETS];
    char names[SETS][64];
    size_t points = data->round_count, size = 0;
    double *x = malloc(points * (set_count + 1) * sizeof *x);
    if (!x)
        return no_memory(error);
    double *y = x + points;
    for (size_t i = 0; i < points; i++)
        x[i] = alive_percent(&data->rounds[i]);
    for (size_t k = 0; k < set_count; k++) {
        name_set(sets[k], names[k], sizeof names[k]);
        const report_score *dense = score_in(data, sets[k], 0);
        for (size_t i = 0; i < points; i++) {
            const report_score *score = score_in(data, sets[k], data->rounds[i].number);
            bool known = score && (dense || !change);
            y[k * points + i] = known ? score->means.psnr - (change ? dense->means.psnr : 0) : NAN;
        }
        series[k] = (trainer_series){names[k], x, y + k * points, points, true, false, (int)k};
    }
    const trainer_chart chart = {.x_label = "weights left, %",
                                 .y_label = change ? "change from round 0, dB" : "PSNR, dB",
                                 .series = series,
                                 .count = set_count,
                                 .falling = true,
                                 .log_x = true};
    char *svg = trainer_chart_lines(&chart, &size);
    write_chart(page, svg, size,
                change ? "change of PSNR against weights left" : "PSNR against weights left");
    free(x);
    return svg ? MIRL_OK : no_memory(error);
}

static mirl_status write_left(FILE *page, const report_data *data, mirl_error *error) {
    size_t points = data->round_count, size = 0;
    double *x = malloc(3 * points * sizeof *x);
    if (!x)
        return no_memory(error);
    double *weights = x + points, *macs = weights + points;
    for (size_t i = 0; i < points; i++) {
        x[i] = data->rounds[i].number;
        weights[i] = alive_percent(&data->rounds[i]);
        macs[i] = 100 * data->rounds[i].macs / data->rounds[i].dense_macs;
    }
    const trainer_series series[] = {{"multiply-adds", x, macs, points, true, false, 0},
                                     {"weights", x, weights, points, true, false, 1}};
    const trainer_chart chart = {.x_label = "round",
                                 .y_label = "left, %",
                                 .series = series,
                                 .count = 2,
                                 .whole_x = true,
                                 .from_zero = true};
    char *svg = trainer_chart_lines(&chart, &size);
    fputs("<h2>Multiply-adds and weights left</h2>\n", page);
    write_chart(page, svg, size, "multiply-adds and weights left by round");
    free(x);
    return svg ? MIRL_OK : no_memory(error);
}

static mirl_status write_losses(FILE *page, const report_data *data, mirl_error *error) {
    size_t points = data->loss_count, size = 0, lines = 0;
    double *x = malloc(3 * points * sizeof *x);
    trainer_series *series = malloc((points + 1) * sizeof *series);
    if (!x || !series) {
        free(x);
        free(series);
        return no_memory(error);
    }
    double *loss = x + points, *identity = loss + points;
    for (size_t i = 0; i < points; i++) {
        x[i] = data->losses[i].step;
        loss[i] = data->losses[i].loss;
        identity[i] = data->losses[i].identity;
    }
    series[lines++] = (trainer_series){"of the input", x, identity, points, false, true, 7};
    for (size_t i = 0; i < points; i++) {
        bool begins = i == 0 || data->losses[i].round != data->losses[i - 1].round;
        if (begins) {
            const char *name = i == 0 ? "of the result" : NULL;
            series[lines++] = (trainer_series){
                .name = name, .x = x + i, .y = loss + i, .colour = data->losses[i].round % 2};
        }
        series[lines - 1].count++;
    }
    const trainer_chart chart = {.x_label = "step",
                                 .y_label = "mean absolute error",
                                 .series = series,
                                 .count = lines,
                                 .from_zero = true};
    char *svg = trainer_chart_lines(&chart, &size);
    fputs("<h2>Loss</h2>\n", page);
    write_chart(page, svg, size, "loss by step");
    fputs("<p class=note>A colour ends where a round does.</p>\n", page);
    free(x);
    free(series);
    return svg ? MIRL_OK : no_memory(error);
}

/** The last COLUMNS rounds. */
static mirl_status write_layers(FILE *page, const report_data *data, mirl_error *error) {
    size_t columns = data->round_count < COLUMNS ? data->round_count : COLUMNS, size = 0;
    size_t first = data->round_count - columns, rows = data->layer_count;
    const char **row_names = malloc(rows * sizeof *row_names), *column_names[COLUMNS];
    char numbers[COLUMNS][16];
    double *values = malloc(rows * columns * sizeof *values);
    if (!row_names || !values) {
        free(row_names);
        free(values);
        return no_memory(error);
    }
    for (size_t c = 0; c < columns; c++) {
        snprintf(numbers[c], sizeof numbers[c], "%d", data->rounds[first + c].number);
        column_names[c] = numbers[c];
    }
    for (size_t r = 0; r < rows; r++) {
        row_names[r] = data->layers[r];
        for (size_t c = 0; c < columns; c++)
            values[r * columns + c] = data->layer_alive[r * data->round_count + first + c];
    }
    char *svg = trainer_chart_cells(row_names, rows, column_names, columns, values, &size);
    fputs("<h2>Weights left in each layer</h2>\n<p class=note>Per cent of the values that are not zero, by "
          "round.</p>\n",
          page);
    write_chart(page, svg, size, "weights left in each layer by round");
    free(row_names);
    free(values);
    return svg ? MIRL_OK : no_memory(error);
}

/** PSNR of one 8-bit picture against another of the same size, or NaN. */
static double compare(const trainer_picture *picture, const trainer_picture *clean) {
    if (!clean->rgb || clean->width != picture->width || clean->height != picture->height)
        return NAN;
    size_t samples = (size_t)picture->width * (size_t)picture->height * 3;
    double sum = 0;
    for (size_t i = 0; i < samples; i++)
        sum += (picture->rgb[i] - clean->rgb[i]) * (double)(picture->rgb[i] - clean->rgb[i]);
    return -10 * log10(sum / (255.0 * 255.0 * (double)samples));
}

/** A picture of the run's folder with what it is below; nothing if there is none. */
static void write_picture(FILE *page, const char *folder, const report_score *set, const char *what,
                          const char *caption, const trainer_picture *clean) {
    char name[512], path[PATH + 512];
    trainer_picture picture;
    size_t size;
    report_data_picture(set, what, name, sizeof name);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (trainer_photo_read(path, &picture, NULL) != MIRL_OK)
        return;
    uint8_t *png = trainer_photo_png(&picture, &size, NULL);
    if (png) {
        double psnr = compare(&picture, clean);
        fputs("<figure><img alt=\"\" src=\"data:image/png;base64,", page);
        write_base64(page, png, size);
        fprintf(page, "\"><figcaption>%s", caption);
        if (isfinite(psnr))
            fprintf(page, ", %.2f dB", psnr);
        fputs("</figcaption></figure>\n", page);
    }
    free(png);
    free(picture.rgb);
}

static void write_pictures(FILE *page, const char *folder, const report_data *data, const report_score **sets,
                           size_t set_count) {
    fputs("<h2>Pictures</h2>\n", page);
    for (size_t k = 0; k < set_count; k++) {
        char name[64], file[512], path[PATH + 512], what[32], caption[64];
        trainer_picture clean = {0, 0, NULL};
        report_data_picture(sets[k], "clean", file, sizeof file);
        snprintf(path, sizeof path, "%s/%s", folder, file);
        if (trainer_photo_read(path, &clean, NULL) != MIRL_OK)
            continue;
        name_set(sets[k], name, sizeof name);
        fprintf(page, "<h3>%s, ", name);
        write_text(page, sets[k]->set);
        fputs("</h3>\n", page);
        write_picture(page, folder, sets[k], "input", "input", &clean);
        size_t scored = data->round_count;
        while (scored > 0 && !score_in(data, sets[k], data->rounds[scored - 1].number))
            scored--;
        for (size_t i = 0; i < scored; i += scored == 1 ? 1 : scored - 1) { // the first and the last
            snprintf(what, sizeof what, "round-%d", data->rounds[i].number);
            snprintf(caption, sizeof caption, "round %d, %.1f %% of the weights", data->rounds[i].number,
                     alive_percent(&data->rounds[i]));
            write_picture(page, folder, sets[k], what, caption, &clean);
        }
        write_picture(page, folder, sets[k], "clean", "clean", &clean);
        free(clean.rgb);
    }
}

static mirl_status write_page(FILE *page, const char *folder, const char *title, const report_data *data,
                              mirl_error *error) {
    const report_score *sets[SETS];
    size_t set_count = list_sets(data, sets, SETS);
    mirl_status status = MIRL_OK;
    fprintf(page, "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8><title>");
    write_text(page, title);
    fprintf(page, "</title><style>%s</style></head><body>\n<h1>", style);
    write_text(page, title);
    fputs("</h1>\n", page);
    if (data->round_count)
        write_rounds(page, data, sets, set_count);
    if (set_count && data->round_count) {
        fputs("<h2>PSNR against weights left</h2>\n", page);
        status = write_psnr(page, data, sets, set_count, false, error);
    }
    if (status == MIRL_OK && set_count && data->round_count > 1)
        status = write_psnr(page, data, sets, set_count, true, error);
    if (status == MIRL_OK && data->loss_count)
        status = write_losses(page, data, error);
    if (status == MIRL_OK && data->round_count)
        status = write_left(page, data, error);
    if (set_count)
        write_pictures(page, folder, data, sets, set_count);
    if (status == MIRL_OK && data->layer_count)
        status = write_layers(page, data, error);
    fputs("</body></html>\n", page);
    return status;
}

mirl_status trainer_report_write(const char *folder, const char *title, mirl_error *error) {
    report_data data;
    char *text = NULL, path[PATH];
    size_t size = 0;
    mirl_status status = report_data_read(folder, &data, error);
    FILE *page = status == MIRL_OK ? open_memstream(&text, &size) : NULL;
    if (page) {
        status = write_page(page, folder, title, &data, error);
        if (fclose(page) != 0 && status == MIRL_OK)
            status = no_memory(error);
    } else if (status == MIRL_OK) {
        status = no_memory(error);
    }
    report_data_free(&data);
    if (status == MIRL_OK) {
        snprintf(path, sizeof path, "%s/report.html", folder);
        mirl_replacement *file = mirl_replace_begin(path, error);
        if (file)
            mirl_replace_append(file, text, size);
        status = file ? mirl_replace_commit(file, error) : MIRL_ERROR_FILE;
    }
    free(text);
    return status;
}
