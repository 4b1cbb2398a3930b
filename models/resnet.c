/* CLIP's image ResNet.
 *
 * source  arXiv:2103.00020, section 2.4: ResNet-D stem, rect-2 blur before strides as average
 *         pooling (arXiv:1812.01187, arXiv:1904.11486), attention pooling */
#include "models/clip.h"
#include "models/layers.h"
#include "ops/ops.h"

#include <math.h>
#include <stdio.h>

enum { EXPANSION = 4 };

/* A convolution and its batch norm, in scopes of their own: conv2 … bn2. */
static cg_value *conv_bn(cg_graph *g, const char *path, int index, cg_value *x, int64_t out,
                         int64_t kernel, int64_t stride, float gain, int training) {
    char name[128];
    snprintf(name, sizeof name, "%s.conv%d", path, index);
    cg_scope_push(g, "conv%d", index);
    x = cg_conv_layer(g, name, x, out, kernel, stride);
    cg_scope_pop(g);
    snprintf(name, sizeof name, "%s.bn%d", path, index);
    cg_scope_push(g, "bn%d", index);
    x = cg_batch_norm_layer(g, name, x, gain, training);
    cg_scope_pop(g);
    return x;
}

static cg_value *shortcut(cg_graph *g, const char *path, cg_value *x, int64_t out, int64_t stride,
                          int training) {
    char name[128];
    cg_scope_push(g, "downsample");
    if (stride > 1) x = cg_avg_pool(g, x, stride, stride);
    snprintf(name, sizeof name, "%s.downsample.0", path);
    x = cg_conv_layer(g, name, x, out, 1, 1);
    snprintf(name, sizeof name, "%s.downsample.1", path);
    x = cg_batch_norm_layer(g, name, x, 1, training);
    cg_scope_pop(g);
    return x;
}

/* All convolutions have stride 1; an average pool stands after the second where the block
 * downsamples. The last gain starts at 0, so that a new block is the identity. */
static cg_value *bottleneck(cg_graph *g, const char *path, cg_value *x, int64_t planes,
                            int64_t stride, int training) {
    if (!x) return NULL;
    cg_value *y = cg_relu(g, conv_bn(g, path, 1, x, planes, 1, 1, 1, training));
    y = cg_relu(g, conv_bn(g, path, 2, y, planes, 3, 1, 1, training));
    if (stride > 1) y = cg_avg_pool(g, y, stride, stride);
    y = conv_bn(g, path, 3, y, planes * EXPANSION, 1, 1, 0, training);
    if (stride > 1 || x->shape.dim[3] != planes * EXPANSION)
        x = shortcut(g, path, x, planes * EXPANSION, stride, training);
    return cg_relu(g, cg_add(g, y, x));
}

static cg_value *stem(cg_graph *g, cg_value *x, int64_t width, int training) {
    for (int i = 1; i <= 3; i++)
        x = cg_relu(g, conv_bn(g, "visual", i, x, i < 3 ? width / 2 : width, 3, i == 1 ? 2 : 1, 1,
                               training));
    return cg_avg_pool(g, x, 2, 2);
}

/* --- attention pooling ------------------------------------------------------------------------ */

/* The mean token is put in front, positions are added, and the mean token alone asks all. */
static cg_value *attention_pool(cg_graph *g, const cg_clip_desc *d, cg_value *x) {
    if (!x) return NULL;
    int64_t n = x->shape.dim[0], hw = x->shape.dim[1] * x->shape.dim[2], c = x->shape.dim[3];
    int64_t heads = c / d->vision.head_width;
    x = cg_reshape(g, x, CG_SHAPE(n, hw, c));
    cg_value *token[] = {cg_mean(g, x, CG_SHAPE(1), 1), x};
    x = cg_concat(g, 2, token, 1);
    cg_value *position =
        cg_parameter(g, "visual.attnpool.positional_embedding", CG_SHAPE(hw + 1, c),
                     (cg_param_spec){CG_INIT_NORMAL, 1 / sqrtf((float)c), 0, CG_F32});
    x = cg_add(g, x, position);
    cg_value *mean = cg_reshape(g, cg_slice(g, x, 1, 0, 1), CG_SHAPE(n, c));
    x = cg_reshape(g, x, CG_SHAPE(n * (hw + 1), c));
    float std = 1 / sqrtf((float)c);
    cg_linear_init init = {CG_INIT_NORMAL, std, std};
    cg_value *q = cg_linear_layer(g, "visual.attnpool.q_proj", mean, c, init);
    cg_value *k = cg_linear_layer(g, "visual.attnpool.k_proj", x, c, init);
    cg_value *v = cg_linear_layer(g, "visual.attnpool.v_proj", x, c, init);
    x = cg_attention(
        g, q, k, v, cg_arange(g, n + 1, 0, 1), cg_arange(g, n + 1, 0, hw + 1),
        (cg_attention_options){.heads = heads, .scale = 1 / sqrtf((float)d->vision.head_width)});
    return cg_linear_layer(g, "visual.attnpool.c_proj", x, d->embed_dim, init);
}

cg_value *cg_resnet(cg_graph *g, const cg_clip_desc *d, cg_value *image, int training) {
    cg_scope_push(g, "visual");
    cg_value *x = stem(g, image, d->vision.width, training);
    for (int stage = 0; stage < 4; stage++)
        for (int64_t block = 0; block < d->vision.layers[stage]; block++) {
            char path[64];
            snprintf(path, sizeof path, "visual.layer%d.%d", stage + 1, (int)block);
            cg_scope_push(g, "layer%d", stage + 1);
            cg_scope_push(g, "%d", (int)block);
            x = bottleneck(g, path, x, d->vision.width << stage, block == 0 && stage > 0 ? 2 : 1,
                           training);
            cg_scope_pop(g);
            cg_scope_pop(g);
        }
    cg_scope_push(g, "attnpool");
    x = attention_pool(g, d, x);
    cg_scope_pop(g);
    cg_scope_pop(g);
    return x;
}
