/* Models to export, in the folder of the tests. Failures fail the running test. */
#ifndef CG_TEST_EXPORTS_H
#define CG_TEST_EXPORTS_H

#include "tests/support/folder.h"
#include "train/export.h"

/* A model of models/configs, changed by `change` (NULL: as it is), with weights of its own: saved
 * as a checkpoint, NAME, and loaded. The caller frees it by cg_model_free. */
void make_model(const char *config, const char *name, void (*change)(cg_clip_desc *d),
                cg_model *out);

/* Exports it to the folder NAME. */
void export_to(cg_model *m, const char *name, const cg_export_options *o, cg_certificate *c);

#endif
