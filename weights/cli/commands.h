/* The commands of the program `mirl`: each is one function in one file, listed in main.c. */
#ifndef MIRL_CLI_COMMANDS_H
#define MIRL_CLI_COMMANDS_H

#include "mirl.h"

/** Exit codes. A command that was cancelled by a signal returns 128 + the signal's number. */
enum {
    EXIT_OK = 0,
    EXIT_INPUT = 1,   ///< an input file cannot be read or is not what it must be
    EXIT_USAGE = 2,   ///< the command line is wrong
    EXIT_WEIGHTS = 3, ///< weights cannot be found or opened
    EXIT_MEMORY = 4,  ///< not enough memory
    EXIT_OUTPUT = 5,  ///< a result cannot be written
};

/* argv[0] is the command's own name. The return value is the exit code. */
int command_restore(int argc, char **argv);
int command_info(int argc, char **argv);
int command_convert(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_degrade(int argc, char **argv);
int command_prune(int argc, char **argv);
int command_eval(int argc, char **argv);

/** The weights file that a user means by `name`: an existing file of that name, or what mirl_weights_find()
 * finds. To be freed; NULL with *error set if there is none. */
char *find_weights(const char *name, mirl_error *error);

#endif
