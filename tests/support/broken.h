/* Exports that tests break, which certification must find. Failures fail the running test. */
#ifndef CG_TEST_BROKEN_H
#define CG_TEST_BROKEN_H

#include "tests/support/exports.h"
#include "train/export_private.h"

#include "onnx/onnx.pb-c.h"

/* Node `number` of an operator, or NULL. */
CgOnnx__NodeProto *find_node(CgOnnx__GraphProto *g, const char *op, int number);

CgOnnx__ModelProto *read_model(const char *path);

/* Writes the model to a file of the tests' folder, and frees it. */
void write_model(CgOnnx__ModelProto *m, const char *to);

/* Of classifiers. */
extern const char *const broken_labels[4];

/* One export that is broken in turn, and the certificate of what it has become. */
typedef struct sound {
    cg_model *m;
    cg_export_options o;
    cg_certificate c;
    char folder[512];
    cg_exporting e;
} sound;

/* Exports the model to the folder "sound"; free_sound removes it. */
void make_sound(cg_model *m, cg_export_options o, sound *s);
void free_sound(sound *s);

/* A way to break a graph; returns 0 where there is nothing to break. */
typedef int (*change_fn)(CgOnnx__GraphProto *g);

int same(CgOnnx__GraphProto *g); /* leaves it as it is */

/* Certifies the export as change leaves it: it must be refused, unless nothing changed. */
void check_broken(sound *s, const char *name, change_fn change);

typedef struct broken {
    const char *name;
    cg_onnx_what what;
    change_fn change;
} broken;

/* Exports by o, and breaks it in each way of a list, those of one part after another. */
void catch_in(cg_model *m, cg_export_options o, const broken *list, size_t n);

#endif
