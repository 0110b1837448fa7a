/* What the plug-in does to pixels: from a GEGL buffer to libmirl and back. */
#include "restore.h"

#include "intl.h"

#include <stdlib.h>

G_DEFINE_QUARK(mirl_restore_error, restore_error)

void restore_settings_copy(RestoreSettings *to, const RestoreSettings *from) {
    gchar *weights = g_strdup(from->weights);
    g_free(to->weights);
    *to = *from;
    to->weights = weights;
}

void restore_settings_clear(RestoreSettings *settings) {
    g_clear_pointer(&settings->weights, g_free);
}

mirl_model *restore_open_weights(const gchar *name, GError **error) {
    mirl_error problem = {0};
    char *path = mirl_weights_find(name, &problem);
    mirl_model *model = path ? mirl_model_open(path, &problem) : NULL;
    free(path);
    if (!model)
        g_set_error(error, RESTORE_ERROR, problem.status, _("The weights “%s” cannot be used: %s."),
                    name ? name : RESTORE_WEIGHTS_DEFAULT, problem.message);
    return model;
}

gboolean restore_check_format(const Babl *format, GError **error) {
    if (!babl_format_is_palette(format))
        return TRUE;
    g_set_error_literal(error, RESTORE_ERROR, MIRL_ERROR_ARGUMENT,
                        _("Restore does not work on indexed images: choose Image > Mode > RGB first."));
    return FALSE;
}

GeglRectangle restore_grow(const GeglRectangle *region, gint margin, const GeglRectangle *extent) {
    GeglRectangle grown = {region->x - margin, region->y - margin, region->width + 2 * margin,
                           region->height + 2 * margin};
    gegl_rectangle_intersect(&grown, &grown, extent);
    return grown;
}

/* The float format that the network's pixels come in, and how many of its components are colours. */
static const Babl *network_format(const Babl *format, gint *colours) {
    gboolean grey = (babl_get_model_flags(babl_format_get_model(format)) & BABL_MODEL_FLAG_GRAY) != 0;
    gboolean alpha = babl_format_has_alpha(format);
    *colours = grey ? 1 : 3;
    if (grey)
        return babl_format(alpha ? "Y'A float" : "Y' float");
    return babl_format(alpha ? "R'G'B'A float" : "R'G'B' float");
}

static void set_mirl_error(GError **error, const mirl_error *problem) {
    if (problem->status == MIRL_ERROR_MEMORY)
        g_set_error(error, RESTORE_ERROR, problem->status,
                    _("%s. Allow more under Advanced > Memory, or select a smaller part."), problem->message);
    else
        g_set_error(error, RESTORE_ERROR, problem->status, "%s.", problem->message);
}

GeglBuffer *restore_region(const mirl_model *model, GeglBuffer *source, const GeglRectangle *region,
                           gint margin, const RestoreSettings *settings, mirl_progress progress,
                           gpointer user, GError **error) {
    const Babl *format = gegl_buffer_get_format(source);
    gint colours;
    const Babl *floats = network_format(format, &colours);
    gsize components = babl_format_get_n_components(floats);
    GeglRectangle seen = restore_grow(region, margin, gegl_buffer_get_extent(source));

    gfloat *pixels = g_try_malloc_n((gsize)seen.width * seen.height, components * sizeof *pixels);
    if (!pixels) {
        g_set_error(error, RESTORE_ERROR, MIRL_ERROR_MEMORY,
                    _("Not enough memory for %d×%d pixels: select a smaller part or close other images."),
                    seen.width, seen.height);
        return NULL;
    }
    gegl_buffer_get(source, &seen, 1.0, floats, pixels, GEGL_AUTO_ROWSTRIDE, GEGL_ABYSS_NONE);

    mirl_image image = {
        .data = pixels,
        .width = seen.width,
        .height = seen.height,
        .channels = colours,
        .pixel_stride = components,
        .row_stride = components * seen.width,
        .channel_stride = 1,
    };
    mirl_options options = mirl_options_default();
    options.strength = settings->strength;
    options.tile = settings->tile;
    options.memory = (guint64)settings->memory << 20;
    options.progress = progress;
    options.user = user;

    GeglBuffer *result = NULL;
    mirl_error problem = {0};
    if (mirl_restore(model, &image, &image, &options, &problem) == MIRL_OK) {
        gsize first = ((gsize)(region->y - seen.y) * seen.width + (region->x - seen.x)) * components;
        result = gegl_buffer_new(region, format);
        gegl_buffer_set(result, region, 0, floats, pixels + first, components * sizeof *pixels * seen.width);
    } else {
        set_mirl_error(error, &problem);
    }
    g_free(pixels);
    return result;
}
