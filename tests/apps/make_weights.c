/* Writes the weights that the tests of the adapters use: a small network with random values, whose
 * corrections are visible and rarely clipped. usage: make-test-weights FILE */
#include "program.h"

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    program_make_weights(argv[1], 0.1f);
    return 0;
}
