/* The dialog's preview: what is seen of the layer at 100 %, restored on one side of a movable line.
 *
 * A GimpDrawablePreview (scrolling, navigation, selection and colour management are GIMP's own) with a
 * slider for the line and a line of text below it. Only what is seen, with a margin, is restored, in a
 * thread of its own, so that the dialog never waits.
 */
#ifndef MIRL_GIMP_PREVIEW_H
#define MIRL_GIMP_PREVIEW_H

#include "layers.h"

#include <libgimp/gimpui.h>

typedef struct Preview Preview;

/** A preview of `drawable` in preview_widget(), the slider's label in the size group `labels`. It lives until
 * preview_free(), which destroys nothing that GTK owns; call it after the dialog has run and before the
 * dialog is destroyed. */
Preview *preview_new(Drawable drawable, const RestoreSettings *settings, GtkSizeGroup *labels);
void preview_free(Preview *preview);

GtkWidget *preview_widget(Preview *preview);

/** Shows what these settings do, once the user pauses. */
void preview_set(Preview *preview, const RestoreSettings *settings);

#endif
