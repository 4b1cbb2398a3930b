/* Preprocessing inside the file, as data/transform.h does it: one axis after the other, the
 * horizontal one first, with whole numbers between. What differs is the filter's arithmetic, ours
 * being fixed-point, so single values may be 1 apart. */
#include "serialize/onnx/export_preprocess.h"

enum {
    FLOAT = CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
    DOUBLE = CG_ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE,
    INT64 = CG_ONNX__TENSOR_PROTO__DATA_TYPE__INT64,
    UINT8 = CG_ONNX__TENSOR_PROTO__DATA_TYPE__UINT8,
    ROWS = 2, /* axes of [batch, 3, height, width] */
    COLUMNS = 3,
};

/* Sizes of pictures are nobody's symbols here: these tensors have a name alone. */
static cg_onnx_ref *add(cg_onnx_export *x, const cg_onnx_node *n) {
    return cg_onnx_result(x, n, 0, 0, (cg_onnx_dim[1]){{{0}, 0, CG_ONNX_WHOLE}});
}

static cg_onnx_ref *add2(cg_onnx_export *x, const char *op, cg_onnx_ref *a, cg_onnx_ref *b) {
    return add(x, &(cg_onnx_node){op, 2, {a, b}, {{0}}});
}

static cg_onnx_ref *cast(cg_onnx_export *x, cg_onnx_ref *t, int type) {
    return add(x, &(cg_onnx_node){"Cast", 1, {t}, {CG_ONNX_INT("to", type)}});
}

static cg_onnx_ref *whole(cg_onnx_export *x, int64_t n) {
    return cg_onnx_integers(&x->sink, 1, &n);
}

/* Numbers for each channel, [3, 1, 1]. */
static cg_onnx_ref *channels(cg_onnx_export *x, const float *v) {
    return cg_onnx_constant_tensor(&x->sink, CG_F32, &CG_SHAPE(3, 1, 1), v);
}

/* --- sizes ------------------------------------------------------------------------------------ */

typedef struct sides {
    cg_onnx_ref *height, *width; /* i64 [1] */
} sides;

static cg_onnx_ref *side(cg_onnx_export *x, cg_onnx_ref *pixels, int axis) {
    return add(
        x, &(cg_onnx_node){
               "Shape", 1, {pixels}, {CG_ONNX_INT("start", axis), CG_ONNX_INT("end", axis + 1)}});
}

/* in · size / short, rounded down: the short side itself becomes size. */
static cg_onnx_ref *cropped(cg_onnx_export *x, cg_onnx_ref *in, cg_onnx_ref *shortest, int size) {
    return add2(x, "Div", add2(x, "Mul", in, whole(x, size)), shortest);
}

/* in / (long / size), rounded to the nearest, even of two, but 1 at least. */
static cg_onnx_ref *fitted(cg_onnx_export *x, cg_onnx_ref *in, cg_onnx_ref *longest, int size) {
    cg_onnx_ref *ratio = add2(x, "Div", cast(x, longest, DOUBLE), cast(x, whole(x, size), DOUBLE));
    cg_onnx_ref *full = add2(x, "Div", cast(x, in, DOUBLE), ratio);
    full = add(x, &(cg_onnx_node){"Round", 1, {full}, {{0}}});
    return add2(x, "Max", cast(x, full, INT64), whole(x, 1));
}

static sides sides_of(cg_onnx_export *x, cg_onnx_ref *pixels, const cg_preprocess *p) {
    if (p->resize_mode == CG_RESIZE_SQUASH) return (sides){whole(x, p->size), whole(x, p->size)};
    sides in = {side(x, pixels, 1), side(x, pixels, 2)};
    if (p->resize_mode == CG_RESIZE_SHORTEST) {
        cg_onnx_ref *shortest = add2(x, "Min", in.height, in.width);
        return (sides){cropped(x, in.height, shortest, p->size),
                       cropped(x, in.width, shortest, p->size)};
    }
    cg_onnx_ref *longest = add2(x, "Max", in.height, in.width);
    return (sides){fitted(x, in.height, longest, p->size), fitted(x, in.width, longest, p->size)};
}

/* --- pixels ----------------------------------------------------------------------------------- */

/* One axis to a size, in whole numbers of a byte. */
static cg_onnx_ref *resize(cg_onnx_export *x, cg_onnx_ref *t, int axis, cg_onnx_ref *to,
                           cg_interpolation filter) {
    cg_onnx_sink *s = &x->sink;
    cg_onnx_ref none = {.name = ""};
    cg_onnx_node n = {"Resize",
                      4,
                      {t, &none, &none, to},
                      {CG_ONNX_TEXT("mode", filter == CG_BICUBIC ? "cubic" : "linear"),
                       CG_ONNX_TEXT("coordinate_transformation_mode", "half_pixel"),
                       CG_ONNX_INT("antialias", 1),
                       CG_ONNX_INT("exclude_outside", 1),
                       CG_ONNX_INTS("axes", axis),
                       {.name = NULL}}};
    if (filter == CG_BICUBIC) n.attr[5] = (cg_onnx_attr)CG_ONNX_FLOAT("cubic_coeff_a", -0.5f);
    t = add2(x, "Add", add(x, &n), cg_onnx_scalar(s, 0.5f));
    t = add(x, &(cg_onnx_node){"Floor", 1, {t}, {{0}}});
    return add(
        x, &(cg_onnx_node){"Clip", 3, {t, cg_onnx_scalar(s, 0), cg_onnx_scalar(s, 255)}, {{0}}});
}

/* Half of what is left over, to even of two. */
static cg_onnx_ref *half(cg_onnx_export *x, cg_onnx_ref *n, const char *rounding) {
    n = add2(x, "Mul", cast(x, n, FLOAT), cg_onnx_scalar(&x->sink, 0.5f));
    return cast(x, add(x, &(cg_onnx_node){rounding, 1, {n}, {{0}}}), INT64);
}

static cg_onnx_ref *crop(cg_onnx_export *x, cg_onnx_ref *t, int axis, cg_onnx_ref *full, int size) {
    cg_onnx_ref *start = half(x, add2(x, "Sub", full, whole(x, size)), "Round");
    cg_onnx_ref *end = add2(x, "Add", start, whole(x, size));
    return add(x, &(cg_onnx_node){"Slice", 4, {t, start, end, whole(x, axis)}, {{0}}});
}

/* The picture in the middle of the square, an odd pixel to the right and below. What is padded is
 * its difference from the fill colour, so that zeros can stand for it. */
static cg_onnx_ref *pad(cg_onnx_export *x, cg_onnx_ref *t, sides full, const cg_preprocess *p) {
    float fill[3] = {p->fill[0], p->fill[1], p->fill[2]};
    cg_onnx_ref *size = whole(x, p->size);
    cg_onnx_ref *down = add2(x, "Sub", size, full.height);
    cg_onnx_ref *across = add2(x, "Sub", size, full.width);
    cg_onnx_ref *top = half(x, down, "Floor"), *left = half(x, across, "Floor");
    cg_onnx_node pads = {"Concat",
                         4,
                         {top, left, add2(x, "Sub", down, top), add2(x, "Sub", across, left)},
                         {CG_ONNX_INT("axis", 0)}};
    int64_t axes[] = {ROWS, COLUMNS};
    t = add2(x, "Sub", t, channels(x, fill));
    t = add(x, &(cg_onnx_node){"Pad",
                               4,
                               {t, add(x, &pads), cg_onnx_scalar(&x->sink, 0),
                                cg_onnx_integers(&x->sink, 2, axes)},
                               {{0}}});
    return add2(x, "Add", t, channels(x, fill));
}

static cg_onnx_ref *normalise(cg_onnx_export *x, cg_onnx_ref *t, const cg_preprocess *p) {
    t = add2(x, "Div", t, cg_onnx_scalar(&x->sink, 255));
    t = add2(x, "Sub", t, channels(x, p->mean));
    return add2(x, "Div", t, channels(x, p->std));
}

/* --- the input -------------------------------------------------------------------------------- */

static cg_onnx_ref *pixels_input(cg_onnx_export *x, cg_onnx_size batch) {
    const char *const name[] = {"height", "width"};
    cg_onnx_size one = cg_onnx_fixed(1);
    cg_onnx_dim dim[] = {{batch, 0, CG_ONNX_WHOLE},
                         {one, 1, CG_ONNX_WHOLE},
                         {one, 2, CG_ONNX_WHOLE},
                         {cg_onnx_fixed(3), 3, CG_ONNX_WHOLE}};
    cg_onnx_ref *t = cg_onnx_input(x, "pixels", UINT8, 4, dim);
    if (!t || x->status != CG_OK) return NULL;
    for (int i = 0; i < 2; i++) { /* any */
        CgOnnx__TensorShapeProto__Dimension *d =
            x->input[x->n_input - 1]->type->tensor_type->shape->dim[1 + i];
        d->value_case = CG_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
        d->dim_param = cg_onnx_format(x, "%s", name[i]);
    }
    return t;
}

cg_onnx_ref *cg_onnx_preprocessed(cg_onnx_export *x, const cg_value *image,
                                  const cg_preprocess *p) {
    cg_onnx_size batch = cg_onnx_size_of(&x->sink, image, 0), size = cg_onnx_fixed(p->size);
    cg_onnx_ref *pixels = pixels_input(x, batch);
    x->path = "preprocess";
    sides full = sides_of(x, pixels, p);
    cg_onnx_node nchw = {
        "Transpose", 1, {cast(x, pixels, FLOAT)}, {CG_ONNX_INTS("perm", 0, 3, 1, 2)}};
    cg_onnx_ref *t = resize(x, add(x, &nchw), COLUMNS, full.width, p->interpolation);
    if (p->resize_mode == CG_RESIZE_SHORTEST) t = crop(x, t, COLUMNS, full.width, p->size);
    t = resize(x, t, ROWS, full.height, p->interpolation);
    if (p->resize_mode == CG_RESIZE_SHORTEST) t = crop(x, t, ROWS, full.height, p->size);
    if (p->resize_mode == CG_RESIZE_LONGEST) t = pad(x, t, full, p);
    t = cg_onnx_copy(x, normalise(x, t, p));
    if (!t) return NULL;
    const cg_onnx_dim dim[] = {{batch, 0, CG_ONNX_WHOLE},
                               {cg_onnx_fixed(3), 3, CG_ONNX_WHOLE},
                               {size, 1, CG_ONNX_WHOLE},
                               {size, 2, CG_ONNX_WHOLE}};
    t->rank = t->n = 4;
    for (int i = 0; i < 4; i++) t->dim[i] = dim[i];
    x->prepared = t;
    return t;
}
