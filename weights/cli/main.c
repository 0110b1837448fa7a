/* The program `mirl`: a table of commands. */
#include "commands.h"

#include <stdio.h>
#include <string.h>

typedef struct command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
} command;

static const command commands[] = {
    {"restore", "restore photographs", command_restore},
    {"info", "say what a weights file is and what it costs", command_info},
    {"convert", "make a weights file from a checkpoint or another weights file", command_convert},
    {"prune", "train a network after a recipe and prune it round by round", command_prune},
    {"degrade", "make test sets: add noise, rain, haze or JPEG damage to clean images", command_degrade},
    {"bench", "measure speed and memory against what this machine allows", command_bench},
    {"eval", "score weights on test sets", command_eval},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_help(FILE *to) {
    fprintf(to,
            "usage: mirl COMMAND ...\n\nRestores degraded photographs with sparse networks.\n\ncommands:\n");
    for (int i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(to, "\n`mirl COMMAND --help` tells more; `mirl --version` prints the version.\n");
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : NULL;

    if (!name) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (strcmp(name, "--version") == 0) {
        printf("mirl %s\n", mirl_version());
        return EXIT_OK;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return EXIT_OK;
    }
    fprintf(stderr, "mirl: there is no command '%s'; `mirl --help` lists them\n", name);
    return EXIT_USAGE;
}
