/* Training patches, cut and damaged where their images lie: the kernels of ../data.c's make_patch(). What a
 * pixel comes to is computed by the same functions as there (../degrade_*.h), but for JPEG (jpeg.h).
 */

DEVICE uint8_t clip_byte(int value) {
    return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
}

#include "trainer/device/jpeg.h"

/** Where a lane stands: a pixel of a turned patch, and where in the picture it comes from. */
typedef struct patch_spot {
    bool exists;
    int x, y;           ///< in the patch
    int from_x, from_y; ///< in the square that was cut
    size_t value;       ///< of the first channel in [count][3][crop][crop]
} patch_spot;

DEVICE patch_spot patch_spot_of(const trainer_patch *patches, uint32_t block, int lane, int crop) {
    uint32_t pixels = (uint32_t)(crop * crop), chunks = (pixels + LANES - 1) / LANES, which = block / chunks;
    uint32_t pixel = block % chunks * LANES + (uint32_t)lane;
    patch_spot at;
    at.exists = pixel < pixels;
    at.x = (int)(pixel % (uint32_t)crop);
    at.y = (int)(pixel / (uint32_t)crop);
    at.value = (size_t)which * 3 * pixels + pixel;
    trainer_turn_from(patches[which].turn, crop, at.x, at.y, &at.from_x, &at.from_y);
    return at;
}

DEVICE uint32_t patch_of(uint32_t block, int crop) {
    return block / (((uint32_t)(crop * crop) + LANES - 1) / LANES);
}

DEVICE const uint8_t *pixel_of(const trainer_picture *picture, const trainer_patch *patch,
                               const patch_spot *at) {
    return trainer_picture_at(picture, patch->from.x + at->from_x, patch->from.y + at->from_y);
}

DEVICE void put_pixel(float *images, const patch_spot *at, int crop, const uint8_t *rgb) {
    for (int channel = 0; channel < 3; channel++)
        images[at->value + (size_t)(channel * crop * crop)] = (float)rgb[channel] / 255.0f;
}

DEVICE bool is_damaged_by(const trainer_patch *patch, trainer_task task) {
    return !patch->pair && patch->damage.task == task;
}

/* ---- Haze's depth ------------------------------------------------------------------------------------ */

/** The depth of a hazy patch's picture: its span lies first in the patch's room, its fields behind. */
DEVICE trainer_depth depth_in(const uint8_t *room, const trainer_picture *picture) {
    trainer_depth map = trainer_depth_grid(picture);
    trainer_depth_place(&map, (float *)(room + sizeof(trainer_depth_span)));
    return map;
}

DEVICE void average(trainer_depth *map, float *values) {
    BARRIER;
    FOR_LANES {
        trainer_depth_rows(map, values, (size_t)lane, LANES);
    }
    BARRIER;
    FOR_LANES {
        trainer_depth_columns(map, values, (size_t)lane, LANES);
    }
    BARRIER;
}

DEVICE void least_and_largest(trainer_depth_span *part) {
    BARRIER;
    for (int half = LANES / 2; half > 0; half /= 2) {
        FOR_LANES {
            if (lane < half) {
                part[lane].low = fminf(part[lane].low, part[lane + half].low);
                part[lane].high = fmaxf(part[lane].high, part[lane + half].high);
            }
        }
        BARRIER;
    }
}

/* One block makes the depth of one patch's picture. */
KERNEL(depth_kernel, const trainer_patch *patches, const trainer_picture *pictures, uint8_t *room,
       size_t stride) {
    SHARED(trainer_depth_span, part, LANES);
    const trainer_patch *patch = &patches[BLOCK];
    uint8_t *own = room + BLOCK * stride;
    if (!is_damaged_by(patch, TRAINER_DEHAZE))
        return;
    const trainer_picture *picture = &pictures[patch->target];
    trainer_depth map = depth_in(own, picture);
    FOR_LANES {
        trainer_depth_colours(&map, picture, (size_t)lane, LANES);
    }
    BARRIER;
    trainer_random random = patch->damage.random;
    trainer_haze_nearest(&random);
    const trainer_scene scene = trainer_scene_draw(&map, &random);
    FOR_LANES {
        trainer_depth_raw(&map, &scene, (size_t)lane, LANES);
    }
    BARRIER;
    FOR_LANES {
        trainer_depth_products(&map, (size_t)lane, LANES);
    }
    average(&map, map.work);
    average(&map, map.work + trainer_depth_cells(&map));
    average(&map, map.slope);
    average(&map, map.raw);
    FOR_LANES {
        trainer_depth_fit(&map, (size_t)lane, LANES);
    }
    average(&map, map.slope);
    average(&map, map.offset);
    FOR_LANES {
        part[lane] = trainer_depth_span_of(&map, (size_t)lane, LANES);
    }
    least_and_largest(part);
    FOR_LANES {
        if (lane == 0)
            *(trainer_depth_span *)own = part[0];
    }
}

/* ---- Rain -------------------------------------------------------------------------------------------- */

/* Every block draws the streaks of its patch, LANES at a time. */
KERNEL(rain_kernel, const trainer_patch *patches, const trainer_picture *pictures, int crop,
       float *degraded) {
    SHARED(trainer_streak, streaks, LANES);
    PRIVATE(float, light);
    const trainer_patch *patch = &patches[patch_of(BLOCK, crop)];
    const trainer_damage *damage = &patch->damage;
    if (!is_damaged_by(patch, TRAINER_DERAIN))
        return;
    trainer_random random = damage->random;
    FOR_LANES {
        OWN(light) = 0;
    }
    for (int layer = 0; layer < damage->rain_layers; layer++) {
        int count = (int)trainer_rain_count(damage, layer, crop, crop, &random);
        for (int first = 0; first < count; first += LANES) {
            FOR_LANES {
                trainer_random own = random;
                if (first + lane < count)
                    streaks[lane] = trainer_rain_streak(damage, layer, crop, crop, first + lane, &own);
            }
            BARRIER;
            FOR_LANES {
                patch_spot at = patch_spot_of(patches, BLOCK, lane, crop);
                for (int i = 0; i < LANES && first + i < count; i++)
                    OWN(light) += trainer_rain_light(&streaks[i], at.x, at.y);
            }
            BARRIER;
        }
        if (count > 0) // on to the next layer's first number
            trainer_rain_streak(damage, layer, crop, crop, count - 1, &random);
    }
    FOR_LANES {
        patch_spot at = patch_spot_of(patches, BLOCK, lane, crop);
        if (!at.exists)
            continue;
        const uint8_t *clean = pixel_of(&pictures[patch->target], patch, &at);
        uint8_t rainy[3];
        for (int channel = 0; channel < 3; channel++)
            rainy[channel] = trainer_to_byte((float)clean[channel] / 255 + OWN(light));
        put_pixel(degraded, &at, crop, rainy);
    }
}

/* ---- All others, and the clean patches --------------------------------------------------------------- */

DEVICE void noisy_pixel(const trainer_damage *damage, uint32_t sample, const uint8_t *clean, uint8_t *noisy) {
    trainer_random random = damage->random;
    trainer_random_skip_normals(&random, sample);
    for (int channel = 0; channel < 3; channel++)
        noisy[channel] = trainer_noisy_byte(clean[channel], damage->sigma * trainer_random_normal(&random));
}

DEVICE void hazy_pixel(const trainer_patch *patch, const trainer_picture *picture, const uint8_t *room,
                       const patch_spot *at, const uint8_t *clean, uint8_t *hazy) {
    trainer_depth map = depth_in(room, picture);
    trainer_random random = patch->damage.random;
    trainer_haze_pixel(&patch->damage, &map, *(const trainer_depth_span *)room, trainer_haze_nearest(&random),
                       patch->from.x + at->from_x, patch->from.y + at->from_y, clean, hazy);
}

KERNEL(damage_kernel, const trainer_patch *patches, const trainer_picture *pictures, int crop,
       const uint8_t *room, size_t stride, uint32_t side, float *degraded, float *clean) {
    const uint32_t which = patch_of(BLOCK, crop);
    const trainer_patch *patch = &patches[which];
    const trainer_picture *picture = &pictures[patch->target];
    const uint8_t *own = room + which * stride;
    FOR_LANES {
        patch_spot at = patch_spot_of(patches, BLOCK, lane, crop);
        if (!at.exists)
            continue;
        const uint8_t *rgb = pixel_of(picture, patch, &at);
        uint8_t damaged[3];
        put_pixel(clean, &at, crop, rgb);
        if (patch->pair) {
            put_pixel(degraded, &at, crop, pixel_of(&pictures[patch->input], patch, &at));
            continue;
        }
        switch (patch->damage.task) {
        case TRAINER_DENOISE:
            noisy_pixel(&patch->damage, (uint32_t)(at.from_y * crop + at.from_x) * 3, rgb, damaged);
            break;
        case TRAINER_DERAIN: // rain_kernel's
            continue;
        case TRAINER_DEHAZE:
            hazy_pixel(patch, picture, own, &at, rgb, damaged);
            break;
        default:
            jpeg_pixel(patch, pictures, own, side, patch->from.x + at.from_x, patch->from.y + at.from_y,
                       damaged);
        }
        put_pixel(degraded, &at, crop, damaged);
    }
}

KERNEL(difference_kernel, const float *a, const float *b, size_t count, double *partial) {
    SHARED(double, part, LANES);
    FOR_LANES {
        double sum = 0;
        for (size_t v = BLOCK * LANES + (uint32_t)lane; v < count; v += LOSS_BLOCKS * LANES)
            sum += fabs((double)a[v] - b[v]);
        part[lane] = sum;
    }
    sum_block_double(part);
    FOR_LANES {
        if (lane == 0)
            partial[BLOCK] = part[0];
    }
}

/** Bytes of a patch's room. */
static size_t patch_stride(int crop) {
    size_t cells = (size_t)TRAINER_DEPTH_GRID * TRAINER_DEPTH_GRID, side = jpeg_side(crop);
    size_t haze = sizeof(trainer_depth_span) + TRAINER_DEPTH_FIELDS * cells * sizeof(float);
    size_t jpeg = 3 * side * side;
    return ((haze > jpeg ? haze : jpeg) + 15) / 16 * 16;
}

static size_t device_patches_room(int count, int crop) {
    return (size_t)count * patch_stride(crop) + LOSS_BLOCKS * sizeof(double);
}

static void device_patches(const trainer_patch *patches, int count, int crop, const trainer_picture *pictures,
                           void *room, float *degraded, float *clean, double *difference) {
    size_t stride = patch_stride(crop), values = (size_t)(count * 3) * (size_t)(crop * crop);
    size_t blocks = (size_t)count * blocks_of((size_t)(crop * crop));
    uint8_t *rooms = (uint8_t *)room;
    double *partial = (double *)(rooms + (size_t)count * stride);
    LAUNCH(depth_kernel, count, patches, pictures, rooms, stride);
    LAUNCH(jpeg_kernel, (size_t)count * jpeg_blocks(crop), patches, pictures, jpeg_blocks(crop), rooms,
           stride, (uint32_t)jpeg_side(crop));
    LAUNCH(rain_kernel, blocks, patches, pictures, crop, degraded);
    LAUNCH(damage_kernel, blocks, patches, pictures, crop, rooms, stride, (uint32_t)jpeg_side(crop), degraded,
           clean);
    LAUNCH(difference_kernel, LOSS_BLOCKS, degraded, clean, values, partial);
    LAUNCH(loss_sum_kernel, 1, partial, difference);
}
