/* The profile in Chrome's trace format. */
#include "graph/file.h"
#include "graph/profile_private.h"

#include <inttypes.h>
#include <string.h>

enum { NODES_TRACK = 1, OUTSIDE_TRACK = 2 };

/* A string of JSON; what is not plain ASCII may be no UTF-8: question marks. */
static void put_string(cg_file *f, const char *s) {
    cg_file_write(f, "\"", 1);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') cg_file_write(f, "\\", 1);
        cg_file_write(f, c < 0x20 || c > 0x7e ? "?" : s, 1);
    }
    cg_file_write(f, "\"", 1);
}

/* Whole nanoseconds, so that what lies within another does so after rounding, too. */
static void put_times(cg_file *f, int track, double begin, double end) {
    int64_t from = (int64_t)(1e9 * begin), to = (int64_t)(1e9 * end);
    cg_file_printf(f,
                   ", \"ph\": \"X\", \"pid\": 1, \"tid\": %d, \"ts\": %" PRId64 ".%03d, \"dur\": "
                   "%" PRId64 ".%03d",
                   track, from / 1000, (int)(from % 1000), (to - from) / 1000,
                   (int)((to - from) % 1000));
}

static void put_event(cg_file *f, const cg_site *s, const cg_event *e) {
    cg_file_printf(f, ",\n{\"name\": ");
    put_string(f, s->name);
    cg_file_printf(f, ", \"cat\": ");
    put_string(f, s->op[0] ? s->op : "outside");
    put_times(f, s->op[0] ? NODES_TRACK : OUTSIDE_TRACK, e->begin, e->end);
    if (s->op[0]) {
        cg_file_printf(f, ", \"args\": {\"shape\": ");
        put_string(f, s->shape);
        cg_file_printf(f, ", \"flops\": %" PRId64 ", \"bytes\": %" PRId64 ", \"impl\": ", s->flops,
                       s->bytes);
        put_string(f, s->impl);
        cg_file_printf(f, "}");
    }
    cg_file_printf(f, "}");
}

static void put_names(cg_file *f) {
    static const struct {
        const char *what, *name;
        int track;
    } names[] = {{"process_name", "clipgraph", NODES_TRACK},
                 {"thread_name", "runs and nodes", NODES_TRACK},
                 {"thread_name", "outside of runs", OUTSIDE_TRACK}};
    for (int i = 0; i < 3; i++)
        cg_file_printf(f,
                       "%s{\"name\": \"%s\", \"ph\": \"M\", \"pid\": 1, \"tid\": %d, \"args\": "
                       "{\"name\": \"%s\"}}",
                       i ? ",\n" : "", names[i].what, names[i].track, names[i].name);
}

cg_status cg_profile_trace(const cg_profile *p, const char *path, int64_t *dropped) {
    cg_file *f;
    int64_t first_run = p->n_run > CG_TRACE_RUNS ? p->n_run - CG_TRACE_RUNS : 0;
    int64_t wanted = first_run ? p->run[first_run % CG_TRACE_RUNS].first_event : 0;
    int64_t kept = p->n_event > p->cap_event ? p->n_event - p->cap_event : 0;
    int64_t first = kept > wanted ? kept : wanted;
    if (dropped) *dropped = first - wanted;
    CG_TRY(cg_file_create(path, &f));
    cg_file_printf(f,
                   "{\"displayTimeUnit\": \"ms\", \"otherData\": {\"runs\": %" PRId64
                   ", \"dropped\": %" PRId64 "},\n\"traceEvents\": [\n",
                   p->n_run, first - wanted);
    put_names(f);
    for (int64_t i = first_run; i < p->n_run; i++) {
        const cg_profile_run *r = &p->run[i % CG_TRACE_RUNS];
        cg_file_printf(f, ",\n{\"name\": \"run %" PRId64 "\", \"cat\": \"run\"", i + 1);
        put_times(f, NODES_TRACK, r->begin, r->end);
        cg_file_printf(f, "}");
    }
    for (int64_t i = first; i < p->n_event; i++) {
        const cg_event *e = &p->event[i % p->cap_event];
        put_event(f, &p->site[e->site], e);
    }
    cg_file_printf(f, "\n]}\n");
    return cg_file_commit(f);
}
