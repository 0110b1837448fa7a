/* Makes and compares the pictures of the GIMP tests, in any format that GEGL reads and writes. Reads lines of
 * words from standard input and does what each says; exits with the number of those that failed.
 *
 *   make OUT WIDTH HEIGHT FORMAT           a noisy picture in this babl format; alpha runs from 1/255 to 1
 *   same A B TOLERANCE [X Y WIDTH HEIGHT]  fails if a sample there differs by more, or if the sizes differ
 *   other A B LEAST [X Y WIDTH HEIGHT]     fails if no sample there differs by more
 *
 * Samples are compared as they are encoded in the files, 0..1; a grey picture equals its R' = G' = B' twin.
 */
#include <gegl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A hash of the sample's place, -0.5..0.5. */
static float noise(guint x, guint y, guint c) {
    guint32 h = x * 0x9e3779b1u ^ y * 0x85ebca6bu ^ c * 0xc2b2ae35u;
    h = (h ^ h >> 15) * 0x2c1b3c6du;
    h = (h ^ h >> 12) * 0x297a2d39u;
    return (float)(h >> 8) / (1 << 24) - 0.5f;
}

static GeglBuffer *make(gint width, gint height, const gchar *name) {
    const Babl *format = babl_format(name);
    GeglRectangle extent = {0, 0, width, height};
    GeglBuffer *buffer = gegl_buffer_new(&extent, format);
    gboolean grey = (babl_get_model_flags(babl_format_get_model(format)) & BABL_MODEL_FLAG_GRAY) != 0;
    gfloat *row = g_new(gfloat, 4 * width);
    for (gint y = 0; y < height; y++) {
        for (gint x = 0; x < width; x++) {
            for (gint c = 0; c < 3; c++)
                row[4 * x + c] =
                    0.5f + 0.25f * sinf(x * 0.11f + c) * cosf(y * 0.07f) + 0.2f * noise(x, y, grey ? 0 : c);
            row[4 * x + 3] = (1 + (254 * x / width + y) % 255) / 255.0f;
            if (grey)
                row[4 * x] = row[4 * x + 1] = row[4 * x + 2];
        }
        GeglRectangle line = {0, y, width, 1};
        gegl_buffer_set(buffer, &line, 0, babl_format("R'G'B'A float"), row, GEGL_AUTO_ROWSTRIDE);
    }
    g_free(row);
    return buffer;
}

static gboolean save(GeglBuffer *buffer, const gchar *path) {
    gboolean png = g_str_has_suffix(path, ".png");
    const Babl *format = gegl_buffer_get_format(buffer);
    gint depth = 8 * babl_format_get_bytes_per_pixel(format) / babl_format_get_n_components(format);
    GeglNode *graph = gegl_node_new();
    GeglNode *source = gegl_node_new_child(graph, "operation", "gegl:buffer-source", "buffer", buffer, NULL);
    GeglNode *sink = gegl_node_new_child(graph, "operation", png ? "gegl:png-save" : "gegl:tiff-save", "path",
                                         path, "bitdepth", depth, NULL);
    gegl_node_link(source, sink);
    gegl_node_process(sink);
    g_object_unref(graph);
    return g_file_test(path, G_FILE_TEST_EXISTS);
}

static GeglBuffer *load(const gchar *path) {
    GeglBuffer *buffer = NULL;
    GeglNode *graph = gegl_node_new();
    GeglNode *source = gegl_node_new_child(graph, "operation", "gegl:load", "path", path, NULL);
    GeglNode *sink =
        gegl_node_new_child(graph, "operation", "gegl:buffer-sink", "buffer", &buffer, "format", NULL, NULL);
    gegl_node_link(source, sink);
    gegl_node_process(sink);
    g_object_unref(graph);
    if (!buffer || gegl_buffer_get_width(buffer) < 1)
        g_error("%s cannot be read", path);
    return buffer;
}

/* All samples as the file has them, 0..1, as red, green, blue, alpha. */
static gfloat *samples(GeglBuffer *buffer) {
    const GeglRectangle *extent = gegl_buffer_get_extent(buffer);
    const Babl *format = gegl_buffer_get_format(buffer);
    gsize pixels = (gsize)extent->width * extent->height;
    gint components = babl_format_get_n_components(format);
    gint bytes = babl_format_get_bytes_per_pixel(format) / components;
    guchar *raw = g_malloc_n(pixels, babl_format_get_bytes_per_pixel(format));
    gegl_buffer_get(buffer, extent, 1.0, format, raw, GEGL_AUTO_ROWSTRIDE, GEGL_ABYSS_NONE);

    gfloat *data = g_new(gfloat, 4 * pixels);
    for (gsize i = 0; i < pixels; i++)
        for (gint c = 0; c < 4; c++) {
            gint colours = components <= 2 ? 1 : 3;
            gsize at = i * components + (c < 3 ? MIN(c, colours - 1) : colours);
            if (c == 3 && components == colours)
                data[4 * i + c] = 1;
            else if (bytes == 1)
                data[4 * i + c] = raw[at] / 255.0f;
            else if (bytes == 2)
                data[4 * i + c] = ((guint16 *)raw)[at] / 65535.0f;
            else
                data[4 * i + c] = ((gfloat *)raw)[at];
        }
    g_free(raw);
    return data;
}

/* The largest difference in the region; the whole if its width is 0. */
static gfloat largest_difference(const gchar *path_a, const gchar *path_b, GeglRectangle region) {
    GeglBuffer *a = load(path_a), *b = load(path_b);
    const GeglRectangle *extent = gegl_buffer_get_extent(a);
    if (!gegl_rectangle_equal(extent, gegl_buffer_get_extent(b)))
        g_error("%s is %d×%d and %s is %d×%d", path_a, extent->width, extent->height, path_b,
                gegl_buffer_get_width(b), gegl_buffer_get_height(b));
    if (region.width == 0)
        region = *extent;
    gfloat *in_a = samples(a), *in_b = samples(b), largest = 0;
    gsize over = 0;
    for (gint y = region.y; y < region.y + region.height; y++)
        for (gint i = 4 * region.x; i < 4 * (region.x + region.width); i++) {
            gsize at = 4 * (gsize)extent->width * y + i;
            gfloat difference = fabsf(in_a[at] - in_b[at]);
            over += difference > 1e-6f;
            if (!(difference <= largest))
                largest = difference;
        }
    g_print("%s %s: largest difference %g, %zu of %d samples differ\n", path_a, path_b, largest, over,
            4 * region.width * region.height);
    g_free(in_a);
    g_free(in_b);
    g_object_unref(a);
    g_object_unref(b);
    return largest;
}

/* Whether what the line says is so. */
static gboolean obey(gchar **words, guint count) {
    if (count == 5 && strcmp(words[0], "make") == 0) {
        GeglBuffer *buffer = make(atoi(words[2]), atoi(words[3]), words[4]);
        gboolean saved = save(buffer, words[1]);
        g_object_unref(buffer);
        return saved;
    }
    if (count != 4 && count != 8)
        g_error("%u words in a line starting with '%s'", count, words[0]);
    GeglRectangle region = {0, 0, 0, 0};
    if (count == 8)
        region = (GeglRectangle){atoi(words[4]), atoi(words[5]), atoi(words[6]), atoi(words[7])};
    gfloat largest = largest_difference(words[1], words[2], region);
    gfloat bound = g_ascii_strtod(words[3], NULL);
    return strcmp(words[0], "same") == 0 ? largest <= bound : largest > bound;
}

int main(void) {
    gchar line[1000];
    int failed = 0;
    gegl_init(NULL, NULL);
    while (fgets(line, sizeof line, stdin)) {
        gint count = 0;
        gchar **words = NULL;
        if (g_shell_parse_argv(line, &count, &words, NULL) && !obey(words, count)) {
            g_print("FAILED: %s", line);
            failed++;
        }
        g_strfreev(words);
    }
    gegl_exit();
    return MIN(failed, 100);
}
