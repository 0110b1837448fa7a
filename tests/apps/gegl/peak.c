/* usage: test-gegl-peak A B
 * Compares two image files as GEGL loads them: prints the largest difference of any sample as R'G'B'A, 0..1,
 * whatever colour space each says it has, and then on a line each how A and B are encoded. */
#include <gegl.h>
#include <math.h>
#include <stdio.h>

static GeglBuffer *load(const char *path) {
    GeglBuffer *buffer = NULL;
    GeglNode *graph = gegl_node_new();
    GeglNode *source = gegl_node_new_child(graph, "operation", "gegl:load", "path", path, NULL);
    GeglNode *sink = gegl_node_new_child(graph, "operation", "gegl:buffer-sink", "buffer", &buffer, NULL);

    gegl_node_link(source, sink);
    gegl_node_process(sink);
    g_object_unref(graph);
    if (buffer) /* the same numbers, named sRGB */
        gegl_buffer_set_format(buffer, babl_format(babl_format_get_encoding(gegl_buffer_get_format(buffer))));
    return buffer;
}

static double peak(GeglBuffer *a, GeglBuffer *b) {
    const Babl *format = babl_format("R'G'B'A float");
    gsize count = (gsize)gegl_buffer_get_width(a) * gegl_buffer_get_height(a) * 4;
    float *x = g_new(float, count), *y = g_new(float, count);
    double largest = 0;

    gegl_buffer_get(a, NULL, 1.0, format, x, GEGL_AUTO_ROWSTRIDE, GEGL_ABYSS_NONE);
    gegl_buffer_get(b, NULL, 1.0, format, y, GEGL_AUTO_ROWSTRIDE, GEGL_ABYSS_NONE);
    for (gsize i = 0; i < count; i++)
        largest = isnan(x[i] - y[i]) ? INFINITY : fmax(largest, fabs((double)x[i] - (double)y[i]));
    g_free(x);
    g_free(y);
    return largest;
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    gegl_init(NULL, NULL);
    GeglBuffer *a = load(argv[1]), *b = load(argv[2]);
    if (!a || !b || !gegl_rectangle_equal(gegl_buffer_get_extent(a), gegl_buffer_get_extent(b))) {
        fprintf(stderr, "%s and %s are not images of the same size\n", argv[1], argv[2]);
        return 1;
    }
    printf("%g\n%s\n%s\n", peak(a, b), babl_format_get_encoding(gegl_buffer_get_format(a)),
           babl_format_get_encoding(gegl_buffer_get_format(b)));
    g_object_unref(a);
    g_object_unref(b);
    gegl_exit();
    return 0;
}
