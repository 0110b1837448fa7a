/* The dialog's choice of weights: a list of the installed ones by name, and a button for any file. */
#ifndef MIRL_GIMP_WEIGHTS_CHOOSER_H
#define MIRL_GIMP_WEIGHTS_CHOOSER_H

#include <libgimp/gimp.h>
#include <libgimp/gimpui.h>

/** `weights` is a name or a path and belongs to the chooser. */
typedef void (*WeightsChosen)(const gchar *weights, gpointer user);

/** A row of widgets that shows `weights` as chosen; calls `chosen` whenever another is. Its label
 * joins the size group `labels`. */
GtkWidget *weights_chooser_new(const gchar *weights, GtkSizeGroup *labels, WeightsChosen chosen,
                               gpointer user);

/** Shows these weights as chosen. */
void weights_chooser_set(GtkWidget *chooser, const gchar *weights);

#endif
