/* The golden files' reader. */
#include "golden.h"

#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/config.h"

struct golden {
    char *bytes; ///< the header's length, the header, the data
    size_t data; ///< offset of the data
    cJSON *header;
};

golden *golden_open(const char *name) {
    char path[1024];
    const char *folder = getenv("MIRL_GOLDEN");
    snprintf(path, sizeof path, "%s/%s", folder ? folder : MIRL_TEST_DATA "/golden", name);
    FILE *stream = fopen(path, "rb");
    if (!stream)
        return NULL;
    fseek(stream, 0, SEEK_END);
    size_t size = (size_t)ftell(stream);
    rewind(stream);
    golden *file = calloc(1, sizeof *file);
    file->bytes = malloc(size);
    size_t got = fread(file->bytes, 1, size, stream);
    fclose(stream);
    uint64_t length = 0;
    if (got == size && size >= sizeof length)
        memcpy(&length, file->bytes, sizeof length);
    if (length && length <= size - sizeof length)
        file->header = cJSON_ParseWithLength(file->bytes + sizeof length, length);
    file->data = sizeof length + length;
    if (!file->header) {
        golden_close(file);
        return NULL;
    }
    return file;
}

void golden_close(golden *file) {
    cJSON_Delete(file->header);
    free(file->bytes);
    free(file);
}

const void *golden_tensor(const golden *file, const char *name, size_t *count) {
    const cJSON *tensor = cJSON_GetObjectItemCaseSensitive(file->header, name);
    if (!tensor)
        return NULL;
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(tensor, "data_offsets");
    const char *type = cJSON_GetObjectItemCaseSensitive(tensor, "dtype")->valuestring;
    size_t first = (size_t)cJSON_GetArrayItem(offsets, 0)->valuedouble;
    size_t end = (size_t)cJSON_GetArrayItem(offsets, 1)->valuedouble;
    if (count)
        *count = (end - first) / (strcmp(type, "U8") == 0 ? 1 : sizeof(float));
    return file->bytes + file->data + first;
}

const char *golden_metadata(const golden *file, const char *key) {
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(file->header, "__metadata__");
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(metadata, key));
}

mirl_graph *golden_graph(void) {
    mirl_config config;
    golden *file = golden_open("training.safetensors");
    if (!file)
        return NULL;
    const char *text = golden_metadata(file, "config");
    mirl_graph *graph =
        text && !mirl_config_parse(text, &config, NULL) ? mirl_graph_create(&config, NULL) : NULL;
    golden_close(file);
    return graph;
}
