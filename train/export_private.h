/* What the files of the export share. Only for them. */
#ifndef CG_TRAIN_EXPORT_PRIVATE_H
#define CG_TRAIN_EXPORT_PRIVATE_H

#include "train/export.h"

#include <jansson.h>

enum { CG_EXPORT_PATH = 4096, CG_EXPORT_META = 24 };

/* An export under way. */
typedef struct cg_exporting {
    cg_model *model;
    const cg_export_options *o;
    const char *folder; /* the temporary one */
    char path[CG_EXPORT_PATH];
    char tokenizer_hash[20]; /* "" : there is no tokenizer */
    float *label;            /* [labels, embed_dim] */
    cg_certificate *out;
} cg_exporting;

/* export_json.c. The file's metadata: values are allocated, the caller frees them. */
cg_status cg_export_meta(const cg_exporting *e, cg_meta meta[CG_EXPORT_META], int *n);

/* export_score.c. Measures model and file on the data. errors  CG_EFORMAT: the file loses too much,
 * or there is no picture, or no caption that is a label */
cg_status cg_export_score(cg_exporting *e);

/* export.c. Between steps: CG_EINTERRUPTED where the caller wants no more. */
cg_status cg_export_go_on(const cg_exporting *e);

/* export_run.c. What the file makes of pictures of the data, by index, and of captions: rows of an
 * output, [n, width], as many at a time as cg_export_batch says; pictures that are prepared inside
 * the file, as many as follow one another in one size. */
int64_t cg_export_batch(const cg_exporting *e);
cg_status cg_export_run_pictures(const cg_exporting *e, cg_onnx_session *session,
                                 const int64_t *index, int64_t n, const char *output, int64_t width,
                                 float *to);
cg_status cg_export_run_captions(const cg_exporting *e, cg_onnx_session *session,
                                 const char *const *caption, int64_t n, float *to);

/* The figures of a parity check, as in the certificate and in the metadata. */
json_t *cg_parity_json(const cg_parity_result *r, double tolerance);

/* The certificate; allocated. */
cg_status cg_export_certificate(const cg_exporting *e, char **text);

/* The description and the preprocessing, as a checkpoint has them; allocated. */
cg_status cg_export_config(const cg_exporting *e, char **text);

const char *cg_export_word(cg_onnx_what what); /* "image" */

#endif
