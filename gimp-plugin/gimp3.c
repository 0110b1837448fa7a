/* Filters > Enhance > Restore... for GIMP 3.0: a procedure with arguments and its dialog. */
#include "intl.h"
#include "layers.h"
#include "preview.h"
#include "weights-chooser.h"

#include <libgimp/gimpui.h>

#define RESTORE_TYPE (restore_get_type())
G_DECLARE_FINAL_TYPE(Restore, restore, RESTORE, PLUG_IN, GimpPlugIn)

struct _Restore {
    GimpPlugIn parent_instance;
};

G_DEFINE_FINAL_TYPE(Restore, restore, GIMP_TYPE_PLUG_IN)
GIMP_MAIN(RESTORE_TYPE)

static void get_settings(GimpProcedureConfig *config, RestoreSettings *settings) {
    restore_settings_clear(settings);
    g_object_get(config, "weights", &settings->weights, "strength", &settings->strength, "memory",
                 &settings->memory, "tile", &settings->tile, NULL);
}

/* ---- The dialog -------------------------------------------------------------------------------------- */

static void weights_chosen(const gchar *weights, gpointer config) {
    g_object_set(config, "weights", weights, NULL);
}

static void weights_set(GimpProcedureConfig *config, GParamSpec *spec, GtkWidget *chooser) {
    (void)spec;
    gchar *weights = NULL;
    g_object_get(config, "weights", &weights, NULL);
    weights_chooser_set(chooser, weights);
    g_free(weights);
}

static void update_preview(GimpProcedureConfig *config, GParamSpec *spec, Preview *preview) {
    (void)spec;
    RestoreSettings settings = {0};
    get_settings(config, &settings);
    preview_set(preview, &settings);
    restore_settings_clear(&settings);
}

static gboolean run_dialog(GimpProcedure *procedure, GimpProcedureConfig *config, GimpDrawable *drawable) {
    gimp_ui_init(RESTORE_BINARY);
    GtkWidget *widget = gimp_procedure_dialog_new(procedure, config, _("Restore"));
    GimpProcedureDialog *dialog = GIMP_PROCEDURE_DIALOG(widget);

    RestoreSettings settings = {0};
    get_settings(config, &settings);
    GtkSizeGroup *labels = gtk_size_group_new(GTK_SIZE_GROUP_HORIZONTAL);
    Preview *preview = preview_new(drawable, &settings, labels);
    GtkWidget *chooser = weights_chooser_new(settings.weights, labels, weights_chosen, config);
    restore_settings_clear(&settings);

    GtkWidget *strength = gimp_procedure_dialog_get_scale_entry(dialog, "strength", 1.0);
    gtk_size_group_add_widget(labels, gimp_labeled_get_label(GIMP_LABELED(strength)));
    g_object_unref(labels);
    gimp_procedure_dialog_get_widget(dialog, "memory", GIMP_TYPE_LABEL_SPIN);
    gimp_procedure_dialog_fill_box(dialog, "advanced-box", "memory", NULL);
    gimp_procedure_dialog_get_label(dialog, "advanced-title", _("_Advanced"), FALSE, TRUE);
    gimp_procedure_dialog_fill_expander(dialog, "advanced", "advanced-title", FALSE, "advanced-box");
    GtkWidget *box = gimp_procedure_dialog_fill_box(dialog, "main", "strength", "advanced", NULL);
    gtk_box_set_spacing(GTK_BOX(box), 12);
    gimp_procedure_dialog_fill(dialog, "main", NULL);
    gtk_box_pack_start(GTK_BOX(box), preview_widget(preview), TRUE, TRUE, 0);
    gtk_box_reorder_child(GTK_BOX(box), preview_widget(preview), 0);
    gtk_box_pack_start(GTK_BOX(box), chooser, FALSE, FALSE, 0);
    gtk_box_reorder_child(GTK_BOX(box), chooser, 1);

    g_signal_connect(config, "notify::weights", G_CALLBACK(weights_set), chooser);
    g_signal_connect(config, "notify", G_CALLBACK(update_preview), preview);
    gboolean apply = gimp_procedure_dialog_run(dialog);
    g_signal_handlers_disconnect_by_data(config, chooser);
    g_signal_handlers_disconnect_by_data(config, preview);
    preview_free(preview);
    gtk_widget_destroy(widget);
    return apply;
}

/* ---- The procedure ----------------------------------------------------------------------------------- */

static GimpValueArray *run(GimpProcedure *procedure, GimpRunMode run_mode, GimpImage *image,
                           GimpDrawable **drawables, GimpProcedureConfig *config, gpointer run_data) {
    (void)run_data;
    gegl_init(NULL, NULL);
    gint count = gimp_core_object_array_get_length((GObject **)drawables);
    GError *error = NULL;
    if (!layers_check(drawables, count, &error))
        return gimp_procedure_new_return_values(procedure, GIMP_PDB_EXECUTION_ERROR, error);
    if (run_mode == GIMP_RUN_INTERACTIVE && !run_dialog(procedure, config, drawables[0]))
        return gimp_procedure_new_return_values(procedure, GIMP_PDB_CANCEL, NULL);

    RestoreSettings settings = {0};
    get_settings(config, &settings);
    gboolean done = layers_restore(image, drawables, count, &settings, &error);
    restore_settings_clear(&settings);
    if (!done)
        return gimp_procedure_new_return_values(procedure, GIMP_PDB_EXECUTION_ERROR, error);
    if (run_mode != GIMP_RUN_NONINTERACTIVE)
        gimp_displays_flush();
    return gimp_procedure_new_return_values(procedure, GIMP_PDB_SUCCESS, NULL);
}

static GList *query_procedures(GimpPlugIn *plug_in) {
    (void)plug_in;
    return g_list_append(NULL, g_strdup(RESTORE_PROCEDURE));
}

static void add_arguments(GimpProcedure *procedure) {
    gimp_procedure_add_string_argument(procedure, "weights", _("_Weights"),
                                       _("What the network was made to restore: the name of installed "
                                         "weights, or the path of a .safetensors file"),
                                       RESTORE_WEIGHTS_DEFAULT, G_PARAM_READWRITE);
    gimp_procedure_add_double_argument(procedure, "strength", _("Stren_gth"),
                                       _("How much of the correction to apply: 0 none, 1 all of it"), 0.0,
                                       1.0, RESTORE_STRENGTH_DEFAULT, G_PARAM_READWRITE);
    gimp_procedure_add_int_argument(
        procedure, "memory", _("_Memory (MiB)"),
        _("Memory that the network may use beside the image; less makes smaller tiles"), RESTORE_MEMORY_MIN,
        RESTORE_MEMORY_MAX, RESTORE_MEMORY_DEFAULT, G_PARAM_READWRITE);
    gimp_procedure_add_int_argument(procedure, "tile", _("_Tile"),
                                    _("Largest side of a tile in pixels, 64 or more; 0: the whole "
                                      "layer at once; -1: as is fast and fits the memory"),
                                    RESTORE_TILE_MIN, RESTORE_TILE_MAX, RESTORE_TILE_DEFAULT,
                                    G_PARAM_READWRITE);
}

static GimpProcedure *create_procedure(GimpPlugIn *plug_in, const gchar *name) {
    if (g_strcmp0(name, RESTORE_PROCEDURE) != 0)
        return NULL;
    GimpProcedure *procedure =
        gimp_image_procedure_new(plug_in, name, GIMP_PDB_PROC_TYPE_PLUGIN, run, NULL, NULL);
    /* Indexed images too: run() says what to do, where a greyed-out entry would not. */
    gimp_procedure_set_image_types(procedure, "*");
    gimp_procedure_set_sensitivity_mask(procedure, GIMP_PROCEDURE_SENSITIVE_DRAWABLE |
                                                       GIMP_PROCEDURE_SENSITIVE_DRAWABLES);
    gimp_procedure_set_menu_label(procedure, _("Rest_ore..."));
    gimp_procedure_add_menu_path(procedure, "<Image>/Filters/Enhance");
    gimp_procedure_set_documentation(
        procedure, _("Restore a degraded photo with a sparse neural network"),
        _("Removes noise, rain, haze or compression marks, as the weights say, from what is selected of each "
          "chosen layer. The network sees the selection's bounding box and 128 pixels around it."),
        name);
    gimp_procedure_set_attribution(procedure, "mirl", "mirl", "2026");
    add_arguments(procedure);
    return procedure;
}

static void restore_class_init(RestoreClass *klass) {
    GimpPlugInClass *plug_in = GIMP_PLUG_IN_CLASS(klass);
    plug_in->query_procedures = query_procedures;
    plug_in->create_procedure = create_procedure;
}

static void restore_init(Restore *plug_in) {
    (void)plug_in;
}
