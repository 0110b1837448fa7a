/* Command lines read with getopt_long(). */
#include "options.h"

#include "commands.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 64, HELP = 256, LONG_ONLY };

int options_complain(const command_line *line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "mirl %s: ", line->name);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, " (mirl %s --help)\n", line->name);
    va_end(arguments);
    return EXIT_USAGE;
}

static void print_option(char letter, const char *name, const char *argument, const char *help) {
    char left[64];
    snprintf(left, sizeof left, "  %c%c%s --%s %s", letter ? '-' : ' ', letter ? letter : ' ',
             letter ? "," : " ", name, argument ? argument : "");
    printf("%-26s ", left);
    for (; *help; help++) {
        putchar(*help);
        if (*help == '\n')
            printf("%27s", "");
    }
    putchar('\n');
}

static void print_help(const command_line *line) {
    printf("usage: mirl %s %s\n\n%s\n\noptions:\n", line->name, line->operands, line->help);
    for (const option_entry *option = line->options; option->name; option++)
        print_option(option->letter, option->name, option->argument, option->help);
    print_option('h', "help", NULL, "print this");
    if (line->notes)
        printf("\n%s\n", line->notes);
}

static bool read_number(const option_entry *option, const char *text, double *value) {
    char *end;
    errno = 0;
    *value = option->kind == OPTION_INTEGER ? (double)strtol(text, &end, 10) : strtod(text, &end);
    return end != text && *end == '\0' && !errno && *value >= option->low && *value <= option->high;
}

/* Stores the value; false after complaining about it. */
static bool store(const command_line *line, const option_entry *option, const char *text) {
    mirl_error error;
    double number;

    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)option->value = true;
        return true;
    case OPTION_TEXT:
        *(const char **)option->value = text;
        return true;
    case OPTION_SIZE:
        if (!mirl_parse_size(text, option->value, &error))
            return true;
        options_complain(line, "--%s: %s", option->name, error.message);
        return false;
    case OPTION_INTEGER:
    case OPTION_NUMBER:
        if (!read_number(option, text, &number)) {
            options_complain(line, "--%s is '%s', it must be a%s number from %g to %g", option->name, text,
                             option->kind == OPTION_INTEGER ? " whole" : "", option->low, option->high);
            return false;
        }
        if (option->kind == OPTION_INTEGER)
            *(int *)option->value = (int)number;
        else
            *(double *)option->value = number;
        return true;
    }
    return false;
}

/* getopt_long()'s tables. A letter's value is the letter; an option without one is LONG_ONLY + index. */
static int make_tables(const option_entry *options, struct option *longs, char *letters) {
    int count = 0;

    *letters++ = ':';
    for (; count < OPTIONS_MAX && options[count].name; count++) {
        const option_entry *option = &options[count];
        bool has_value = option->kind != OPTION_FLAG;
        longs[count] = (struct option){option->name, has_value ? required_argument : no_argument, NULL,
                                       option->letter ? option->letter : LONG_ONLY + count};
        if (option->letter) {
            *letters++ = option->letter;
            if (has_value)
                *letters++ = ':';
        }
    }
    longs[count] = (struct option){"help", no_argument, NULL, HELP};
    *letters++ = 'h';
    *letters = '\0';
    return count;
}

static const option_entry *find_option(const command_line *line, int count, int code) {
    for (int i = 0; i < count; i++)
        if (code == LONG_ONLY + i || (line->options[i].letter && code == line->options[i].letter))
            return &line->options[i];
    return NULL;
}

static int check_operands(const command_line *line, int count) {
    if (count >= line->operands_min && count <= line->operands_max)
        return EXIT_OK;
    if (count < line->operands_min)
        return options_complain(line, "too few names: usage is mirl %s %s", line->name, line->operands);
    return options_complain(line, "too many names: usage is mirl %s %s", line->name, line->operands);
}

int options_read(const command_line *line, int argc, char **argv, int *status) {
    struct option longs[OPTIONS_MAX + 2] = {0};
    char letters[2 * OPTIONS_MAX + 3];
    int count = make_tables(line->options, longs, letters);

    optind = 1;
    opterr = 0;
    for (int code; (code = getopt_long(argc, argv, letters, longs, NULL)) != -1;) {
        *status = EXIT_USAGE;
        if (code == HELP || code == 'h') {
            print_help(line);
            *status = EXIT_OK;
            return -1;
        }
        if (code == ':') {
            options_complain(line, "%s needs a value", argv[optind - 1]);
            return -1;
        }
        const option_entry *option = find_option(line, count, code);
        if (!option) {
            if (optopt && optopt < HELP)
                options_complain(line, "there is no option -%c", optopt);
            else
                options_complain(line, "there is no option %s", argv[optind - 1]);
            return -1;
        }
        if (!store(line, option, optarg))
            return -1;
    }
    *status = check_operands(line, argc - optind);
    return *status ? -1 : optind;
}
