/* `mirl prune` as it is run: two tiny rounds from end to end, killed at random places and resumed to the same
 * files, stopped by a signal, and refused recipes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "scenes.h"

static char *folder; ///< with data/train in it; the working folder

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

/* Starts `mirl prune` with these words; what it says goes to the file "said". */
static pid_t start(const char *words) {
    pid_t child = fork();
    if (child != 0)
        return child;
    char copy[1024], *arguments[40] = {"mirl", "prune"};
    int count = 2, said = open("said", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok(copy, " "); word && count < 39; word = strtok(NULL, " "))
        arguments[count++] = word;
    dup2(said, STDERR_FILENO);
    execv(MIRL_PROGRAM, arguments);
    _exit(127);
}

static int finish(pid_t child) {
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int prune(const char *words) {
    return finish(start(words));
}

/* A file's contents, zero-terminated; to be freed. */
static char *contents(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s is missing", path);
    char *bytes = malloc(1 << 22);
    *size = fread(bytes, 1, (1 << 22) - 1, file);
    bytes[*size] = 0;
    fclose(file);
    return bytes;
}

static void assert_same_file(const char *name, const char *one, const char *other) {
    char path[128];
    size_t size, other_size;
    snprintf(path, sizeof path, "%s/%s", one, name);
    char *bytes = contents(path, &size);
    snprintf(path, sizeof path, "%s/%s", other, name);
    char *other_bytes = contents(path, &other_size);
    assert_int_equal(size, other_size);
    assert_memory_equal(bytes, other_bytes, size);
    free(bytes);
    free(other_bytes);
}

static bool said(const char *text) {
    size_t size;
    char *bytes = contents("said", &size);
    bool found = strstr(bytes, text);
    if (!found)
        print_message("said: %s", bytes);
    free(bytes);
    return found;
}

/* The log without what time has put there: round, step, loss, identity, rate. */
static void read_log(const char *path, char *text, size_t size) {
    char line[256];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[0] = 0;
    while (fgets(line, sizeof line, file)) {
        char round[32], step[32], loss[32], identity[32], rate[32];
        assert_int_equal(sscanf(line, "%31[^,],%31[^,],%*[^,],%31[^,],%31[^,],%31[^,],", round, step, loss,
                                identity, rate),
                         5);
        size_t used = strlen(text);
        snprintf(text + used, size - used, "%s %s %s %s %s\n", round, step, loss, identity, rate);
    }
    fclose(file);
}

static const char RECIPE[] = MIRL_SOURCE_DIR "/weights/recipes/tiny.recipe --data data --threads 2 --quiet ";

static void assert_same_run(const char *one, const char *other) {
    static const char *const files[] = {"round-0.safetensors", "round-1.safetensors", "round-2.safetensors",
                                        "tiny.safetensors", "tiny-i8.safetensors"};
    static char log[1 << 14], other_log[1 << 14];
    char path[128];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_same_file(files[i], one, other);
    snprintf(path, sizeof path, "%s/log.csv", one);
    read_log(path, log, sizeof log);
    snprintf(path, sizeof path, "%s/log.csv", other);
    read_log(path, other_log, sizeof other_log);
    assert_string_equal(log, other_log);
}

static void a_killed_run_resumes_to_the_same_files(void **state) {
    (void)state;
    char words[1024];
    int code = 0, kills = 0;

    snprintf(words, sizeof words, "%s --out whole", RECIPE);
    assert_int_equal(prune(words), 0);
    assert_true(said("the network of round 2"));

    snprintf(words, sizeof words, "%s --out killed --resume --checkpoint_minutes 0.001", RECIPE);
    srand((unsigned)time(NULL));
    do {
        pid_t child = start(words);
        if (kills < 8) {
            usleep((useconds_t)(150000 + rand() % 500000));
            kill(child, SIGKILL);
            kills++;
        }
        code = finish(child);
        assert_true(code == 0 || code == 1000 + SIGKILL);
    } while (code != 0);
    assert_same_run("whole", "killed");
}

static void a_broken_checkpoint_gives_way_to_the_one_before(void **state) {
    (void)state;
    char words[1024];
    struct timespec wait = {0, 20000000};
    snprintf(words, sizeof words, "%s --out stopped --checkpoint_minutes 0.001", RECIPE);
    pid_t child = start(words);
    while (access("stopped/checkpoint.previous", F_OK))
        nanosleep(&wait, NULL);
    kill(child, SIGTERM);
    assert_int_equal(finish(child), 128 + SIGTERM);
    assert_true(said("--resume goes on from here"));

    FILE *file = fopen("stopped/checkpoint", "r+b");
    assert_non_null(file);
    fseek(file, 5000, SEEK_SET);
    int byte = fgetc(file);
    fseek(file, 5000, SEEK_SET);
    fputc(byte ^ 64, file);
    fclose(file);
    snprintf(words, sizeof words, "%s --out stopped --resume", RECIPE);
    assert_int_equal(prune(words), 0);
    assert_true(said("its checksum is wrong"));
    assert_same_run("whole", "stopped");
}

static void bad_recipes_get_one_sentence(void **state) {
    (void)state;
    static const struct {
        const char *words, *sentence;
    } cases[] = {
        {"--data data --set colour=red", "there is no key 'colour'"},
        {"--data data --rounds 0", "rounds is '0', it must be a whole number from 1"},
        {"--data data --percent 100", "percent is '100'"},
        {"--data data --heads 1,2,3,8", "configuration: the"},
        {"--data data --crop 12", "crop is 12, it must be a multiple of 8"},
        {"--data data --last_crop 12", "last_crop is 12, it must be a multiple of 8"},
        {"--data data --last_crop 1024", "pixels, smaller than the crop of 1024"},
        {"--data data --round 0.5 --warmup 2", "round is '0.5', it must be a number of epochs, steps or"},
        {"--data data --warmup 40", "warmup is 40 steps"},
        {"--data data --scope some", "scope is 'some'"},
        {"--data data --reset rewind", "reset is 'rewind'"},
        {"--data data --tasks derive", "tasks is 'derive'"},
        {"--data nowhere", "nowhere"},
        {"--data spoiled", "1.png"},
        {"", "the recipe has no key 'data'"},
    };
    scene_write_text(folder, "spoiled/train/denoise/own/1.png", "this is no picture");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char words[1024];
        size_t size;
        snprintf(words, sizeof words, "%s/weights/recipes/tiny.recipe %s --out refused", MIRL_SOURCE_DIR,
                 cases[i].words);
        assert_int_equal(prune(words), 2);
        assert_true(said(cases[i].sentence));
        char *text = contents("said", &size);
        assert_ptr_equal(strchr(text, '\n'), text + size - 1);
        free(text);
        assert_int_equal(access("refused/log.csv", F_OK), -1);
    }
    scene_write_text(folder, "bad.recipe", "dim = 8 # eight\n\nblocks 1 1 1 1\n");
    assert_int_equal(prune("bad.recipe --data data"), 2);
    assert_true(said("bad.recipe:3: 'blocks 1 1 1 1' is not of the form 'key = value'"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_run_resumes_to_the_same_files),
        cmocka_unit_test(a_broken_checkpoint_gives_way_to_the_one_before),
        cmocka_unit_test(bad_recipes_get_one_sentence),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
