/* The choice of weights, of GTK's widgets that GTK 2 and 3 have in common. */
#include "weights-chooser.h"

#include "intl.h"
#include "mirl.h"

#include <string.h>

typedef struct Chooser {
    GtkWidget *combo;
    GPtrArray *weights; ///< names and paths, one for each line of the combo box
    WeightsChosen chosen;
    gpointer user;
} Chooser;

static void free_chooser(gpointer data) {
    Chooser *chooser = data;
    g_ptr_array_unref(chooser->weights);
    g_free(chooser);
}

static gint append(Chooser *chooser, const gchar *weights) {
    gchar *name = g_filename_display_basename(weights);
    gtk_combo_box_text_append_text(GTK_COMBO_BOX_TEXT(chooser->combo), name);
    g_free(name);
    g_ptr_array_add(chooser->weights, g_strdup(weights));
    return chooser->weights->len - 1;
}

static void select_weights(Chooser *chooser, const gchar *weights) {
    guint line;
    if (!g_ptr_array_find_with_equal_func(chooser->weights, weights, g_str_equal, &line))
        line = append(chooser, weights);
    gtk_combo_box_set_active(GTK_COMBO_BOX(chooser->combo), line);
}

static void combo_changed(GtkComboBox *combo, Chooser *chooser) {
    gint line = gtk_combo_box_get_active(combo);
    if (line >= 0)
        chooser->chosen(g_ptr_array_index(chooser->weights, line), chooser->user);
}

static void choose_file(GtkWidget *button, Chooser *chooser) {
    GtkWidget *dialog = gtk_file_chooser_dialog_new(
        _("Choose a Weights File"), GTK_WINDOW(gtk_widget_get_toplevel(button)), GTK_FILE_CHOOSER_ACTION_OPEN,
        _("_Cancel"), GTK_RESPONSE_CANCEL, _("_Open"), GTK_RESPONSE_ACCEPT, NULL);
    GtkFileFilter *filter = gtk_file_filter_new();
    gtk_file_filter_set_name(filter, _("Weights (*.safetensors)"));
    gtk_file_filter_add_pattern(filter, "*.safetensors");
    gtk_file_chooser_add_filter(GTK_FILE_CHOOSER(dialog), filter);
    gtk_dialog_set_default_response(GTK_DIALOG(dialog), GTK_RESPONSE_ACCEPT);
    if (gtk_dialog_run(GTK_DIALOG(dialog)) == GTK_RESPONSE_ACCEPT) {
        gchar *path = gtk_file_chooser_get_filename(GTK_FILE_CHOOSER(dialog));
        select_weights(chooser, path);
        g_free(path);
    }
    gtk_widget_destroy(dialog);
}

static void append_installed(Chooser *chooser) {
    char **names = mirl_weights_list();
    for (char **name = names; name && *name; name++)
        append(chooser, *name);
    mirl_weights_list_free(names);
}

GtkWidget *weights_chooser_new(const gchar *weights, GtkSizeGroup *labels, WeightsChosen chosen,
                               gpointer user) {
    Chooser *chooser = g_new0(Chooser, 1);
    chooser->weights = g_ptr_array_new_with_free_func(g_free);
    chooser->chosen = chosen;
    chooser->user = user;

    GtkWidget *row = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 6);
    GtkWidget *label = gtk_label_new_with_mnemonic(_("_Weights"));
    GtkWidget *button = gtk_button_new_with_mnemonic(_("_File…"));
    chooser->combo = gtk_combo_box_text_new();
    gtk_label_set_mnemonic_widget(GTK_LABEL(label), chooser->combo);
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_size_group_add_widget(labels, label);
    gtk_widget_set_tooltip_text(chooser->combo, _("What the network was made to restore"));
    gtk_widget_set_tooltip_text(button, _("Use a weights file from any folder"));
    gtk_box_pack_start(GTK_BOX(row), label, FALSE, FALSE, 0);
    gtk_box_pack_start(GTK_BOX(row), chooser->combo, TRUE, TRUE, 0);
    gtk_box_pack_start(GTK_BOX(row), button, FALSE, FALSE, 0);
    g_object_set_data_full(G_OBJECT(row), "chooser", chooser, free_chooser);

    append_installed(chooser);
    select_weights(chooser, weights);
    g_signal_connect(chooser->combo, "changed", G_CALLBACK(combo_changed), chooser);
    g_signal_connect(button, "clicked", G_CALLBACK(choose_file), chooser);
    gtk_widget_show_all(row);
    return row;
}

void weights_chooser_set(GtkWidget *row, const gchar *weights) {
    select_weights(g_object_get_data(G_OBJECT(row), "chooser"), weights);
}
