/* Values that users type, and the defaults of mirl_options. */
#include "error.h"

#include <string.h>
#include <strings.h>

mirl_options mirl_options_default(void) {
    return (mirl_options){.strength = 1.0f, .tile = MIRL_TILE_AUTO};
}

const char *mirl_version(void) {
    return MIRL_VERSION;
}

/* "12", "1.5" or ".5" at *text, which moves past it; false if there is no digit. Not strtod(), which reads
 * the locale's decimal point. */
static bool read_decimal(const char **text, double *value) {
    const char *at = *text;
    double place = 1;
    int digits = 0;
    bool fraction = false;

    *value = 0;
    for (; (*at >= '0' && *at <= '9') || (*at == '.' && !fraction); at++) {
        if (*at == '.') {
            fraction = true;
            continue;
        }
        if (fraction)
            place /= 10;
        *value = fraction ? *value + (*at - '0') * place : *value * 10 + (*at - '0');
        digits++;
    }
    *text = at;
    return digits > 0;
}

mirl_status mirl_parse_size(const char *text, uint64_t *bytes, mirl_error *error) {
    static const struct {
        const char *name;
        double factor;
    } units[] = {
        {"", 1},        {"B", 1},        {"K", 0x1p10}, {"KB", 0x1p10}, {"KiB", 0x1p10}, {"M", 0x1p20},
        {"MB", 0x1p20}, {"MiB", 0x1p20}, {"G", 0x1p30}, {"GB", 0x1p30}, {"GiB", 0x1p30},
    };
    const char *unit = text ? text : "";
    double value;

    if (read_decimal(&unit, &value))
        for (size_t i = 0; i < sizeof units / sizeof *units; i++)
            if (strcasecmp(unit, units[i].name) == 0 && value * units[i].factor < 0x1p63) {
                *bytes = (uint64_t)(value * units[i].factor);
                return MIRL_OK;
            }
    return mirl_fail(error, MIRL_ERROR_ARGUMENT, "'%s' is not a size: write it as 300000000, 512M or 1.5G",
                     text ? text : "");
}
