/* Pictures that tests make themselves, and folders of them. */
#ifndef MIRL_TESTS_TRAINER_SCENES_H
#define MIRL_TESTS_TRAINER_SCENES_H

#include "trainer/degrade.h"

/** A picture with a sky, a dark tower and a fine pattern, another one for each seed; free rgb. */
trainer_picture scene_make(int width, int height, uint64_t seed);

/** PSNR of two pictures of the same size, dB. */
double scene_psnr(const uint8_t *a, const uint8_t *b, size_t samples);

/** A new empty folder below the system's temporary one; free with scene_remove(). */
char *scene_folder(void);
void scene_remove(char *folder);

/** Writes the scene as PNG to folder/path; folders on the way are made. */
void scene_write(const char *folder, const char *path, int width, int height, uint64_t seed);

/** Writes `count` scenes as clean images to train on to folder/data. */
void scene_write_clean(const char *folder, int count, int width, int height);

/** Writes text to folder/path. */
void scene_write_text(const char *folder, const char *path, const char *text);

#endif
