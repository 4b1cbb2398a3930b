/* Ctrl-C and SIGTERM, for commands that leave something behind: they ask between steps. */
#ifndef CG_CLI_STOP_H
#define CG_CLI_STOP_H

/* From now on a first signal prints `text` (kept by the caller) and is remembered; a second one
 * ends the process at once. Interrupted system calls go on, so that no file is spoiled. */
void cli_stop_watch(const char *text);

/* Was there a signal? Anything may be passed, nothing is read. */
int cli_stop_asked(void *unused);

/* The exit code that says so, 128 and its number. 0: there was none. */
int cli_stop_code(void);

#endif
