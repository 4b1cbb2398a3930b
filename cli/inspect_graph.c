/* `clipgraph inspect --graph`: the graph as text, JSON or a picture, after all passes or each. */
#include "cli/child.h"
#include "cli/inspect.h"
#include "graph/file.h"
#include "serialize/graph_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The picture's title: of which model, what it shows, at which sizes, after which pass. */
static void make_title(const inspect_arguments *a, const inspected *m, const char *after,
                       char title[512]) {
    const char *slash = strrchr(m->path, '/');
    char pictures[64] = "", captions[96] = "";
    if (a->images) snprintf(pictures, sizeof pictures, ", %" PRId64 " pictures", m->build.images);
    if (a->texts)
        snprintf(captions, sizeof captions, ", %" PRId64 " captions of %" PRId64 " tokens",
                 m->build.texts, m->tokens);
    snprintf(title, 512, "%.200s: %s%s%s, %s", slash ? slash + 1 : m->path, inspect_program(a),
             pictures, captions, after);
}

static cg_status draw(const char *dot, char **svg) {
    static const char *const program[] = {"dot", "-Tsvg", NULL};
    size_t size;
    cg_status s = cli_child(program, dot, strlen(dot), svg, &size);
    if (s == CG_OK) return s;
    return cg_error_in(s, "--graph svg%s",
                       s == CG_ENOTFOUND ? " wants Graphviz to be installed" : "");
}

static cg_status graph_as(const inspect_arguments *a, const inspected *m, const char *after,
                          char **text) {
    char title[512], *dot;
    if (a->graph == INSPECT_GRAPH_TEXT) return cg_graph_text(m->graph, text);
    if (a->graph == INSPECT_GRAPH_JSON) return cg_graph_json(m->graph, text);
    make_title(a, m, after, title);
    const cg_dot_options o = {.collapse = a->collapse, .title = title, .part = {"visual", "text"}};
    CG_TRY(cg_graph_dot(m->graph, &o, &dot));
    if (a->graph == INSPECT_GRAPH_DOT) {
        *text = dot;
        return CG_OK;
    }
    cg_status s = draw(dot, text);
    free(dot);
    return s;
}

/* --- one graph for each pass ------------------------------------------------------------------ */

static const char *const endings[] = {"", "txt", "dot", "svg", "json"};

/* Of the graph after the first n passes. */
static void name_step(int n, const char *ending, char name[64]) {
    int count;
    const cg_pass *pass = cg_pass_list(&count);
    snprintf(name, 64, "%d-%s.%s", n, n ? pass[n - 1].name : "described", ending);
}

static int is_step(void *arg, const char *found) {
    int count;
    char name[64];
    (void)arg;
    cg_pass_list(&count);
    for (int n = 0; n <= count; n++)
        for (int k = INSPECT_GRAPH_TEXT; k <= INSPECT_GRAPH_JSON; k++) {
            name_step(n, endings[k], name);
            if (strcmp(found, name) == 0) return 1;
        }
    return 0;
}

/* The graph after the first n passes; into the folder, and a line on what changed. */
static cg_status write_step(const inspect_arguments *a, inspected *m, const char *folder, int n) {
    int count;
    const cg_pass *pass = cg_pass_list(&count);
    cg_pass_saving saved[CG_MAX_PASSES] = {{0}};
    char name[64], path[4096], after[64], *text;
    CG_TRY(inspect_build(a, a->run.off | CG_PASSES_NONE << n, saved, m));
    int rewrites = n ? saved[n - 1].rewrites : 0;
    if (n && rewrites == 0) return CG_OK;
    name_step(n, endings[a->graph], name);
    snprintf(after, sizeof after, n ? "after %s" : "as described", n ? pass[n - 1].name : "");
    CG_TRY(graph_as(a, m, after, &text));
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cg_status s = cg_file_save(path, text, strlen(text));
    free(text);
    if (s == CG_OK) printf("%-20s %6d nodes  %5d rewrites\n", name, m->graph->n_node, rewrites);
    return s;
}

static cg_status write_each(const inspect_arguments *a, inspected *m) {
    int count;
    cg_folder *folder;
    cg_pass_list(&count);
    CG_TRY(cg_folder_check(a->out, is_step, NULL));
    CG_TRY(cg_folder_create(a->out, &folder));
    for (int n = 0; n <= count; n++) {
        cg_status s = write_step(a, m, cg_folder_path(folder), n);
        if (s == CG_OK) continue;
        cg_folder_abandon(folder);
        return s;
    }
    return cg_folder_publish(folder);
}

/* ---------------------------------------------------------------------------------------------- */

static cg_status write_one(const inspect_arguments *a, inspected *m) {
    int count;
    const cg_pass *pass = cg_pass_list(&count);
    char after[64] = "as described", *text;
    if (a->after == count || (a->passes_given && !a->after_given))
        snprintf(after, sizeof after, "after %s passes", a->run.off ? "these" : "all");
    else if (a->after)
        snprintf(after, sizeof after, "after %s", pass[a->after - 1].name);
    CG_TRY(graph_as(a, m, after, &text));
    cg_status s = CG_OK;
    if (a->out)
        s = cg_file_save(a->out, text, strlen(text));
    else
        printf("%s%s", text, a->graph == INSPECT_GRAPH_JSON ? "\n" : "");
    free(text);
    return s;
}

cg_status inspect_print_graph(const inspect_arguments *a, inspected *m) {
    return a->after == INSPECT_EACH ? write_each(a, m) : write_one(a, m);
}
