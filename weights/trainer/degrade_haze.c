/* Haze: the picture fades to the airlight with a depth made up for it, a ramp with regions that follow the
 * picture's own. DEGRADATIONS.md has the formulas. */
#include "trainer/degrade_haze.h"

#include <math.h>
#include <stdlib.h>

#include "error.h"
#include "trainer/degrade_kinds.h"

static void box_mean(trainer_depth *map, float *values) {
    trainer_depth_rows(map, values, 0, 1);
    trainer_depth_columns(map, values, 0, 1);
}

static void make_depth(const trainer_picture *picture, trainer_random *random, trainer_depth *map) {
    size_t cells = trainer_depth_cells(map);
    trainer_depth_colours(map, picture, 0, 1);
    trainer_scene scene = trainer_scene_draw(map, random);
    trainer_depth_raw(map, &scene, 0, 1);
    trainer_depth_products(map, 0, 1);
    box_mean(map, map->work);
    box_mean(map, map->work + cells);
    box_mean(map, map->slope);
    box_mean(map, map->raw);
    trainer_depth_fit(map, 0, 1);
    box_mean(map, map->slope);
    box_mean(map, map->offset);
}

mirl_status trainer_degrade_haze(const trainer_damage *damage, const trainer_picture *picture,
                                 trainer_rectangle rectangle, uint8_t *rgb, mirl_error *error) {
    trainer_depth map = trainer_depth_grid(picture);
    size_t cells = trainer_depth_cells(&map);
    float *room = malloc(TRAINER_DEPTH_FIELDS * cells * sizeof *room);
    if (!room)
        return mirl_fail(error, MIRL_ERROR_MEMORY, "no memory for the depth of %zu cells", cells);
    trainer_depth_place(&map, room);
    trainer_random random = damage->random;
    float nearest = trainer_haze_nearest(&random);
    make_depth(picture, &random, &map);
    trainer_depth_span span = trainer_depth_span_of(&map, 0, 1);
    for (int y = rectangle.y; y < rectangle.y + rectangle.height; y++)
        for (int x = rectangle.x; x < rectangle.x + rectangle.width; x++, rgb += 3)
            trainer_haze_pixel(damage, &map, span, nearest, x, y, trainer_picture_at(picture, x, y), rgb);
    free(room);
    return MIRL_OK;
}
