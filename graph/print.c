/* Printing graphs as text, one line a node. */
#include "graph/print_private.h"

#include <inttypes.h>
#include <stdlib.h>

static void print_value(FILE *f, const cg_value *v) {
    switch (v->kind) {
    case CG_VALUE_INPUT:
    case CG_VALUE_PARAM:
        fputs(v->name, f);
        break;
    case CG_VALUE_CONSTANT:
        if (v->dtype == CG_F32 && v->shape.rank == 0)
            fprintf(f, "%g", (double)*(const float *)v->data);
        else
            fprintf(f, "constant%d", v->id);
        break;
    case CG_VALUE_RESULT:
        fprintf(f, "%%%d", v->node->id);
        if (v->node->n_out > 1) fprintf(f, ".%d", v->index);
    }
}

void cg_print_type(FILE *f, const cg_value *v) {
    char shape[CG_SHAPE_TEXT];
    fprintf(f, "%s%s", cg_dtype_name(v->dtype), cg_shape_print(&v->shape, shape));
}

void cg_print_attributes(FILE *f, const cg_node *n, const char *separator) {
    for (const cg_attr_field *a = n->op->attr; a && a->name; a++) {
        const char *at = (const char *)n->attr + a->offset;
        char shape[CG_SHAPE_TEXT];
        fputs(separator, f);
        switch (a->type) {
        case CG_ATTR_INT:
            if (a->word)
                fprintf(f, "%s=%s", a->name, a->word(*(const int64_t *)(const void *)at));
            else
                fprintf(f, "%s=%" PRId64, a->name, *(const int64_t *)(const void *)at);
            break;
        case CG_ATTR_FLOAT:
            fprintf(f, "%s=%g", a->name, (double)*(const float *)(const void *)at);
            break;
        case CG_ATTR_SHAPE:
            fprintf(f, "%s=%s", a->name, cg_shape_print((const cg_shape *)(const void *)at, shape));
        }
    }
}

static void print_node(FILE *f, const cg_node *n) {
    fprintf(f, "%%%d %s = %s(", n->id, n->name, n->op->name);
    for (int i = 0; i < n->n_in; i++) {
        if (i) fputs(", ", f);
        print_value(f, n->in[i]);
    }
    fputc(')', f);
    cg_print_attributes(f, n, " ");
    fputs(" :", f);
    for (int i = 0; i < n->n_out; i++) {
        fputs(i ? ", " : " ", f);
        cg_print_type(f, n->out[i]);
    }
    fputc('\n', f);
}

cg_status cg_print_finish(FILE *f, char **text) {
    int failed = ferror(f);
    if (fclose(f) == 0 && !failed) return CG_OK;
    free(*text);
    *text = NULL;
    return cg_error(CG_ENOMEM, "no memory to print a graph");
}

FILE *cg_print_start(char **text, size_t *size) {
    *text = NULL;
    FILE *f = open_memstream(text, size);
    if (!f) cg_error(CG_ENOMEM, "no memory to print a graph");
    return f;
}

cg_status cg_graph_text(const cg_graph *g, char **text) {
    size_t size;
    FILE *f = cg_print_start(text, &size);
    if (!f) return CG_ENOMEM;
    for (int i = 0; i < g->n_value; i++) {
        const cg_value *v = g->value[i];
        if (v->kind == CG_VALUE_RESULT) continue;
        if (v->kind == CG_VALUE_CONSTANT && v->shape.rank == 0 && v->dtype == CG_F32) continue;
        fputs(v->kind == CG_VALUE_INPUT   ? "input "
              : v->kind == CG_VALUE_PARAM ? "parameter "
                                          : "",
              f);
        print_value(f, v);
        fputs(" : ", f);
        cg_print_type(f, v);
        fputc('\n', f);
    }
    for (int i = 0; i < g->n_node; i++) print_node(f, g->node[i]);
    static const char *const mode[] = {"output", "output (set)", "output (added)", "update"};
    for (int i = 0; i < g->n_output; i++) {
        fprintf(f, "%s %s = ", mode[g->output[i].mode], g->output[i].name);
        print_value(f, g->output[i].value);
        fputc('\n', f);
    }
    return cg_print_finish(f, text);
}
