#include "tests/support/broken.h"

#include "graph/file.h"
#include "train/match.h"

#include <stdlib.h>
#include <string.h>

const char *const broken_labels[4] = {"a red circle", "two blue squares", "squares", "nothing"};

CgOnnx__NodeProto *find_node(CgOnnx__GraphProto *g, const char *op, int number) {
    for (size_t i = 0; i < g->n_node; i++)
        if (strcmp(g->node[i]->op_type, op) == 0 && number-- == 0) return g->node[i];
    return NULL;
}

int same(CgOnnx__GraphProto *g) {
    return g->n_node > 0;
}

CgOnnx__ModelProto *read_model(const char *path) {
    cg_map map;
    ok(cg_file_map(path, &map));
    CgOnnx__ModelProto *m = cg_onnx__model_proto__unpack(NULL, map.bytes, map.data);
    assert_non_null(m);
    cg_file_unmap(&map);
    return m;
}

void write_model(CgOnnx__ModelProto *m, const char *to) {
    size_t size = cg_onnx__model_proto__get_packed_size(m);
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    cg_onnx__model_proto__pack(m, bytes);
    write_file(to, bytes, size);
    free(bytes);
    cg_onnx__model_proto__free_unpacked(m, NULL);
}

/* Reads `from`, breaks it, writes the file named `to`. */
static void breaks(const char *from, const char *to, const char *name,
                   int (*change)(CgOnnx__GraphProto *g)) {
    CgOnnx__ModelProto *m = read_model(from);
    if (!change(m->graph)) fail_msg("%s: there is nothing to break", name);
    write_model(m, to);
}

void make_sound(cg_model *m, cg_export_options o, sound *s) {
    *s = (sound){.m = m, .o = o};
    export_to(m, "sound", &o, &s->c);
    snprintf(s->folder, sizeof s->folder, "%s", in_folder("sound"));
    s->e = (cg_exporting){.model = m, .o = &s->o, .folder = s->folder, .out = &s->c};
    snprintf(s->e.path, sizeof s->e.path, "%s/broken.onnx", s->folder);
    if (o.labels)
        ok(cg_match_labels(m->runner, m->tokenizer, o.label, o.labels, &o.templates, &s->e.label,
                           NULL));
}

void free_sound(sound *s) {
    free(s->e.label);
    cg_certificate_free(&s->c);
    ok(cg_folder_remove(s->folder));
}

void check_broken(sound *s, const char *name, int (*change)(CgOnnx__GraphProto *g)) {
    breaks(in_folder("sound/model.onnx"), "sound/broken.onnx", name, change);
    cg_status found = cg_export_certify(&s->e);
    if (change == same && found != CG_OK)
        fail_msg("%s: %s", name, cg_error_message());
    else if (change != same && found == CG_OK)
        fail_msg("%s, %s: not found", name, cg_dtype_name(s->o.weights));
}

void catch_in(cg_model *m, cg_export_options o, const broken *list, size_t n) {
    for (size_t i = 0, end; i < n; i = end) {
        o.what = list[i].what;
        o.label = o.what == CG_ONNX_CLASSIFIER ? broken_labels : NULL;
        o.labels = o.label ? 4 : 0;
        sound s;
        make_sound(m, o, &s);
        for (end = i; end < n && list[end].what == o.what; end++)
            check_broken(&s, list[end].name, list[end].change);
        free_sound(&s);
    }
}
