/* Line charts and tables of cells. */
#include "trainer/chart.h"

#include <cairo-svg.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double chart_width = 640, chart_height = 360;
static const double left_margin = 62, right_margin = 150, top_margin = 14, bottom_margin = 46;

/** Tableau's ten, told apart also by most who see colours differently. */
static const unsigned colours[] = {0x1f77b4, 0xff7f0e, 0x2ca02c, 0xd62728, 0x9467bd,
                                   0x8c564b, 0xe377c2, 0x7f7f7f, 0xbcbd22, 0x17becf};

/** What cairo writes, in memory. */
typedef struct text {
    char *bytes;
    size_t size, room;
} text;

static cairo_status_t append(void *user, const unsigned char *bytes, unsigned length) {
    text *to = user;
    if (to->size + length + 1 > to->room) {
        size_t room = 2 * (to->size + length + 1);
        char *grown = realloc(to->bytes, room);
        if (!grown)
            return CAIRO_STATUS_WRITE_ERROR;
        to->bytes = grown;
        to->room = room;
    }
    memcpy(to->bytes + to->size, bytes, length);
    to->size += length;
    to->bytes[to->size] = '\0';
    return CAIRO_STATUS_SUCCESS;
}

/** A canvas whose SVG goes to *to when finish() is called. */
static cairo_t *begin(text *to, double width, double height) {
    cairo_surface_t *surface = cairo_svg_surface_create_for_stream(append, to, width, height);
    cairo_t *canvas = cairo_create(surface);
    cairo_surface_destroy(surface);
    cairo_set_source_rgb(canvas, 1, 1, 1);
    cairo_paint(canvas);
    cairo_select_font_face(canvas, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(canvas, 11);
    cairo_set_line_width(canvas, 1);
    return canvas;
}

static char *finish(cairo_t *canvas, text *to, size_t *size) {
    cairo_surface_t *surface = cairo_get_target(canvas);
    cairo_surface_finish(surface);
    bool good = cairo_surface_status(surface) == CAIRO_STATUS_SUCCESS &&
                cairo_status(canvas) == CAIRO_STATUS_SUCCESS && to->bytes;
    cairo_destroy(canvas);
    if (!good) {
        free(to->bytes);
        return NULL;
    }
    *size = to->size;
    return to->bytes;
}

static void use_colour(cairo_t *canvas, unsigned rgb) {
    cairo_set_source_rgb(canvas, (rgb >> 16) / 255.0, (rgb >> 8 & 255) / 255.0, (rgb & 255) / 255.0);
}

/** Draws words whose left end (align 0), middle (0.5) or right end (1) is at x. */
static void write_at(cairo_t *canvas, double x, double y, double align, const char *words) {
    cairo_text_extents_t extents;
    cairo_text_extents(canvas, words, &extents);
    cairo_move_to(canvas, x - align * extents.x_advance, y);
    cairo_show_text(canvas, words);
}

/** One axis: values low..high lie at first..last of the canvas. */
typedef struct axis {
    double low, high, first, last;
    bool logarithmic;
} axis;

static double place(const axis *a, double value) {
    double share =
        a->logarithmic ? log(value / a->low) / log(a->high / a->low) : (value - a->low) / (a->high - a->low);
    return a->first + share * (a->last - a->first);
}

/** The least and greatest finite value of the series' x or y. */
static void span(const trainer_chart *chart, bool of_y, double *low, double *high) {
    *low = INFINITY;
    *high = -INFINITY;
    for (size_t i = 0; i < chart->count; i++) {
        for (size_t k = 0; k < chart->series[i].count; k++) {
            if (!isfinite(chart->series[i].y[k]))
                continue;
            double value = of_y ? chart->series[i].y[k] : chart->series[i].x[k];
            *low = fmin(*low, value);
            *high = fmax(*high, value);
        }
    }
    if (!(*low <= *high)) // nothing to draw
        *low = *high = 1;
    if (*low == *high) {
        double around = *low == 0 ? 1 : fabs(*low) * 0.05;
        *low -= around;
        *high += around;
    }
}

/** A round distance between about `wanted` ticks: 1, 2 or 5 times a power of ten. */
static double tick_step(double range, int wanted) {
    double power = pow(10, floor(log10(range / wanted))), rest = range / wanted / power;
    return power * (rest < 1.5 ? 1 : rest < 3.5 ? 2 : rest < 7.5 ? 5 : 10);
}

static void draw_tick(cairo_t *canvas, const axis *a, bool vertical, double value) {
    char words[32];
    double at = round(place(a, value)) + 0.5;
    snprintf(words, sizeof words, "%.6g", value);
    use_colour(canvas, 0xe4e4e4);
    if (vertical) {
        cairo_move_to(canvas, left_margin, at);
        cairo_line_to(canvas, chart_width - right_margin, at);
    } else {
        cairo_move_to(canvas, at, top_margin);
        cairo_line_to(canvas, at, chart_height - bottom_margin);
    }
    cairo_stroke(canvas);
    use_colour(canvas, 0x333333);
    if (vertical)
        write_at(canvas, left_margin - 6, at + 4, 1, words);
    else
        write_at(canvas, at, chart_height - bottom_margin + 16, 0.5, words);
}

static void draw_axis(cairo_t *canvas, const axis *a, bool vertical, bool whole) {
    if (a->logarithmic) {
        static const double digits[] = {1, 2, 3, 4, 5, 6, 8};
        for (double power = pow(10, floor(log10(a->low))); power <= a->high; power *= 10)
            for (size_t i = 0; i < sizeof digits / sizeof digits[0]; i++)
                if (digits[i] * power >= a->low && digits[i] * power <= a->high)
                    draw_tick(canvas, a, vertical, digits[i] * power);
        return;
    }
    double step = tick_step(a->high - a->low, vertical ? 6 : 8);
    if (whole && step < 1)
        step = 1;
    for (double k = ceil(a->low / step); k * step <= a->high + step * 1e-9; k++)
        draw_tick(canvas, a, vertical, k == 0 ? 0 : k * step);
}

static void draw_series(cairo_t *canvas, const trainer_series *series, const axis *x, const axis *y) {
    const double dash[] = {4, 3};
    use_colour(canvas, colours[(size_t)series->colour % (sizeof colours / sizeof colours[0])]);
    cairo_set_dash(canvas, dash, series->dashed ? 2 : 0, 0);
    cairo_set_line_width(canvas, 1.5);
    cairo_new_path(canvas);
    for (size_t i = 0; i < series->count; i++)
        if (isfinite(series->y[i]))
            cairo_line_to(canvas, place(x, series->x[i]), place(y, series->y[i]));
    cairo_stroke(canvas);
    cairo_set_dash(canvas, NULL, 0, 0);
    for (size_t i = 0; series->marks && i < series->count; i++) {
        if (!isfinite(series->y[i]))
            continue;
        cairo_arc(canvas, place(x, series->x[i]), place(y, series->y[i]), 3, 0, 2 * M_PI);
        cairo_fill(canvas);
    }
}

/** Names of the series at the right; nameless ones are left out. */
static void draw_legend(cairo_t *canvas, const trainer_chart *chart) {
    double y = top_margin + 8, x = chart_width - right_margin + 12;
    for (size_t i = 0; i < chart->count; i++) {
        const trainer_series *series = &chart->series[i];
        if (!series->name)
            continue;
        const double dash[] = {4, 3};
        use_colour(canvas, colours[(size_t)series->colour % (sizeof colours / sizeof colours[0])]);
        cairo_set_dash(canvas, dash, series->dashed ? 2 : 0, 0);
        cairo_move_to(canvas, x, y);
        cairo_line_to(canvas, x + 18, y);
        cairo_stroke(canvas);
        cairo_set_dash(canvas, NULL, 0, 0);
        use_colour(canvas, 0x333333);
        write_at(canvas, x + 24, y + 4, 0, series->name);
        y += 17;
    }
}

char *trainer_chart_lines(const trainer_chart *chart, size_t *size) {
    text out = {0};
    cairo_t *canvas = begin(&out, chart_width, chart_height);
    axis x = {.first = left_margin + 8, .last = chart_width - right_margin - 8, .logarithmic = chart->log_x};
    axis y = {.first = chart_height - bottom_margin - 4, .last = top_margin + 4};
    span(chart, false, &x.low, &x.high);
    span(chart, true, &y.low, &y.high);
    if (chart->from_zero)
        y.low = fmin(0, y.low);
    if (chart->falling) {
        double first = x.first;
        x.first = x.last;
        x.last = first;
    }
    draw_axis(canvas, &x, false, chart->whole_x);
    draw_axis(canvas, &y, true, false);
    use_colour(canvas, 0x333333);
    write_at(canvas, (left_margin + chart_width - right_margin) / 2, chart_height - 10, 0.5, chart->x_label);
    cairo_save(canvas);
    cairo_translate(canvas, 14, (top_margin + chart_height - bottom_margin) / 2);
    cairo_rotate(canvas, -M_PI / 2);
    write_at(canvas, 0, 0, 0.5, chart->y_label);
    cairo_restore(canvas);
    for (size_t i = 0; i < chart->count; i++)
        draw_series(canvas, &chart->series[i], &x, &y);
    draw_legend(canvas, chart);
    return finish(canvas, &out, size);
}

/** White at 0 to a full blue at 1. */
static void use_shade(cairo_t *canvas, double value) {
    cairo_set_source_rgb(canvas, 1 - 0.88 * value, 1 - 0.53 * value, 1 - 0.29 * value);
}

char *trainer_chart_cells(const char *const *row_names, size_t rows, const char *const *column_names,
                          size_t columns, const double *values, size_t *size) {
    const double names = 250, cell_width = 38, cell_height = 13, head = 20;
    text out = {0};
    cairo_t *canvas =
        begin(&out, names + cell_width * (double)columns + 8, head + cell_height * (double)rows + 6);
    cairo_set_font_size(canvas, 9);
    use_colour(canvas, 0x333333);
    for (size_t c = 0; c < columns; c++)
        write_at(canvas, names + cell_width * ((double)c + 0.5), head - 6, 0.5, column_names[c]);
    for (size_t r = 0; r < rows; r++) {
        double y = head + cell_height * (double)r;
        use_colour(canvas, 0x333333);
        write_at(canvas, names - 8, y + 10, 1, row_names[r]);
        for (size_t c = 0; c < columns; c++) {
            double value = values[r * columns + c], x = names + cell_width * (double)c;
            char words[16];
            if (!isfinite(value))
                continue;
            use_shade(canvas, value);
            cairo_rectangle(canvas, x, y, cell_width - 1, cell_height - 1);
            cairo_fill(canvas);
            snprintf(words, sizeof words, value < 0.0995 ? "%.1f" : "%.0f", 100 * value);
            use_colour(canvas, value > 0.6 ? 0xffffff : 0x333333);
            write_at(canvas, x + cell_width / 2, y + 10, 0.5, words);
        }
    }
    return finish(canvas, &out, size);
}
