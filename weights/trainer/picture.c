/* Cutting and converting pictures. */
#include "trainer/picture.h"

#include <string.h>

void trainer_picture_cut(const trainer_picture *picture, trainer_rectangle rectangle, uint8_t *rgb) {
    size_t row = (size_t)rectangle.width * 3;
    for (int y = 0; y < rectangle.height; y++)
        memcpy(rgb + (size_t)y * row, trainer_picture_at(picture, rectangle.x, rectangle.y + y), row);
}

void trainer_picture_to_planes(const uint8_t *rgb, size_t pixels, float *planes) {
    for (size_t i = 0; i < pixels; i++)
        for (size_t channel = 0; channel < 3; channel++)
            planes[channel * pixels + i] = (float)rgb[3 * i + channel] / 255.0f;
}

void trainer_picture_from_planes(const float *planes, size_t pixels, uint8_t *rgb) {
    for (size_t i = 0; i < pixels; i++)
        for (size_t channel = 0; channel < 3; channel++)
            rgb[3 * i + channel] = trainer_to_byte(planes[channel * pixels + i]);
}
