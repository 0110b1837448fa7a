/* mirl:restore in graphs of this process, against mirl_restore() called directly on the same samples. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <gegl-plugin.h>
#include <gegl.h>
#include <mirl.h>

enum { WIDTH = 97, HEIGHT = 61, X = -13, Y = 7 }; /* odd, and not at the origin */
enum { VALUE_OF_DENOISE = 1345430124 };

static const GeglRectangle extent = {X, Y, WIDTH, HEIGHT};
static char folder[] = "/tmp/mirl-gegl-XXXXXX";
static char *default_weights;
static int messages; /* how often the operation told the user something */
static char message[512];

static void on_message(const gchar *domain, GLogLevelFlags level, const gchar *text, gpointer user) {
    (void)domain, (void)level, (void)user;
    messages++;
    snprintf(message, sizeof message, "%s", text);
}

/* Known weights under known names, and GEGL with the operation. */
static int setup(void **state) {
    (void)state;
    char path[64];
    mirl_error error;

    default_weights = mirl_weights_find(NULL, &error);
    if (!default_weights || !mkdtemp(folder))
        return -1;
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s.safetensors", folder, i ? "denoise" : "default");
        if (symlink(default_weights, path))
            return -1;
    }
    setenv("MIRL_WEIGHTS_PATH", folder, 1);
    setenv("GEGL_MIPMAP_RENDERING", "1", 1);
    gegl_init(NULL, NULL);
    g_log_set_handler("GEGL", G_LOG_LEVEL_MESSAGE, on_message, NULL);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    char command[sizeof folder + 16];

    /* Without gegl_exit(): what GEGL and babl keep stays reachable, so that a leak reported is a leak. */
    free(default_weights);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

/* A smooth picture with noise, `components` of 1..4; the last of 2 and of 4 is an alpha of all values. */
static float *picture(int components) {
    float *pixels = malloc(sizeof *pixels * WIDTH * HEIGHT * (size_t)components);
    unsigned seed = 1;

    assert_non_null(pixels);
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        for (int c = 0; c < components; c++) {
            int x = i % WIDTH, y = i / WIDTH;
            seed = seed * 1664525u + 1013904223u;
            float noise = (float)(seed >> 8) / (1 << 24) - 0.5F;
            bool alpha = components % 2 == 0 && c == components - 1;
            pixels[i * components + c] =
                alpha ? (float)(i % 256) / 255
                      : 0.5F + 0.3F * sinf((float)x / 9 + (float)c) * cosf((float)y / 7) + 0.2F * noise;
        }
    return pixels;
}

/* What mirl_restore() makes of the pixels, in place. */
static void restore(float *pixels, int components, float strength) {
    mirl_error error = {0};
    mirl_model *model = mirl_model_open(default_weights, &error);
    mirl_options options = mirl_options_default();
    mirl_image image = {
        pixels, WIDTH, HEIGHT, components < 3 ? 1 : 3, components, (ptrdiff_t)WIDTH * components, 1};

    assert_non_null(model);
    options.strength = strength;
    assert_int_equal(mirl_restore(model, &image, &image, &options, &error), MIRL_OK);
    mirl_model_close(model);
}

static GeglBuffer *buffer_of(const float *pixels, const Babl *pixel_format, const Babl *format) {
    GeglBuffer *buffer = gegl_buffer_new(&extent, format);
    gegl_buffer_set(buffer, &extent, 0, pixel_format, pixels, GEGL_AUTO_ROWSTRIDE);
    return buffer;
}

/* A graph of a source, named by its operation, and mirl:restore with the properties that follow. */
typedef struct {
    GeglNode *graph, *source, *restore;
    double done; /* the last progress heard of */
    int runs;    /* how often that came to its end */
} graph;

static void on_progress(GeglNode *node, double done, graph *graph) {
    (void)node;
    graph->runs += done >= 1 && graph->done < 1;
    graph->done = done;
}

static graph *graph_new(GeglBuffer *buffer, const char *source) {
    graph *graph = calloc(1, sizeof *graph);
    graph->graph = gegl_node_new();
    graph->done = 1;
    graph->source = gegl_node_new_child(graph->graph, "operation", source, NULL);
    if (buffer)
        gegl_node_set(graph->source, "buffer", buffer, NULL);
    graph->restore = gegl_node_new_child(graph->graph, "operation", "mirl:restore", NULL);
    g_signal_connect(graph->restore, "progress", G_CALLBACK(on_progress), graph);
    gegl_node_link(graph->source, graph->restore);
    messages = 0;
    return graph;
}

static void graph_free(graph *graph) {
    g_object_unref(graph->graph);
    free(graph);
}

/* All of the result, asked for in squares of `side`. */
static float *result(graph *graph, const Babl *format, int side) {
    int components = babl_format_get_n_components(format);
    float *pixels = calloc((size_t)WIDTH * HEIGHT * (size_t)components, sizeof *pixels);

    for (int y = 0; y < HEIGHT; y += side)
        for (int x = 0; x < WIDTH; x += side) {
            GeglRectangle part = {X + x, Y + y, MIN(side, WIDTH - x), MIN(side, HEIGHT - y)};
            gegl_node_blit(graph->restore, 1.0, &part, format, pixels + (y * WIDTH + x) * components,
                           (gint)((size_t)WIDTH * (size_t)components * sizeof *pixels), GEGL_BLIT_CACHE);
        }
    return pixels;
}

static void assert_close(const float *got, const float *expected, size_t count, float tolerance) {
    float largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmaxf(largest, isnan(got[i]) ? INFINITY : fabsf(got[i] - expected[i]));
    if (largest > tolerance)
        fail_msg("differs by %g, not %g", (double)largest, (double)tolerance);
}

/* The picture of a format through the operation and through mirl_restore(). `tolerance` is the rounding of
 * the conversions. */
static void same_as_library(const char *pixel_format, const Babl *format, int side, float tolerance) {
    const Babl *pixels_are = babl_format(pixel_format);
    int components = babl_format_get_n_components(pixels_are);
    size_t count = (size_t)WIDTH * HEIGHT * (size_t)components;
    float *pixels = picture(components);
    GeglBuffer *buffer = buffer_of(pixels, pixels_are, format);
    float *expected = malloc(sizeof *expected * count);
    graph *graph = graph_new(buffer, "gegl:buffer-source");

    gegl_buffer_get(buffer, &extent, 1.0, pixels_are, expected, GEGL_AUTO_ROWSTRIDE, GEGL_ABYSS_NONE);
    memcpy(pixels, expected, sizeof *pixels * count);
    restore(expected, components, 1);
    float *got = result(graph, pixels_are, side);
    assert_close(got, expected, count, tolerance);
    assert_int_equal(graph->runs, 1);
    assert_int_equal(messages, 0);
    if (components % 2 == 0)
        for (size_t i = (size_t)components - 1; i < count; i += (size_t)components)
            assert_float_equal(got[i], pixels[i], 0);

    free(got);
    graph_free(graph);
    free(expected);
    g_object_unref(buffer);
    free(pixels);
}

/* ---- Tests ------------------------------------------------------------------------------------------- */

static void describes_itself(void **state) {
    (void)state;
    guint count;
    GParamSpec **properties = gegl_operation_list_properties("mirl:restore", &count);
    static const char *names[] = {"weights", "strength", "tile", "memory", "weights-file"};

    assert_int_equal(count, G_N_ELEMENTS(names));
    for (guint i = 0; i < count; i++) {
        assert_string_equal(properties[i]->name, names[i]);
        assert_true(strlen(g_param_spec_get_blurb(properties[i])) > 20);
    }
    GParamSpecDouble *strength = G_PARAM_SPEC_DOUBLE(properties[1]);
    assert_true(strength->minimum == 0 && strength->maximum == 1 && strength->default_value == 1);
    assert_string_equal(gegl_operation_get_key("mirl:restore", "gimp:menu-path"), "<Image>/Filters/Enhance");
    g_free(properties);
}

/* GIMP writes an enumeration's value into XCF files: it must be the same on every machine, for ever. */
static void weights_have_lasting_values(void **state) {
    (void)state;
    GEnumClass *weights = g_type_class_ref(g_type_from_name("MirlWeights"));
    assert_int_equal(weights->n_values, 4); /* with the bundled ones */
    assert_non_null(g_enum_get_value_by_nick(weights, "all-in-one"));
    assert_non_null(g_enum_get_value_by_nick(weights, "all-in-one-fast"));
    assert_int_equal(g_enum_get_value_by_nick(weights, "default")->value, 0);
    assert_int_equal(g_enum_get_value_by_nick(weights, "denoise")->value, VALUE_OF_DENOISE);
    g_type_class_unref(weights);
}

static void many_requests_are_one_run(void **state) {
    (void)state;
    same_as_library("R'G'B'A float", babl_format("R'G'B'A float"), 16, 0);
    same_as_library("R'G'B' float", babl_format("R'G'B' float"), 7, 0);
    same_as_library("R'G'B' float", babl_format("R'G'B' float"), 1000, 0);
}

static void formats_are_converted(void **state) {
    (void)state;
    same_as_library("R'G'B' float", babl_format("R'G'B' u8"), 1000, 0.0001F);
    same_as_library("R'G'B'A float", babl_format("R'G'B'A u8"), 1000, 0.0001F);
    same_as_library("R'G'B' float", babl_format("R'G'B' u16"), 1000, 0.0001F);
    same_as_library("R'G'B' float", babl_format("RGB float"), 1000, 0.0001F);
    same_as_library("R'G'B' float", babl_format("R'G'B' half"), 1000, 0.0001F);
}

static void grey_stays_grey(void **state) {
    (void)state;
    same_as_library("Y' float", babl_format("Y' float"), 1000, 0);
    same_as_library("Y'A float", babl_format("Y'A float"), 1000, 0);
    same_as_library("Y' float", babl_format("Y' u8"), 1000, 0.0001F);
    same_as_library("Y' float", babl_format("Y float"), 1000, 0.0001F);
}

/* Another colour space: its own numbers go to the network, and come out in that space. */
static void space_is_kept(void **state) {
    (void)state;
    const Babl *space = babl_space("ProPhoto");
    const Babl *format = babl_format_with_space("R'G'B' float", space);
    const size_t count = (size_t)WIDTH * HEIGHT * 3;
    float *pixels = picture(3), *got = malloc(sizeof *got * count);
    GeglBuffer *buffer = buffer_of(pixels, format, format), *out = NULL;
    graph *graph = graph_new(buffer, "gegl:buffer-source");
    GeglNode *sink = gegl_node_new_child(graph->graph, "operation", "gegl:buffer-sink", "buffer", &out, NULL);

    gegl_node_link(graph->restore, sink);
    gegl_node_process(sink);
    assert_non_null(out);
    assert_ptr_equal(babl_format_get_space(gegl_buffer_get_format(out)), space);
    gegl_buffer_get(out, &extent, 1.0, format, got, GEGL_AUTO_ROWSTRIDE, GEGL_ABYSS_NONE);
    restore(pixels, 3, 1);
    assert_close(got, pixels, count, 0);

    g_object_unref(out);
    graph_free(graph);
    g_object_unref(buffer);
    free(got);
    free(pixels);
}

static void properties_and_pixels_can_change(void **state) {
    (void)state;
    const Babl *format = babl_format("R'G'B' float");
    const size_t count = (size_t)WIDTH * HEIGHT * 3;
    float *pixels = picture(3), *expected = picture(3), *got;
    GeglBuffer *buffer = buffer_of(pixels, format, format);
    graph *graph = graph_new(buffer, "gegl:buffer-source");

    free(result(graph, format, 32));
    gegl_node_set(graph->restore, "strength", 0.25, "weights", VALUE_OF_DENOISE, NULL);
    got = result(graph, format, 32);
    restore(expected, 3, 0.25F);
    assert_close(got, expected, count, 0);
    assert_int_equal(graph->runs, 2);
    free(got);

    /* One corner changes: everything may have. */
    GeglRectangle corner = {X, Y, 1, 1};
    float white[3] = {1, 1, 1};
    gegl_buffer_set(buffer, &corner, 0, format, white, GEGL_AUTO_ROWSTRIDE);
    memcpy(pixels, white, sizeof white);
    memcpy(expected, pixels, count * sizeof *pixels);
    restore(expected, 3, 0.25F);
    got = result(graph, format, 32);
    assert_close(got, expected, count, 0);
    assert_int_equal(graph->runs, 3);
    free(got);

    gegl_node_set(graph->restore, "weights-file", default_weights, "tile", 0, "memory", 400, NULL);
    got = result(graph, format, 1000);
    assert_close(got, expected, count, 0);
    assert_int_equal(messages, 0);
    free(got);

    graph_free(graph);
    g_object_unref(buffer);
    free(expected);
    free(pixels);
}

static void failures_pass_through(void **state) {
    (void)state;
    const Babl *format = babl_format("R'G'B'A float");
    const size_t count = (size_t)WIDTH * HEIGHT * 4;
    float *pixels = picture(4), *got;
    GeglBuffer *buffer = buffer_of(pixels, format, format);
    graph *graph = graph_new(buffer, "gegl:buffer-source");

    gegl_node_set(graph->restore, "weights-file", "/nowhere/at-all.safetensors", NULL);
    got = result(graph, format, 16);
    assert_close(got, pixels, count, 0);
    assert_int_equal(messages, 1);
    assert_non_null(strstr(message, "mirl:restore: "));
    assert_non_null(strstr(message, "/nowhere/at-all.safetensors"));
    free(got);

    gegl_node_set(graph->restore, "weights-file", "", "tile", 5, NULL);
    got = result(graph, format, 16);
    assert_close(got, pixels, count, 0);
    assert_int_equal(messages, 2);
    free(got);

    assert_int_equal(graph->runs, 0);
    gegl_node_set(graph->restore, "tile", -1, NULL);
    free(result(graph, format, 16));
    assert_int_equal(graph->runs, 1);
    assert_int_equal(messages, 2);

    graph_free(graph);
    g_object_unref(buffer);
    free(pixels);
}

static void input_without_edges(void **state) {
    (void)state;
    const Babl *format = babl_format("R'G'B'A float");
    graph *graph = graph_new(NULL, "gegl:checkerboard");
    float *expected = malloc(sizeof *expected * WIDTH * HEIGHT * 4), *got = result(graph, format, 16);

    gegl_node_blit(graph->source, 1.0, &extent, format, expected, GEGL_AUTO_ROWSTRIDE, GEGL_BLIT_DEFAULT);
    assert_close(got, expected, (size_t)WIDTH * HEIGHT * 4, 0);
    assert_int_equal(messages, 1);
    assert_non_null(strstr(message, "crop it first"));
    free(got);
    free(expected);
    graph_free(graph);
}

/* Larger than any memory, so that even asking for all of the input would not come back. */
static void huge_input(void **state) {
    (void)state;
    const Babl *format = babl_format("R'G'B'A float");
    const double sizes[][2] = {{1000000, 1000000}, {2000000, 100}, {100, 2000000}};

    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        graph *graph = graph_new(NULL, "gegl:checkerboard");
        GeglNode *crop = gegl_node_new_child(graph->graph, "operation", "gegl:crop", "x", (double)X, "y",
                                             (double)Y, "width", sizes[i][0], "height", sizes[i][1], NULL);
        gegl_node_link(graph->source, crop);
        gegl_node_link(crop, graph->restore);
        free(result(graph, format, 1000));
        assert_int_equal(messages, 1);
        assert_int_equal(graph->runs, 0);
        graph_free(graph);
    }
}

static void nothing_and_one_pixel(void **state) {
    (void)state;
    const Babl *format = babl_format("R'G'B'A float");
    GeglRectangle one = {X, Y, 1, 1};
    GeglBuffer *buffer = gegl_buffer_new(&one, format), *empty = gegl_buffer_new(NULL, format);
    float colour[4] = {0.25F, 0.5F, 0.75F, 0.5F};
    gegl_buffer_set(buffer, &one, 0, format, colour, GEGL_AUTO_ROWSTRIDE);

    graph *graph = graph_new(buffer, "gegl:buffer-source");
    float *got = result(graph, format, 1000);
    assert_int_equal(graph->runs, 1);
    assert_float_equal(got[3], 0.5F, 0);
    assert_float_equal(got[7], 0, 0);
    free(got);
    graph_free(graph);

    graph = graph_new(empty, "gegl:buffer-source");
    free(result(graph, format, 1000));
    assert_int_equal(graph->runs, 0);
    gegl_node_disconnect(graph->restore, "input");
    free(result(graph, format, 1000));
    assert_int_equal(graph->runs, 0);
    GeglRectangle box = gegl_node_get_bounding_box(graph->restore);
    assert_true(gegl_rectangle_is_empty(&box));
    graph_free(graph);

    g_object_unref(empty);
    g_object_unref(buffer);
}

/* A preview at half size is restored at half size, near what the full size gives. */
static void mipmaps(void **state) {
    (void)state;
    const Babl *format = babl_format("R'G'B' float");
    float *pixels = picture(3);
    GeglBuffer *buffer = buffer_of(pixels, format, format);
    graph *graph = graph_new(buffer, "gegl:buffer-source");
    GeglRectangle half = {X / 2 + 1, Y / 2 + 1, WIDTH / 2 - 2, HEIGHT / 2 - 2};
    size_t count = (size_t)half.width * (size_t)half.height * 3;
    float *got = calloc(count, sizeof *got), *expected = calloc(count, sizeof *expected);
    double difference = 0;

    gegl_node_blit(graph->restore, 0.5, &half, format, got, GEGL_AUTO_ROWSTRIDE, GEGL_BLIT_CACHE);
    assert_int_equal(graph->runs, 1);
    assert_int_equal(messages, 0);
    gegl_buffer_get(buffer, &half, 0.5, format, expected, GEGL_AUTO_ROWSTRIDE, GEGL_ABYSS_NONE);
    for (size_t i = 0; i < count; i++)
        difference += fabs((double)got[i] - (double)expected[i]) / (double)count;
    if (difference > 0.05)
        fail_msg("the preview is off by %g on average", difference);

    free(expected);
    free(got);
    graph_free(graph);
    g_object_unref(buffer);
    free(pixels);
}

static gpointer restores(gpointer buffer) {
    graph *graph = graph_new(buffer, "gegl:buffer-source");
    float *pixels = result(graph, babl_format("R'G'B' float"), 24);
    graph_free(graph);
    return pixels;
}

static void graphs_in_threads(void **state) {
    (void)state;
    const Babl *format = babl_format("R'G'B' float");
    float *expected = picture(3);
    GeglBuffer *buffer = buffer_of(expected, format, format);
    GThread *threads[6];

    restore(expected, 3, 1);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new(NULL, restores, buffer);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++) {
        float *got = g_thread_join(threads[i]);
        assert_close(got, expected, (size_t)WIDTH * HEIGHT * 3, 0);
        free(got);
    }
    g_object_unref(buffer);
    free(expected);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(describes_itself),
        cmocka_unit_test(weights_have_lasting_values),
        cmocka_unit_test(many_requests_are_one_run),
        cmocka_unit_test(formats_are_converted),
        cmocka_unit_test(grey_stays_grey),
        cmocka_unit_test(space_is_kept),
        cmocka_unit_test(properties_and_pixels_can_change),
        cmocka_unit_test(failures_pass_through),
        cmocka_unit_test(input_without_edges),
        cmocka_unit_test(huge_input),
        cmocka_unit_test(nothing_and_one_pixel),
        cmocka_unit_test(mipmaps),
        cmocka_unit_test(graphs_in_threads),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
