/* Integers that only a run knows: operators on them are evaluated on the host (tape.c), and what a
 * graph needs of them is computed before each run. */
#include "serialize/onnx/import_private.h"

#include <string.h>

enum { MOST_OUT = 8 };

cg_status cg_import_integers(cg_job *j, int *done) {
    int any = 0, all = 1;
    cg_host out[MOST_OUT] = {{0}};
    *done = 0;
    for (int i = 0; i < j->n_in && all; i++) {
        if (!j->in[i]) continue;
        any |= j->in[i]->of_run;
        all = j->in[i]->of_run || cg_item_known(j, j->in[i]);
    }
    if (!any || !all || j->n_out > MOST_OUT || j->n_out < 1) return CG_OK;
    CG_TRY(cg_tape_find(j->m, j->node, j->in, j->n_in, j->n_out, &j->before));
    if (!j->before)
        CG_TRY(cg_tape_add(j->m, j->node, j->in, j->n_in, out, j->n_out, &j->tape));
    else if (!j->before->out[0]->now.x) /* all that were known to read it have */
        CG_TRY(cg_tape_run(j->m, j->before, &all));
    *done = j->before || j->tape;
    for (int k = 0; k < j->n_out && j->tape; k++)
        j->out[k] =
            (cg_item){.type = out[k].type, .shape = out[k].shape, .of_run = 1, .now = out[k]};
    return CG_OK;
}

/* --- rows ------------------------------------------------------------------------------------- */

/* Rows of a table by an input's ids, which are not computed with: u8. */
static cg_status embed(cg_job *j) {
    cg_item *table = j->in[0], *index = j->in[1];
    cg_value *rows, *ids;
    CG_TRY(cg_item_plain(j, table, &rows));
    CG_TRY(cg_item_plain(j, index, &ids));
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

/* Does the node pick whole rows of the last axis? Else it picks elements. */
static cg_status picks_rows(const cg_job *j, int *rows) {
    const cg_shape *x = &j->in[0]->shape, *index = &j->in[1]->shape;
    int axis = 0;
    if (strcmp(j->node->op_type, "Gather") == 0)
        CG_TRY(cg_onnx_axis(cg_onnx_int(j->node, "axis", 0), x->rank, &axis));
    *rows = axis < x->rank - 1 && strcmp(j->node->op_type, "GatherElements") != 0;
    if (strcmp(j->node->op_type, "GatherND") == 0 && index->rank > 0)
        *rows = cg_onnx_int(j->node, "batch_dims", 0) + index->dim[index->rank - 1] < x->rank;
    return CG_OK;
}

/* A table that holds, in place of each row of `width` elements, its number. */
static cg_status numbered(cg_job *j, int64_t width, cg_item *table) {
    cg_shape shape = j->in[0]->shape;
    if (width > 1) shape.dim[shape.rank - 1] = 1;
    *table = (cg_item){.type = CG_ONNX_TYPE(INT64), .shape = shape, .self = table};
    CG_TRY(cg_host_new(&j->m->room, table->type, shape, &table->host));
    for (int64_t i = 0; i < table->host.held; i++) table->host.x[i] = (double)i;
    return CG_OK;
}

/* What is picked are rows, or elements, by their numbers, which are computed before each run. */
static cg_status pick(cg_job *j) {
    cg_item *x = j->in[0], *table = cg_arena_alloc(&j->m->room.arena, 2 * sizeof *table);
    cg_item *number = table + 1;
    cg_host out = {0};
    cg_tape *t;
    int by_rows;
    if (!table) return cg_error(CG_ENOMEM, "no memory for rows");
    CG_TRY(picks_rows(j, &by_rows));
    int64_t width = by_rows ? x->shape.dim[x->shape.rank - 1] : 1;
    if (cg_item_count(x) / width > INT32_MAX)
        return cg_error(CG_EUNSUPPORTED, "selects of too many rows");
    CG_TRY(numbered(j, width, table));
    CG_TRY(cg_tape_add(j->m, j->node, (cg_item *[]){table, j->in[1]}, 2, &out, 1, &t));
    if (!t) return cg_error(CG_EUNSUPPORTED, "selects by integers of a run");
    *number = (cg_item){.type = out.type, .shape = out.shape, .of_run = 1, .now = out, .maker = t};
    number->self = t->out[0] = number;
    cg_value *v, *index;
    CG_TRY(cg_item_compute(j, number, CG_I32, &index));
    cg_tape_drop(j->m, t);
    CG_TRY(cg_item_plain(j, x, &v));
    v = cg_gather(j->g, cg_shaped(j->g, v, CG_SHAPE(cg_item_count(x) / width, width)),
                  cg_shaped(j->g, index, CG_SHAPE(cg_item_count(number))));
    cg_shape shape = number->shape;
    if (width > 1) shape.dim[shape.rank - 1] = width;
    cg_view view = cg_view_of(&shape);
    return cg_out_view(j, 0, v, &view);
}

cg_status cg_import_lookup(cg_job *j, int *done) {
    const char *name = j->node->op_type;
    *done = 0;
    int is_gather = strcmp(name, "Gather") == 0;
    if (!is_gather && strcmp(name, "GatherND") != 0 && strcmp(name, "GatherElements") != 0)
        return CG_OK;
    if (j->n_in < 2 || !j->in[0] || !j->in[1] || !cg_item_is_float(j->in[0]) || j->in[0]->of_run)
        return CG_OK;
    int axis = -1, are_ids = j->in[1]->v && j->in[1]->v->dtype == CG_I32;
    if (!j->in[1]->of_run && !are_ids) return CG_OK;
    CG_TRY(cg_item_value(j, j->in[0]));
    if (is_gather)
        CG_TRY(cg_onnx_axis(cg_onnx_int(j->node, "axis", 0), j->in[0]->shape.rank, &axis));
    *done = j->in[1]->of_run || axis == 0;
    if (j->in[1]->of_run) return pick(j); /* ids may count from the end of the table */
    return *done ? embed(j) : CG_OK;
}
