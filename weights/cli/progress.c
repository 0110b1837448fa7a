/* A progress bar with time left, on a terminal. */
#include "progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { BAR = 24, LABEL_MAX = 40, TAIL = BAR + 26 };

static struct {
    bool on, drawn;
    double started, began, last; ///< seconds; `began` is the share done at `started`
} bar;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

void progress_begin(bool wanted) {
    memset(&bar, 0, sizeof bar);
    bar.on = wanted && isatty(STDERR_FILENO);
    bar.began = -1;
}

static void erase(void) {
    if (bar.drawn)
        fputs("\r\033[K", stderr);
    bar.drawn = false;
}

static int label_width(void) {
    struct winsize size;
    int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
    int width = columns - TAIL - 1;
    return width < 0 ? 0 : width > LABEL_MAX ? LABEL_MAX : width;
}

/* "1:02:03 left", or "" while nothing can be said. */
static void format_left(char *text, size_t size, double seconds) {
    long left = (long)(seconds + 0.5);

    if (seconds < 0 || seconds > 360000)
        snprintf(text, size, "%s", "");
    else if (left >= 3600)
        snprintf(text, size, "%ld:%02ld:%02ld left", left / 3600, left / 60 % 60, left % 60);
    else
        snprintf(text, size, "%ld:%02ld left", left / 60, left % 60);
}

void progress_show(const char *label, double done) {
    double time = now();

    if (!bar.on || (bar.drawn && time - bar.last < 0.1))
        return;
    if (bar.began < 0) {
        bar.began = done;
        bar.started = time;
    }
    char filled[BAR + 1], left[32];
    double rate = time > bar.started ? (done - bar.began) / (time - bar.started) : 0;
    int width = label_width(), length = (int)strlen(label), ticks = (int)(done * BAR);
    memset(filled, ' ', BAR);
    memset(filled, '=', (size_t)(ticks < 0 ? 0 : ticks > BAR ? BAR : ticks));
    filled[BAR] = '\0';
    format_left(left, sizeof left, rate > 0 && time - bar.started > 0.5 ? (1 - done) / rate : -1);
    erase();
    fprintf(stderr, "%-*s [%s] %3.0f %% %s", width, length > width ? label + (length - width) : label, filled,
            100 * done, left);
    fflush(stderr);
    bar.drawn = true;
    bar.last = time;
}

void progress_end(void) {
    erase();
    bar.on = false;
}

void progress_say(const char *command, const char *format, ...) {
    va_list arguments;
    erase();
    va_start(arguments, format);
    fprintf(stderr, "mirl %s: ", command);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}
