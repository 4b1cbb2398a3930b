#include "cli/profile.h"

#include "cli/cli.h"
#include "graph/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

cli_profile cli_profile_option(const struct argp_state *state, char *text) {
    if (text && !text[0]) argp_error(state, "--profile: the file's name is empty");
    return (cli_profile){.on = 1, .trace = text};
}

cg_status cli_profile_begin(cli_profile *p) {
    if (!p->on) return CG_OK;
    if (p->trace) {
        cg_file *f;
        CG_TRY(cg_file_create(p->trace, &f));
        cg_file_abandon(f);
    }
    return cg_profile_create(p->trace ? CG_TRACE_EVENTS : 0, &p->profile);
}

static cg_status print_tables(const cg_profile *p, int threads, FILE *f) {
    char *text;
    cg_peak peak;
    int measured = cg_peak_measure(threads, &peak) == CG_OK;
    CG_TRY(cg_profile_text(p, measured ? &peak : NULL, &text));
    fprintf(f, "\n%s", text);
    fflush(f);
    free(text);
    return CG_OK;
}

int cli_profile_end(const char *command, cli_profile *p, cg_runner *r, int json, int code) {
    return cli_profile_end_exec(command, p, r ? cg_runner_exec(r) : NULL,
                                r ? cg_runner_context(r)->threads : 0, json, code);
}

int cli_profile_end_exec(const char *command, cli_profile *p, cg_exec *e, int threads, int json,
                         int code) {
    cg_status s = CG_OK;
    int64_t dropped = 0;
    if (e) cg_exec_profile(e, NULL);
    if (p->profile) cg_profile_stop(p->profile);
    if (e && p->profile && cg_profile_runs(p->profile)) {
        s = print_tables(p->profile, threads, json ? stderr : stdout);
        if (s == CG_OK && p->trace) s = cg_profile_trace(p->profile, p->trace, &dropped);
    }
    if (dropped)
        fprintf(stderr,
                "clipgraph %s: warning: %s has the last %d events; %" PRId64
                " before them found no room\n",
                command, p->trace, CG_TRACE_EVENTS, dropped);
    cg_profile_free(p->profile);
    p->profile = NULL;
    if (s == CG_OK) return code;
    int failed = cli_fail(command, s);
    return code ? code : failed;
}
