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

CG_API_BEGIN

struct json_t;

/* What a file writes as a word. */
typedef enum cg_vision_arch {
    CG_VISION_DEFAULT, /* null: a ResNet where layers is a list, else a ViT */
    CG_VISION_RESNET,
    CG_VISION_VIT,
} cg_vision_arch;
typedef enum cg_text_arch { CG_TEXT_TRANSFORMER, CG_TEXT_CBOW } cg_text_arch;
typedef enum cg_activation {
    CG_ACT_DEFAULT, /* null: "quickgelu" where quick_gelu is true, else "gelu" */
    CG_ACT_GELU,
    CG_ACT_GELU_TANH,
    CG_ACT_QUICKGELU,
    CG_ACT_RELU,
    CG_ACT_SILU,
} cg_activation;
typedef enum cg_norm { CG_NORM_LAYER, CG_NORM_RMS } cg_norm; /* "layernorm", "rmsnorm" */
typedef enum cg_vision_pool { CG_POOL_TOK, CG_POOL_AVG } cg_vision_pool; /* class token or mean */
typedef enum cg_text_pool {
    CG_POOL_ARGMAX, /* the first largest id: CLIP's end token */
    CG_POOL_EOS,    /* the first eos_id */
    CG_POOL_FIRST,
    CG_POOL_LAST, /* of the padded caption */
} cg_text_pool;

/* Keys are open_clip's, but for vision_arch, text_arch, act and norm. */
typedef struct cg_vision_desc {
    cg_vision_arch vision_arch;
    int64_t image_size; /* pixels a side; a multiple of 32 for a ResNet, of patch_size for a ViT */
    int64_t layers[4];  /* ResNet: bottlenecks of each stage; ViT: layers[0] blocks */
    int64_t n_layers;   /* 4: a ResNet; 1: a ViT */
    int64_t width;      /* ResNet: stem width (features / 32); ViT: token width */
    int64_t head_width; /* channels of an attention head */
    /* of a ViT: */
    int64_t patch_size;
    float mlp_ratio;     /* hidden width of a block's MLP over width */
    float ls_init_value; /* layer scale's first value; NaN (null): none */
    float patch_dropout; /* share of patches left out in training */
    int no_ln_pre;       /* no norm before the blocks */
    cg_vision_pool pool_type;
    int final_ln_after_pool; /* with "avg": the last norm after the mean, not before it */
    cg_activation act;
    cg_norm norm;
} cg_vision_desc;

typedef struct cg_text_desc {
    cg_text_arch text_arch;
    int64_t context_length; /* tokens, start and end included */
    int64_t vocab_size;
    int64_t width;
    /* of a transformer: */
    int64_t heads, layers;
    float mlp_ratio, ls_init_value; /* as above */
    cg_text_pool pool_type;
    int64_t pad_id, eos_id;
    int no_causal_mask; /* a token sees those after it too */
    int use_pad_mask;   /* with no_causal_mask: padding is not seen; otherwise it is */
    int proj_bias;
    cg_activation act;
    cg_norm norm; /* also of CBOW's ln_final */
} cg_text_desc;

typedef struct cg_clip_desc {
    int64_t embed_dim;
    cg_vision_desc vision;
    cg_text_desc text;
    int quick_gelu;         /* the activation of towers that name none */
    float init_logit_scale; /* of the learned log temperature; ln(1/0.07) */
    float init_logit_bias;  /* NaN (null): the softmax loss. A number: the sigmoid loss, and
                               logits with a learned bias that starts there */
} cg_clip_desc;

/* Where a description made by hand starts. open_clip's defaults: a ViT-B/16 and a transformer,
 * embed_dim not set (0). */
cg_clip_desc cg_clip_desc_default(void);

/* The image tower that is meant: never CG_VISION_DEFAULT. */
cg_vision_arch cg_vision_arch_of(const cg_vision_desc *v);

/* Reads a description from a JSON value; `name` stands in messages (a file's, say). A file
 * whose root has "model_cfg" (a hub folder's open_clip_config.json) is read from there.
 * errors  CG_EINVAL: an unknown key (names it and the nearest), a wrong type, a size out of
 *         range, sizes that clash; CG_EUNSUPPORTED */
cg_status cg_clip_desc_parse(const char *name, const struct json_t *json, cg_clip_desc *out);

/* Reads a file. errors  CG_EIO, CG_EFORMAT (names the line), and those above */
cg_status cg_clip_desc_load(const char *path, cg_clip_desc *out);

/* The description as a new JSON object, every key that its towers read; NULL when memory is out. */
struct json_t *cg_clip_desc_json(const cg_clip_desc *d);

/* Checks each size against its range, and sizes against one another; called by parse.
 * errors  CG_EINVAL, CG_EUNSUPPORTED */
cg_status cg_clip_desc_check(const char *name, const cg_clip_desc *d);

CG_API_END

#endif
