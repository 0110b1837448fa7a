/* Writes $MIRL_WEIGHTS_PATH/default.safetensors: a small network with random weights, whose corrections are
 * visible and rarely clipped. */
#include "../program.h"

#include <stdlib.h>
#include <unistd.h>

int main(void) {
    const char *folder = getenv("MIRL_WEIGHTS_PATH");
    if (!folder || chdir(folder))
        return 2;
    program_make_weights("default.safetensors", 0.1F);
    return 0;
}
