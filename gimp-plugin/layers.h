/* What the plug-in does to an image's layers, written once for both of libgimp's APIs: GIMP 3.0 hands out
 * objects and GIMP 2.10 numbers, but the calls used here have the same names.
 */
#ifndef MIRL_GIMP_LAYERS_H
#define MIRL_GIMP_LAYERS_H

#include "restore.h"

#include <libgimp/gimp.h>

#if GIMP_CHECK_VERSION(2, 99, 0)
typedef GimpImage *Image;
typedef GimpDrawable *Drawable;
#define gimp_get_pdb_error() gimp_pdb_get_last_error(gimp_get_pdb())
#else
typedef gint32 Image;
typedef gint32 Drawable;
#define GIMP_ITEM(drawable) (drawable)
#endif

/** Whether all drawables can be restored; if not, the error tells the user what to do. */
gboolean layers_check(const Drawable *drawables, gint count, GError **error);

/** Restores what is selected of each drawable, as one step of the undo history, with GIMP's progress bar.
 * GIMP cancels by killing the plug-in, so no drawable is written until all are computed.
 * On failure, no drawable has been written and `error` is set. */
gboolean layers_restore(Image image, const Drawable *drawables, gint count, const RestoreSettings *settings,
                        GError **error);

#endif
