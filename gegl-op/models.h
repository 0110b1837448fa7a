/* The weights as GEGL sees them: an enumeration of those that are installed, and one opened model for each
 * file, shared by every node of the process. */
#ifndef MIRL_GEGL_MODELS_H
#define MIRL_GEGL_MODELS_H

#include <glib-object.h>
#include <mirl.h>

/** The value that stands for mirl's default weights; it is always in the enumeration. */
enum { MIRL_WEIGHTS_DEFAULT = 0 };

/** The enumeration "MirlWeights", made at the first call from mirl_weights_list(). A nick is the weights'
 * name; its value follows from the name alone, because GIMP's XCF files keep the value. */
GType mirl_weights_get_type(void);

/** The name of the weights with this value; it belongs to the enumeration. NULL for an unknown value. */
const char *mirl_weights_nick(int value);

/** A file's model and how many hold it. */
typedef struct mirl_shared_model mirl_shared_model;

/** Opens the weights called `name` (as mirl_weights_find() reads it), or takes one more reference to the
 * model if another node has the same file, unchanged since, open. NULL on failure. Thread-safe. */
mirl_shared_model *mirl_shared_model_open(const char *name, mirl_error *error);

/** One more reference to the same model. Thread-safe. */
mirl_shared_model *mirl_shared_model_ref(mirl_shared_model *shared);

/** Gives the reference back; the last one closes the model. NULL is allowed. Thread-safe. */
void mirl_shared_model_close(mirl_shared_model *shared);

const mirl_model *mirl_shared_model_get(const mirl_shared_model *shared);

#endif
