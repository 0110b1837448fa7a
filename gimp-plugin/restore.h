/* What the plug-in does to pixels, whatever the GIMP: a part of a GEGL buffer in, its restored pixels out.
 *
 * Nothing here talks to GIMP, so all of it may run in any thread as long as the buffer is not one of GIMP's.
 */
#ifndef MIRL_GIMP_RESTORE_H
#define MIRL_GIMP_RESTORE_H

#include "mirl.h"

#include <gegl.h>

#define RESTORE_PROCEDURE "plug-in-mirl-restore"
#define RESTORE_BINARY "mirl-restore" ///< also the folder in GIMP's plug-ins folder and the gettext domain

/* Ranges and defaults of the procedure's arguments, the same for both APIs. */
#define RESTORE_WEIGHTS_DEFAULT "default"
#define RESTORE_STRENGTH_DEFAULT 1.0
enum {
    RESTORE_MEMORY_MIN = 1, ///< MiB
    RESTORE_MEMORY_MAX = 1 << 20,
    RESTORE_MEMORY_DEFAULT = 512,
    RESTORE_TILE_MIN = MIRL_TILE_AUTO,
    RESTORE_TILE_MAX = 65536,
    RESTORE_TILE_DEFAULT = MIRL_TILE_AUTO,
};

/** Pixels around a selection's bounding box that the network sees too. It covers what local layers reach:
 * the eight blocks at an eighth of the size reach two of their pixels each, 8 * 2 * 8. */
enum { RESTORE_CONTEXT = 128 };

typedef struct RestoreSettings {
    gchar *weights;   ///< as mirl_weights_find() takes it
    gdouble strength; ///< 0..1
    gint memory;      ///< MiB
    gint tile;        ///< as in mirl_options
} RestoreSettings;

void restore_settings_copy(RestoreSettings *to, const RestoreSettings *from); ///< frees what `to` held
void restore_settings_clear(RestoreSettings *settings);

#define RESTORE_ERROR restore_error_quark()
GQuark restore_error_quark(void); ///< codes are mirl_status

/** Opens the weights of this name. NULL on failure; close with mirl_model_close(). */
mirl_model *restore_open_weights(const gchar *name, GError **error);

/** Whether the network can work on pixels of this format; if not, the error tells the user what to do. */
gboolean restore_check_format(const Babl *format, GError **error);

/** `region` with `margin` pixels on every side, as far as `extent` goes. */
GeglRectangle restore_grow(const GeglRectangle *region, gint margin, const GeglRectangle *extent);

/** Restores `region` of `source` while the network sees `margin` pixels more on every side, as far as
 * the buffer goes. `source` may have any format but an indexed one; the network gets sRGB-encoded colours, or
 * grey from a grey format; alpha is kept.
 * Returns a new buffer of the extent `region` in the source's format, or NULL and an error. `source` is not
 * written. `progress` is called from the calling thread and may be NULL. */
GeglBuffer *restore_region(const mirl_model *model, GeglBuffer *source, const GeglRectangle *region,
                           gint margin, const RestoreSettings *settings, mirl_progress progress,
                           gpointer user, GError **error);

#endif
