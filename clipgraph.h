/* clipgraph: define, train and use CLIP models on CPUs. This header includes all public ones; each
 * of them is the manual of its part.
 *
 * THE LIFE OF A MODEL
 *
 *     cg_clip_desc_load("tiny.json", &desc);           what it is made of: models/desc.h
 *     cg_context_create(0, &ctx);                      threads and kernels: graph/context.h
 *     cg_runner_create(ctx, &desc, &runner);           graphs and plans, made as they are needed:
 *     cg_params_init(cg_runner_params(runner), seed);  train/runner.h, graph/params.h
 *     cg_dataset_table("train.tsv", NULL, &data);      pairs of pictures and captions:
 * data/dataset.h cg_loader_open(data, &how, 0, 0, &loader);       threads that make batches:
 * data/loader.h cg_runner_backward(runner, batch, g, &loss);     loss and gradient of a batch
 *     cg_optimizer_step(adamw, g, norm, lr);           train/optimizer.h; cg_train does all this,
 *     cg_checkpoint_save(folder, &checkpoint);         and checkpoints: train/train.h
 *     cg_model_load(folder, 0, &model);                to use it: train/model.h, train/evaluate.h
 *
 * Below that is a tensor engine which knows nothing of CLIP: graph/graph.h (values and nodes),
 * ops/ops.h (what can be computed), autodiff/grad.h (gradients, as more nodes), graph/plan.h and
 * graph/exec.h (running it). graph/op.h, with ops/check.h and ops/kernel.h, is for those who write
 * an op of their own. serialize/ has the files: safetensors, npy, parameters.
 *
 * ERRORS. What can fail returns a cg_status: CG_OK (0), or a code, and then cg_error_message() is
 * a sentence that says what was found and what was wanted. CG_TRY passes an error on. Functions
 * that build a graph return NULL instead, and take NULL: ask cg_graph_status once, at the end. The
 * library never prints, exits or aborts. *out is NULL or empty after a failure.
 *
 * OWNERSHIP. What NAME_create, _load, _open, _train or _table returns is yours until NAME_free or
 * NAME_close; both take NULL. Text and arrays said to be allocated are for free(). Values and nodes
 * belong to their graph. All else is borrowed, and headers say for how long.
 *
 * THREADS. There are no mutable globals. Different contexts, runners and graphs may be used by
 * different threads at once; one of them by one thread at a time. Tokenizers, datasets and plans
 * may be shared. A message belongs to the thread that failed.
 *
 * SIZES AND LAYOUT. int64_t counts elements, size_t bytes. Tensors are row-major, pictures
 * [N, H, W, C]; f32 unless stated.
 *
 * FROM C++ (11 or later) the same headers have C linkage. Of the macros CG_SHAPE and CG_SCALAR work
 * too; in C++ a list of sizes may not narrow, so write CG_SHAPE(int64_t(n), 3).
 *
 * VERSIONS. CLIPGRAPH_VERSION_MAJOR, _MINOR and _PATCH are the headers', cg_version() is the
 * library's: graph/version.h. */
#ifndef CLIPGRAPH_H
#define CLIPGRAPH_H

#include "autodiff/grad.h"
#include "autodiff/gradcheck.h"
#include "data/classes.h"
#include "data/dataset.h"
#include "data/image.h"
#include "data/loader.h"
#include "data/tokenizer.h"
#include "data/transform.h"
#include "graph/context.h"
#include "graph/exec.h"
#include "graph/file.h"
#include "graph/graph.h"
#include "graph/params.h"
#include "graph/plan.h"
#include "graph/rng.h"
#include "graph/status.h"
#include "graph/summary.h"
#include "graph/types.h"
#include "graph/version.h"
#include "models/clip.h"
#include "models/desc.h"
#include "ops/ops.h"
#include "serialize/checkpoint.h"
#include "serialize/npy.h"
#include "serialize/params_io.h"
#include "serialize/safetensors.h"
#include "serialize/tensor.h"
#include "train/account.h"
#include "train/check.h"
#include "train/evaluate.h"
#include "train/match.h"
#include "train/model.h"
#include "train/optimizer.h"
#include "train/program.h"
#include "train/runner.h"
#include "train/schedule.h"
#include "train/train.h"
#include "train/zero_shot.h"

#endif
