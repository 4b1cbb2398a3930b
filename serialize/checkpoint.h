/* Checkpoints: a model as a folder that open_clip reads too, and what training needs to go on.
 *
 *   open_clip_config.json        {"model_cfg": …, "preprocess_cfg": …}
 *   open_clip_model.safetensors  parameters under open_clip's names
 *   tokenizer.json               as Hugging Face's tokenizers read it
 *   state.safetensors            first and second moments: exp_avg.NAME, exp_avg_sq.NAME
 *   state.json                   step, epoch, batch, and what the run was told
 *
 * A folder appears whole or not at all. */
#ifndef CG_SERIALIZE_CHECKPOINT_H
#define CG_SERIALIZE_CHECKPOINT_H

#include "data/tokenizer.h"
#include "data/transform.h"
#include "graph/params.h"
#include "models/desc.h"

CG_API_BEGIN

/* Where training stands. */
typedef struct cg_train_state {
    int64_t step;  /* steps made */
    int64_t epoch; /* of the next batch */
    int64_t batch; /* number in that epoch of the next batch */
    uint64_t seed;
    int64_t batch_size, steps_per_epoch; /* a run resumed with others is another run */
    uint64_t data; /* fingerprint of its data (data/dataset.h), the same; 0: not on record */
} cg_train_state;

/* What is written; state and moments are NULL for a model without them. All borrowed. */
typedef struct cg_checkpoint {
    const cg_clip_desc *desc;
    const cg_preprocess *preprocess;
    const cg_params *params;
    const cg_tokenizer *tokenizer;
    const cg_train_state *state;
    const float *moment[2]; /* laid out as the trained block */
} cg_checkpoint;

/* Writes FOLDER, atomically; its parent must be there. errors  CG_EIO */
cg_status cg_checkpoint_save(const char *folder, const cg_checkpoint *c);

/* The description and preprocessing of a checkpoint. errors  CG_ENOTFOUND: no such folder, or one
 * without open_clip_config.json; CG_EFORMAT */
cg_status cg_checkpoint_config(const char *folder, cg_clip_desc *desc, cg_preprocess *preprocess);

/* Its weights into a store that has the same parameters; or, for inference, mapped by one that is
 * declared and not allocated (cg_params_map); its tokenizer. */
cg_status cg_checkpoint_weights(const char *folder, cg_params *params);
cg_status cg_checkpoint_map(const char *folder, cg_params *params);
cg_status cg_checkpoint_tokenizer(const char *folder, cg_tokenizer **out);

/* Its training state; the moments are laid out as params' trained block. */
cg_status cg_checkpoint_state(const char *folder, const cg_params *params, cg_train_state *state,
                              float *moment[2]);

/* The steps of which a run has a checkpoint (`run`/checkpoints/step-N with a description and
 * weights), newest first; allocated, the caller frees it. None where there is no such folder. */
cg_status cg_checkpoint_list(const char *run, int64_t **steps, int64_t *n);

/* Where the checkpoint of a step belongs. errors  CG_EINVAL: the path is too long */
cg_status cg_checkpoint_path(const char *run, int64_t step, char *path, size_t size);

/* The newest checkpoint of a run, or `run` itself where it is a checkpoint; allocated, the caller
 * frees it. errors  CG_ENOTFOUND */
cg_status cg_checkpoint_find(const char *run, char **folder);

CG_API_END

#endif
