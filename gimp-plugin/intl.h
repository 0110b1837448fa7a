/* The plug-in's messages: gettext in the domain of its own name, with catalogs in its own folder. */
#ifndef MIRL_GIMP_INTL_H
#define MIRL_GIMP_INTL_H

#define GETTEXT_PACKAGE "mirl-restore"

#include <glib/gi18n-lib.h>

#endif
