/* Integers that only a run knows. Each operator on them is evaluated for a few made-up inputs, the
 * probes, and what comes of it is recognised by its numbers, however a file computes it. */
#include "serialize/onnx/import_private.h"
#include "serialize/onnx/recognise.h"

#include "graph/rng.h"

#include <math.h>
#include <string.h>

/* --- probes ----------------------------------------------------------------------------------- */

/* Of 0 and 1, of small numbers and of large ones, some of which the file compares with. */
enum kind { BITS, SMALL, LARGE };

static double made_up(const cg_importer *m, int number, int probe, int64_t i) {
    static const enum kind kinds[CG_PROBES] = {BITS, BITS, BITS, BITS, SMALL, LARGE};
    uint64_t r = cg_mix64(((uint64_t)number << 40) + ((uint64_t)probe << 32) + (uint64_t)i + 1);
    if (probe < 2) return probe == 0;
    enum kind kind = kinds[m->n_probe < CG_PROBES ? 3 + (r >> 40) % 3 : (unsigned)probe];
    if (kind == BITS) return (double)(r & 1);
    if (m->n_number && (r >> 8 & 3) == 0) return (double)m->number[r % (uint64_t)m->n_number];
    return (double)((r >> 16) % (kind == SMALL ? 7 : 40000));
}

int64_t cg_probe_size(const cg_shape *shape) {
    int64_t n = cg_shape_count(shape);
    if (shape->rank < 2 || shape->dim[0] <= CG_HOST_ROWS || n <= CG_HOST_SMALL) return n;
    return n / shape->dim[0] * CG_HOST_ROWS;
}

cg_status cg_probe_input(cg_importer *m, int number, cg_item *x) {
    int64_t held = cg_probe_size(&x->shape);
    x->probed = 1 << number;
    for (int p = 0; p < m->n_probe; p++) {
        CG_TRY(cg_host_new_rows(&m->room, x->type, x->shape, held, &x->probe[p]));
        for (int64_t i = 0; i < held; i++) x->probe[p].x[i] = made_up(m, number, p, i);
    }
    return CG_OK;
}

enum { MOST_IN = 64 };

cg_status cg_probe_node(cg_job *j, int *done) {
    int any = 0, all = j->n_in <= MOST_IN;
    cg_host out[CG_PROBES][8];
    *done = 0;
    for (int i = 0; i < j->n_in && all; i++) {
        if (!j->in[i]) continue;
        any |= j->in[i]->probed;
        all = j->in[i]->probed || cg_item_known(j, j->in[i]);
    }
    if (!any || !all || j->n_out > 8 || j->n_out < 1) return CG_OK;
    for (int p = 0; p < j->m->n_probe; p++) {
        const cg_host *in[MOST_IN] = {0};
        for (int i = 0; i < j->n_in; i++)
            if (j->in[i]) in[i] = j->in[i]->probed ? &j->in[i]->probe[p] : &j->in[i]->host;
        memset(out[p], 0, sizeof out[p]);
        int known;
        CG_TRY(cg_host_run(&j->m->room, j->node, in, j->n_in, out[p], j->n_out, &known));
        if (!known) return CG_OK;
        for (int k = 0; k < j->n_out; k++) {
            if (!out[p][k].x) return CG_OK;
            if (!cg_shape_equal(&out[p][k].shape, &out[0][k].shape))
                return cg_error(CG_EUNSUPPORTED, "has a shape that only a run knows");
        }
    }
    for (int k = 0; k < j->n_out; k++) {
        j->out[k] = (cg_item){.type = out[0][k].type, .shape = out[0][k].shape, .probed = any};
        for (int p = 0; p < j->m->n_probe; p++) j->out[k].probe[p] = out[p][k];
    }
    *done = 1;
    return CG_OK;
}

cg_item *cg_item_source(cg_job *j, const cg_item *x) {
    const cg_onnx_port *list;
    int n = cg_onnx_inputs(j->m->f, &list);
    for (int i = 0; i < n; i++)
        if (x->probed == 1 << i) return j->m->item[cg_onnx_names_get(&j->m->names, list[i].name)];
    return NULL;
}

/* --- rows ------------------------------------------------------------------------------------- */

/* Rows of a table by ids: an input's, or such as are computed before each run. */
static cg_status embed(cg_job *j) {
    cg_item *table = j->in[0], *index = j->in[1];
    cg_value *rows, *ids;
    CG_TRY(cg_item_plain(j, table, &rows));
    if (index->v && index->v->dtype == CG_I32)
        CG_TRY(cg_item_plain(j, index, &ids));
    else
        CG_TRY(cg_item_compute(j, index, CG_I32, &ids));
    int64_t n = cg_item_count(index), height = table->shape.dim[0];
    int64_t width = cg_item_count(table) / height;
    cg_shape shape = index->shape;
    for (int i = 1; i < table->shape.rank; i++) {
        if (shape.rank == CG_MAX_RANK) return cg_error(CG_EUNSUPPORTED, "makes too many axes");
        shape.dim[shape.rank++] = table->shape.dim[i];
    }
    cg_value *v = cg_gather(j->g, cg_shaped(j->g, rows, CG_SHAPE(height, width)),
                            cg_shaped(j->g, ids, CG_SHAPE(n)));
    cg_view view = cg_view_of(&shape);
    return cg_out_view(j, 0, v, &view);
}

/* Does the node look at single elements of rows? */
static int is_by_element(const cg_job *j) {
    return strcmp(j->node->op_type, "GatherElements") == 0;
}

/* A table that holds, in place of each row, its number; rows are one wide where that is enough. */
static cg_status row_numbers(cg_job *j, cg_host *out) {
    cg_shape shape = j->in[0]->shape;
    int64_t width = shape.dim[shape.rank - 1];
    if (!is_by_element(j)) shape.dim[shape.rank - 1] = width = 1;
    CG_TRY(cg_host_new(&j->m->room, CG_ONNX_TYPE(INT64), shape, out));
    for (int64_t i = 0; i < cg_host_count(out); i++) out->x[i] = (double)(i / width);
    return CG_OK;
}

static cg_status rows_selected(cg_job *j, const cg_host *numbers, int p, cg_host *out) {
    const cg_host *in[2] = {numbers, &j->in[1]->probe[p]};
    int known;
    return cg_host_run(&j->m->room, j->node, in, 2, out, 1, &known);
}

static int64_t end_of(const cg_host *ids, int64_t text, int64_t tokens, int64_t eos) {
    const double *id = ids->x + text * tokens % ids->held;
    int64_t at = 0;
    if (eos < 0) {
        for (int64_t k = 1; k < tokens; k++)
            if (id[k] > id[at]) at = k;
    } else {
        while (at < tokens && id[at] != (double)eos) at++;
        if (at == tokens) at = 0;
    }
    return text * tokens + at;
}

/* Under each probe, does each text's selected row hold its end token's number? */
static int selects_end(const cg_job *j, const cg_host *selected, const cg_item *from, int64_t width,
                       int64_t eos) {
    int64_t texts = from->shape.dim[0], tokens = from->shape.dim[1];
    for (int p = 0; p < j->m->n_probe; p++)
        for (int64_t i = 0; i < texts * width; i++)
            if (cg_host_at(&selected[p], i) !=
                (double)end_of(&from->probe[p], i / width, tokens, eos))
                return 0;
    return 1;
}

static cg_status select_end(cg_job *j, cg_item *from, int64_t eos, const cg_shape *shape) {
    int64_t texts = from->shape.dim[0], tokens = from->shape.dim[1];
    int64_t width = j->in[0]->shape.dim[j->in[0]->shape.rank - 1];
    cg_value *x, *ids;
    CG_TRY(cg_item_plain(j, j->in[0], &x));
    CG_TRY(cg_item_plain(j, from, &ids));
    cg_value *row = cg_end_token(j->g, cg_shaped(j->g, ids, CG_SHAPE(texts * tokens)),
                                 cg_offsets(j->g, &j->m->room.budget, texts, tokens), eos);
    cg_value *v = cg_gather(j->g, cg_shaped(j->g, x, CG_SHAPE(texts * tokens, width)), row);
    cg_view view = cg_view_of(shape);
    return cg_out_view(j, 0, v, &view);
}

/* The shape of what is selected: rows of x. */
static cg_shape selected_shape(const cg_job *j, const cg_host *selected) {
    cg_shape shape = selected->shape;
    const cg_shape *x = &j->in[0]->shape;
    if (!is_by_element(j) && shape.rank > 0) shape.dim[shape.rank - 1] = x->dim[x->rank - 1];
    return shape;
}

/* The number of each selected row is computed before each run. */
static cg_status select_computed(cg_job *j, const cg_host *numbers, const cg_host *selected) {
    cg_item *table = cg_arena_alloc(&j->m->room.arena, 2 * sizeof *table), *row = table + 1;
    cg_value *x, *index;
    if (!table) return cg_error(CG_ENOMEM, "no memory for rows");
    *table =
        (cg_item){.type = numbers->type, .shape = numbers->shape, .host = *numbers, .self = table};
    *row = (cg_item){
        .type = selected->type, .shape = selected->shape, .probed = j->in[1]->probed, .self = row};
    for (int p = 0; p < j->m->n_probe; p++) row->probe[p] = selected[p];
    CG_TRY(cg_tape_add(j->m, j->node, (cg_item *[]){table, j->in[1]}, 2, &row, 1));
    CG_TRY(cg_item_compute(j, row, CG_I32, &index));
    CG_TRY(cg_item_plain(j, j->in[0], &x));
    int64_t width = j->in[0]->shape.dim[j->in[0]->shape.rank - 1];
    cg_value *v =
        cg_gather(j->g, cg_shaped(j->g, x, CG_SHAPE(cg_item_count(j->in[0]) / width, width)),
                  cg_shaped(j->g, index, CG_SHAPE(cg_host_count(selected))));
    cg_shape shape = selected_shape(j, selected);
    cg_view view = cg_view_of(&shape);
    return cg_out_view(j, 0, v, &view);
}

/* Numbers of made-up inputs may lie outside of the table, which says nothing of a run's. */
static cg_status import_selection(cg_job *j, int by_rows) {
    cg_item *x = j->in[0], *from = cg_item_source(j, j->in[1]);
    cg_host selected[CG_PROBES], numbers;
    int n = x->shape.rank;
    if (n < 2) return cg_error(CG_EUNSUPPORTED, "selects single elements by integers of a run");
    int64_t width = x->shape.dim[n - 1];
    if (cg_item_count(x) > INT32_MAX) return cg_error(CG_EUNSUPPORTED, "selects of too many rows");
    CG_TRY(row_numbers(j, &numbers));
    for (int p = 0; p < j->m->n_probe; p++) {
        cg_status s = rows_selected(j, &numbers, p, &selected[p]);
        if (s == CG_EFORMAT && by_rows) return embed(j);
        CG_TRY(s);
    }
    int64_t each = is_by_element(j) ? width : 1;
    int is_text = from && from->shape.rank == 2 &&
                  cg_item_count(x) == cg_item_count(from) * width &&
                  cg_host_count(&selected[0]) == from->shape.dim[0] * each;
    for (int i = -1; is_text && i < j->m->n_number; i++) {
        int64_t eos = i < 0 ? -1 : j->m->number[i];
        cg_shape shape = selected_shape(j, &selected[0]);
        if (selects_end(j, selected, from, each, eos)) return select_end(j, from, eos, &shape);
    }
    if (is_by_element(j))
        return cg_error(CG_EUNSUPPORTED,
                        "selects elements by integers of a run, not end tokens' rows");
    return select_computed(j, &numbers, selected);
}

cg_status cg_import_lookup(cg_job *j, int *done) {
    const char *name = j->node->op_type;
    *done = 0;
    int is_gather = strcmp(name, "Gather") == 0;
    if (!is_gather && strcmp(name, "GatherND") != 0 && strcmp(name, "GatherElements") != 0)
        return CG_OK;
    if (j->n_in < 2 || !j->in[0] || !j->in[1] || !cg_item_is_float(j->in[0]) || j->in[0]->probed)
        return CG_OK;
    int axis = -1, are_ids = j->in[1]->v && j->in[1]->v->dtype == CG_I32;
    if (!j->in[1]->probed && !are_ids) return CG_OK;
    CG_TRY(cg_item_value(j, j->in[0]));
    if (is_gather)
        CG_TRY(cg_onnx_axis(cg_onnx_int(j->node, "axis", 0), j->in[0]->shape.rank, &axis));
    *done = j->in[1]->probed || axis == 0;
    if (axis == 0 && are_ids) return embed(j);
    if (!*done) return CG_OK;
    return import_selection(j, axis == 0);
}
