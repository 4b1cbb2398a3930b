/* clipgraph: define, train and use CLIP models on CPUs. This header includes all public ones; each
 * of them is the manual of its part.
 *
 * THE LIFE OF A MODEL
 *
 *     cg_clip_desc_load("tiny.json", &desc);           what it is made of: models/desc.h
 *     cg_context_create(0, &ctx);                      threads and kernels: graph/context.h
 *     cg_runner_create(ctx, &desc, &runner);           graphs, planned when needed: train/runner.h
 *     cg_params_init(cg_runner_params(runner), seed);  its parameters: graph/params.h
 *     cg_dataset_table("train.tsv", NULL, &data);      pictures and captions: data/dataset.h
 *     cg_loader_open(data, &how, 0, 0, &loader);       threads that make batches: data/loader.h
 *     cg_runner_backward(runner, batch, g, &loss);     loss and gradient of a batch
 *     cg_optimizer_step(adamw, g, norm, lr);           train/optimizer.h
 *     cg_checkpoint_save(folder, &checkpoint);         serialize/checkpoint.h
 *     cg_model_load(folder, 0, &model);                to use it: train/model.h, train/evaluate.h
 *
 * cg_train (train/train.h) is the loop over batches, with all that belongs to it.
 *
 * Below that is a tensor engine which knows nothing of CLIP: graph/graph.h (values and nodes),
 * ops/ops.h (what can be computed), autodiff/grad.h (gradients, as more nodes), graph/plan.h and
 * graph/exec.h (running it). graph/op.h, with ops/check.h and ops/kernel.h, is for those who write
 * an op of their own. serialize/ has the files: safetensors, npy, parameters.
 *
 * ERRORS. What can fail returns a cg_status: CG_OK (0), or a code, and then cg_error_message() is
 * a sentence that says what was found and what was wanted. CG_TRY passes an error on. Functions
 * that build a graph return NULL instead, and take NULL: ask cg_graph_status once, at the end. The
 * library never prints, exits or aborts.
 *
 * OWNERSHIP. An object that a function makes into *out is yours until you give it to the _free or
 * _close of its type, which take NULL, too; after a failure there is none. Text and arrays said to
 * be allocated are for free(). Values and nodes belong to their graph. All else is borrowed, and
 * headers say for how long.
 *
 * THREADS. There are no mutable globals. A graph, an execution or a runner is used by one thread at
 * a time, different ones by as many as you like; but plans of one context are made one at a time,
 * so threads with runners of their own have contexts of their own. Tokenizers, datasets and plans
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
#include "graph/peak.h"
#include "graph/plan.h"
#include "graph/profile.h"
#include "graph/rng.h"
#include "graph/status.h"
#include "graph/summary.h"
#include "graph/types.h"
#include "graph/version.h"
#include "models/clip.h"
#include "models/desc.h"
#include "ops/ops.h"
#include "ops/passes/passes.h"
#include "serialize/checkpoint.h"
#include "serialize/graph_json.h"
#include "serialize/npy.h"
#include "serialize/onnx/export.h"
#include "serialize/onnx/metadata.h"
#include "serialize/onnx/read.h"
#include "serialize/onnx/session.h"
#include "serialize/onnx/stored.h"
#include "serialize/params_io.h"
#include "serialize/safetensors.h"
#include "serialize/tensor.h"
#include "train/account.h"
#include "train/check.h"
#include "train/embed.h"
#include "train/evaluate.h"
#include "train/export.h"
#include "train/match.h"
#include "train/model.h"
#include "train/optimizer.h"
#include "train/parity.h"
#include "train/program.h"
#include "train/runner.h"
#include "train/schedule.h"
#include "train/train.h"
#include "train/zero_shot.h"

#endif
