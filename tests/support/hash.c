#include "tests/support/hash.h"

#include "graph/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

uint64_t cg_hash_name(const char *name) {
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

double cg_hash_unit(uint64_t key, int64_t i) {
    int64_t k = (int64_t)(cg_mix64(key + (uint64_t)i) >> 40);
    return (double)(2 * k + 1 - (1 << 24)) * 0x1p-24;
}

static int ends(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* value = base + factor · u. Where base is not 0 factor is a power of two: the sum is exact. */
static void rule(const cg_param *p, double *base, double *factor) {
    *base = 0;
    if (strcmp(p->name, "logit_scale") == 0) {
        *base = 2.6592600369327779; /* ln(1 / 0.07) */
        *factor = 0;
    } else if (strcmp(p->name, "logit_bias") == 0) {
        *base = -4;
        *factor = 0;
    } else if (p->shape.rank >= 2) {
        *factor = sqrt((double)(3 * p->shape.dim[0]) / (double)p->count);
    } else if (ends(p->name, ".weight") || ends(p->name, ".gamma")) {
        *base = 1;
        *factor = 0.25;
    } else if (ends(p->name, ".running_var")) {
        *base = 0.25;
        *factor = 0.0625;
    } else {
        *factor = 0.125;
    }
}

void cg_hash_params(cg_params *params) {
    for (int n = 0; n < cg_params_count(params); n++) {
        cg_param *p = cg_params_at(params, n);
        if (p->dtype == CG_I64) {
            for (int64_t i = 0; i < p->count; i++) ((int64_t *)p->data)[i] = 5;
            continue;
        }
        uint64_t key = cg_hash_name(p->name);
        double base, factor;
        rule(p, &base, &factor);
        for (int64_t i = 0; i < p->count; i++)
            ((float *)p->data)[i] = (float)(base + factor * cg_hash_unit(key, i));
    }
}

void cg_hash_image(int number, int64_t n, int64_t size, float *out) {
    char name[64];
    snprintf(name, sizeof name, "image.%d", number);
    uint64_t fine = cg_hash_name(name);
    snprintf(name, sizeof name, "image.%d.block", number);
    uint64_t coarse = cg_hash_name(name);
    int64_t blocks = size / 8;
    for (int64_t i = 0; i < n * size * size * 3; i++) {
        int64_t c = i % 3, x = i / 3 % size, y = i / 3 / size % size, picture = i / 3 / size / size;
        int64_t block = ((picture * blocks + y / 8) * blocks + x / 8) * 3 + c;
        out[i] = (float)(cg_hash_unit(fine, i) / 2 + cg_hash_unit(coarse, block));
    }
}

void cg_hash_captions(int number, const cg_text_desc *text, int64_t n, const int32_t *length,
                      int32_t *token, int32_t *offset) {
    char name[64];
    snprintf(name, sizeof name, "token.%d", number);
    uint64_t key = cg_hash_name(name), vocab = (uint64_t)text->vocab_size, i = 0;
    /* a Transformer's captions hold none of 0, 1, 2, start and end */
    uint64_t kept = text->text_arch == CG_TEXT_CBOW ? 0 : 3, drawn = kept ? vocab - 5 : vocab;
    int64_t end = text->pool_type == CG_POOL_EOS ? text->eos_id : text->vocab_size - 1;
    int32_t at = 0;
    for (int64_t t = 0; t < n; t++) {
        offset[t] = at;
        token[at++] = (int32_t)text->vocab_size - 2;
        for (int32_t k = length[(t + number) % n]; k > 0; k--)
            token[at++] = (int32_t)(kept + cg_mix64(key + i++) % drawn);
        token[at++] = (int32_t)end;
    }
    offset[n] = at;
}
