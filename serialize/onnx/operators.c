/* What ONNX's schema says of operators; tools/onnx/check_operators.py compares the two. */
#include "serialize/onnx/operators.h"

#include <string.h>

/* --- types ------------------------------------------------------------------------------------ */

#define BIT(name) (1U << CG_ONNX__TENSOR_PROTO__DATA_TYPE__##name)
#define PLAIN     (BIT(FLOAT) | BIT(FLOAT16) | BIT(DOUBLE))
#define FLOATS    (PLAIN | BIT(BFLOAT16))
#define BYTES     (BIT(INT8) | BIT(UINT8))
#define INDICES   (BIT(INT32) | BIT(INT64))

unsigned cg_onnx_letter(char letter) {
    static const struct {
        char letter;
        unsigned types;
    } list[] = {{'A', FLOATS | INDICES | BYTES | BIT(BOOL)},
                {'B', BIT(BOOL)},
                {'F', FLOATS},
                {'G', FLOATS},
                {'H', FLOATS},
                {'I', BIT(INT64)},
                {'J', INDICES},
                {'N', FLOATS | INDICES | BYTES},
                {'P', PLAIN},
                {'Q', PLAIN | INDICES | BYTES},
                {'R', BIT(FLOAT) | BIT(DOUBLE) | INDICES},
                {'S', BIT(FLOAT)},
                {'V', FLOATS | INDICES | BIT(INT8)},
                {'W', FLOATS | INDICES},
                {'X', PLAIN | BYTES},
                {'Y', PLAIN | INDICES | BYTES | BIT(BOOL)}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (list[i].letter == letter) return list[i].types;
    return 0;
}

/* --- operators -------------------------------------------------------------------------------- */

#define WINDOW "auto_pad:s kernel_shape:I pads:I strides:I"
#define RESIZE                                                                                     \
    "coordinate_transformation_mode:s cubic_coeff_a:f exclude_outside:i "                          \
    "extrapolation_value:f mode:s nearest_mode:s"
#define BY_ATTR "axes:I keepdims:i"
#define BY_AXES "keepdims:i noop_with_empty_axes:i"

static const cg_onnx_schema schemas[] = {
    {"Abs", 13, "N:N", ""},
    {"Add", 13, "WW:W", ""},
    {"Add", 14, "NN:N", ""},
    {"And", 13, "BB:B", ""},
    {"ArgMax", 13, "N:I", "axis:i keepdims:i select_last_index:i"},
    {"AveragePool", 13, "P:P", WINDOW " ceil_mode:i count_include_pad:i"},
    {"AveragePool", 19, "P:P", WINDOW " ceil_mode:i count_include_pad:i dilations:I"},
    {"BatchNormalization", 13, "PPPPP:PPPPP", "epsilon:f momentum:f"},
    {"BatchNormalization", 14, "FFFGG:FGG", "epsilon:f momentum:f training_mode:i"},
    {"BatchNormalization", 15, "FGGHH:FHH", "epsilon:f momentum:f training_mode:i"},
    {"Cast", 13, "A:@", "to:i"},
    {"Cast", 19, "A:@", "to:i saturate:i"},
    {"Ceil", 13, "F:F", ""},
    {"Clip", 13, "NNN:N", ""},
    {"Concat", 13, "A*:A", "axis:i"},
    {"Constant", 13, ":@",
     "value:t value_float:f value_floats:F value_int:i value_ints:I value_string:s "
     "value_strings:S"},
    {"ConstantOfShape", 13, "I:@", "value:t"},
    {"Conv", 13, "PPP:P", WINDOW " dilations:I group:i"},
    {"CumSum", 13, "RJ:R", "exclusive:i reverse:i"},
    {"CumSum", 14, "WJ:W", "exclusive:i reverse:i"},
    {"Div", 13, "WW:W", ""},
    {"Div", 14, "NN:N", ""},
    {"Dropout", 13, "FPB:FB", "seed:i"},
    {"Equal", 13, "AA:B", ""},
    {"Erf", 13, "F:F", ""},
    {"Exp", 13, "F:F", ""},
    {"Expand", 13, "AI:A", ""},
    {"Flatten", 13, "A:A", "axis:i"},
    {"Floor", 13, "F:F", ""},
    {"Gather", 13, "AJ:A", "axis:i"},
    {"GatherElements", 13, "AJ:A", "axis:i"},
    {"GatherND", 13, "AI:A", "batch_dims:i"},
    {"Gelu", 20, "F:F", "approximate:s"},
    {"Gemm", 13, "WWW:W", "alpha:f beta:f transA:i transB:i"},
    {"GlobalAveragePool", 13, "P:P", ""},
    {"Greater", 13, "NN:B", ""},
    {"GreaterOrEqual", 13, "QQ:B", ""},
    {"GreaterOrEqual", 16, "NN:B", ""},
    {"Identity", 13, "A:A", ""},
    {"If", 13, "B:@*", "else_branch:g then_branch:g"},
    {"IsNaN", 13, "F:B", ""},
    {"LayerNormalization", 17, "FFF:F@@", "axis:i epsilon:f stash_type:i"},
    {"Less", 13, "NN:B", ""},
    {"LessOrEqual", 13, "QQ:B", ""},
    {"LessOrEqual", 16, "NN:B", ""},
    {"Log", 13, "F:F", ""},
    {"MatMul", 13, "WW:W", ""},
    {"Max", 13, "N*:N", ""},
    {"MaxPool", 13, "X:XI", WINDOW " ceil_mode:i dilations:I storage_order:i"},
    {"Min", 13, "N*:N", ""},
    {"Mod", 13, "NN:N", "fmod:i"},
    {"Mul", 13, "WW:W", ""},
    {"Mul", 14, "NN:N", ""},
    {"Neg", 13, "V:V", ""},
    {"Not", 13, "B:B", ""},
    {"Or", 13, "BB:B", ""},
    {"Pad", 13, "AIA:A", "mode:s"},
    {"Pad", 18, "AIAJ:A", "mode:s"},
    {"Pow", 13, "WQ:W", ""},
    {"Pow", 15, "WN:W", ""},
    {"Range", 13, "RRR:R", ""},
    {"Reciprocal", 13, "F:F", ""},
    {"ReduceL2", 13, "W:W", BY_ATTR},
    {"ReduceL2", 18, "WI:W", BY_AXES},
    {"ReduceMax", 13, "N:N", BY_ATTR},
    {"ReduceMax", 18, "NI:N", BY_AXES},
    {"ReduceMax", 20, "AI:A", BY_AXES},
    {"ReduceMean", 13, "W:W", BY_ATTR},
    {"ReduceMean", 18, "WI:W", BY_AXES},
    {"ReduceMin", 13, "N:N", BY_ATTR},
    {"ReduceMin", 18, "NI:N", BY_AXES},
    {"ReduceMin", 20, "AI:A", BY_AXES},
    {"ReduceProd", 13, "W:W", BY_ATTR},
    {"ReduceProd", 18, "WI:W", BY_AXES},
    {"ReduceSum", 13, "WI:W", BY_AXES},
    {"Relu", 13, "F:F", ""},
    {"Relu", 14, "V:V", ""},
    {"Reshape", 13, "AI:A", ""},
    {"Reshape", 14, "AI:A", "allowzero:i"},
    {"Resize", 13, "APSI:A", RESIZE},
    {"Resize", 18, "APSI:A", RESIZE " antialias:i axes:I keep_aspect_ratio_policy:s"},
    {"Round", 13, "P:P", ""},
    {"Shape", 13, "A:I", ""},
    {"Shape", 15, "A:I", "end:i start:i"},
    {"Sigmoid", 13, "F:F", ""},
    {"Size", 13, "A:I", ""},
    {"Slice", 13, "AJJJJ:A", ""},
    {"Softmax", 13, "F:F", "axis:i"},
    {"Split", 13, "AI:A*", "axis:i"},
    {"Split", 18, "AI:A*", "axis:i num_outputs:i"},
    {"Sqrt", 13, "F:F", ""},
    {"Squeeze", 13, "AI:A", ""},
    {"Sub", 13, "WW:W", ""},
    {"Sub", 14, "NN:N", ""},
    {"Tanh", 13, "F:F", ""},
    {"Tile", 13, "AI:A", ""},
    {"Transpose", 13, "A:A", "perm:I"},
    {"Trilu", 14, "AI:A", "upper:i"},
    {"Unsqueeze", 13, "AI:A", ""},
    {"Where", 13, "BYY:Y", ""},
    {"Where", 16, "BAA:A", ""},
    {"Xor", 13, "BB:B", ""},
};

const cg_onnx_schema *cg_onnx_schema_of(const char *name, int64_t opset, int *first) {
    const cg_onnx_schema *found = NULL;
    *first = 0;
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        if (strcmp(schemas[i].name, name) != 0) continue;
        if (!*first) *first = schemas[i].since;
        if (schemas[i].since <= opset) found = &schemas[i];
    }
    return found;
}

/* --- attributes ------------------------------------------------------------------------------- */

/* What an attribute of the schema holds; 0: it has none of that name. */
static char holds(const cg_onnx_schema *s, const char *name) {
    size_t n = strlen(name);
    for (const char *at = s->attributes; *at; at += strcspn(at, " "), at += *at == ' ') {
        size_t length = strcspn(at, ":");
        if (length == n && memcmp(at, name, n) == 0) return at[n + 1];
    }
    return 0;
}

#define KIND(name) CG_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__##name

static cg_status check_attribute(const cg_onnx_schema *s, const CgOnnx__AttributeProto *a) {
    const struct {
        char letter;
        const char *what;
        int type, given;
    } kinds[] = {{'f', "a float", KIND(FLOAT), a->has_f},
                 {'i', "an integer", KIND(INT), a->has_i},
                 {'s', "a string", KIND(STRING), a->has_s},
                 {'t', "a tensor", KIND(TENSOR), a->t != NULL},
                 {'g', "a graph", KIND(GRAPH), a->g != NULL},
                 {'F', "floats", KIND(FLOATS), a->n_floats > 0},
                 {'I', "integers", KIND(INTS), a->n_ints > 0},
                 {'S', "strings", KIND(STRINGS), a->n_strings > 0}};
    enum { N = sizeof kinds / sizeof *kinds };
    char letter = holds(s, a->name);
    size_t wanted = 0;
    while (wanted < N && kinds[wanted].letter != letter) wanted++;
    if (wanted == N)
        return cg_error(CG_EFORMAT,
                        "has an attribute %.60s, which the operator has not in this opset",
                        a->name);
    int fits = a->has_type && (int)a->type == kinds[wanted].type;
    for (size_t i = 0; i < N; i++) fits &= i == wanted || !kinds[i].given;
    if (!fits)
        return cg_error(CG_EFORMAT, "has an attribute %.60s of another type, wanted %s", a->name,
                        kinds[wanted].what);
    return CG_OK;
}

cg_status cg_onnx_schema_attributes(const cg_onnx_schema *s, const CgOnnx__NodeProto *n) {
    for (size_t i = 0; i < n->n_attribute; i++) {
        CG_TRY(check_attribute(s, n->attribute[i]));
        for (size_t k = 0; k < i; k++)
            if (strcmp(n->attribute[k]->name, n->attribute[i]->name) == 0)
                return cg_error(CG_EFORMAT, "has attribute %.60s twice", n->attribute[i]->name);
    }
    return CG_OK;
}
