/* The command line of a command: one table says which options it takes, what they may be and what --help
 * prints. */
#ifndef MIRL_CLI_OPTIONS_H
#define MIRL_CLI_OPTIONS_H

#include <stdbool.h>

typedef enum option_kind {
    OPTION_FLAG,    ///< bool *: set to true; takes no value
    OPTION_TEXT,    ///< const char **
    OPTION_INTEGER, ///< int *, low..high
    OPTION_NUMBER,  ///< double *, low..high
    OPTION_SIZE,    ///< uint64_t *: "512M"
} option_kind;

typedef struct option_entry {
    const char *name; ///< without dashes; NULL ends a table
    char letter;      ///< its short form, or 0
    option_kind kind;
    const char *argument; ///< what --help calls its value
    const char *help;     ///< lines separated by '\n'
    void *value;          ///< where the value goes; its initial contents are the default
    double low, high;     ///< bounds, ends included
} option_entry;

typedef struct command_line {
    const char *name;            ///< "restore"
    const char *operands;        ///< "IN... -o OUT"
    const char *help;            ///< what it does, printed before the options
    const char *notes;           ///< printed after them, or NULL
    const option_entry *options; ///< --help is added by itself
    int operands_min, operands_max;
} command_line;

/** Reads argv, stores the options' values and moves operands to its end. Returns the index of the first
 * operand in argv, or, if the command is not to run (help was asked for, or a sentence about what is wrong
 * has been printed), -1 with the exit code in *status. */
int options_read(const command_line *line, int argc, char **argv, int *status);

/** Prints "mirl NAME: sentence" and where help is to standard error; returns EXIT_USAGE. */
int options_complain(const command_line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
