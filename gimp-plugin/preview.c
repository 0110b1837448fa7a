/* The preview: asks for what is seen, restores it in a thread, shows it beside the original. */
#include "preview.h"

#include "intl.h"

/* Context for what is seen: enough to judge by, little enough to be quick. */
enum { PREVIEW_MARGIN = 32, PREVIEW_WIDTH = 400, PREVIEW_HEIGHT = 300 };

/* One restoring of what is seen. Belongs to the thread while that runs and to the preview otherwise. */
typedef struct Job {
    Preview *preview;
    RestoreSettings settings;
    GeglRectangle seen; ///< in the layer
    GeglBuffer *source; ///< a copy of the layer around that
    mirl_model *model;  ///< the weights called `opened`, or NULL
    gchar *opened;
    GeglBuffer *result; ///< of the extent `seen`, or NULL
    GError *error;
    gdouble seconds;
    gint cancelled; ///< atomic
} Job;

struct Preview {
    Drawable drawable;
    GtkWidget *box, *area, *split, *status;
    GimpPreview *preview;
    RestoreSettings settings;
    GThread *thread; ///< NULL when no job runs
    Job *job;
    gboolean again;      ///< the settings or the place changed since the job began
    GeglRectangle shown; ///< what `before` and `after` show; width 0 for nothing
    guchar *before, *after;
    gint bytes; ///< of a pixel in these
};

static void start_job(Preview *preview);

/* ---- The thread -------------------------------------------------------------------------------------- */

static bool keep_going(double done, void *user) {
    (void)done;
    return !g_atomic_int_get(&((Job *)user)->cancelled);
}

static void open_weights(Job *job) {
    if (job->model && g_strcmp0(job->opened, job->settings.weights) == 0)
        return;
    mirl_model_close(job->model);
    job->model = restore_open_weights(job->settings.weights, &job->error);
    g_free(job->opened);
    job->opened = g_strdup(job->settings.weights);
}

static gboolean job_ended(gpointer user);

static gpointer run_job(gpointer user) {
    Job *job = user;
    gint64 start = g_get_monotonic_time();
    open_weights(job);
    if (job->model)
        job->result = restore_region(job->model, job->source, &job->seen, PREVIEW_MARGIN, &job->settings,
                                     keep_going, job, &job->error);
    job->seconds = (g_get_monotonic_time() - start) * 1e-6;
    g_idle_add(job_ended, job->preview);
    return NULL;
}

/* ---- Showing ----------------------------------------------------------------------------------------- */

static GeglRectangle seen_now(Preview *preview) {
    GeglRectangle seen;
    gimp_preview_get_position(preview->preview, &seen.x, &seen.y);
    gimp_preview_get_size(preview->preview, &seen.width, &seen.height);
    return seen;
}

/* The column where the line is, 0..width. */
static gint split_column(Preview *preview) {
    return preview->shown.width * gtk_range_get_value(GTK_RANGE(preview->split)) / 100 + 0.5;
}

static gboolean shows_result(Preview *preview) {
    GeglRectangle seen = seen_now(preview);
    return preview->after && gimp_preview_get_update(preview->preview) &&
           gegl_rectangle_equal(&preview->shown, &seen);
}

static void show_split(Preview *preview) {
    if (!shows_result(preview))
        return;
    gsize stride = (gsize)preview->shown.width * preview->bytes;
    gsize left = (gsize)split_column(preview) * preview->bytes;
    guchar *pixels = g_memdup2(preview->after, stride * preview->shown.height);
    for (gint y = 0; y < preview->shown.height; y++)
        memcpy(pixels + y * stride, preview->before + y * stride, left);
    gimp_preview_draw_buffer(preview->preview, pixels, stride);
    g_free(pixels);
    gtk_widget_queue_draw(preview->area);
}

static void draw_label(Preview *preview, cairo_t *cr, const gchar *text, gdouble x, gdouble y,
                       gdouble align) {
    PangoLayout *layout = gtk_widget_create_pango_layout(preview->area, text);
    gint width, height;
    pango_layout_get_pixel_size(layout, &width, &height);
    x -= align * (width + 8);
    cairo_set_source_rgba(cr, 0, 0, 0, 0.6);
    cairo_rectangle(cr, x, y, width + 8, height + 4);
    cairo_fill(cr);
    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_move_to(cr, x + 4, y + 2);
    pango_cairo_show_layout(cr, layout);
    g_object_unref(layout);
}

/* The line and its two names, over the pixels; these are centred if there are fewer than the area has. */
static void draw_line(Preview *preview, cairo_t *cr) {
    if (!shows_result(preview))
        return;
    GtkAllocation area;
    gtk_widget_get_allocation(preview->area, &area);
    gint left = MAX(0, (area.width - preview->shown.width) / 2);
    gint top = MAX(0, (area.height - preview->shown.height) / 2);
    gint right = left + preview->shown.width;
    gdouble x = left + split_column(preview);
    cairo_rectangle(cr, left, top, preview->shown.width, preview->shown.height);
    cairo_clip(cr);
    cairo_rectangle(cr, x - 1.5, top, 3, preview->shown.height);
    cairo_set_source_rgba(cr, 0, 0, 0, 0.6);
    cairo_fill(cr);
    cairo_rectangle(cr, x - 0.5, top, 1, preview->shown.height);
    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_fill(cr);
    if (x - left > 60)
        draw_label(preview, cr, _("Before"), left + 6, top + 6, 0);
    if (right - x > 60)
        draw_label(preview, cr, _("After"), right - 6, top + 6, 1);
}

#if GTK_CHECK_VERSION(3, 0, 0)
static gboolean area_drawn(GtkWidget *area, cairo_t *cr, Preview *preview) {
    (void)area;
    draw_line(preview, cr);
    return FALSE;
}
#define AREA_DRAWN "draw"
#else
static gboolean area_drawn(GtkWidget *area, GdkEventExpose *event, Preview *preview) {
    cairo_t *cr = gdk_cairo_create(gtk_widget_get_window(area));
    gdk_cairo_region(cr, event->region);
    cairo_clip(cr);
    draw_line(preview, cr);
    cairo_destroy(cr);
    return FALSE;
}
#define AREA_DRAWN "expose-event"
#endif

/* The 8-bit format of the drawable's kind, which GimpPreview wants. */
static const Babl *preview_format(Preview *preview) {
    gboolean alpha = gimp_drawable_has_alpha(preview->drawable);
    if (gimp_drawable_is_gray(preview->drawable))
        return babl_format(alpha ? "Y'A u8" : "Y' u8");
    return babl_format(alpha ? "R'G'B'A u8" : "R'G'B' u8");
}

static guchar *get_bytes(GeglBuffer *buffer, const GeglRectangle *region, const Babl *format) {
    guchar *bytes =
        g_malloc_n((gsize)region->width * region->height, babl_format_get_bytes_per_pixel(format));
    gegl_buffer_get(buffer, region, 1.0, format, bytes, GEGL_AUTO_ROWSTRIDE, GEGL_ABYSS_NONE);
    return bytes;
}

static void set_status(Preview *preview, const gchar *text) {
    gtk_label_set_text(GTK_LABEL(preview->status), text);
}

static void show_job(Preview *preview, Job *job) {
    if (job->result) {
        const Babl *format = preview_format(preview);
        g_free(preview->before);
        g_free(preview->after);
        preview->before = get_bytes(job->source, &job->seen, format);
        preview->after = get_bytes(job->result, &job->seen, format);
        preview->bytes = babl_format_get_bytes_per_pixel(format);
        preview->shown = job->seen;
        show_split(preview);
        gchar *text = g_strdup_printf(_("The part shown was restored in %.2f s."), job->seconds);
        set_status(preview, text);
        g_free(text);
    } else if (job->error) {
        set_status(preview, job->error->message);
    }
}

/* ---- Jobs -------------------------------------------------------------------------------------------- */

/* Frees what one run of the job made; the weights stay. */
static void clear_job(Job *job) {
    g_clear_object(&job->source);
    g_clear_object(&job->result);
    g_clear_error(&job->error);
    g_atomic_int_set(&job->cancelled, 0);
}

static gboolean job_ended(gpointer user) {
    Preview *preview = user;
    g_thread_join(preview->thread);
    preview->thread = NULL;
    if (!preview->again)
        show_job(preview, preview->job);
    clear_job(preview->job);
    if (preview->again)
        start_job(preview);
    return G_SOURCE_REMOVE;
}

static void start_job(Preview *preview) {
    Job *job = preview->job;
    preview->again = FALSE;
    restore_settings_copy(&job->settings, &preview->settings);
    job->seen = seen_now(preview);

    /* GIMP's buffers may only be read in this thread. */
    GeglBuffer *layer = gimp_drawable_get_buffer(preview->drawable);
    GeglRectangle around = restore_grow(&job->seen, PREVIEW_MARGIN, gegl_buffer_get_extent(layer));
    job->source = gegl_buffer_new(&around, gegl_buffer_get_format(layer));
    gegl_buffer_copy(layer, &around, GEGL_ABYSS_NONE, job->source, &around);
    g_object_unref(layer);

    set_status(preview, _("Restoring the part shown…"));
    preview->thread = g_thread_new("preview", run_job, job);
}

static void restore_seen(Preview *preview) {
    if (preview->thread) {
        preview->again = TRUE;
        g_atomic_int_set(&preview->job->cancelled, 1);
    } else {
        start_job(preview);
    }
}

/* ---- The widget -------------------------------------------------------------------------------------- */

static GtkWidget *new_split_row(Preview *preview, GtkSizeGroup *labels) {
    GtkWidget *row = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 6);
    GtkWidget *label = gtk_label_new_with_mnemonic(_("_Before / after"));
    GtkAdjustment *position = GTK_ADJUSTMENT(gtk_adjustment_new(50, 0, 100, 1, 10, 0));
    preview->split = gtk_scale_new(GTK_ORIENTATION_HORIZONTAL, position);
    gtk_scale_set_draw_value(GTK_SCALE(preview->split), FALSE);
    gtk_widget_set_tooltip_text(preview->split,
                                _("Moves the line: original to its left, restored to its right"));
    gtk_label_set_mnemonic_widget(GTK_LABEL(label), preview->split);
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_size_group_add_widget(labels, label);
    gtk_box_pack_start(GTK_BOX(row), label, FALSE, FALSE, 0);
    gtk_box_pack_start(GTK_BOX(row), preview->split, TRUE, TRUE, 0);
    g_signal_connect_swapped(position, "value-changed", G_CALLBACK(show_split), preview);
    return row;
}

/* GimpPreview's own wish is a small square, renewed with the theme. */
static void set_area_size(GtkWidget *area) {
    gtk_widget_set_size_request(area, PREVIEW_WIDTH, PREVIEW_HEIGHT);
}

#if GTK_CHECK_VERSION(3, 0, 0)
#define STYLE_CHANGED "style-updated"
#else
#define STYLE_CHANGED "style-set"
#endif

/* Starts at the centre of what is selected, as soon as the size is known. */
static void area_allocated(GtkWidget *area, GtkAllocation *size, Preview *preview) {
    gint x, y, width, height;
    if (gimp_drawable_mask_intersect(preview->drawable, &x, &y, &width, &height))
        gimp_scrolled_preview_set_position(GIMP_SCROLLED_PREVIEW(preview->preview),
                                           x + (width - size->width) / 2, y + (height - size->height) / 2);
    g_signal_handlers_disconnect_by_func(area, area_allocated, preview);
}

static GtkWidget *new_gimp_preview(Drawable drawable) {
#if GIMP_CHECK_VERSION(2, 99, 0)
    return gimp_drawable_preview_new_from_drawable(drawable);
#else
    return gimp_drawable_preview_new_from_drawable_id(drawable);
#endif
}

Preview *preview_new(Drawable drawable, const RestoreSettings *settings, GtkSizeGroup *labels) {
    Preview *preview = g_new0(Preview, 1);
    preview->drawable = drawable;
    preview->job = g_new0(Job, 1);
    preview->job->preview = preview;
    restore_settings_copy(&preview->settings, settings);

    GtkWidget *widget = new_gimp_preview(drawable);
    preview->preview = GIMP_PREVIEW(widget);
    preview->area = gimp_preview_get_area(preview->preview);
    set_area_size(preview->area);
    g_signal_connect_object(widget, STYLE_CHANGED, G_CALLBACK(set_area_size), preview->area,
                            G_CONNECT_AFTER | G_CONNECT_SWAPPED);
    g_signal_connect_after(preview->area, "size-allocate", G_CALLBACK(area_allocated), preview);
    g_signal_connect_after(preview->area, AREA_DRAWN, G_CALLBACK(area_drawn), preview);
    g_signal_connect_swapped(widget, "invalidated", G_CALLBACK(restore_seen), preview);

    preview->status = gtk_label_new(NULL);
    gtk_label_set_line_wrap(GTK_LABEL(preview->status), TRUE);
    gtk_label_set_xalign(GTK_LABEL(preview->status), 0);

    preview->box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 6);
    gtk_box_pack_start(GTK_BOX(preview->box), widget, TRUE, TRUE, 0);
    gtk_box_pack_start(GTK_BOX(preview->box), new_split_row(preview, labels), FALSE, FALSE, 0);
    gtk_box_pack_start(GTK_BOX(preview->box), preview->status, FALSE, FALSE, 0);
    gtk_widget_show_all(preview->box);
    return preview;
}

GtkWidget *preview_widget(Preview *preview) {
    return preview->box;
}

void preview_set(Preview *preview, const RestoreSettings *settings) {
    restore_settings_copy(&preview->settings, settings);
    gimp_preview_invalidate(preview->preview);
}

void preview_free(Preview *preview) {
    g_signal_handlers_disconnect_by_data(preview->preview, preview);
    g_signal_handlers_disconnect_by_data(preview->area, preview);
    g_signal_handlers_disconnect_by_data(gtk_range_get_adjustment(GTK_RANGE(preview->split)), preview);
    if (preview->thread) {
        g_atomic_int_set(&preview->job->cancelled, 1);
        g_thread_join(preview->thread);
        g_idle_remove_by_data(preview);
    }
    clear_job(preview->job);
    mirl_model_close(preview->job->model);
    g_free(preview->job->opened);
    restore_settings_clear(&preview->job->settings);
    g_free(preview->job);
    restore_settings_clear(&preview->settings);
    g_free(preview->before);
    g_free(preview->after);
    g_free(preview);
}
