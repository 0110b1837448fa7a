/* Charts of the report, drawn with cairo as SVG. */
#ifndef MIRL_TRAINER_CHART_H
#define MIRL_TRAINER_CHART_H

#include <stdbool.h>
#include <stddef.h>

/** One line of a chart. Points whose y is not finite are left out. */
typedef struct trainer_series {
    const char *name;
    const double *x, *y;
    size_t count;
    bool marks; ///< a dot at each point
    bool dashed;
    int colour; ///< lines of the same number look alike
} trainer_series;

typedef struct trainer_chart {
    const char *x_label, *y_label;
    const trainer_series *series;
    size_t count;
    bool falling;   ///< x falls from left to right
    bool log_x;     ///< logarithmic; x > 0
    bool whole_x;   ///< x are whole numbers
    bool from_zero; ///< y begins at 0
} trainer_chart;

/** The chart as SVG, zero-terminated, to be freed with free(). NULL if memory runs out. */
char *trainer_chart_lines(const trainer_chart *chart, size_t *size);

/** A table of coloured cells, rows * columns values 0..1 (not finite: left empty), with the rows' names at
 * the left, the columns' above, and each value in per cent. As trainer_chart_lines(). */
char *trainer_chart_cells(const char *const *row_names, size_t rows, const char *const *column_names,
                          size_t columns, const double *values, size_t *size);

#endif
