/* JPEG compression and decompression of patches, without the coding between, which loses nothing. All is
 * libjpeg-turbo's integer arithmetic, to the bit: colours in 16 bits after the point, 2x2 means whose
 * rounding alternates, the "islow" transforms (Loeffler, Ligtenberg, Moschytz, ICASSP 1989, in 13 bits), and
 * chroma interpolated with weights 3 : 1.
 *
 * A lane takes a row, then a column, then a row of an 8x8 block of a component. The decompressed components
 * lie in the patch's room, as [3][side][side] bytes.
 */

enum {
    JPEG_BLOCK = 8,
    JPEG_JOBS = LANES / JPEG_BLOCK, ///< 8x8 blocks that one block of lanes takes
    JPEG_DEQUANTIZED = 11,          ///< bits dropped after the first of two transforms
    JPEG_FORWARD = 15,              ///< and after the second
    JPEG_INVERSE = 18
};

/* ITU-T T.81, Annex K: luma, then chroma, at quality 50. */
TABLE(uint8_t, jpeg_steps, 2 * JPEG_BLOCK * JPEG_BLOCK) = {
    16, 11, 10, 16, 24,  40,  51,  61,  12, 12, 14, 19, 26,  58,  60,  55, //
    14, 13, 16, 24, 40,  57,  69,  56,  14, 17, 22, 29, 51,  87,  80,  62, //
    18, 22, 37, 56, 68,  109, 103, 77,  24, 35, 55, 64, 81,  104, 113, 92, //
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99, //
    17, 18, 24, 47, 99,  99,  99,  99,  18, 21, 26, 66, 99,  99,  99,  99, //
    24, 26, 56, 99, 99,  99,  99,  99,  47, 66, 99, 99, 99,  99,  99,  99, //
    99, 99, 99, 99, 99,  99,  99,  99,  99, 99, 99, 99, 99,  99,  99,  99, //
    99, 99, 99, 99, 99,  99,  99,  99,  99, 99, 99, 99, 99,  99,  99,  99,
};

/** Side of a component's plane. */
static inline size_t jpeg_side(int crop) {
    return (size_t)crop + 2 * TRAINER_JPEG_GRID;
}

/** What is compressed of which picture. */
typedef struct jpeg_source {
    const trainer_picture *picture;
    trainer_rectangle region;
    bool full_chroma;
} jpeg_source;

DEVICE jpeg_source jpeg_source_of(const trainer_patch *patch, const trainer_picture *pictures) {
    jpeg_source source;
    source.picture = &pictures[patch->target];
    source.region = trainer_jpeg_region(&patch->damage, source.picture, patch->from);
    source.full_chroma = patch->damage.jpeg_full_chroma;
    return source;
}

DEVICE bool is_halved(const jpeg_source *source, int component) {
    return component > 0 && !source->full_chroma;
}

DEVICE int component_length(const jpeg_source *source, int component, int length) {
    return is_halved(source, component) ? (length + 1) / 2 : length;
}

DEVICE int least(int a, int b) {
    return a < b ? a : b;
}

/** Y, Cb or Cr of a pixel of the region; beyond its right and lower end as at it. */
DEVICE int jpeg_component(const jpeg_source *source, int component, int x, int y) {
    const uint8_t *rgb =
        trainer_picture_at(source->picture, source->region.x + least(x, source->region.width - 1),
                           source->region.y + least(y, source->region.height - 1));
    int r = rgb[0], g = rgb[1], b = rgb[2], half = 1 << 15, middle = 128 << 16;
    return component == 0   ? (19595 * r + 38470 * g + 7471 * b + half) >> 16
           : component == 1 ? (-11059 * r - 21709 * g + 32768 * b + middle + half - 1) >> 16
                            : (32768 * r - 27439 * g - 5329 * b + middle + half - 1) >> 16;
}

/** A sample that is transformed, -128..127. */
DEVICE int jpeg_sample(const jpeg_source *source, int component, int x, int y) {
    if (!is_halved(source, component))
        return jpeg_component(source, component, x, y) - 128;
    y = least(y, component_length(source, component, source->region.height) - 1);
    int sum = jpeg_component(source, component, 2 * x, 2 * y) +
              jpeg_component(source, component, 2 * x + 1, 2 * y) +
              jpeg_component(source, component, 2 * x, 2 * y + 1) +
              jpeg_component(source, component, 2 * x + 1, 2 * y + 1);
    return ((sum + 1 + x % 2) >> 2) - 128;
}

DEVICE int descale(int value, int bits) {
    return (value + (1 << (bits - 1))) >> bits;
}

/** The rotations that both transforms share: odd[0..3] from the four values of odd index. */
DEVICE void turn_odd(int *odd) {
    int a = odd[0] + odd[3], b = odd[1] + odd[2], c = odd[0] + odd[2], d = odd[1] + odd[3];
    int both = 9633 * (c + d);
    a *= -7373;
    b *= -20995;
    c = both - 16069 * c;
    d = both - 3196 * d;
    odd[0] = 2446 * odd[0] + a + c;
    odd[1] = 16819 * odd[1] + b + d;
    odd[2] = 25172 * odd[2] + b + c;
    odd[3] = 12299 * odd[3] + a + d;
}

/** The transform of 8 values, with `bits` dropped of 13 more. */
DEVICE void forward_transform(int *v, int bits) {
    int even[4] = {v[0] + v[7], v[1] + v[6], v[2] + v[5], v[3] + v[4]};
    int odd[4] = {v[3] - v[4], v[2] - v[5], v[1] - v[6], v[0] - v[7]};
    int outer = even[0] - even[3], inner = even[1] - even[2], both = 4433 * (inner + outer);
    turn_odd(odd);
    v[0] = descale((even[0] + even[3] + even[1] + even[2]) * 8192, bits);
    v[4] = descale((even[0] + even[3] - even[1] - even[2]) * 8192, bits);
    v[2] = descale(both + 6270 * outer, bits);
    v[6] = descale(both - 15137 * inner, bits);
    v[7] = descale(odd[0], bits);
    v[5] = descale(odd[1], bits);
    v[3] = descale(odd[2], bits);
    v[1] = descale(odd[3], bits);
}

DEVICE void inverse_transform(int *v, int bits) {
    int odd[4] = {v[7], v[5], v[3], v[1]}, even[4];
    int both = 4433 * (v[2] + v[6]), inner = both - 15137 * v[6], outer = both + 6270 * v[2];
    int sum = (v[0] + v[4]) * 8192, difference = (v[0] - v[4]) * 8192;
    turn_odd(odd);
    even[0] = sum + outer;
    even[1] = difference + inner;
    even[2] = difference - inner;
    even[3] = sum - outer;
    for (int i = 0; i < 4; i++) {
        v[i] = descale(even[i] + odd[3 - i], bits);
        v[7 - i] = descale(even[i] - odd[3 - i], bits);
    }
}

/** Quantized and back. The transforms leave 8 times the value. */
DEVICE int requantize(int value, int place, int component, int quality) {
    int scale = quality < 50 ? 5000 / quality : 200 - 2 * quality;
    int step = (jpeg_steps[(component > 0) * JPEG_BLOCK * JPEG_BLOCK + place] * scale + 50) / 100;
    step = step < 1 ? 1 : least(step, 255);
    int times = ((value < 0 ? -value : value) + 4 * step) / (8 * step);
    return (value < 0 ? -times : times) * step;
}

/** The 8x8 block that a lane works on: of which component, and where. */
typedef struct jpeg_job {
    bool exists;
    int component, x, y;
} jpeg_job;

DEVICE jpeg_job jpeg_job_of(const jpeg_source *source, uint32_t index, uint32_t side) {
    uint32_t blocks = side / JPEG_BLOCK;
    jpeg_job job;
    job.component = (int)(index / (blocks * blocks));
    job.y = (int)(index / blocks % blocks * JPEG_BLOCK);
    job.x = (int)(index % blocks * JPEG_BLOCK);
    job.exists = job.component < 3 && job.x < component_length(source, job.component, source->region.width) &&
                 job.y < component_length(source, job.component, source->region.height);
    return job;
}

static uint32_t jpeg_blocks(int crop) {
    uint32_t blocks = (uint32_t)jpeg_side(crop) / JPEG_BLOCK;
    return (3 * blocks * blocks + JPEG_JOBS - 1) / JPEG_JOBS;
}

KERNEL(jpeg_kernel, const trainer_patch *patches, const trainer_picture *pictures, uint32_t blocks,
       uint8_t *room, size_t stride, uint32_t side) {
    SHARED(int, values, LANES *JPEG_BLOCK);
    const trainer_patch *patch = &patches[BLOCK / blocks];
    uint8_t *planes = room + BLOCK / blocks * stride;
    uint32_t first = BLOCK % blocks * JPEG_JOBS;
    if (patch->pair || patch->damage.task != TRAINER_DEJPEG)
        return;
    const jpeg_source source = jpeg_source_of(patch, pictures);
    FOR_LANES {
        jpeg_job job = jpeg_job_of(&source, first + (uint32_t)lane / JPEG_BLOCK, side);
        int *row = values + lane * JPEG_BLOCK, y = job.y + lane % JPEG_BLOCK;
        for (int i = 0; job.exists && i < JPEG_BLOCK; i++)
            row[i] = jpeg_sample(&source, job.component, job.x + i, y);
        if (job.exists)
            forward_transform(row, JPEG_DEQUANTIZED);
    }
    BARRIER;
    FOR_LANES {
        jpeg_job job = jpeg_job_of(&source, first + (uint32_t)lane / JPEG_BLOCK, side);
        int *block = values + lane / JPEG_BLOCK * JPEG_BLOCK * JPEG_BLOCK, column[JPEG_BLOCK];
        if (!job.exists)
            continue;
        for (int i = 0; i < JPEG_BLOCK; i++)
            column[i] = block[i * JPEG_BLOCK + lane % JPEG_BLOCK];
        forward_transform(column, JPEG_FORWARD);
        for (int i = 0; i < JPEG_BLOCK; i++)
            column[i] = requantize(column[i], i * JPEG_BLOCK + lane % JPEG_BLOCK, job.component,
                                   patch->damage.jpeg_quality);
        inverse_transform(column, JPEG_DEQUANTIZED);
        for (int i = 0; i < JPEG_BLOCK; i++)
            block[i * JPEG_BLOCK + lane % JPEG_BLOCK] = column[i];
    }
    BARRIER;
    FOR_LANES {
        jpeg_job job = jpeg_job_of(&source, first + (uint32_t)lane / JPEG_BLOCK, side);
        int *row = values + lane * JPEG_BLOCK;
        if (!job.exists)
            continue;
        inverse_transform(row, JPEG_INVERSE);
        uint8_t *to = planes +
                      ((uint32_t)job.component * side + (uint32_t)(job.y + lane % JPEG_BLOCK)) * side +
                      (uint32_t)job.x;
        for (int i = 0; i < JPEG_BLOCK; i++)
            to[i] = clip_byte(row[i] + 128);
    }
}

/** A decompressed component at a pixel of the region. */
DEVICE int jpeg_decompressed(const jpeg_source *source, const uint8_t *planes, uint32_t side, int component,
                             int x, int y) {
    const uint8_t *plane = planes + (uint32_t)component * side * side;
    if (!is_halved(source, component))
        return plane[(uint32_t)y * side + (uint32_t)x];
    int columns = component_length(source, component, source->region.width);
    int rows = component_length(source, component, source->region.height);
    int u = x / 2, v = y / 2, next_u = x % 2 ? least(u + 1, columns - 1) : u > 0 ? u - 1 : 0;
    int next_v = y % 2 ? least(v + 1, rows - 1) : v > 0 ? v - 1 : 0;
    const uint8_t *near_row = plane + (uint32_t)v * side, *far_row = plane + (uint32_t)next_v * side;
    int near_sum = 3 * near_row[u] + far_row[u], far_sum = 3 * near_row[next_u] + far_row[next_u];
    return (3 * near_sum + far_sum + 8 - x % 2) >> 4;
}

/** The decompressed pixel (x, y) of the picture. */
DEVICE void jpeg_pixel(const trainer_patch *patch, const trainer_picture *pictures, const uint8_t *planes,
                       uint32_t side, int x, int y, uint8_t *rgb) {
    const jpeg_source source = jpeg_source_of(patch, pictures);
    x -= source.region.x;
    y -= source.region.y;
    int luma = jpeg_decompressed(&source, planes, side, 0, x, y), half = 1 << 15;
    int cb = jpeg_decompressed(&source, planes, side, 1, x, y) - 128;
    int cr = jpeg_decompressed(&source, planes, side, 2, x, y) - 128;
    rgb[0] = clip_byte(luma + ((91881 * cr + half) >> 16));
    rgb[1] = clip_byte(luma + ((-22554 * cb - 46802 * cr + half) >> 16));
    rgb[2] = clip_byte(luma + ((116130 * cb + half) >> 16));
}
