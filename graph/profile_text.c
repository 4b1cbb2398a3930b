/* The profile as tables. */
#include "graph/clock.h"
#include "graph/profile_private.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 32 };

/* A line of a table: the sites of an op, or of a layer. */
typedef struct row {
    const char *name;
    int length; /* of the name */
    int64_t calls;
    double seconds[2]; /* all, or forward and backward */
    double flops, bytes;
    double at_peak; /* seconds that its FLOPs take at the peak */
    const char *impl;
    double impl_seconds; /* of the site that named it */
    int impls;           /* kernels met, counted while they change */
} row;

typedef struct table {
    row *row;
    int n;
    row all;
} table;

/* --- collecting --------------------------------------------------------------------------- */

/* Takes d( and ) off a gradient's name. Returns whether it was one. */
static int strip_gradient(const char **name, int *length) {
    int gradient = 0;
    for (; strncmp(*name, "d(", 2) == 0 && (*name)[*length - 1] == ')'; gradient = 1) {
        *name += 2;
        *length -= 3;
    }
    return gradient;
}

/* How much of a node's name is its layer's: up to the first part that is a number, or the first two
 * parts. */
static int layer_length(const char *name, int length) {
    int two = length;
    for (int at = 0, part = 1; at < length; part++) {
        int end = at, digits = 1;
        for (; end < length && name[end] != '/'; end++)
            digits = digits && isdigit((unsigned char)name[end]);
        if (digits && end > at) return end;
        if (part == 2) two = end;
        at = end + 1;
    }
    return two;
}

static row *find(table *t, const char *name, int length) {
    for (int i = 0; i < t->n; i++)
        if (t->row[i].length == length && strncmp(t->row[i].name, name, (size_t)length) == 0)
            return &t->row[i];
    t->row[t->n] = (row){.name = name, .length = length};
    return &t->row[t->n++];
}

static void add(row *r, const cg_site *s, int column, const cg_peak *peak) {
    double flops = (double)s->flops * (double)s->calls;
    double most = !peak ? 0 : s->bf16 && peak->bf16 > 0 ? peak->bf16 : peak->flops;
    r->calls += s->calls;
    r->seconds[column] += s->seconds;
    r->flops += flops;
    r->bytes += (double)s->bytes * (double)s->calls;
    if (most > 0) r->at_peak += flops / most;
    if (!s->impl[0]) return;
    r->impls += !r->impl || strcmp(r->impl, s->impl) != 0;
    if (r->impl && s->seconds <= r->impl_seconds) return;
    r->impl = s->impl;
    r->impl_seconds = s->seconds;
}

/* by_layer 0: a row for each op. A row's room is a site's, for there are no more of them. */
static cg_status collect(const cg_profile *p, const cg_peak *peak, int by_layer, table *t) {
    *t = (table){.row = malloc(((size_t)p->n_site + 1) * sizeof(row)),
                 .all = {.name = "all nodes", .length = 9}};
    if (!t->row) return cg_error(CG_ENOMEM, "no memory to print a profile");
    for (int i = 0; i < p->n_site; i++) {
        const cg_site *s = &p->site[i];
        if (!s->op[0] || !s->calls) continue;
        const char *name = by_layer ? s->name : s->op;
        int length = (int)strlen(name), column = 0;
        if (by_layer) {
            column = strip_gradient(&name, &length);
            length = layer_length(name, length);
        }
        add(find(t, name, length), s, column, peak);
        add(&t->all, s, column, peak);
    }
    return CG_OK;
}

/* --- printing ----------------------------------------------------------------------------- */

static double seconds_of(const row *r) {
    return r->seconds[0] + r->seconds[1];
}

static int slower(const void *a, const void *b) {
    double x = seconds_of(a), y = seconds_of(b);
    return (x < y) - (x > y);
}

static void print_name(FILE *f, const row *r) {
    int cut = r->length > NAME;
    fprintf(f, "%s%.*s%*s", cut ? ".." : "", cut ? NAME - 2 : r->length,
            r->name + (cut ? r->length - NAME + 2 : 0), cut ? 0 : NAME - r->length, "");
}

static void print_rates(FILE *f, const row *r, const cg_peak *peak) {
    double seconds = seconds_of(r);
    if (seconds <= 0) seconds = 1e-9;
    if (r->flops > 0)
        fprintf(f, " %9.1f", 1e-9 * r->flops / seconds);
    else
        fprintf(f, " %9s", "");
    if (peak && r->flops > 0)
        fprintf(f, " %7.1f%%", 100 * r->at_peak / seconds);
    else if (peak)
        fprintf(f, " %8s", "");
    if (r->bytes > 0)
        fprintf(f, " %8.1f", 1e-9 * r->bytes / seconds);
    else
        fprintf(f, " %8s", "");
}

static void print_op(FILE *f, const row *r, const row *all, double runs, const cg_peak *peak) {
    print_name(f, r);
    fprintf(f, " %9.1f %10.3f %6.1f%%", (double)r->calls / runs, 1e3 * seconds_of(r) / runs,
            seconds_of(all) > 0 ? 100 * seconds_of(r) / seconds_of(all) : 0);
    print_rates(f, r, peak);
    if (r->impl && r != all) fprintf(f, "  %s%s", r->impl, r->impls > 1 ? ", …" : "");
    fputc('\n', f);
}

static cg_status print_ops(FILE *f, const cg_profile *p, const cg_peak *peak) {
    table t;
    double runs = p->n_run ? (double)p->n_run : 1;
    CG_TRY(collect(p, peak, 0, &t));
    qsort(t.row, (size_t)t.n, sizeof *t.row, slower);
    fprintf(f, "%-*s %9s %10s %7s %9s", NAME, "op", "calls/run", "ms/run", "share", "GFLOP/s");
    if (peak) fprintf(f, " %8s", "of peak");
    fprintf(f, " %8s  kernel\n", "GB/s");
    for (int i = 0; i < t.n; i++) print_op(f, &t.row[i], &t.all, runs, peak);
    print_op(f, &t.all, &t.all, runs, peak);
    free(t.row);
    return CG_OK;
}

static void print_layer(FILE *f, const row *r, const row *all, double runs, const cg_peak *peak) {
    print_name(f, r);
    fprintf(f, " %10.3f", 1e3 * r->seconds[0] / runs);
    if (all->seconds[1] > 0 && r->seconds[1] > 0)
        fprintf(f, " %11.3f", 1e3 * r->seconds[1] / runs);
    else if (all->seconds[1] > 0)
        fprintf(f, " %11s", "");
    fprintf(f, " %6.1f%%", seconds_of(all) > 0 ? 100 * seconds_of(r) / seconds_of(all) : 0);
    print_rates(f, r, peak);
    fputc('\n', f);
}

static cg_status print_layers(FILE *f, const cg_profile *p, const cg_peak *peak) {
    table t;
    double runs = p->n_run ? (double)p->n_run : 1;
    CG_TRY(collect(p, peak, 1, &t));
    fprintf(f, "\n%-*s %10s", NAME, "layer", "forward ms");
    if (t.all.seconds[1] > 0) fprintf(f, " %11s", "backward ms");
    fprintf(f, " %7s %9s", "share", "GFLOP/s");
    if (peak) fprintf(f, " %8s", "of peak");
    fprintf(f, " %8s\n", "GB/s");
    for (int i = 0; i < t.n; i++) print_layer(f, &t.row[i], &t.all, runs, peak);
    print_layer(f, &t.all, &t.all, runs, peak);
    free(t.row);
    return CG_OK;
}

static void print_time(FILE *f, const char *what, double seconds, double whole) {
    fprintf(f, "%-*s %10.3f %6.1f%%\n", NAME, what, seconds, whole > 0 ? 100 * seconds / whole : 0);
}

/* What is neither a node nor named is the rest. */
static void print_whole(FILE *f, const cg_profile *p) {
    double whole = (p->ended > 0 ? p->ended : cg_now()) - p->begun, nodes = 0, named = 0;
    for (int i = 0; i < p->n_site; i++) *(p->site[i].op[0] ? &nodes : &named) += p->site[i].seconds;
    fprintf(f, "\n%-*s %10s %7s\n", NAME, "the whole time", "seconds", "share");
    print_time(f, "nodes", nodes, whole);
    for (int i = 0; i < p->n_site; i++)
        if (!p->site[i].op[0]) print_time(f, p->site[i].name, p->site[i].seconds, whole);
    print_time(f, "anything else", whole - nodes - named, whole);
    print_time(f, "all", whole, whole);
}

static void print_head(FILE *f, const cg_profile *p, const cg_peak *peak) {
    fprintf(f, "profile of %" PRId64 " run%s", p->n_run, p->n_run == 1 ? "" : "s");
    if (peak) {
        fprintf(f, "; peak %.1f GFLOP/s (%s)", 1e-9 * peak->flops, peak->vector);
        if (peak->bf16 > 0) fprintf(f, ", bf16 %.1f", 1e-9 * peak->bf16);
        if (peak->bytes > 0) fprintf(f, "; memory %.1f GB/s", 1e-9 * peak->bytes);
    }
    fputs("\n\n", f);
}

cg_status cg_profile_text(const cg_profile *p, const cg_peak *peak, char **text) {
    size_t size;
    *text = NULL;
    FILE *f = open_memstream(text, &size);
    if (!f) return cg_error(CG_ENOMEM, "no memory to print a profile");
    print_head(f, p, peak);
    cg_status s = print_ops(f, p, peak);
    if (s == CG_OK) s = print_layers(f, p, peak);
    print_whole(f, p);
    if (fclose(f) != 0 && s == CG_OK) s = cg_error(CG_ENOMEM, "no memory to print a profile");
    if (s == CG_OK) return CG_OK;
    free(*text);
    *text = NULL;
    return s;
}
