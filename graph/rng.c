#include "graph/rng.h"

#include <math.h>

uint64_t cg_mix64(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

cg_rng cg_rng_at(uint64_t seed, cg_rng_purpose purpose, uint64_t step, uint64_t sample) {
    uint64_t key = cg_mix64(seed ^ cg_mix64((uint64_t)purpose + 1));
    key = cg_mix64(key ^ cg_mix64(step));
    key = cg_mix64(key + cg_mix64(~sample));
    return (cg_rng){.key = {(uint32_t)key, (uint32_t)(key >> 32)}};
}

void cg_rng_block(const cg_rng *r, uint64_t counter, uint32_t word[4]) {
    uint32_t k0 = r->key[0], k1 = r->key[1];
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32), c2 = 0, c3 = 0;
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xd2511f53u * c0, p1 = (uint64_t)0xcd9e8d57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    word[0] = c0;
    word[1] = c1;
    word[2] = c2;
    word[3] = c3;
}

uint32_t cg_rng_u32(cg_rng *r) {
    if (r->left == 0) {
        cg_rng_block(r, r->block++, r->word);
        r->left = 4;
    }
    return r->word[--r->left];
}

double cg_rng_uniform(cg_rng *r) {
    uint64_t high = cg_rng_u32(r) >> 5, low = cg_rng_u32(r) >> 6;
    return (double)(high << 26 | low) * 0x1p-53;
}

double cg_rng_range(cg_rng *r, double low, double high) {
    return low + (high - low) * cg_rng_uniform(r);
}

double cg_rng_normal(cg_rng *r) {
    double u = 1.0 - cg_rng_uniform(r), v = cg_rng_uniform(r);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

uint64_t cg_rng_below(cg_rng *r, uint64_t n) {
    uint64_t limit = n * (UINT64_MAX / n); /* draws past it would favour small numbers */
    for (;;) {
        uint64_t x = (uint64_t)cg_rng_u32(r) << 32;
        x |= cg_rng_u32(r);
        if (x < limit) return x % n;
    }
}
