#include "data/bpe.h"
#include "data/text.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* ---- bytes and their symbols ---- */

static int prints(int b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
}

/* Unprintable byte number n: 0…32, 127…160, 173. */
static int unprintable(int n) {
    return n < 33 ? n : n < 67 ? 127 + n - 33 : 173;
}

int cg_bpe_byte_at(int k) {
    if (k < 94) return 33 + k;
    if (k < 106) return 161 + k - 94;
    if (k < 188) return 174 + k - 106;
    return unprintable(k - 188);
}

void cg_bpe_spell(int byte, char out[4]) {
    int n = byte < 33 ? byte : byte < 173 ? byte - 127 + 33 : 67;
    out[cg_utf8_encode(prints(byte) ? byte : 256 + n, out)] = 0;
}

/* The byte that a character of a symbol stands for, or -1. */
static int spelled_byte(int32_t code) {
    if (code >= 256 && code < 256 + 68) return unprintable(code - 256);
    return code >= 0 && code < 256 && prints(code) ? code : -1;
}

/* ---- the merge table ---- */

static uint32_t hash_pair(int32_t left, int32_t right) {
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    return (uint32_t)XXH3_64bits(&pair, sizeof pair);
}

/* The slot that holds the pair, or the free one where it belongs. */
static uint32_t find_slot(const cg_tokenizer *t, int32_t left, int32_t right) {
    uint32_t h = hash_pair(left, right) & t->mask;
    for (; t->slot[h]; h = (h + 1) & t->mask) {
        const cg_merge *m = &t->merge[t->slot[h] - 1];
        if (m->left == left && m->right == right) break;
    }
    return h;
}

int32_t cg_bpe_rank(const cg_tokenizer *t, int32_t left, int32_t right) {
    return t->slot[find_slot(t, left, right)] - 1;
}

cg_status cg_bpe_index(cg_tokenizer *t) {
    uint32_t size = 64;
    while (size < 2 * (uint32_t)t->n_merges) size *= 2;
    t->slot = calloc(size, sizeof *t->slot);
    if (!t->slot) return cg_error(CG_ENOMEM, "tokenizer: no memory for %d merges", t->n_merges);
    t->mask = size - 1;
    for (int32_t rank = 0; rank < t->n_merges; rank++) {
        uint32_t h = find_slot(t, t->merge[rank].left, t->merge[rank].right);
        if (!t->slot[h]) t->slot[h] = rank + 1; /* of equal merges the first counts */
    }
    return CG_OK;
}

void cg_tokenizer_free(cg_tokenizer *t) {
    if (!t) return;
    for (int32_t i = 0; t->symbol && i < t->n_symbols; i++) free(t->symbol[i]);
    free(t->symbol);
    free(t->merge);
    free(t->slot);
    free(t);
}

int cg_tokenizer_vocab_size(const cg_tokenizer *t) {
    return t->n_symbols;
}

int cg_tokenizer_start(const cg_tokenizer *t) {
    return t->start;
}

int cg_tokenizer_end(const cg_tokenizer *t) {
    return t->end;
}

/* ---- one word ---- */

typedef struct candidate {
    int32_t rank, at; /* merge the symbol at `at` with the one after it */
} candidate;

/* A word's symbols as a linked list, and a heap of the merges that could be made: long words
 * (a megabyte without a space) take n log n, not n². */
typedef struct word_state {
    int32_t *symbol, *next, *previous; /* index in the word; next -1: the last */
    candidate *heap;                   /* smallest rank first, then leftmost */
    int n_heap;
} word_state;

static int before(candidate a, candidate b) {
    return a.rank < b.rank || (a.rank == b.rank && a.at < b.at);
}

static void push(word_state *w, candidate c) {
    int i = w->n_heap++;
    for (; i > 0 && before(c, w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = c;
}

static candidate pop(word_state *w) {
    candidate top = w->heap[0], last = w->heap[--w->n_heap];
    int i = 0;
    for (int child; (child = 2 * i + 1) < w->n_heap; i = child) {
        if (child + 1 < w->n_heap && before(w->heap[child + 1], w->heap[child])) child++;
        if (!before(w->heap[child], last)) break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = last;
    return top;
}

static void consider(const cg_tokenizer *t, word_state *w, int32_t at) {
    if (at < 0 || w->next[at] < 0) return;
    int32_t rank = cg_bpe_rank(t, w->symbol[at], w->symbol[w->next[at]]);
    if (rank >= 0) push(w, (candidate){rank, at});
}

/* Leaves the word's symbols in w, a list that begins at index 0. */
static void merge_word(const cg_tokenizer *t, word_state *w, const char *word, int32_t n) {
    w->n_heap = 0;
    for (int32_t i = 0; i < n; i++) {
        w->symbol[i] = t->byte[i == n - 1][(unsigned char)word[i]];
        w->previous[i] = i - 1;
        w->next[i] = i + 1 < n ? i + 1 : -1;
    }
    for (int32_t i = 0; i < n; i++) consider(t, w, i);
    while (w->n_heap > 0) {
        candidate c = pop(w);
        const cg_merge *m = &t->merge[c.rank];
        int32_t second = w->next[c.at];
        /* A candidate is stale where another merge has taken one of its symbols. */
        if (second < 0 || w->symbol[c.at] != m->left || w->symbol[second] != m->right) continue;
        w->symbol[c.at] = m->result;
        w->symbol[second] = -1;
        w->next[c.at] = w->next[second];
        if (w->next[second] >= 0) w->previous[w->next[second]] = c.at;
        consider(t, w, w->previous[c.at]);
        consider(t, w, c.at);
    }
}

/* ---- whole texts ---- */

cg_status cg_caption_clean(const char *text, char **clean) {
    return cg_text_clean(text, CG_CLEAN_HTML, clean);
}

static void encode_clean(const cg_tokenizer *t, const char *clean, word_state *w, int limit,
                         int32_t *ids, int *n, int *truncated) {
    size_t at = 0;
    cg_span span;
    ids[0] = t->start;
    *n = 1;
    *truncated = 0;
    while (!*truncated && cg_text_next(clean, &at, &span)) {
        if (span.kind == CG_SPAN_WORD) {
            merge_word(t, w, clean + span.begin, (int32_t)(span.end - span.begin));
        } else {
            w->symbol[0] = span.kind == CG_SPAN_START ? t->start : t->end;
            w->next[0] = -1;
        }
        for (int32_t i = 0; i >= 0 && !*truncated; i = w->next[i]) {
            if (*n < limit - 1)
                ids[(*n)++] = w->symbol[i]; /* NOLINT: merge_word has set what next[] leads to */
            else
                *truncated = 1;
        }
    }
    ids[(*n)++] = t->end;
}

cg_status cg_tokenizer_encode(const cg_tokenizer *t, const char *text, int limit, int32_t *ids,
                              int *n, int *truncated) {
    int cut;
    if (limit < 2)
        return cg_error(CG_EINVAL, "tokenizer: a limit of %d ids, wanted 2 or more", limit);
    char *clean;
    CG_TRY(cg_text_clean(text, t->clean, &clean));
    size_t length = strlen(clean) + 1;
    if (length > INT32_MAX / 4) {
        free(clean);
        return cg_error(CG_EINVAL, "tokenizer: a text of %zu bytes is too long", length);
    }
    /* A word of m bytes has m - 1 candidates, and each of its m - 1 merges adds up to two. */
    size_t per_byte = 3 * sizeof(int32_t) + 3 * sizeof(candidate);
    int32_t *memory = malloc(length * per_byte);
    if (!memory) {
        free(clean);
        return cg_error(CG_ENOMEM, "tokenizer: no memory for a text of %zu bytes", length);
    }
    word_state w = {.symbol = memory,
                    .next = memory + length,
                    .previous = memory + 2 * length,
                    .heap = (candidate *)(memory + 3 * length)};
    encode_clean(t, clean, &w, limit, ids, n, truncated ? truncated : &cut);
    free(memory);
    free(clean);
    return CG_OK;
}

/* Appends the bytes that a symbol spells, its end-of-word mark as a space. */
static size_t unspell(const char *symbol, char *out) {
    size_t n = strlen(symbol), mark = strlen(CG_BPE_WORD_END), length = 0;
    int last = n >= mark && !strcmp(symbol + n - mark, CG_BPE_WORD_END);
    if (last) n -= mark;
    for (size_t i = 0; i < n;) {
        int32_t code;
        size_t step = cg_utf8_decode(symbol + i, n - i, &code);
        int byte = spelled_byte(code);
        if (byte >= 0) out[length++] = (char)byte;
        for (size_t k = 0; byte < 0 && k < step; k++) out[length++] = symbol[i + k];
        i += step;
    }
    if (last) out[length++] = ' ';
    return length;
}

cg_status cg_tokenizer_decode(const cg_tokenizer *t, const int32_t *ids, int n, char **text) {
    size_t size = 0, length = 0;
    *text = NULL;
    for (int i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= t->n_symbols || !t->symbol[ids[i]])
            return cg_error(CG_EINVAL, "tokenizer: id %d at position %d, the vocabulary has %d",
                            ids[i], i, t->n_symbols);
        size += strlen(t->symbol[ids[i]]);
    }
    char *bytes = malloc(size + 1);
    if (!bytes) return cg_error(CG_ENOMEM, "tokenizer: no memory for %zu bytes", size);
    for (int i = 0; i < n; i++)
        if (ids[i] != t->start && ids[i] != t->end)
            length += unspell(t->symbol[ids[i]], bytes + length);
    if (length > 0 && bytes[length - 1] == ' ') length--;
    cg_status status = cg_text_repair(bytes, length, text); /* a cut may split a character */
    free(bytes);
    return status;
}
