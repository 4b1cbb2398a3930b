#include "data/dataset.h"
#include "data/scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct synthetic {
    cg_dataset base; /* first, so that a pointer to one is a pointer to the other */
    cg_synthetic_options options;
} synthetic;

/* The stream that chooses what pair i of every epoch holds, and its caption. */
static cg_rng content_stream(const cg_synthetic_options *o, int64_t i) {
    uint64_t seed = o->seed ^ (o->held_out ? UINT64_C(0x9e1d007) : 0);
    return cg_rng_at(seed, CG_RNG_SYNTHETIC, 0, (uint64_t)i);
}

static cg_status synthetic_image(const cg_dataset *d, int64_t i, cg_image *out) {
    const synthetic *s = (const synthetic *)d;
    cg_rng content = content_stream(&s->options, i % d->size);
    cg_scene scene = cg_scene_choose(&content, s->options.held_out);
    cg_rng r = cg_rng_at(s->options.seed ^ (uint64_t)(s->options.held_out != 0), CG_RNG_SYNTHETIC,
                         1, (uint64_t)i);
    CG_TRY(cg_image_alloc(s->options.image_size, s->options.image_size, out));
    cg_scene_draw(&scene, &r, out);
    return CG_OK;
}

static void synthetic_free(cg_dataset *d) {
    free(d);
}

static cg_status describe_all(synthetic *s) {
    int64_t capacity = 0;
    while (s->base.size < s->options.size) {
        char caption[160], path[40];
        cg_rng r = content_stream(&s->options, s->base.size);
        cg_scene scene = cg_scene_choose(&r, s->options.held_out);
        cg_scene_describe(&scene, &r, caption, sizeof caption);
        snprintf(path, sizeof path, "scene %lld", (long long)s->base.size);
        CG_TRY(cg_dataset_append(&s->base, &capacity, strdup(path), strdup(caption)));
    }
    return cg_dataset_number_captions(&s->base);
}

cg_status cg_dataset_synthetic(const cg_synthetic_options *options, cg_dataset **out) {
    static const cg_dataset_ops ops = {synthetic_image, synthetic_free};
    *out = NULL;
    if (options->size < 1)
        return cg_error(CG_EINVAL, "synthetic data: %lld pairs, wanted 1 or more",
                        (long long)options->size);
    if (options->image_size < 8 || options->image_size > 4096)
        return cg_error(CG_EINVAL, "synthetic data: pictures of side %d, wanted 8 to 4096",
                        options->image_size);
    synthetic *s = calloc(1, sizeof *s);
    if (!s) return cg_error(CG_ENOMEM, "synthetic data: no memory");
    s->base.ops = &ops;
    s->base.endless = 1;
    s->options = *options;
    cg_status status = describe_all(s);
    if (status == CG_OK)
        *out = &s->base;
    else
        cg_dataset_free(&s->base);
    return status;
}
