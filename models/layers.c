#include "models/layers.h"

#include "graph/decimal.h"
#include "ops/ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const float norm_eps = 1e-5f, momentum = 0.1f;

cg_value *cg_arange(cg_graph *g, int64_t count, int64_t start, int64_t step) {
    int64_t last = start + (count - 1) * step;
    if (count > 0 && last > INT32_MAX)
        return cg_graph_fail(
            g, cg_error(CG_EINVAL, "the batch is too large: row %lld of it, wanted at most %d",
                        (long long)last, INT32_MAX));
    int32_t *x = malloc((size_t)count * sizeof *x + 1);
    if (!x)
        return cg_graph_fail(g,
                             cg_error(CG_ENOMEM, "no memory for %lld numbers", (long long)count));
    for (int64_t i = 0; i < count; i++) x[i] = (int32_t)(start + i * step);
    cg_value *v = cg_constant(g, CG_I32, CG_SHAPE(count), x);
    free(x);
    return v;
}

static const char *last_part(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

static cg_value *parameter_of(cg_graph *g, const char *path, const char *part, cg_shape shape,
                              cg_param_spec spec) {
    char name[192];
    snprintf(name, sizeof name, "%s%s", path, part);
    return cg_parameter(g, name, shape, spec);
}

/* A linear layer whose parameters are PATHweight and PATHbias. */
static cg_value *affine(cg_graph *g, const char *path, cg_value *x, int64_t out,
                        cg_linear_init init) {
    if (!x) return NULL;
    int64_t in = x->shape.dim[x->shape.rank - 1];
    cg_value *weight = parameter_of(g, path, "weight", CG_SHAPE(out, in),
                                    (cg_param_spec){.init = init.kind, .scale = init.weight});
    cg_value *bias = parameter_of(g, path, "bias", CG_SHAPE(out),
                                  (cg_param_spec){.init = CG_INIT_UNIFORM, .scale = init.bias});
    return cg_linear(g, x, weight, bias);
}

cg_value *cg_linear_layer(cg_graph *g, const char *path, cg_value *x, int64_t out,
                          cg_linear_init init) {
    char full[192];
    snprintf(full, sizeof full, "%s.", path);
    cg_scope_push(g, "%s", last_part(path));
    x = affine(g, full, x, out, init);
    cg_scope_pop(g);
    return x;
}

cg_value *cg_norm_layer(cg_graph *g, const char *path, cg_value *x, cg_norm norm) {
    if (!x) return NULL;
    cg_shape shape = CG_SHAPE(x->shape.dim[x->shape.rank - 1]);
    cg_scope_push(g, "%s", last_part(path));
    cg_value *gain = parameter_of(g, path, ".weight", shape, (cg_param_spec){.scale = 1});
    if (norm == CG_NORM_RMS)
        x = cg_rms_norm(g, x, gain, norm_eps);
    else
        x = cg_layer_norm(g, x, gain,
                          parameter_of(g, path, ".bias", shape, (cg_param_spec){.scale = 0}),
                          norm_eps);
    cg_scope_pop(g);
    return x;
}

cg_value *cg_projection(cg_graph *g, const char *name, cg_value *x, int64_t embed_dim) {
    if (!x) return NULL;
    int64_t in = x->shape.dim[1];
    cg_param_spec spec = {.init = CG_INIT_NORMAL, .scale = 1 / sqrtf((float)in)};
    cg_scope_push(g, "projection");
    x = cg_matmul(g, x, cg_parameter(g, name, CG_SHAPE(in, embed_dim), spec), 0, 0);
    cg_scope_pop(g);
    return x;
}

cg_value *cg_text_projection(cg_graph *g, const cg_clip_desc *d, cg_value *x) {
    if (!d->text.proj_bias) return cg_projection(g, "text_projection", x, d->embed_dim);
    return cg_linear_layer(g, "text_projection", x, d->embed_dim,
                           (cg_linear_init){CG_INIT_NORMAL, 1 / sqrtf((float)d->text.width), 0});
}

/* --- pictures ------------------------------------------------------------------------------- */

cg_value *cg_conv_layer(cg_graph *g, const char *name, cg_value *x, int64_t out, int64_t kernel,
                        int64_t stride) {
    if (!x) return NULL;
    int64_t in = x->shape.dim[3];
    char full[128];
    snprintf(full, sizeof full, "%s.weight", name);
    cg_value *w = cg_parameter(g, full, CG_SHAPE(out, in, kernel, kernel),
                               (cg_param_spec){.init = CG_INIT_UNIFORM,
                                               .scale = 1 / sqrtf((float)(in * kernel * kernel))});
    return cg_conv2d(g, x, w, stride, kernel / 2);
}

typedef struct bn_params {
    cg_value *gain, *bias, *mean, *var, *count;
} bn_params;

static bn_params bn_declare(cg_graph *g, const char *name, int64_t channels, float gain) {
    static const char *const part[] = {"weight", "bias", "running_mean", "running_var",
                                       "num_batches_tracked"};
    cg_param_spec spec[] = {{.scale = gain},
                            {.scale = 0},
                            {.scale = 0, .state = 1},
                            {.scale = 1, .state = 1},
                            {.state = 1, .dtype = CG_I64}};
    cg_value *v[5];
    for (int i = 0; i < 5; i++) {
        char full[128];
        snprintf(full, sizeof full, "%s.%s", name, part[i]);
        v[i] = cg_parameter(g, full, i < 4 ? CG_SHAPE(channels) : CG_SCALAR, spec[i]);
    }
    return (bn_params){v[0], v[1], v[2], v[3], v[4]};
}

/* running = (1 - momentum) · running + momentum · batch */
static void update_running(cg_graph *g, cg_value *running, cg_value *batch, float correction) {
    cg_value *old = cg_scale(g, running, 1 - momentum);
    cg_graph_update(g, running, cg_add(g, old, cg_scale(g, batch, momentum * correction)));
}

cg_value *cg_batch_norm_layer(cg_graph *g, const char *name, cg_value *x, float gain,
                              int training) {
    if (!x) return NULL;
    bn_params p = bn_declare(g, name, x->shape.dim[3], gain);
    if (!training) return cg_batch_norm_inference(g, x, p.gain, p.bias, p.mean, p.var, norm_eps);
    cg_batch_norm_result r = cg_batch_norm(g, x, p.gain, p.bias, norm_eps);
    float n = (float)(x->shape.dim[0] * x->shape.dim[1] * x->shape.dim[2]);
    int64_t one = 1;
    update_running(g, p.mean, r.mean, 1);
    update_running(g, p.var, r.var, n > 1 ? n / (n - 1) : 1); /* the running one is unbiased */
    if (p.count)
        cg_graph_update(g, p.count, cg_add(g, p.count, cg_constant(g, CG_I64, CG_SCALAR, &one)));
    return r.y;
}

/* --- blocks ----------------------------------------------------------------------------------- */

cg_activation cg_activation_of(cg_activation act, int quick_gelu) {
    if (act != CG_ACT_DEFAULT) return act;
    return quick_gelu ? CG_ACT_QUICKGELU : CG_ACT_GELU;
}

int64_t cg_mlp_width(int64_t width, float mlp_ratio) {
    return (int64_t)((double)width * cg_decimal(mlp_ratio));
}

static cg_value *activate(cg_graph *g, cg_activation act, cg_value *x) {
    switch (act) {
    case CG_ACT_GELU_TANH:
        return cg_gelu_tanh(g, x);
    case CG_ACT_QUICKGELU:
        return cg_quickgelu(g, x);
    case CG_ACT_RELU:
        return cg_relu(g, x);
    case CG_ACT_SILU:
        return cg_silu(g, x);
    case CG_ACT_DEFAULT:
    case CG_ACT_GELU:
        break;
    }
    return cg_gelu(g, x);
}

/* In-projection of queries, keys and values in one matrix: in_proj_weight [3 width, width]. */
static cg_value *self_attention(cg_graph *g, const cg_blocks *b, const char *path, cg_value *x) {
    char name[192];
    cg_scope_push(g, "attn");
    cg_scope_push(g, "in_proj");
    snprintf(name, sizeof name, "%s.attn.in_proj_", path);
    x = affine(g, name, x, 3 * b->width, b->in);
    cg_scope_pop(g);
    x = cg_attention_qkv(g, x, b->offset,
                         (cg_attention_options){.heads = b->heads,
                                                .scale = 1 / sqrtf((float)(b->width / b->heads)),
                                                .causal = b->causal,
                                                .key_mask = b->mask});
    snprintf(name, sizeof name, "%s.attn.out_proj", path);
    x = cg_linear_layer(g, name, x, b->width, b->out);
    cg_scope_pop(g);
    return x;
}

static cg_value *mlp(cg_graph *g, const cg_blocks *b, const char *path, cg_value *x) {
    char name[192];
    cg_scope_push(g, "mlp");
    snprintf(name, sizeof name, "%s.mlp.c_fc", path);
    x = cg_linear_layer(g, name, x, b->mlp_width, b->fc);
    x = activate(g, b->act, x);
    snprintf(name, sizeof name, "%s.mlp.c_proj", path);
    x = cg_linear_layer(g, name, x, b->width, b->proj);
    cg_scope_pop(g);
    return x;
}

/* x + branch, the branch scaled channel by channel where the model has layer scale. */
static cg_value *residual(cg_graph *g, const cg_blocks *b, const char *path, int index, cg_value *x,
                          cg_value *branch) {
    if (!isnan(b->ls_init_value)) {
        char name[192];
        snprintf(name, sizeof name, "%s.ls_%d.gamma", path, index);
        cg_scope_push(g, "ls_%d", index);
        branch = cg_mul(
            g, branch,
            cg_parameter(g, name, CG_SHAPE(b->width), (cg_param_spec){.scale = b->ls_init_value}));
        cg_scope_pop(g);
    }
    return cg_add(g, x, branch);
}

cg_value *cg_transformer(cg_graph *g, const cg_blocks *b, cg_value *x) {
    cg_scope_push(g, "resblocks");
    for (int64_t i = 0; i < b->layers; i++) {
        char path[128], name[160];
        snprintf(path, sizeof path, "%s.resblocks.%d", b->path, (int)i);
        cg_scope_push(g, "%d", (int)i);
        snprintf(name, sizeof name, "%s.ln_1", path);
        x = residual(g, b, path, 1, x,
                     self_attention(g, b, path, cg_norm_layer(g, name, x, b->norm)));
        snprintf(name, sizeof name, "%s.ln_2", path);
        x = residual(g, b, path, 2, x, mlp(g, b, path, cg_norm_layer(g, name, x, b->norm)));
        cg_scope_pop(g);
    }
    cg_scope_pop(g);
    return x;
}
