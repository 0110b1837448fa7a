/* Where weights are looked for by name: MIRL_WEIGHTS_PATH, the build tree, the user's data folder, the
 * system's. The build tree is found from where the program or library itself lies, so that nothing that is
 * installed knows the folder it was built in. */
#define _GNU_SOURCE /* dladdr() */
#include "error.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char suffix[] = ".safetensors";

/* A growing array of strings; `failed` once memory ran out. */
typedef struct strings {
    char **items;
    size_t count;
    bool failed;
} strings;

static void strings_free(strings *all) {
    for (size_t i = 0; i < all->count; i++)
        free(all->items[i]);
    free(all->items);
    *all = (strings){0};
}

static void strings_add(strings *all, const char *text, size_t length) {
    char **items = realloc(all->items, (all->count + 2) * sizeof *items);
    char *copy = items ? strndup(text, length) : NULL;

    if (items)
        all->items = items;
    if (!copy) {
        all->failed = true;
        return;
    }
    items[all->count++] = copy;
    items[all->count] = NULL;
}

static void add_joined(strings *folders, const char *folder, const char *below) {
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s%s", folder, below);
    if (length > 0 && (size_t)length < sizeof path)
        strings_add(folders, path, (size_t)length);
}

/* If `file` lies up to three folders deep in a CMake build tree: adds the weights folder of that tree. */
static void add_build_tree(strings *folders, const char *file) {
    char path[PATH_MAX], cache[PATH_MAX + sizeof "/CMakeCache.txt"];

    if (!realpath(file, path))
        return;
    for (int up = 0; up < 4; up++) {
        char *slash = strrchr(path, '/');
        if (!slash || slash == path)
            return;
        *slash = '\0';
        snprintf(cache, sizeof cache, "%s/CMakeCache.txt", path);
        if (access(cache, F_OK) == 0) {
            add_joined(folders, path, "/weights");
            return;
        }
    }
}

static void add_build_trees(strings *folders) {
    static const char here = 0; /* an object of this module, whichever that is */
    Dl_info module;
    size_t before = folders->count;

    if (dladdr(&here, &module) && module.dli_fname && module.dli_fname[0] == '/')
        add_build_tree(folders, module.dli_fname);
    if (folders->count == before)
        add_build_tree(folders, "/proc/self/exe");
}

static strings find_folders(void) {
    strings folders = {0};
    const char *path = getenv("MIRL_WEIGHTS_PATH");

    while (path && *path) {
        size_t length = strcspn(path, ":");
        if (length)
            strings_add(&folders, path, length);
        path += length + (path[length] == ':');
    }
    add_build_trees(&folders);
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (data && data[0] == '/')
        add_joined(&folders, data, "/mirl/weights");
    else if (home && home[0] == '/')
        add_joined(&folders, home, "/.local/share/mirl/weights");
    add_joined(&folders, MIRL_DATA_FOLDER, "/weights");
    return folders;
}

static bool is_file(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

static bool ends_with_suffix(const char *name) {
    size_t length = strlen(name);
    return length >= sizeof suffix - 1 && strcmp(name + length - (sizeof suffix - 1), suffix) == 0;
}

static char *no_memory(mirl_error *error) {
    mirl_fail(error, MIRL_ERROR_MEMORY, "not enough memory to look for weights");
    return NULL;
}

static char *find_path(const char *path, mirl_error *error) {
    if (is_file(path) && access(path, R_OK) == 0) {
        char *copy = strdup(path);
        return copy ? copy : no_memory(error);
    }
    const char *reason = access(path, R_OK) == 0 ? "it is not a file" : strerror(errno);
    mirl_fail(error, MIRL_ERROR_FILE, "the weights file '%s' cannot be read: %s", path, reason);
    return NULL;
}

static void fail_not_found(const char *name, const strings *folders, mirl_error *error) {
    char tried[512] = "";
    for (size_t i = 0, used = 0; i < folders->count && used < sizeof tried; i++)
        used += (size_t)snprintf(tried + used, sizeof tried - used, "%s%s", i ? ", " : "", folders->items[i]);
    mirl_fail(error, MIRL_ERROR_FILE, "there are no weights called '%s' (%s%s) in %s", name, name, suffix,
              tried);
}

char *mirl_weights_find(const char *name, mirl_error *error) {
    if (!name || !*name)
        name = "default";
    if (strchr(name, '/') || ends_with_suffix(name))
        return find_path(name, error);

    strings folders = find_folders();
    char *found = NULL;
    for (size_t i = 0; i < folders.count && !found; i++) {
        if (asprintf(&found, "%s/%s%s", folders.items[i], name, suffix) < 0) {
            found = NULL;
            folders.failed = true;
        } else if (!is_file(found)) {
            free(found);
            found = NULL;
        }
    }
    if (!found && folders.failed)
        no_memory(error);
    else if (!found)
        fail_not_found(name, &folders, error);
    strings_free(&folders);
    return found;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_names(strings *names, const char *folder) {
    DIR *directory = opendir(folder);
    if (!directory)
        return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        char path[PATH_MAX];
        int length = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.' && ends_with_suffix(entry->d_name) && (size_t)length < sizeof path &&
            is_file(path))
            strings_add(names, entry->d_name, strlen(entry->d_name) - (sizeof suffix - 1));
    }
    closedir(directory);
}

char **mirl_weights_list(void) {
    strings folders = find_folders(), names = {0};

    strings_add(&names, "", 0); /* so that an empty list is an array too; dropped below */
    for (size_t i = 0; i < folders.count; i++)
        add_names(&names, folders.items[i]);
    bool failed = folders.failed || names.failed;
    strings_free(&folders);
    if (failed) {
        strings_free(&names);
        return NULL;
    }
    qsort(names.items, names.count, sizeof *names.items, by_name);
    size_t kept = 0;
    for (size_t i = 0; i < names.count; i++) {
        if (*names.items[i] == '\0' || (kept && strcmp(names.items[i], names.items[kept - 1]) == 0))
            free(names.items[i]);
        else
            names.items[kept++] = names.items[i];
    }
    names.items[kept] = NULL;
    return names.items;
}

void mirl_weights_list_free(char **names) {
    for (size_t i = 0; names && names[i]; i++)
        free(names[i]);
    free(names);
}
