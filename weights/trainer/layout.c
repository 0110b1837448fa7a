/* Listing the data layout. */
#define _GNU_SOURCE // asprintf
#include "trainer/layout.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "error.h"
#include "trainer/photo.h"

static const char target_suffix[] = "_gt";

const char *trainer_layout_suffix(trainer_task task) {
    static const char *const suffixes[TRAINER_TASKS] = {"", "_rainy", "_hazy", "_jpeg"};
    return suffixes[task];
}

static int visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static int visible_image(const struct dirent *entry) {
    return visible(entry) && trainer_photo_is_named(entry->d_name);
}

/** By bytes and not by the locale, so that every machine lists in the same order. */
static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

typedef struct listing {
    struct dirent **entries;
    int count; ///< 0 if there is no such folder
} listing;

static listing list(const char *folder, int (*filter)(const struct dirent *)) {
    listing found = {NULL, 0};
    found.count = scandir(folder, &found.entries, filter, by_bytes);
    if (found.count < 0)
        found = (listing){NULL, 0};
    return found;
}

static void forget(listing found) {
    for (int i = 0; i < found.count; i++)
        free(found.entries[i]);
    free(found.entries);
}

static char *join(const char *folder, const char *name) {
    char *path;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

/** Length of the name without its ending. */
static size_t stem(const char *name) {
    return (size_t)(strrchr(name, '.') - name);
}

static bool is_folder(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static mirl_status no_memory(mirl_error *error) {
    return mirl_fail(error, MIRL_ERROR_MEMORY, "no memory to list the images");
}

static mirl_status list_clean(const char *folder, trainer_set *set, mirl_error *error) {
    listing images = list(folder, visible_image);
    set->items = calloc((size_t)images.count + 1, sizeof *set->items);
    mirl_status status = set->items ? MIRL_OK : no_memory(error);
    for (int i = 0; status == MIRL_OK && i < images.count; i++) {
        const char *name = images.entries[i]->d_name;
        trainer_item *item = &set->items[set->count++];
        item->name = strndup(name, stem(name));
        item->target = join(folder, name);
        if (!item->name || !item->target)
            status = no_memory(error);
    }
    forget(images);
    return status;
}

/** Checks that every name ends in the suffix. */
static mirl_status check_suffixes(const char *folder, listing images, const char *suffix, mirl_error *error) {
    size_t length = strlen(suffix);
    for (int i = 0; i < images.count; i++) {
        const char *name = images.entries[i]->d_name;
        size_t end = stem(name);
        if (end <= length || memcmp(name + end - length, suffix, length) != 0)
            return mirl_fail(error, MIRL_ERROR_FORMAT, "%s/%s should be named <n>%s%s", folder, name, suffix,
                             name + end);
    }
    return MIRL_OK;
}

/** The image whose name without ending is the first `length` bytes of `key` and the suffix, or NULL. */
static const char *find(listing images, const char *key, size_t length, const char *suffix) {
    size_t suffix_length = strlen(suffix);
    for (int low = 0, high = images.count; low < high;) {
        int middle = low + (high - low) / 2;
        const char *name = images.entries[middle]->d_name;
        int order = strncmp(name, key, length);
        if (order == 0)
            order = strncmp(name + length, suffix, suffix_length);
        if (order == 0)
            order = (unsigned char)name[length + suffix_length] - '.';
        if (order == 0)
            return name;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static mirl_status match(const char *input_folder, listing inputs, const char *target_folder, listing targets,
                         trainer_set *set, mirl_error *error) {
    const char *suffix = trainer_layout_suffix(set->task);
    set->items = calloc((size_t)inputs.count + 1, sizeof *set->items);
    if (!set->items)
        return no_memory(error);
    for (int i = 0; i < inputs.count; i++) {
        const char *name = inputs.entries[i]->d_name;
        size_t length = stem(name) - strlen(suffix);
        const char *target = find(targets, name, length, target_suffix);
        if (!target)
            return mirl_fail(error, MIRL_ERROR_FORMAT, "%s/%s has no partner %s/%.*s%s.*", input_folder, name,
                             target_folder, (int)length, name, target_suffix);
        trainer_item *item = &set->items[set->count++];
        item->name = strndup(name, length);
        item->input = join(input_folder, name);
        item->target = join(target_folder, target);
        if (!item->name || !item->input || !item->target)
            return no_memory(error);
    }
    for (int i = 0; i < targets.count; i++) {
        const char *name = targets.entries[i]->d_name;
        size_t length = stem(name) - strlen(target_suffix);
        if (!find(inputs, name, length, suffix))
            return mirl_fail(error, MIRL_ERROR_FORMAT, "%s/%s has no partner %s/%.*s%s.*", target_folder,
                             name, input_folder, (int)length, name, suffix);
    }
    return MIRL_OK;
}

static mirl_status list_pairs(const char *folder, trainer_set *set, mirl_error *error) {
    char *input_folder = join(folder, "input"), *target_folder = join(folder, "target");
    listing inputs = {NULL, 0}, targets = {NULL, 0};
    mirl_status status = input_folder && target_folder ? MIRL_OK : no_memory(error);
    if (status == MIRL_OK) {
        inputs = list(input_folder, visible_image);
        targets = list(target_folder, visible_image);
        status = check_suffixes(input_folder, inputs, trainer_layout_suffix(set->task), error);
    }
    if (status == MIRL_OK)
        status = check_suffixes(target_folder, targets, target_suffix, error);
    if (status == MIRL_OK)
        status = match(input_folder, inputs, target_folder, targets, set, error);
    forget(inputs);
    forget(targets);
    free(input_folder);
    free(target_folder);
    return status;
}

static void free_set(trainer_set *set) {
    for (size_t i = 0; i < set->count; i++) {
        free(set->items[i].name);
        free(set->items[i].input);
        free(set->items[i].target);
    }
    free(set->items);
    free(set->name);
}

static mirl_status list_set(trainer_layout *layout, trainer_task task, const char *folder, const char *name,
                            mirl_error *error) {
    trainer_set set = {.task = task, .name = strdup(name)};
    if (!set.name)
        return no_memory(error);
    mirl_status status =
        task == TRAINER_DENOISE ? list_clean(folder, &set, error) : list_pairs(folder, &set, error);
    trainer_set *grown = NULL;
    if (status == MIRL_OK && set.count > 0) {
        grown = realloc(layout->sets, (layout->count + 1) * sizeof *grown);
        if (!grown)
            status = no_memory(error);
    }
    if (!grown) {
        free_set(&set);
        return status;
    }
    layout->sets = grown;
    layout->sets[layout->count++] = set;
    return MIRL_OK;
}

static mirl_status list_task(trainer_layout *layout, const char *folder, trainer_task task,
                             mirl_error *error) {
    char *task_folder = join(folder, trainer_task_name(task));
    if (!task_folder)
        return no_memory(error);
    listing names = list(task_folder, visible);
    mirl_status status = MIRL_OK;
    for (int i = 0; status == MIRL_OK && i < names.count; i++) {
        char *set_folder = join(task_folder, names.entries[i]->d_name);
        if (!set_folder)
            status = no_memory(error);
        else if (is_folder(set_folder))
            status = list_set(layout, task, set_folder, names.entries[i]->d_name, error);
        free(set_folder);
    }
    forget(names);
    free(task_folder);
    return status;
}

trainer_layout *trainer_layout_read(const char *folder, mirl_error *error) {
    if (!is_folder(folder)) {
        mirl_fail(error, MIRL_ERROR_FILE, "%s is not a folder", folder);
        return NULL;
    }
    trainer_layout *layout = calloc(1, sizeof *layout);
    mirl_status status = layout ? MIRL_OK : no_memory(error);
    for (int task = 0; status == MIRL_OK && task < TRAINER_TASKS; task++)
        status = list_task(layout, folder, (trainer_task)task, error);
    if (status == MIRL_OK && layout->count == 0)
        status = mirl_fail(error, MIRL_ERROR_FILE,
                           "%s has no images; they belong into denoise/<set>/ and "
                           "{derain,dehaze,dejpeg}/<set>/{input,target}/ in it",
                           folder);
    if (status == MIRL_OK)
        return layout;
    trainer_layout_free(layout);
    return NULL;
}

void trainer_layout_free(trainer_layout *layout) {
    if (!layout)
        return;
    for (size_t i = 0; i < layout->count; i++)
        free_set(&layout->sets[i]);
    free(layout->sets);
    free(layout);
}

mirl_status trainer_make_folders(const char *path, mirl_error *error) {
    char *folder = strdup(path);
    if (!folder)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "no memory to make folders for %s", path);
    mirl_status status = MIRL_OK;
    for (char *slash = strchr(folder + 1, '/'); status == MIRL_OK && slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(folder, 0777) != 0 && errno != EEXIST)
            status =
                mirl_fail(error, MIRL_ERROR_FILE, "cannot make the folder %s: %s", folder, strerror(errno));
        *slash = '/';
    }
    free(folder);
    return status;
}
