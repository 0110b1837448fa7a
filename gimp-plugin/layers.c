/* Restores the selected part of layers, masks and channels: computes all, then writes all. */
#include "layers.h"

#include "intl.h"

typedef struct Part {
    GeglRectangle region; ///< the selection's bounding box in the drawable; width 0 if they do not meet
    GeglBuffer *result;   ///< of that extent
} Part;

typedef struct Progress {
    gdouble start, share; ///< of the whole work, where the current drawable begins and how much it is
    gdouble shown;
} Progress;

/* libgimp's messages go through a pipe: 200 in all are smooth enough. */
static bool show_progress(double done, void *user) {
    Progress *progress = user;
    gdouble now = progress->start + progress->share * done;
    if (now >= progress->shown + 0.005) {
        gimp_progress_update(now);
        progress->shown = now;
    }
    return true;
}

static gboolean check_drawable(Drawable drawable, GError **error) {
    gchar *name = gimp_item_get_name(GIMP_ITEM(drawable));
    GeglBuffer *buffer = NULL;
    gboolean usable = FALSE;
    if (gimp_item_is_group(GIMP_ITEM(drawable))) {
        g_set_error(error, RESTORE_ERROR, MIRL_ERROR_ARGUMENT,
                    _("“%s” is a layer group: choose layers inside it."), name);
    } else if (gimp_item_get_lock_content(GIMP_ITEM(drawable))) {
        g_set_error(error, RESTORE_ERROR, MIRL_ERROR_ARGUMENT,
                    _("The pixels of “%s” are locked: unlock them in the Layers dialog."), name);
    } else {
        buffer = gimp_drawable_get_buffer(drawable);
        usable = restore_check_format(gegl_buffer_get_format(buffer), error);
    }
    g_clear_object(&buffer);
    g_free(name);
    return usable;
}

gboolean layers_check(const Drawable *drawables, gint count, GError **error) {
    if (count < 1) {
        g_set_error_literal(error, RESTORE_ERROR, MIRL_ERROR_ARGUMENT,
                            _("No layer is selected: choose one in the Layers dialog."));
        return FALSE;
    }
    for (gint i = 0; i < count; i++)
        if (!check_drawable(drawables[i], error))
            return FALSE;
    return TRUE;
}

/* Fills in the regions. Returns the number of selected pixels, 0 with an error if there are none. */
static gdouble find_parts(const Drawable *drawables, gint count, Part *parts, GError **error) {
    gdouble pixels = 0;
    for (gint i = 0; i < count; i++) {
        GeglRectangle *region = &parts[i].region;
        if (!gimp_drawable_mask_intersect(drawables[i], &region->x, &region->y, &region->width,
                                          &region->height))
            region->width = region->height = 0;
        pixels += (gdouble)region->width * region->height;
    }
    if (pixels == 0)
        g_set_error_literal(error, RESTORE_ERROR, MIRL_ERROR_ARGUMENT,
                            _("The selection does not touch the layer: move it or choose Select > All."));
    return pixels;
}

static gboolean compute_parts(const mirl_model *model, const Drawable *drawables, gint count, Part *parts,
                              gdouble pixels, const RestoreSettings *settings, GError **error) {
    Progress progress = {0};
    for (gint i = 0; i < count; i++) {
        if (parts[i].region.width == 0)
            continue;
        GeglBuffer *buffer = gimp_drawable_get_buffer(drawables[i]);
        progress.share = (gdouble)parts[i].region.width * parts[i].region.height / pixels;
        parts[i].result = restore_region(model, buffer, &parts[i].region, RESTORE_CONTEXT, settings,
                                         show_progress, &progress, error);
        g_object_unref(buffer);
        if (!parts[i].result)
            return FALSE;
        progress.start += progress.share;
    }
    return TRUE;
}

/* Through the shadow buffer, so that GIMP itself blends by the selection. */
static gboolean write_part(Drawable drawable, const Part *part, GError **error) {
    const GeglRectangle *region = &part->region;
    GeglBuffer *shadow = gimp_drawable_get_shadow_buffer(drawable);
    gegl_buffer_copy(part->result, region, GEGL_ABYSS_NONE, shadow, region);
    g_object_unref(shadow);
    if (!gimp_drawable_merge_shadow(drawable, TRUE)) {
        g_set_error(error, RESTORE_ERROR, MIRL_ERROR_ARGUMENT, _("The layer cannot be changed: %s"),
                    gimp_get_pdb_error());
        return FALSE;
    }
    gimp_drawable_update(drawable, region->x, region->y, region->width, region->height);
    return TRUE;
}

static gboolean write_parts(Image image, const Drawable *drawables, gint count, const Part *parts,
                            GError **error) {
    gboolean done = TRUE;
    gimp_image_undo_group_start(image);
    for (gint i = 0; done && i < count; i++)
        if (parts[i].result)
            done = write_part(drawables[i], &parts[i], error);
    gimp_image_undo_group_end(image);
    return done;
}

gboolean layers_restore(Image image, const Drawable *drawables, gint count, const RestoreSettings *settings,
                        GError **error) {
    if (!layers_check(drawables, count, error))
        return FALSE;
    mirl_model *model = restore_open_weights(settings->weights, error);
    if (!model)
        return FALSE;

    Part *parts = g_new0(Part, count);
    gimp_progress_init(_("Restoring"));
    gdouble pixels = find_parts(drawables, count, parts, error);
    gboolean done = pixels > 0 && compute_parts(model, drawables, count, parts, pixels, settings, error) &&
                    write_parts(image, drawables, count, parts, error);
    gimp_progress_end();

    for (gint i = 0; i < count; i++)
        g_clear_object(&parts[i].result);
    g_free(parts);
    mirl_model_close(model);
    return done;
}
