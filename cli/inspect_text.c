/* `clipgraph inspect` for people. */
#include "cli/inspect.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *bytes_text(size_t bytes, char text[32]) {
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double x = (double)bytes;
    int u = 0;
    for (; x >= 999.95 && u < 4; u++) x /= 1024;
    snprintf(text, 32, "%.*f %s", u > 0, x, unit[u]);
    return text;
}

/* 38316896 as 38,316,896 */
static const char *count_text(int64_t n, char text[32]) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRId64, n), at = 0;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0) text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

typedef struct sums {
    int64_t params, flops;
    size_t bytes;
} sums;

static sums add_up(const inspected *m) {
    sums all = {0};
    for (int i = 0; i < m->n_layers; i++) {
        all.params += m->layer[i].params;
        all.flops += m->layer[i].flops;
        all.bytes += m->layer[i].activation_bytes;
    }
    return all;
}

static void print_row(const char *name, int width, const char *op, int op_width, const char *shape,
                      int64_t params, double flops, size_t bytes) {
    char p[32], b[32];
    printf("%-*s  %-*s  %-22s  %12s  %9.2f  %11s\n", width, name, op_width, op, shape,
           params ? count_text(params, p) : "-", flops, bytes_text(bytes, b));
}

static void print_layers(const inspected *m) {
    sums all = add_up(m);
    int giga = all.flops >= 1000000000, width = 5, op_width = 5;
    double unit = giga ? 1e9 : 1e6;
    for (int i = 0; i < m->n_layers; i++) {
        int n = (int)strlen(m->layer[i].name), k = m->layer[i].op ? (int)strlen(m->layer[i].op) : 9;
        width = n > width ? n : width;
        op_width = k > op_width ? k : op_width;
    }
    printf("%-*s  %-*s  %-22s  %12s  %9s  %11s\n", width, "layer", op_width, "op", "output",
           "parameters", giga ? "GFLOP" : "MFLOP", "activations");
    for (int i = 0; i < m->n_layers; i++) {
        const cg_layer *l = &m->layer[i];
        char shape[CG_SHAPE_TEXT], nodes[32];
        snprintf(nodes, sizeof nodes, "%d nodes", l->nodes);
        print_row(l->name, width, l->op ? l->op : nodes, op_width, cg_shape_print(&l->shape, shape),
                  l->params, (double)l->flops / unit, l->activation_bytes);
    }
    print_row("total", width, "", op_width, "", all.params, (double)all.flops / unit, all.bytes);
}

static void print_parameters(const inspected *m) {
    const cg_account_params *c = &m->count;
    char text[32];
    printf("\nParameters            %14s  in %d tensors\n", count_text(c->all, text), c->tensors);
    printf("  image tower         %14s\n", count_text(c->image, text));
    printf("  text tower          %14s\n", count_text(c->text, text));
    printf("  logit scale, bias   %14s\n", count_text(c->logits, text));
}

static void print_memory_row(const char *name, size_t a, size_t b, size_t c) {
    char x[32], y[32], z[32];
    printf("%-20s  %14s  %14s  %14s\n", name, a ? bytes_text(a, x) : "-",
           b ? bytes_text(b, y) : "-", c ? bytes_text(c, z) : "-");
}

static void print_memory(const inspected *m) {
    const cg_account *t = &m->training, *i = &m->images, *c = &m->texts;
    printf("\n%-20s  %14s  %14s  %14s\n", "Planned memory", "training step", "embed pictures",
           "embed texts");
    print_memory_row("  parameters", t->params, i->params, c->params);
    print_memory_row("  gradients", t->gradients, i->gradients, c->gradients);
    print_memory_row("  moments", t->moments, i->moments, c->moments);
    print_memory_row("  batch", t->inputs, i->inputs, c->inputs);
    print_memory_row("  laid out weights", t->plan.frozen_bytes, i->plan.frozen_bytes,
                     c->plan.frozen_bytes);
    print_memory_row("  arena", t->plan.arena_bytes, i->plan.arena_bytes, c->plan.arena_bytes);
    print_memory_row("peak", t->total, i->total, c->total);
    print_memory_row("arena: lower bound", t->plan.lower_bound, i->plan.lower_bound,
                     c->plan.lower_bound);
    print_memory_row("arena: scratch", t->plan.scratch_bytes, i->plan.scratch_bytes,
                     c->plan.scratch_bytes);
    print_memory_row("arena: no reuse", t->plan.all_bytes, i->plan.all_bytes, c->plan.all_bytes);
    printf("%-20s  %14.2f  %14.2f  %14.2f\n", "GFLOP", 1e-9 * (double)t->plan.flops,
           1e-9 * (double)i->plan.flops, 1e-9 * (double)c->plan.flops);
}

/* What each pass changed: rewrites, useful operations, and the memory alive at once. */
static void print_passes(const inspected *m) {
    int n;
    const cg_pass *pass = cg_pass_list(&n);
    printf("\n%-12s  %28s  %28s\n", "Passes", "training step", "inference");
    printf("%-12s  %8s %9s %9s  %8s %9s %9s\n", "", "rewrites", "GFLOP", "MiB", "rewrites", "GFLOP",
           "MiB");
    for (int i = 0; i < n; i++) {
        printf("  %-10s", pass[i].name);
        for (int k = 0; k < 2; k++) {
            const cg_pass_saving *s = &m->saved[k][i];
            printf("  %8d %9.2f %9.1f", s->rewrites, 0 - 1e-9 * (double)s->flops,
                   0 - (double)s->bytes / (1 << 20));
        }
        printf("   %s\n", pass[i].what);
    }
}

void inspect_print_text(const inspect_arguments *a, const inspected *m) {
    int64_t size = m->desc.vision.image_size;
    printf("%s\n%s: %" PRId64 " pictures of %" PRId64 " x %" PRId64 ", %" PRId64
           " captions of %" PRId64 " tokens, embeddings of %" PRId64 "\n\n",
           m->path, inspect_program(a), m->build.images, size, size, m->build.texts, m->tokens,
           m->desc.embed_dim);
    print_layers(m);
    print_parameters(m);
    print_memory(m);
    print_passes(m);
}
