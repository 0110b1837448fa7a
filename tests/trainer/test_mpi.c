/* Two processes over MPI take the same steps as one with twice the batch: the same losses, to rounding.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "scenes.h"

enum { STEPS = 12 };

static char *folder;

static int enter(void **state) {
    (void)state;
    folder = scene_folder();
    scene_write_clean(folder, 3, 72, 64);
    return chdir(folder);
}

static int leave(void **state) {
    (void)state;
    scene_remove(folder);
    return 0;
}

static void train(const char *launcher, int batch, const char *out) {
    char command[1024];
    snprintf(command, sizeof command,
             "OMP_NUM_THREADS=1 %s %s prune %s/weights/recipes/tiny.recipe --data data --out %s --quiet "
             "--batch %d --last_batch %d "
             "--rounds 1 --round '%d steps' --log_steps 1 --checkpoint_minutes 10",
             launcher, MIRL_PROGRAM, MIRL_SOURCE_DIR, out, batch, batch, STEPS);
    assert_int_equal(system(command), 0);
}

static int read_losses(const char *path, double losses[2 * STEPS]) {
    char line[256];
    int count = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        count += sscanf(line, "%*d,%*d,%*f,%lf", &losses[count]) == 1;
    fclose(file);
    return count;
}

static void two_processes_are_one_with_twice_the_batch(void **state) {
    (void)state;
    double one[2 * STEPS], two[2 * STEPS];
    train("", 4, "one");
    train("mpirun --allow-run-as-root --oversubscribe -n 2", 2, "two");
    assert_int_equal(read_losses("one/log.csv", one), 2 * STEPS);
    assert_int_equal(read_losses("two/log.csv", two), 2 * STEPS);
    for (int i = 0; i < 2 * STEPS; i++)
        if (fabs(one[i] - two[i]) > 1e-4 * one[i])
            fail_msg("step %d: loss %.9g, with two processes %.9g", i, one[i], two[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_processes_are_one_with_twice_the_batch),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
