/* Filters > Enhance > Restore... for GIMP 2.10: the procedure and its dialog. */
#include "intl.h"
#include "layers.h"
#include "preview.h"
#include "weights-chooser.h"

#include <libgimp/gimpui.h>
#include <string.h>

/* What gimp_set_data() keeps between calls; it must be plain memory. */
typedef struct LastValues {
    gchar weights[4096];
    gdouble strength;
    gint memory, tile;
} LastValues;

static gchar *catalogs; ///< the folder of translations, beside the program

static RestoreSettings settings = {
    .strength = RESTORE_STRENGTH_DEFAULT,
    .memory = RESTORE_MEMORY_DEFAULT,
    .tile = RESTORE_TILE_DEFAULT,
};

static void load_last_values(void) {
    LastValues last;
    if (gimp_get_data_size(RESTORE_PROCEDURE) != sizeof last || !gimp_get_data(RESTORE_PROCEDURE, &last))
        return;
    g_free(settings.weights);
    settings = (RestoreSettings){g_strdup(last.weights), last.strength, last.memory, last.tile};
}

static void save_last_values(void) {
    LastValues last = {.strength = settings.strength, .memory = settings.memory, .tile = settings.tile};
    g_strlcpy(last.weights, settings.weights, sizeof last.weights);
    gimp_set_data(RESTORE_PROCEDURE, &last, sizeof last);
}

/* ---- The dialog -------------------------------------------------------------------------------------- */

static void weights_chosen(const gchar *weights, gpointer preview) {
    g_free(settings.weights);
    settings.weights = g_strdup(weights);
    preview_set(preview, &settings);
}

static void strength_changed(GtkAdjustment *strength, Preview *preview) {
    settings.strength = gtk_adjustment_get_value(strength);
    preview_set(preview, &settings);
}

static void memory_changed(GtkAdjustment *memory, Preview *preview) {
    settings.memory = gtk_adjustment_get_value(memory);
    preview_set(preview, &settings);
}

static GtkWidget *new_strength_row(Preview *preview, GtkSizeGroup *labels) {
    GtkWidget *table = gtk_table_new(1, 3, FALSE);
    gtk_table_set_col_spacings(GTK_TABLE(table), 6);
    GtkObject *strength = gimp_scale_entry_new(
        GTK_TABLE(table), 0, 0, _("Stren_gth"), 100, 6, settings.strength, 0, 1, 0.01, 0.1, 2, TRUE, 0, 0,
        _("How much of the correction to apply: 0 none, 1 all of it"), NULL);
    gtk_size_group_add_widget(labels, GIMP_SCALE_ENTRY_LABEL(strength));
    g_signal_connect(strength, "value-changed", G_CALLBACK(strength_changed), preview);
    return table;
}

static GtkWidget *new_advanced(Preview *preview) {
    GtkWidget *expander = gtk_expander_new_with_mnemonic(_("_Advanced"));
    GtkWidget *row = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 6);
    GtkWidget *label = gtk_label_new_with_mnemonic(_("_Memory (MiB)"));
    GtkAdjustment *memory = GTK_ADJUSTMENT(
        gtk_adjustment_new(settings.memory, RESTORE_MEMORY_MIN, RESTORE_MEMORY_MAX, 16, 256, 0));
    GtkWidget *spin = gtk_spin_button_new(memory, 16, 0);
    gtk_widget_set_tooltip_text(
        spin, _("Memory that the network may use beside the image; less makes smaller tiles"));
    gtk_label_set_mnemonic_widget(GTK_LABEL(label), spin);
    gtk_box_pack_start(GTK_BOX(row), label, FALSE, FALSE, 0);
    gtk_box_pack_start(GTK_BOX(row), spin, FALSE, FALSE, 0);
    gtk_container_add(GTK_CONTAINER(expander), row);
    g_signal_connect(memory, "value-changed", G_CALLBACK(memory_changed), preview);
    return expander;
}

static gboolean run_dialog(gint32 drawable) {
    gimp_ui_init(RESTORE_BINARY, FALSE);
    GtkWidget *dialog =
        gimp_dialog_new(_("Restore"), RESTORE_BINARY, NULL, 0, gimp_standard_help_func, RESTORE_PROCEDURE,
                        _("_Cancel"), GTK_RESPONSE_CANCEL, _("_OK"), GTK_RESPONSE_OK, NULL);
    gtk_dialog_set_alternative_button_order(GTK_DIALOG(dialog), GTK_RESPONSE_OK, GTK_RESPONSE_CANCEL, -1);
    gtk_dialog_set_default_response(GTK_DIALOG(dialog), GTK_RESPONSE_OK);
    gimp_window_set_transient(GTK_WINDOW(dialog));

    GtkSizeGroup *labels = gtk_size_group_new(GTK_SIZE_GROUP_HORIZONTAL);
    Preview *preview = preview_new(drawable, &settings, labels);
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 12);
    gtk_container_set_border_width(GTK_CONTAINER(box), 12);
    gtk_box_pack_start(GTK_BOX(box), preview_widget(preview), TRUE, TRUE, 0);
    gtk_box_pack_start(GTK_BOX(box), weights_chooser_new(settings.weights, labels, weights_chosen, preview),
                       FALSE, FALSE, 0);
    gtk_box_pack_start(GTK_BOX(box), new_strength_row(preview, labels), FALSE, FALSE, 0);
    gtk_box_pack_start(GTK_BOX(box), new_advanced(preview), FALSE, FALSE, 0);
    gtk_box_pack_start(GTK_BOX(gtk_dialog_get_content_area(GTK_DIALOG(dialog))), box, TRUE, TRUE, 0);
    gtk_widget_show_all(dialog);
    g_object_unref(labels);

    gboolean apply = gimp_dialog_run(GIMP_DIALOG(dialog)) == GTK_RESPONSE_OK;
    preview_free(preview);
    gtk_widget_destroy(dialog);
    return apply;
}

/* ---- The procedure ----------------------------------------------------------------------------------- */

static GimpPDBStatusType restore(GimpRunMode run_mode, gint nparams, const GimpParam *param, GError **error) {
    gint32 image = param[1].data.d_image;
    gint32 drawable = param[2].data.d_drawable;
    if (!layers_check(&drawable, 1, error))
        return GIMP_PDB_EXECUTION_ERROR;
    if (run_mode == GIMP_RUN_NONINTERACTIVE) {
        if (nparams != 7)
            return GIMP_PDB_CALLING_ERROR;
        g_free(settings.weights);
        settings = (RestoreSettings){g_strdup(param[3].data.d_string), param[4].data.d_float,
                                     param[5].data.d_int32, param[6].data.d_int32};
    } else {
        load_last_values();
    }
    if (run_mode == GIMP_RUN_INTERACTIVE && !run_dialog(drawable))
        return GIMP_PDB_CANCEL;
    if (!layers_restore(image, &drawable, 1, &settings, error))
        return GIMP_PDB_EXECUTION_ERROR;
    if (run_mode != GIMP_RUN_NONINTERACTIVE)
        gimp_displays_flush();
    if (run_mode == GIMP_RUN_INTERACTIVE)
        save_last_values();
    return GIMP_PDB_SUCCESS;
}

static void run(const gchar *name, gint nparams, const GimpParam *param, gint *nreturn_vals,
                GimpParam **return_vals) {
    static GimpParam values[2];
    static GError *error;
    (void)name;
    bindtextdomain(GETTEXT_PACKAGE, catalogs);
    bind_textdomain_codeset(GETTEXT_PACKAGE, "UTF-8");
    gegl_init(NULL, NULL);
    settings.weights = g_strdup(RESTORE_WEIGHTS_DEFAULT);

    values[0].type = GIMP_PDB_STATUS;
    values[0].data.d_status = restore(param[0].data.d_int32, nparams, param, &error);
    *nreturn_vals = 1;
    *return_vals = values;
    if (error) {
        values[1].type = GIMP_PDB_STRING;
        values[1].data.d_string = error->message;
        *nreturn_vals = 2;
    }
}

static void query(void) {
    static const GimpParamDef args[] = {
        {GIMP_PDB_INT32, "run-mode",
         "The run mode { RUN-INTERACTIVE (0), RUN-NONINTERACTIVE (1), RUN-WITH-LAST-VALS (2) }"},
        {GIMP_PDB_IMAGE, "image", "Input image"},
        {GIMP_PDB_DRAWABLE, "drawable", "Input drawable"},
        {GIMP_PDB_STRING, "weights",
         "What the network was made to restore: the name of installed weights (\"default\"), or the path of "
         "a "
         ".safetensors file"},
        {GIMP_PDB_FLOAT, "strength", "How much of the correction to apply (0 <= strength <= 1)"},
        {GIMP_PDB_INT32, "memory",
         "Memory that the network may use beside the image, MiB (1 <= memory <= 1048576)"},
        {GIMP_PDB_INT32, "tile",
         "Largest side of a tile in pixels, 64 or more; 0: the whole layer at once; -1: as is fast and fits "
         "the memory"},
    };
    gimp_plugin_domain_register(GETTEXT_PACKAGE, catalogs);
    gimp_install_procedure(
        RESTORE_PROCEDURE, N_("Restore a degraded photo with a sparse neural network"),
        "Removes noise, rain, haze or compression marks, as the weights say, from what is selected of the "
        "layer. The network sees the selection's bounding box and 128 pixels around it.",
        "mirl", "mirl", "2026", N_("Rest_ore..."), "*", GIMP_PLUGIN, G_N_ELEMENTS(args), 0, args, NULL);
    gimp_plugin_menu_register(RESTORE_PROCEDURE, "<Image>/Filters/Enhance");
}

const GimpPlugInInfo PLUG_IN_INFO = {NULL, NULL, query, run};

int main(int argc, char *argv[]) {
    gchar *folder = g_path_get_dirname(argv[0]);
    catalogs = g_build_filename(folder, "locale", NULL);
    g_free(folder);
    return gimp_main(&PLUG_IN_INFO, argc, argv);
}
