/* Row numbers. Ours are rows of a whole batch; the file's are places in sequences, which stay the
 * same whatever the batch: the class token is row 0 of each, a caption's end a place in it. */
#include "serialize/onnx/export_private.h"

/* Offsets of sequences of one length, in every graph. */
int cg_onnx_rows_segments(cg_onnx_sink *s, const cg_value *offset, cg_onnx_size *count,
                          cg_onnx_size *length) {
    cg_onnx_export *x = cg_onnx_of(s);
    cg_onnx_progression p;
    int is = cg_onnx_find_progression(x, offset, &p);
    for (int i = 0; is && i < CG_ONNX_GRAPHS; i++) {
        is = p.start[i] == 0 && p.count[i] > 1;
        p.count[i]--;
    }
    if (is) is = cg_onnx_solve(x, p.count, count) && cg_onnx_solve(x, p.step, length);
    if (!is)
        cg_onnx_failed(x,
                       cg_error(CG_EUNSUPPORTED,
                                "sequences of one length are wanted, and %s is not known to have "
                                "such",
                                offset->name));
    return is;
}

/* Of a value of constants: one row of each of `count` sequences, at `place`. */
static int same_place(cg_onnx_export *x, const cg_value *v, cg_onnx_size *length, int64_t *place) {
    cg_onnx_progression p;
    if (!cg_onnx_find_progression(x, v, &p)) return 0;
    for (int i = 0; i < CG_ONNX_GRAPHS; i++)
        if (p.count[i] < 2 || p.start[i] != p.start[0] || p.start[i] >= p.step[i] || p.start[i] < 0)
            return 0;
    *place = p.start[0];
    return cg_onnx_solve(x, p.step, length);
}

cg_onnx_ref *cg_onnx_rows_within(cg_onnx_sink *s, const cg_value *row, cg_onnx_size length) {
    cg_onnx_export *x = cg_onnx_of(s);
    cg_onnx_ref *t = x->held[row->id];
    cg_onnx_size found, count;
    int64_t place;
    if (t && cg_onnx_same(t->within, length)) {
        t = cg_onnx_copy(x, t);
        if (t) t->within = (cg_onnx_size){0};
        return t;
    }
    if (t || !same_place(x, row, &found, &place) || !cg_onnx_same(found, length))
        return cg_onnx_failed(
            x,
            cg_error(CG_EUNSUPPORTED, "%s is not known to be one row of each sequence", row->name));
    count = cg_onnx_size_of(s, row, 0);
    return cg_onnx_repeat(s, cg_onnx_integer(s, place), 1, &count);
}

cg_onnx_ref *cg_onnx_rows_absolute(cg_onnx_export *x, cg_onnx_ref *t) {
    cg_onnx_ref *place = cg_onnx_copy(x, t);
    if (!place) return NULL;
    place->within = (cg_onnx_size){0};
    cg_onnx_ref *first = cg_onnx_range(&x->sink, cg_onnx_axis_size(t, 0));
    cg_onnx_ref *length = cg_onnx_shape_tensor(x, 1, &t->within);
    first = cg_onnx_binary(&x->sink, "Mul", first, length);
    return cg_onnx_binary(&x->sink, "Add", first, place);
}

/* A tensor that is made when something reads it: often a table's first rows are what is wanted. */
cg_onnx_ref *cg_onnx_rows_range(cg_onnx_sink *s, cg_onnx_size n) {
    cg_onnx_export *x = cg_onnx_of(s);
    cg_onnx_ref *t = cg_onnx_alloc(x, sizeof *t);
    if (!t) return NULL;
    t->rank = t->n = 1;
    t->dim[0] = (cg_onnx_dim){n, 0, CG_ONNX_WHOLE};
    t->counts = 1;
    return t;
}

/* --- gathering -------------------------------------------------------------------------------- */

/* The table [S · L, D] as [S, L, D]. */
static cg_onnx_ref *sequences(cg_onnx_export *x, const cg_value *table, cg_onnx_size count,
                              cg_onnx_size length) {
    cg_onnx_size size[] = {count, length, cg_onnx_size_of(&x->sink, table, 1)};
    cg_onnx_ref *t = cg_onnx_reshape(&x->sink, cg_onnx_value(&x->sink, table), 3, size);
    return cg_onnx_plain(&x->sink, t);
}

static cg_onnx_ref *gather_places(cg_onnx_export *x, const cg_value *table, const cg_value *index) {
    cg_onnx_sink *s = &x->sink;
    cg_onnx_size length = x->held[index->id]->within, count = cg_onnx_size_of(s, index, 0);
    cg_onnx_ref *place = cg_onnx_rows_within(s, index, length);
    place = cg_onnx_reshape(s, place, 2, (cg_onnx_size[]){count, cg_onnx_fixed(1)});
    cg_onnx_node gather = {"GatherND",
                           2,
                           {sequences(x, table, count, length), cg_onnx_plain(s, place)},
                           {CG_ONNX_INT("batch_dims", 1)}};
    return cg_onnx_make(s, &gather, 2, (cg_onnx_size[]){count, cg_onnx_size_of(s, table, 1)});
}

static cg_onnx_ref *gather_place(cg_onnx_export *x, const cg_value *table, const cg_value *index,
                                 cg_onnx_size length, int64_t place) {
    cg_onnx_sink *s = &x->sink;
    cg_onnx_size count = cg_onnx_size_of(s, index, 0);
    cg_onnx_node gather = {"Gather",
                           2,
                           {sequences(x, table, count, length), cg_onnx_integer(s, place)},
                           {CG_ONNX_INT("axis", 1)}};
    return cg_onnx_make(s, &gather, 2, (cg_onnx_size[]){count, cg_onnx_size_of(s, table, 1)});
}

/* Rows 0, 1, … of a table: as many as the index has. */
static cg_onnx_ref *first_rows(cg_onnx_export *x, cg_onnx_ref *table, cg_onnx_size n) {
    if (!table || cg_onnx_same(table->dim[0].size, n)) return table;
    int64_t zero = 0;
    cg_onnx_node slice = {"Slice",
                          4,
                          {table, cg_onnx_integers(&x->sink, 1, &zero),
                           cg_onnx_shape_tensor(x, 1, &n), cg_onnx_integers(&x->sink, 1, &zero)},
                          {{0}}};
    return cg_onnx_make(&x->sink, &slice, 2, (cg_onnx_size[]){n, table->dim[1].size});
}

/* One row of the table for each number, in the index's own dimensions. */
static cg_onnx_ref *gather_numbers(cg_onnx_export *x, cg_onnx_ref *table, cg_onnx_ref *index) {
    cg_onnx_ref *r;
    int n = index->n;
    if (index->counts && n > 0 && index->dim[n - 1].repeat == CG_ONNX_WHOLE) {
        r = cg_onnx_copy(x, first_rows(x, table, index->dim[n - 1].size));
    } else {
        cg_onnx_node gather = {"Gather", 2, {table, index}, {CG_ONNX_INT("axis", 0)}};
        r = cg_onnx_result(x, &gather, 2, n, index->dim);
    }
    if (!r) return NULL;
    for (int i = 0; i < n; i++) r->dim[i] = index->dim[i];
    r->dim[n] = (cg_onnx_dim){table->dim[1].size, 1, CG_ONNX_WHOLE};
    r->rank = 2;
    r->n = n + 1;
    return r;
}

cg_onnx_ref *cg_onnx_rows_gather(cg_onnx_sink *s, const cg_value *table, const cg_value *index) {
    cg_onnx_export *x = cg_onnx_of(s);
    cg_onnx_ref *t = x->held[index->id];
    cg_onnx_size length, rows, count;
    int64_t place;
    if (t && t->within.factor) return gather_places(x, table, index);
    if (!t && same_place(x, index, &length, &place)) {
        rows = cg_onnx_size_of(s, table, 0);
        count = cg_onnx_size_of(s, index, 0);
        if (cg_onnx_same(rows, cg_onnx_times(count, length)))
            return gather_place(x, table, index, length, place);
    }
    cg_onnx_ref *numbers = cg_onnx_value(s, index);
    cg_onnx_ref *plain = cg_onnx_plain(s, cg_onnx_value(s, table));
    return numbers && plain ? gather_numbers(x, plain, numbers) : NULL;
}
