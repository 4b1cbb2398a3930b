#include "cli/stop.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

/* A handler can reach nothing else. */
static volatile sig_atomic_t stop_signal;
static const char *stop_text;

static void on_signal(int number) {
    if (stop_signal) _exit(128 + number);
    stop_signal = number;
    ssize_t unused = write(STDERR_FILENO, stop_text, strlen(stop_text));
    (void)unused;
}

void cli_stop_watch(const char *text) {
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    stop_text = text;
    sigemptyset(&act.sa_mask);
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
}

int cli_stop_asked(void *unused) {
    (void)unused;
    return stop_signal != 0;
}

int cli_stop_code(void) {
    return stop_signal ? 128 + (int)stop_signal : 0;
}
