#include "tests/support/onnx_damage.h"

#include "tests/support/onnx_tiny.h"

#include <stdlib.h>
#include <string.h>

static uint64_t below(cg_rng *r, uint64_t n) {
    return n ? cg_rng_below(r, n) : 0;
}

/* --- of bytes --------------------------------------------------------------------------------- */

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

/* --- of structure ----------------------------------------------------------------------------- */

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

/* A word and a space each. */
static const char operators[] =
    "Abs Add And ArgMax AveragePool BatchNormalization Cast Clip Concat Constant "
    "ConstantOfShape Conv CumSum Div Equal Erf Exp Expand Flatten Floor Gather "
    "GatherElements GatherND Gelu Gemm GlobalAveragePool Greater Identity If IsNaN "
    "LayerNormalization Less Log MatMul Max MaxPool Min Mod Mul Neg Not Or Pad Pow Range "
    "Reciprocal ReduceL2 ReduceMax ReduceMean ReduceProd ReduceSum Relu Reshape Resize "
    "Round Shape Sigmoid Size Slice Softmax Split Sqrt Squeeze Sub Tanh Tile Transpose "
    "Trilu Unsqueeze Where Xor ";

static char *any_operator(cg_rng *r) {
    size_t n = 0;
    for (const char *c = operators; *c; c++) n += *c == ' ';
    const char *word = operators;
    for (uint64_t skip = below(r, n); skip > 0; skip--) word = strchr(word, ' ') + 1;
    return strndup(word, strcspn(word, " "));
}

static void damage_node(cg_rng *r, const CgOnnx__GraphProto *g) {
    CgOnnx__NodeProto *n = any_node(r, g), *other = any_node(r, g);
    if (!n) return;
    switch (below(r, 7)) {
    case 6: /* an operator of which the file perhaps has none */
        free(n->op_type);
        n->op_type = any_operator(r);
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

void onnx_damage(cg_rng *r, const unsigned char *data, size_t bytes, const char *path) {
    if (below(r, 3) == 0) {
        unsigned char *copy = malloc(bytes);
        assert_non_null(copy);
        memcpy(copy, data, bytes);
        tiny_write(path, copy, damage_bytes(r, copy, bytes));
        free(copy);
        return;
    }
    CgOnnx__ModelProto *m = cg_onnx__model_proto__unpack(NULL, bytes, data);
    assert_non_null(m);
    damage_structure(r, m);
    tiny_save(m, path);
    cg_onnx__model_proto__free_unpacked(m, NULL);
}
