/* The model description: what a CLIP model is made of, as a plain struct, read from and written
 * to JSON in open_clip's form.
 *
 *     {"embed_dim": 1024,
 *      "vision_cfg": {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64},
 *      "text_cfg": {"text_arch": "cbow", "context_length": 77, "vocab_size": 49408, "width": 512}}
 *
 * Keys left out keep open_clip's defaults; a key that is not known is an error which names the
 * nearest one that is. */
#ifndef CG_MODELS_DESC_H
#define CG_MODELS_DESC_H

#include "graph/status.h"

#include <stddef.h>
#include <stdint.h>

struct json_t;

typedef enum cg_text_arch { CG_TEXT_TRANSFORMER, CG_TEXT_CBOW } cg_text_arch;

typedef struct cg_vision_desc {
    int64_t image_size; /* pixels a side; a multiple of 32 for a ResNet */
    int64_t layers[4];  /* ResNet: bottlenecks of each stage; ViT: layers[0] blocks */
    int64_t n_layers;   /* 4: a ResNet; 1: a ViT */
    int64_t width;      /* ResNet: stem width (features / 32); ViT: token width */
    int64_t head_width; /* channels of an attention head */
} cg_vision_desc;

typedef struct cg_text_desc {
    cg_text_arch text_arch;
    int64_t context_length; /* tokens, start and end included */
    int64_t vocab_size;
    int64_t width;
    int64_t heads, layers; /* of a transformer */
} cg_text_desc;

typedef struct cg_clip_desc {
    int64_t embed_dim;
    cg_vision_desc vision;
    cg_text_desc text;
    float init_logit_scale; /* of the learned log temperature; ln(1/0.07) */
} cg_clip_desc;

/* open_clip's defaults: a ViT-B/16 and a transformer, embed_dim not set (0). */
cg_clip_desc cg_clip_desc_default(void);

/* Reads a description from a JSON value; `name` stands in messages (a file's, say). A file
 * whose root has "model_cfg" (a hub folder's open_clip_config.json) is read from there.
 * errors  CG_EINVAL: an unknown key (names it and the nearest), a wrong type, a size out of
 *         range, sizes that clash; CG_EUNSUPPORTED */
cg_status cg_clip_desc_parse(const char *name, const struct json_t *json, cg_clip_desc *out);

/* Reads a file. errors  CG_EIO, CG_EFORMAT (names the line), and those above */
cg_status cg_clip_desc_load(const char *path, cg_clip_desc *out);

/* The description as a new JSON object, every key written; NULL when memory is out. */
struct json_t *cg_clip_desc_json(const cg_clip_desc *d);

/* Checks each size against its range, and sizes against one another; called by parse.
 * errors  CG_EINVAL, CG_EUNSUPPORTED */
cg_status cg_clip_desc_check(const char *name, const cg_clip_desc *d);

#endif
