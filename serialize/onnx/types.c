/* The type of each value, from inputs and initializers on, by what the declared opset says of
 * operators. Runs compute in f32 whatever the types; what is refused here no runtime that goes by
 * them would load. */
#include "serialize/onnx/host.h"
#include "serialize/onnx/operators.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Types of values, 0 where a type is not known: what an operator makes that the reader does not
 * know, which an import that needs it refuses. */
typedef struct scope {
    cg_onnx_names type;
    const struct scope *around;
    int64_t opset;
} scope;

static int type_of(const scope *s, const char *name) {
    int type = -1;
    for (; s && type < 0; s = s->around) type = cg_onnx_names_get(&s->type, name);
    return type < 0 ? 0 : type;
}

/* "i32 or i64" */
static const char *print_types(unsigned types, char text[100]) {
    size_t used = 0;
    *text = '\0';
    for (int type = 0; type < 32; type++)
        if (types >> type & 1)
            used += (size_t)snprintf(text + used, 100 - used, "%s%s", used ? " or " : "",
                                     cg_onnx_type_name(type));
    return text;
}

static int declared_type(const CgOnnx__ValueInfoProto *v) {
    int is_tensor = v->type && v->type->value_case == CG_ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    int type = is_tensor ? (int)v->type->tensor_type->elem_type : 0;
    return cg_onnx_type_name(type) ? type : 0;
}

static cg_status check_declared(const scope *s, const char *what, const CgOnnx__ValueInfoProto *v) {
    int declared = declared_type(v), type = v->name ? type_of(s, v->name) : 0;
    if (!declared || !type || declared == type) return CG_OK;
    return cg_error(CG_EFORMAT, "%s %.200s is declared as %s, and is %s", what, v->name,
                    cg_onnx_type_name(declared), cg_onnx_type_name(type));
}

/* --- operands --------------------------------------------------------------------------------- */

/* The letter of operand or result k; 0: there is no such. */
static char letter_at(const char *letters, size_t n, size_t k) {
    int repeats = n > 0 && letters[n - 1] == '*';
    if (repeats && k >= n - 2) return letters[n - 2];
    return (char)(k < n ? letters[k] : 0);
}

/* What letters stand for in a node. */
typedef struct binding {
    int type[128];
    size_t by[128]; /* the operand */
} binding;

static cg_status check_operand(const CgOnnx__NodeProto *n, size_t k, char letter, int type,
                               binding *b) {
    char text[100];
    int at = letter & 127;
    if (b->type[at] && b->type[at] != type)
        return cg_error(CG_EFORMAT, "operand %zu, %.100s, is %s, wanted %s as operand %zu", k,
                        n->input[k], cg_onnx_type_name(type), cg_onnx_type_name(b->type[at]),
                        b->by[at]);
    if (!(cg_onnx_letter(letter) >> type & 1))
        return cg_error(CG_EFORMAT, "operand %zu, %.100s, is %s, wanted %s", k, n->input[k],
                        cg_onnx_type_name(type), print_types(cg_onnx_letter(letter), text));
    b->type[at] = type;
    b->by[at] = k;
    return CG_OK;
}

static cg_status check_operands(const scope *s, const CgOnnx__NodeProto *n, const char *letters,
                                binding *b) {
    size_t n_letters = strcspn(letters, ":");
    for (size_t k = 0; k < n->n_input; k++) {
        if (!*n->input[k]) continue;
        char letter = letter_at(letters, n_letters, k);
        int type = type_of(s, n->input[k]);
        if (!letter)
            return cg_error(CG_EFORMAT, "has %zu operands, wanted at most %zu", n->n_input,
                            n_letters);
        if (type) CG_TRY(check_operand(n, k, letter, type, b));
    }
    return CG_OK;
}

/* --- results ---------------------------------------------------------------------------------- */

/* The type that an attribute states, where one may: f32 where it does not. */
static int stated_type(const CgOnnx__NodeProto *n) {
    int64_t type = CG_ONNX_TYPE(FLOAT);
    for (size_t i = 0; i < n->n_attribute; i++) {
        const CgOnnx__AttributeProto *a = n->attribute[i];
        if (strcmp(a->name, "to") == 0 || strcmp(a->name, "stash_type") == 0) type = a->i;
        if (a->t) type = a->t->data_type;
        if (a->g) type = 0; /* check_branch sees */
        if (strncmp(a->name, "value_float", 11) == 0) type = CG_ONNX_TYPE(FLOAT);
        if (strncmp(a->name, "value_int", 9) == 0) type = CG_ONNX_TYPE(INT64);
        if (strncmp(a->name, "value_string", 12) == 0) type = 0;
    }
    return type > 0 && type < 32 && cg_onnx_type_name((int)type) ? (int)type : 0;
}

static int result_type(const CgOnnx__NodeProto *n, char letter, const binding *b) {
    unsigned types = cg_onnx_letter(letter);
    if (letter == '@') return stated_type(n);
    for (int type = 0; type < 32; type++)
        if (types == 1U << type) return type;
    return b->type[letter & 127];
}

static cg_status define_results(scope *s, const CgOnnx__NodeProto *n, const char *letters,
                                const binding *b) {
    size_t n_letters = strlen(letters);
    for (size_t k = 0; k < n->n_output; k++) {
        char letter = letter_at(letters, n_letters, k);
        if (!*n->output[k]) continue;
        if (!letter)
            return cg_error(CG_EFORMAT, "has %zu results, wanted at most %zu", n->n_output,
                            n_letters);
        CG_TRY(cg_onnx_names_set(&s->type, n->output[k], result_type(n, letter, b)));
    }
    return CG_OK;
}

/* --- nodes ------------------------------------------------------------------------------------ */

static cg_status check_node(scope *s, const CgOnnx__NodeProto *n);

/* What a branch makes, the node makes. */
static cg_status check_branch(scope *own, scope *s, const CgOnnx__NodeProto *n,
                              const CgOnnx__GraphProto *g) {
    for (size_t i = 0; i < g->n_node; i++) CG_TRY(check_node(own, g->node[i]));
    for (size_t k = 0; k < g->n_output && k < n->n_output; k++) {
        int type = type_of(own, g->output[k]->name), other = type_of(s, n->output[k]);
        CG_TRY(check_declared(own, "a branch's output", g->output[k]));
        if (type && other && type != other)
            return cg_error(CG_EFORMAT, "has branches of which one makes %s, one %s",
                            cg_onnx_type_name(other), cg_onnx_type_name(type));
        if (type && *n->output[k]) CG_TRY(cg_onnx_names_set(&s->type, n->output[k], type));
    }
    return CG_OK;
}

static cg_status check_branches(scope *s, const CgOnnx__NodeProto *n) {
    for (size_t i = 0; i < n->n_attribute; i++) {
        if (!n->attribute[i]->g) continue;
        scope own = {.around = s, .opset = s->opset};
        cg_status status = check_branch(&own, s, n, n->attribute[i]->g);
        cg_onnx_names_free(&own.type);
        CG_TRY(status);
    }
    return CG_OK;
}

static cg_status check_types(scope *s, const CgOnnx__NodeProto *n) {
    int first;
    binding b = {0};
    const cg_onnx_schema *schema = cg_onnx_schema_of(n->op_type, s->opset, &first);
    if (!schema && first)
        return cg_error(CG_EFORMAT, "opset %" PRId64 " has no such operator, it came with %d",
                        s->opset, first);
    if (!schema) return define_results(s, n, "A*", &b);
    CG_TRY(cg_onnx_schema_attributes(schema, n));
    CG_TRY(check_operands(s, n, schema->types, &b));
    CG_TRY(define_results(s, n, strchr(schema->types, ':') + 1, &b));
    return check_branches(s, n);
}

static cg_status check_node(scope *s, const CgOnnx__NodeProto *n) {
    char text[200];
    cg_status status = check_types(s, n);
    return status == CG_OK ? CG_OK : cg_error_in(status, "%s", cg_onnx_node_text(n, text));
}

static cg_status check_graph(const cg_onnx_file *f, scope *s) {
    const CgOnnx__GraphProto *g = f->model->graph;
    for (size_t i = 0; i < g->n_initializer; i++)
        CG_TRY(cg_onnx_names_set(&s->type, f->tensor[i].name, f->tensor[i].type));
    for (size_t i = 0; i < g->n_input; i++) {
        CG_TRY(check_declared(s, "input", g->input[i]));
        if (!type_of(s, g->input[i]->name)) /* before IR 4 initializers are inputs, too */
            CG_TRY(cg_onnx_names_set(&s->type, g->input[i]->name, declared_type(g->input[i])));
    }
    for (size_t i = 0; i < g->n_node; i++) CG_TRY(check_node(s, g->node[f->order[i]]));
    for (size_t i = 0; i < g->n_value_info; i++)
        CG_TRY(check_declared(s, "value", g->value_info[i]));
    for (size_t i = 0; i < g->n_output; i++) CG_TRY(check_declared(s, "output", g->output[i]));
    return CG_OK;
}

cg_status cg_onnx_check_types(const cg_onnx_file *f) {
    scope s = {.opset = f->opset};
    cg_status status = check_graph(f, &s);
    cg_onnx_names_free(&s.type);
    return status;
}
