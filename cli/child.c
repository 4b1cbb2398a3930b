#include "cli/child.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* What was written to f, from its beginning. */
static cg_status read_all(FILE *f, char **text, size_t *size) {
    long end = fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
    *text = end < 0 ? NULL : malloc((size_t)end + 1);
    if (!*text) return cg_error(CG_ENOMEM, "no memory for what it printed");
    rewind(f);
    *size = fread(*text, 1, (size_t)end, f);
    (*text)[*size] = '\0';
    return CG_OK;
}

static cg_status run(const char *const *argv, FILE *in, FILE *out) {
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status = 0;
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed) return cg_error(CG_EIO, "%s", strerror(failed));
    posix_spawn_file_actions_adddup2(&actions, fileno(in), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fileno(out), STDOUT_FILENO);
    failed = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed == ENOENT) return cg_error(CG_ENOTFOUND, "there is no such program in PATH");
    if (failed) return cg_error(CG_EIO, "%s", strerror(failed));
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return cg_error(CG_EIO, "%s", strerror(errno));
    if (WIFSIGNALED(status)) return cg_error(CG_EIO, "ended by signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status)) return cg_error(CG_EIO, "ended with code %d", WEXITSTATUS(status));
    return CG_OK;
}

/* Files rather than pipes: neither side can then wait for the other. */
cg_status cli_child(const char *const *argv, const char *input, size_t bytes, char **output,
                    size_t *size) {
    FILE *in = tmpfile(), *out = tmpfile();
    *output = NULL;
    cg_status s = CG_OK;
    if (!in || !out || fwrite(input, 1, bytes, in) != bytes || fflush(in) != 0)
        s = cg_error(CG_EIO, "no temporary file: %s", strerror(errno));
    if (s == CG_OK) {
        rewind(in);
        s = run(argv, in, out);
    }
    if (s == CG_OK) s = read_all(out, output, size);
    if (in) fclose(in);
    if (out) fclose(out);
    return s == CG_OK ? s : cg_error_in(s, "%s", argv[0]);
}
