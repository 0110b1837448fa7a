/* The enumeration of weights and the process's opened models, for operation mirl:restore. */
#include "models.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Enumeration ------------------------------------------------------------------------------------- */

static const GEnumValue *enum_find(const GArray *values, int value) {
    for (guint i = 0; i < values->len; i++)
        if (g_array_index(values, GEnumValue, i).value == value)
            return &g_array_index(values, GEnumValue, i);
    return NULL;
}

static void enum_add(GArray *values, int value, const char *name) {
    const char *copy = g_intern_string(name);
    GEnumValue entry = {value, copy, copy};
    g_array_append_val(values, entry);
}

/* FNV-1a (Fowler, Noll, Vo), folded to the positive integers. */
static int enum_hash(const char *name) {
    guint32 hash = 2166136261u;
    for (; *name; name++)
        hash = (hash ^ (guchar)*name) * 16777619u;
    return (int)((hash >> 31 ^ hash) & 0x7fffffff);
}

static GType enum_register(void) {
    GArray *values = g_array_new(TRUE, TRUE, sizeof(GEnumValue));
    char **names = mirl_weights_list();

    enum_add(values, MIRL_WEIGHTS_DEFAULT, "default");
    for (char **name = names; name && *name; name++) {
        int value = enum_hash(*name);
        if (!strcmp(*name, "default"))
            continue;
        while (enum_find(values, value))
            value = value < G_MAXINT ? value + 1 : MIRL_WEIGHTS_DEFAULT + 1;
        enum_add(values, value, *name);
    }
    mirl_weights_list_free(names);
    /* The type keeps the array as long as the process lives. */
    return g_enum_register_static("MirlWeights", (GEnumValue *)(void *)g_array_free(values, FALSE));
}

GType mirl_weights_get_type(void) {
    static GType type = 0;
    if (g_once_init_enter(&type))
        g_once_init_leave(&type, enum_register());
    return type;
}

const char *mirl_weights_nick(int value) {
    GEnumClass *klass = g_type_class_ref(mirl_weights_get_type());
    const GEnumValue *entry = g_enum_get_value(klass, value);
    g_type_class_unref(klass);
    return entry ? entry->value_nick : NULL;
}

/* ---- Models ------------------------------------------------------------------------------------------ */

struct mirl_shared_model {
    char *key; ///< path, size and time of change
    mirl_model *model;
    int references;
};

static GMutex models_lock;
static GHashTable *models; ///< key -> mirl_shared_model, NULL while there is none

static char *model_key(const char *path) {
    GStatBuf file;
    if (g_stat(path, &file))
        return g_strdup(path);
    return g_strdup_printf("%s|%" G_GINT64_FORMAT "|%" G_GINT64_FORMAT ".%09ld", path, (gint64)file.st_size,
                           (gint64)file.st_mtim.tv_sec, file.st_mtim.tv_nsec);
}

/* Called with the lock held; takes over `key`. */
static mirl_shared_model *model_add(char *key, const char *path, mirl_error *error) {
    mirl_model *model = mirl_model_open(path, error);
    if (!model) {
        g_free(key);
        return NULL;
    }

    mirl_shared_model *shared = g_new(mirl_shared_model, 1);
    *shared = (mirl_shared_model){key, model, 1};
    if (!models)
        models = g_hash_table_new(g_str_hash, g_str_equal);
    g_hash_table_insert(models, key, shared);
    return shared;
}

mirl_shared_model *mirl_shared_model_open(const char *name, mirl_error *error) {
    char *path = mirl_weights_find(name, error);
    if (!path)
        return NULL;

    g_mutex_lock(&models_lock);
    char *key = model_key(path);
    mirl_shared_model *shared = models ? g_hash_table_lookup(models, key) : NULL;
    if (shared) {
        shared->references++;
        g_free(key);
    } else {
        shared = model_add(key, path, error);
    }
    g_mutex_unlock(&models_lock);

    free(path);
    return shared;
}

mirl_shared_model *mirl_shared_model_ref(mirl_shared_model *shared) {
    g_mutex_lock(&models_lock);
    shared->references++;
    g_mutex_unlock(&models_lock);
    return shared;
}

void mirl_shared_model_close(mirl_shared_model *shared) {
    if (!shared)
        return;

    g_mutex_lock(&models_lock);
    if (!--shared->references) {
        g_hash_table_remove(models, shared->key);
        if (!g_hash_table_size(models))
            g_clear_pointer(&models, g_hash_table_unref);
        mirl_model_close(shared->model);
        g_free(shared->key);
        g_free(shared);
    }
    g_mutex_unlock(&models_lock);
}

const mirl_model *mirl_shared_model_get(const mirl_shared_model *shared) {
    return shared->model;
}
