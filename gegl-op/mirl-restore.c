/* GEGL operation mirl:restore: gives the input's pixels to mirl_restore() and its result to the graph.
 *
 * The network's attention looks at the whole picture, so the operation asks for all of its input, computes
 * all of its output at once and lets GEGL's cache answer every further request. */
#include <glib/gi18n-lib.h>

#ifdef GEGL_PROPERTIES

/* clang-format off */
property_enum (weights, _("Weights"), gint, mirl_weights, MIRL_WEIGHTS_DEFAULT)
    description (_("What to restore: the name of installed weights"))

property_double (strength, _("Strength"), 1.0)
    description (_("How much of the restoration to apply, from 0 (the input) to 1 (fully restored)"))
    value_range (0.0, 1.0)
    ui_steps (0.01, 0.1)
    ui_digits (2)

property_int (tile, _("Tile size"), MIRL_TILE_AUTO)
    description (_("Largest side in pixels of the parts restored one after another, 128 or more; "
                   "0: the whole image at once, -1: what is fast and fits into memory"))
    value_range (-1, 65536)
    ui_range (-1, 4096)
    ui_steps (1, 64)

property_int (memory, _("Memory"), 0)
    description (_("How much memory in MiB the restoration may use beside the image; "
                   "0: 512 if the tile size is -1, otherwise what it takes"))
    value_range (0, 1 << 20)
    ui_range (0, 16384)
    ui_steps (16, 256)
    ui_gamma (3.0)

/* The last one: in GIMP 3.0 plug-ins do not see a property of this type, nor those after it. */
property_file_path (weights_file, _("Weights file"), "")
    description (_("A weights file (.safetensors) to use instead of installed weights"))
/* clang-format on */

#else

#include "models.h"

/* clang-format off */
#define GEGL_OP_FILTER
#define GEGL_OP_NAME     mirl_restore
#define GEGL_OP_C_SOURCE mirl-restore.c
/* clang-format on */

#include "gegl-op.h"

#include <unistd.h>

/* What a node keeps between calls, in the properties' user_data. */
typedef struct {
    mirl_shared_model *model; ///< the one last used, so that the next call finds it open
    gint told;                ///< whether the user has been told, since prepare(), why nothing is restored
} NodeState;

/* Says once why the input passes through. GIMP shows messages of GEGL's domain, and hides warnings. */
static void report(GeglOperation *operation, const char *reason) {
    NodeState *state = GEGL_PROPERTIES(operation)->user_data;
    if (g_atomic_int_compare_and_exchange(&state->told, FALSE, TRUE))
        g_log("GEGL", G_LOG_LEVEL_MESSAGE, "mirl:restore: %s", reason);
}

/* ---- Regions and formats ----------------------------------------------------------------------------- */

/* Why the network cannot be given all of this input, NULL if it can. Asked before GEGL computes the input,
 * so that nobody waits for (or swaps) what could not be restored anyway. */
static const char *cannot_see(const GeglRectangle *input) {
    const int side = 1 << 20;
    double memory = (double)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);

    if (!input || gegl_rectangle_is_infinite_plane(input))
        return _("the input has no edges, and the network must see all of it; crop it first");
    if (input->width > side || input->height > side ||
        (double)input->width * input->height * 4 * sizeof(float) > memory)
        return _("the input is larger than this computer's memory can hold; crop or scale it first");
    return NULL;
}

/* The input's extent, or `roi` where the network cannot see that. */
static GeglRectangle whole_input(GeglOperation *operation, const GeglRectangle *roi) {
    const GeglRectangle *input = gegl_operation_source_get_bounding_box(operation, "input");
    return cannot_see(input) ? *roi : *input;
}

static GeglRectangle get_required_for_output(GeglOperation *operation, const gchar *input_pad G_GNUC_UNUSED,
                                             const GeglRectangle *roi) {
    return whole_input(operation, roi);
}

static GeglRectangle get_cached_region(GeglOperation *operation, const GeglRectangle *roi) {
    return whole_input(operation, roi);
}

static GeglRectangle get_invalidated_by_change(GeglOperation *operation, const gchar *input_pad G_GNUC_UNUSED,
                                               const GeglRectangle *input_region) {
    return whole_input(operation, input_region);
}

/* The network gets the numbers that an image file of this colour space has, as it does from mirl's program.
 * Grey stays grey, and alpha is there only if the input has it. */
static void prepare(GeglOperation *operation) {
    GeglProperties *o = GEGL_PROPERTIES(operation);
    const Babl *source = gegl_operation_get_source_format(operation, "input");
    gboolean grey = source && babl_get_model_flags(babl_format_get_model(source)) & BABL_MODEL_FLAG_GRAY;
    gboolean alpha = !source || babl_format_has_alpha(source);
    const char *name = grey ? (alpha ? "Y'A float" : "Y' float") : (alpha ? "R'G'B'A float" : "R'G'B' float");
    const Babl *format = babl_format_with_space(name, gegl_operation_get_source_space(operation, "input"));

    if (!o->user_data)
        o->user_data = g_new0(NodeState, 1);
    g_atomic_int_set(&((NodeState *)o->user_data)->told, FALSE);
    gegl_operation_set_format(operation, "input", format);
    gegl_operation_set_format(operation, "output", format);
}

/* ---- Processing -------------------------------------------------------------------------------------- */

static bool progress(double done, void *operation) {
    gegl_operation_progress(operation, done, _("Restoring"));
    return true;
}

/* The model that the properties name, for this call. The operation holds on to it as well, so that the next
 * call finds it open. */
static mirl_shared_model *open_model(GeglOperation *operation, mirl_error *error) {
    GeglProperties *o = GEGL_PROPERTIES(operation);
    bool file = o->weights_file && *o->weights_file;
    mirl_shared_model *model =
        mirl_shared_model_open(file ? o->weights_file : mirl_weights_nick(o->weights), error);

    if (model) {
        NodeState *state = o->user_data;
        mirl_shared_model_ref(model);
        mirl_shared_model_close(g_atomic_pointer_exchange(&state->model, model));
    }
    return model;
}

static mirl_options options_from_properties(GeglOperation *operation) {
    GeglProperties *o = GEGL_PROPERTIES(operation);
    mirl_options options = mirl_options_default();
    gint threads;

    g_object_get(gegl_config(), "threads", &threads, NULL);
    options.strength = (float)o->strength;
    options.tile = o->tile;
    options.threads = CLAMP(threads, 1, 256);
    options.memory = (uint64_t)o->memory << 20;
    options.progress = progress;
    options.user = operation;
    return options;
}

/* Restores `area` of `input` into `output`, both at the mipmap `level` whose coordinates `area` has. */
static mirl_status restore(GeglOperation *operation, const mirl_model *model, GeglBuffer *input,
                           GeglBuffer *output, const GeglRectangle *area, gint level, mirl_error *error) {
    const Babl *format = gegl_operation_get_format(operation, "input");
    int components = babl_format_get_n_components(format);
    size_t width = area->width, height = area->height;
    mirl_options options = options_from_properties(operation);
    mirl_plan_info plan;

    mirl_status status = mirl_plan(model, width, height, &options, &plan, error);
    if (status)
        return status;

    float *pixels = g_try_malloc_n(width * height, components * sizeof(float));
    if (!pixels) {
        error->status = MIRL_ERROR_MEMORY;
        g_snprintf(error->message, sizeof(error->message), _("no memory for an image of %zu x %zu pixels"),
                   width, height);
        return MIRL_ERROR_MEMORY;
    }

    mirl_image image = {.data = pixels,
                        .width = width,
                        .height = height,
                        .channels = components < 3 ? 1 : 3,
                        .pixel_stride = components,
                        .row_stride = (ptrdiff_t)width * components,
                        .channel_stride = 1};
    gegl_buffer_get(input, area, 1.0 / (1 << level), format, pixels, GEGL_AUTO_ROWSTRIDE, GEGL_ABYSS_NONE);
    status = mirl_restore(model, &image, &image, &options, error);
    if (!status)
        gegl_buffer_set(output, area, level, format, pixels, GEGL_AUTO_ROWSTRIDE);
    g_free(pixels);
    gegl_operation_progress(operation, 1.0, "");
    return status;
}

/* What cannot be restored passes through, once, into GEGL's cache; the user is told why. */
static gboolean process(GeglOperation *operation, GeglBuffer *input, GeglBuffer *output,
                        const GeglRectangle *result, gint level) {
    GeglRectangle area = {result->x >> level, result->y >> level, result->width >> level,
                          result->height >> level};
    mirl_error error;

    if (gegl_rectangle_is_empty(&area))
        return TRUE;

    mirl_shared_model *model = open_model(operation, &error);
    if (!model || restore(operation, mirl_shared_model_get(model), input, output, &area, level, &error)) {
        report(operation, error.message);
        gegl_buffer_copy(input, result, GEGL_ABYSS_NONE, output, result);
    }
    mirl_shared_model_close(model);
    return TRUE;
}

static gboolean operation_process(GeglOperation *operation, GeglOperationContext *context,
                                  const gchar *output_pad, const GeglRectangle *result, gint level) {
    const GeglRectangle *input = gegl_operation_source_get_bounding_box(operation, "input");

    const char *reason = cannot_see(input);

    if (reason) {
        GObject *buffer = gegl_operation_context_get_object(context, "input");
        report(operation, reason);
        gegl_operation_context_take_object(context, output_pad, g_object_ref(buffer));
        return TRUE;
    }
    return GEGL_OPERATION_CLASS(gegl_op_parent_class)->process(operation, context, output_pad, result, level);
}

static void dispose(GObject *object) {
    GeglProperties *o = GEGL_PROPERTIES(object);
    NodeState *state = g_steal_pointer(&o->user_data);
    if (state)
        mirl_shared_model_close(state->model);
    g_free(state);
    G_OBJECT_CLASS(gegl_op_parent_class)->dispose(object);
}

static void gegl_op_class_init(GeglOpClass *klass) {
    GeglOperationClass *operation_class = GEGL_OPERATION_CLASS(klass);
    GeglOperationFilterClass *filter_class = GEGL_OPERATION_FILTER_CLASS(klass);

    G_OBJECT_CLASS(klass)->dispose = dispose;
    operation_class->prepare = prepare;
    operation_class->process = operation_process;
    operation_class->get_required_for_output = get_required_for_output;
    operation_class->get_cached_region = get_cached_region;
    operation_class->get_invalidated_by_change = get_invalidated_by_change;
    operation_class->threaded = FALSE;
    operation_class->opencl_support = FALSE;
    filter_class->process = process;

    /* clang-format off */
    gegl_operation_class_set_keys (operation_class,
        "name",            "mirl:restore",
        "title",           _("Restore"),
        "categories",      "enhance:noise-reduction",
        "description",     _("Restore a degraded photograph (noise, rain, haze, blur, low light) "
                             "with a sparse neural network"),
        "gimp:menu-path",  "<Image>/Filters/Enhance",
        "gimp:menu-label", _("Restore (Layer Effect)..."),
        NULL);
    /* clang-format on */
}

#endif
