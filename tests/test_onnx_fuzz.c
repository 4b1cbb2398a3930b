/* labels: fuzz */
/* Exported files, damaged: bytes changed, cut off or copied elsewhere; and, by their structure,
 * nodes, attributes, tensors and names changed for others. Each is opened, and where that succeeds
 * imported and run: whatever comes of it, it is no crash. The same files each time; as a program,
 *
 *     test_onnx_fuzz SECONDS [SEED]    goes on for so long, with files of its own */
#include "graph/clock.h"
#include "graph/op.h"
#include "graph/rng.h"
#include "serialize/onnx/import.h"
#include "serialize/onnx/session.h"
#include "tests/support/golden.h"
#include "tests/support/onnx_tiny.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#define FOLDER CG_SOURCE_DIR "/tests/golden/onnx/"
#define PATH   "onnx_fuzz.tmp.onnx"

static const char *const names[] = {
    "openai-vit-13",         "openai-rn-16", "openai-text-16", "openai-vit-18-dynamo",
    "openai-text-18-dynamo", "hf-image-16",  "hf-text-17",     "hf-masked-14",
    "hf-masked-17",          "hf-both-18"};
enum { FILES = sizeof names / sizeof *names, MOST = 8, ROUNDS = 400 };

typedef struct source {
    unsigned char *data;
    size_t bytes;
} source;

typedef struct tally {
    int64_t made, opened, imported, run;
    double slowest;
} tally;

static uint64_t below(cg_rng *r, uint64_t n) {
    return n ? cg_rng_below(r, n) : 0;
}

/* --- of bytes ------------------------------------------------------------------------------------
 */

static size_t damage_bytes(cg_rng *r, unsigned char *data, size_t bytes) {
    switch (below(r, 4)) {
    case 0: /* some bytes */
        for (uint64_t i = 1 + below(r, 8); i > 0; i--)
            data[below(r, bytes)] = (unsigned char)cg_rng_u32(r);
        break;
    case 1: /* single bits */
        for (uint64_t i = 1 + below(r, 8); i > 0; i--)
            data[below(r, bytes)] ^= (unsigned char)(1u << below(r, 8));
        break;
    case 2: /* the end */
        return below(r, bytes);
    default: { /* a piece, elsewhere */
        size_t n = 1 + below(r, 200 < bytes ? 200 : bytes);
        memmove(data + below(r, bytes - n + 1), data + below(r, bytes - n + 1), n);
    }
    }
    return bytes;
}

/* --- of structure
 * --------------------------------------------------------------------------------- */

static int64_t extreme(cg_rng *r) {
    static const int64_t list[] = {0,
                                   1,
                                   -1,
                                   2,
                                   -2,
                                   3,
                                   7,
                                   12,
                                   16,
                                   64,
                                   1000,
                                   INT32_MAX,
                                   INT32_MIN,
                                   INT64_MAX,
                                   INT64_MIN,
                                   INT64_C(1) << 32,
                                   INT64_C(1) << 52};
    return list[below(r, sizeof list / sizeof *list)];
}

static CgOnnx__NodeProto *any_node(cg_rng *r, const CgOnnx__GraphProto *g) {
    return g->n_node ? g->node[below(r, g->n_node)] : NULL;
}

static char **any_name(cg_rng *r, const CgOnnx__GraphProto *g) {
    CgOnnx__NodeProto *n = any_node(r, g);
    if (!n) return NULL;
    if (n->n_input && below(r, 3)) return &n->input[below(r, n->n_input)];
    return n->n_output ? &n->output[below(r, n->n_output)] : NULL;
}

static void swap_strings(char **a, char **b) {
    char *x = *a;
    *a = *b;
    *b = x;
}

static void damage_attribute(cg_rng *r, CgOnnx__NodeProto *n) {
    if (!n->n_attribute) return;
    CgOnnx__AttributeProto *a = n->attribute[below(r, n->n_attribute)];
    if (a->n_ints && below(r, 2))
        a->ints[below(r, a->n_ints)] = extreme(r);
    else if (a->has_i)
        a->i = extreme(r);
    else if (a->has_f)
        a->f = below(r, 2) ? (float)extreme(r) : 0.0f / (float)below(r, 2);
    else if (a->n_ints)
        a->n_ints--;
    else if (a->name[0])
        a->name[0] = 'x';
}

static void damage_tensor(cg_rng *r, CgOnnx__TensorProto *t) {
    static const int types[] = {1, 2, 3, 6, 7, 9, 10, 11, 16, 8, 0, 99};
    switch (below(r, 5)) {
    case 0:
        if (t->n_dims) t->dims[below(r, t->n_dims)] = extreme(r);
        break;
    case 1:
        if (t->n_dims > 1) { /* the same number of elements, otherwise arranged */
            int64_t d = t->dims[0];
            t->dims[0] = t->dims[t->n_dims - 1];
            t->dims[t->n_dims - 1] = d;
        }
        break;
    case 2:
        t->data_type = types[below(r, sizeof types / sizeof *types)];
        break;
    case 3:
        if (t->raw_data.len)
            for (int i = 0; i < 8; i++)
                t->raw_data.data[below(r, t->raw_data.len)] = (uint8_t)cg_rng_u32(r);
        break;
    default:
        if (t->n_dims > 1) {
            t->dims[t->n_dims - 2] *= t->dims[t->n_dims - 1];
            t->n_dims--;
        }
    }
}

static CgOnnx__TensorProto *any_tensor(cg_rng *r, const CgOnnx__GraphProto *g) {
    if (g->n_initializer && below(r, 2)) return g->initializer[below(r, g->n_initializer)];
    for (int i = 0; i < 20; i++) { /* of a constant */
        CgOnnx__NodeProto *n = any_node(r, g);
        if (n && n->n_attribute && n->attribute[0]->t) return n->attribute[0]->t;
    }
    return NULL;
}

static const char *const operators[] = {"Abs",
                                        "Add",
                                        "And",
                                        "ArgMax",
                                        "AveragePool",
                                        "BatchNormalization",
                                        "Cast",
                                        "Clip",
                                        "Concat",
                                        "Constant",
                                        "ConstantOfShape",
                                        "Conv",
                                        "CumSum",
                                        "Div",
                                        "Equal",
                                        "Erf",
                                        "Exp",
                                        "Expand",
                                        "Flatten",
                                        "Floor",
                                        "Gather",
                                        "GatherElements",
                                        "GatherND",
                                        "Gelu",
                                        "Gemm",
                                        "GlobalAveragePool",
                                        "Greater",
                                        "Identity",
                                        "If",
                                        "IsNaN",
                                        "LayerNormalization",
                                        "Less",
                                        "Log",
                                        "MatMul",
                                        "Max",
                                        "MaxPool",
                                        "Min",
                                        "Mod",
                                        "Mul",
                                        "Neg",
                                        "Not",
                                        "Or",
                                        "Pad",
                                        "Pow",
                                        "Range",
                                        "Reciprocal",
                                        "ReduceL2",
                                        "ReduceMax",
                                        "ReduceMean",
                                        "ReduceProd",
                                        "ReduceSum",
                                        "Relu",
                                        "Reshape",
                                        "Resize",
                                        "Round",
                                        "Shape",
                                        "Sigmoid",
                                        "Size",
                                        "Slice",
                                        "Softmax",
                                        "Split",
                                        "Sqrt",
                                        "Squeeze",
                                        "Sub",
                                        "Tanh",
                                        "Tile",
                                        "Transpose",
                                        "Trilu",
                                        "Unsqueeze",
                                        "Where",
                                        "Xor"};

static void damage_node(cg_rng *r, const CgOnnx__GraphProto *g) {
    CgOnnx__NodeProto *n = any_node(r, g), *other = any_node(r, g);
    if (!n) return;
    switch (below(r, 7)) {
    case 6: /* an operator of which the file perhaps has none */
        free(n->op_type);
        n->op_type = strdup(operators[below(r, sizeof operators / sizeof *operators)]);
        assert_non_null(n->op_type);
        break;
    case 0: /* another operator; or another of those that take as many operands */
        for (int i = 0; i < 20 && other->n_input != n->n_input; i++) other = any_node(r, g);
        swap_strings(&n->op_type, &other->op_type);
        break;
    case 1:
        damage_attribute(r, n);
        break;
    case 2:
        if (n->n_input > 1) swap_strings(&n->input[0], &n->input[below(r, n->n_input)]);
        break;
    case 3: /* not the last input: protobuf-c frees it by its number */
        if (n->n_input) n->input[below(r, n->n_input)][0] = '\0';
        break;
    case 4:
        if (n != other) {
            size_t count = n->n_attribute;
            CgOnnx__AttributeProto **list = n->attribute;
            n->n_attribute = other->n_attribute;
            n->attribute = other->attribute;
            other->n_attribute = count;
            other->attribute = list;
        }
        break;
    default: {
        CgOnnx__NodeProto x = *n; /* two nodes change places: the file is in no order then */
        *n = *other;
        *other = x;
    }
    }
}

static void damage_structure(cg_rng *r, CgOnnx__ModelProto *m) {
    CgOnnx__GraphProto *g = m->graph;
    for (uint64_t i = 1 + below(r, 3); i > 0; i--) {
        char **a = any_name(r, g), **b = any_name(r, g);
        CgOnnx__TensorProto *t = any_tensor(r, g);
        uint64_t what = below(r, 10);
        if (what < 2 && a && b)
            swap_strings(a, b);
        else if (what < 5 && t)
            damage_tensor(r, t);
        else if (what == 5)
            m->opset_import[0]->version = 12 + (int64_t)below(r, 10);
        else
            damage_node(r, g);
    }
}

/* Writes file number k, damaged. */
static void make(cg_rng *r, const source *s) {
    if (below(r, 3) == 0) {
        unsigned char *copy = malloc(s->bytes);
        assert_non_null(copy);
        memcpy(copy, s->data, s->bytes);
        tiny_write(PATH, copy, damage_bytes(r, copy, s->bytes));
        free(copy);
        return;
    }
    CgOnnx__ModelProto *m = cg_onnx__model_proto__unpack(NULL, s->bytes, s->data);
    assert_non_null(m);
    damage_structure(r, m);
    tiny_save(m, PATH);
    cg_onnx__model_proto__free_unpacked(m, NULL);
}

/* --- trying it
 * ------------------------------------------------------------------------------------ */

/* An input of sizes that its file allows, small ones where it does not say; zeroed, or ids and
 * masks of 0 and 1. */
static void draw(cg_rng *r, const cg_onnx_port *p, cg_tensor *t) {
    *t = (cg_tensor){.name = p->name, .dtype = p->dtype};
    t->shape.rank = p->rank < 0 ? 2 : p->rank;
    for (int i = 0; i < t->shape.rank; i++)
        t->shape.dim[i] = p->rank >= 0 && p->dim[i] > 0 && p->dim[i] <= 64 ? p->dim[i] : 2;
    t->bytes = (size_t)cg_shape_count(&t->shape) * cg_dtype_size(t->dtype);
    unsigned char *data = calloc(t->bytes + 1, 1);
    assert_non_null(data);
    size_t size = cg_dtype_size(t->dtype);
    for (size_t i = 0; i < t->bytes / size; i++)
        data[i * size] = t->dtype == CG_F32 ? 0 : (unsigned char)(i == 1 || below(r, 2));
    t->data = data;
}

/* Does a run cost little? */
static int is_small(const cg_graph *g) {
    int64_t bytes = 0, flops = 0;
    for (int i = 0; i < g->n_value; i++) {
        bytes += cg_shape_count(&g->value[i]->shape) * (int64_t)cg_dtype_size(g->value[i]->dtype);
        if (bytes > INT64_C(1) << 26) return 0;
    }
    for (int i = 0; i < g->n_node; i++) {
        if (g->node[i]->op->flops) flops += g->node[i]->op->flops(g->node[i]);
        if (flops > INT64_C(1) << 28) return 0;
    }
    return 1;
}

static int import(const cg_onnx_file *f, const cg_tensor *in, int n) {
    cg_params *params;
    cg_graph *g = NULL;
    cg_onnx_ahead *integers = NULL;
    cg_shape shape[MOST];
    ok(cg_params_create(&params));
    for (int i = 0; i < n; i++) shape[i] = in[i].shape;
    cg_status s = cg_onnx_params(f, params);
    if (s == CG_OK) s = cg_graph_create(params, &g);
    if (s == CG_OK) s = cg_onnx_import(f, shape, ~UINT64_C(0), g, &integers);
    if (s == CG_OK) ok(cg_graph_verify(g));
    int small = s == CG_OK && is_small(g);
    if (s != CG_OK) assert_true(cg_error_message()[0] != '\0');
    cg_onnx_ahead_free(integers);
    cg_graph_free(g);
    cg_params_free(params);
    return s == CG_OK ? 1 + small : 0;
}

static void run(cg_context *ctx, const cg_tensor *in, int n, tally *t) {
    cg_onnx_session *s;
    ok(cg_onnx_session_create(ctx, PATH, NULL, &s));
    for (int i = 0; i < 2; i++) {
        cg_tensor out = {0};
        t->run += cg_onnx_session_run(s, in, n, &out, 1) == CG_OK && i == 0;
    }
    cg_onnx_session_free(s);
}

static void try_file(cg_context *ctx, cg_rng *r, tally *t) {
    cg_onnx_file *f;
    const cg_onnx_port *port;
    cg_tensor in[MOST];
    t->made++;
    if (cg_onnx_open(PATH, &f) != CG_OK) {
        assert_non_null(strstr(cg_error_message(), PATH));
        return;
    }
    t->opened++;
    int n = cg_onnx_inputs(f, &port);
    if (n <= MOST) {
        for (int i = 0; i < n; i++) draw(r, &port[i], &in[i]);
        int found = import(f, in, n);
        t->imported += found > 0;
        if (found > 1) run(ctx, in, n, t);
        for (int i = 0; i < n; i++) free((void *)(uintptr_t)in[i].data);
    }
    cg_onnx_close(f);
}

/* Until so many seconds are over; 0: ROUNDS files. */
static tally fuzz(double seconds, uint64_t seed) {
    source s[FILES];
    tally t = {0};
    cg_context *ctx;
    double begun = cg_now();
    ok(cg_context_create(1, &ctx));
    for (int i = 0; i < FILES; i++) {
        char path[512];
        snprintf(path, sizeof path, FOLDER "%s.onnx", names[i]);
        s[i].data = tiny_read(path, &s[i].bytes);
    }
    for (uint64_t k = 0; seconds > 0 ? cg_now() - begun < seconds : k < ROUNDS; k++) {
        cg_rng r = cg_rng_at(seed, CG_RNG_INIT, k, 0);
        double at = cg_now();
        make(&r, &s[below(&r, FILES)]);
        try_file(ctx, &r, &t);
        if (cg_now() - at > t.slowest) t.slowest = cg_now() - at;
    }
    for (int i = 0; i < FILES; i++) free(s[i].data);
    cg_context_free(ctx);
    return t;
}

static void test_damaged(void **state) {
    (void)state;
    tally t = fuzz(0, 1);
    print_message("%d files: %d opened, %d imported, %d run\n", (int)t.made, (int)t.opened,
                  (int)t.imported, (int)t.run);
    assert_true(t.opened > t.made / 4); /* damage is not always fatal, so that it goes deep */
    assert_true(t.run > t.made / 20);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_damaged)};
    if (argc < 2) return cmocka_run_group_tests(tests, NULL, NULL);
    tally t = fuzz(strtod(argv[1], NULL), argc > 2 ? strtoull(argv[2], NULL, 10) : 2);
    printf("%lld files: %lld opened, %lld imported, %lld run; the slowest took %.1f s\n",
           (long long)t.made, (long long)t.opened, (long long)t.imported, (long long)t.run,
           t.slowest);
    return 0;
}
