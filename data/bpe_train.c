/* Learning the merges: the words of all captions with their counts, the counts of all pairs of
 * neighbours in them, and a heap of the pairs. A merge touches only the words that hold it.
 *
 * source  Sennrich et al., arXiv:1508.07909 */
#include "data/bpe.h"
#include "data/text.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

typedef struct word {
    int64_t count;
    size_t first; /* in train.symbols: bytes while counting, symbols while merging */
    int32_t n;
} word;

typedef struct pair {
    int32_t left, right;
    int64_t count;
    int32_t *words; /* those that held it once; some may not any more */
    int32_t n_words, cap_words;
    int32_t touched; /* the last merge that raised its count */
} pair;

typedef struct candidate {
    int64_t count; /* when it was pushed: an upper bound unless pushed again */
    int32_t pair;
} candidate;

/* Open addressing from a key's hash to an index + 1 in one of the arrays below. */
typedef struct table {
    int32_t *slot;
    size_t mask;
} table;

typedef struct train {
    int32_t *symbols;
    size_t n_symbols, cap_symbols;
    word *words;
    size_t n_words, cap_words;
    pair *pairs;
    size_t n_pairs, cap_pairs;
    candidate *heap;
    size_t n_heap, cap_heap;
    int32_t *raised; /* pairs whose count the current merge raised */
    size_t n_raised, cap_raised;
    table by_word, by_pair, by_name;
    char **name; /* [n_names] spelling of each symbol; becomes the tokenizer's */
    int32_t n_names;
} train;

static cg_status no_memory(void) {
    return cg_error(CG_ENOMEM, "tokenizer: no memory for training");
}

/* Room for `more` elements after n. */
static cg_status grow(void **array, size_t n, size_t more, size_t *capacity, size_t element) {
    if (n + more <= *capacity) return CG_OK;
    size_t wanted = 2 * (n + more) + 64;
    void *bigger = wanted > SIZE_MAX / 2 / element ? NULL : realloc(*array, wanted * element);
    if (!bigger) return no_memory();
    *array = bigger;
    *capacity = wanted;
    return CG_OK;
}

#define GROW(array, n, more, capacity)                                                             \
    do {                                                                                           \
        void *grow_memory = (array);                                                               \
        cg_status grow_status = grow(&grow_memory, n, more, &(capacity), sizeof *(array));         \
        (array) = grow_memory;                                                                     \
        if (grow_status != CG_OK) return grow_status;                                              \
    } while (0)

typedef uint64_t (*hash_of)(const train *s, int32_t index);

/* Keeps a table of n entries at most half full. */
static cg_status table_reserve(const train *s, table *t, size_t n, hash_of hash) {
    if (t->slot && 2 * (n + 1) <= t->mask + 1) return CG_OK;
    size_t size = 1024;
    while (size < 4 * (n + 1)) size *= 2;
    int32_t *slot = calloc(size, sizeof *slot);
    if (!slot) return no_memory();
    free(t->slot);
    *t = (table){slot, size - 1};
    for (size_t i = 0; i < n; i++) {
        size_t h = hash(s, (int32_t)i) & t->mask;
        while (slot[h]) h = (h + 1) & t->mask;
        slot[h] = (int32_t)i + 1;
    }
    return CG_OK;
}

/* ---- symbols ---- */

static uint64_t hash_name(const train *s, int32_t i) {
    return XXH3_64bits(s->name[i], strlen(s->name[i]));
}

/* The symbol spelled so, made where it is new: two merges may spell the same one. Takes name. */
static cg_status intern(train *s, char *name, int32_t *id) {
    if (!name) return no_memory();
    cg_status status = table_reserve(s, &s->by_name, (size_t)s->n_names, hash_name);
    if (status != CG_OK) {
        free(name);
        return status;
    }
    size_t h = XXH3_64bits(name, strlen(name)) & s->by_name.mask;
    for (; s->by_name.slot[h]; h = (h + 1) & s->by_name.mask) {
        *id = s->by_name.slot[h] - 1;
        if (strcmp(s->name[*id], name)) continue;
        free(name);
        return CG_OK;
    }
    *id = s->n_names++;
    s->name[*id] = name;
    s->by_name.slot[h] = *id + 1;
    return CG_OK;
}

static char *join(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    char *out = malloc(n + m + 1);
    if (!out) return NULL;
    memcpy(out, a, n);
    memcpy(out + n, b, m + 1);
    return out;
}

static cg_status intern_bytes(train *s) {
    for (int last = 0; last < 2; last++)
        for (int k = 0; k < 256; k++) {
            char spelled[4];
            int32_t id;
            cg_bpe_spell(cg_bpe_byte_at(k), spelled);
            CG_TRY(intern(s, join(spelled, last ? CG_BPE_WORD_END : ""), &id));
        }
    return CG_OK;
}

/* ---- words ---- */

static uint64_t hash_word(const train *s, int32_t i) {
    const word *w = &s->words[i];
    return XXH3_64bits(s->symbols + w->first, (size_t)w->n * sizeof *s->symbols);
}

static cg_status count_word(train *s, const char *bytes, size_t n, const int32_t place[256]) {
    GROW(s->symbols, s->n_symbols, n, s->cap_symbols);
    int32_t *symbols = s->symbols + s->n_symbols;
    for (size_t i = 0; i < n; i++)
        symbols[i] = place[(unsigned char)bytes[i]] + (i + 1 == n ? 256 : 0);
    CG_TRY(table_reserve(s, &s->by_word, s->n_words, hash_word));
    size_t h = XXH3_64bits(symbols, n * sizeof *symbols) & s->by_word.mask;
    for (; s->by_word.slot[h]; h = (h + 1) & s->by_word.mask) {
        word *w = &s->words[s->by_word.slot[h] - 1];
        if ((size_t)w->n != n || memcmp(s->symbols + w->first, symbols, n * sizeof *symbols))
            continue;
        w->count++;
        return CG_OK;
    }
    if (s->n_words == INT32_MAX / 4) return cg_error(CG_EINVAL, "tokenizer: too many words");
    GROW(s->words, s->n_words, 1, s->cap_words);
    s->words[s->n_words++] = (word){1, s->n_symbols, (int32_t)n};
    s->by_word.slot[h] = (int32_t)s->n_words;
    s->n_symbols += n;
    return CG_OK;
}

static cg_status count_words(train *s, const char *const *captions, size_t n) {
    int32_t place[256]; /* of a byte in the vocabulary */
    for (int k = 0; k < 256; k++) place[cg_bpe_byte_at(k)] = k;
    for (size_t i = 0; i < n; i++) {
        char *clean;
        size_t at = 0;
        cg_span span;
        CG_TRY(cg_caption_clean(captions[i], &clean));
        cg_status status = CG_OK;
        while (status == CG_OK && cg_text_next(clean, &at, &span))
            if (span.kind == CG_SPAN_WORD && span.end - span.begin < INT32_MAX)
                status = count_word(s, clean + span.begin, span.end - span.begin, place);
        free(clean);
        if (status != CG_OK) return status;
    }
    if (s->n_words == 0)
        return cg_error(CG_EINVAL, "tokenizer: none of %zu captions has a word in it", n);
    return CG_OK;
}

/* ---- pairs ---- */

static uint64_t hash_two(int32_t left, int32_t right) {
    uint64_t both = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    return XXH3_64bits(&both, sizeof both);
}

static uint64_t hash_pair(const train *s, int32_t i) {
    return hash_two(s->pairs[i].left, s->pairs[i].right);
}

static cg_status find_pair(train *s, int32_t left, int32_t right, int32_t *index) {
    CG_TRY(table_reserve(s, &s->by_pair, s->n_pairs, hash_pair));
    size_t h = hash_two(left, right) & s->by_pair.mask;
    for (; s->by_pair.slot[h]; h = (h + 1) & s->by_pair.mask) {
        *index = s->by_pair.slot[h] - 1;
        if (s->pairs[*index].left == left && s->pairs[*index].right == right) return CG_OK;
    }
    GROW(s->pairs, s->n_pairs, 1, s->cap_pairs);
    *index = (int32_t)s->n_pairs;
    s->pairs[s->n_pairs++] = (pair){.left = left, .right = right, .touched = -1};
    s->by_pair.slot[h] = (int32_t)s->n_pairs;
    return CG_OK;
}

static cg_status add_word(pair *p, int32_t w) {
    if (p->n_words > 0 && p->words[p->n_words - 1] == w) return CG_OK;
    size_t capacity = (size_t)p->cap_words;
    if (p->n_words == p->cap_words) GROW(p->words, (size_t)p->n_words, 1, capacity);
    p->cap_words = (int32_t)capacity;
    p->words[p->n_words++] = w;
    return CG_OK;
}

/* Adds (sign 1) or takes away (-1) the pairs of word w, for merge number `merge`. Only pairs that
 * hold its result can have gained (all of them, where it is -1: the first count). */
static cg_status count_pairs(train *s, int32_t w, int sign, int32_t merge, int32_t result) {
    const word *v = &s->words[w];
    for (int32_t i = 0; i + 1 < v->n; i++) {
        int32_t at;
        CG_TRY(find_pair(s, s->symbols[v->first + (size_t)i], s->symbols[v->first + (size_t)i + 1],
                         &at));
        pair *p = &s->pairs[at];
        p->count += sign * v->count;
        if (sign < 0 || (result >= 0 && p->left != result && p->right != result)) continue;
        CG_TRY(add_word(p, w));
        if (p->touched == merge) continue;
        p->touched = merge;
        GROW(s->raised, s->n_raised, 1, s->cap_raised);
        s->raised[s->n_raised++] = at;
    }
    return CG_OK;
}

/* ---- the heap: largest count first, then the pair that comes first in the dictionary ---- */

static int before(const train *s, candidate a, candidate b) {
    if (a.count != b.count) return a.count > b.count;
    const pair *p = &s->pairs[a.pair], *q = &s->pairs[b.pair];
    if (p->left != q->left) return strcmp(s->name[p->left], s->name[q->left]) < 0;
    return p->right != q->right && strcmp(s->name[p->right], s->name[q->right]) < 0;
}

static cg_status push(train *s, candidate c) {
    GROW(s->heap, s->n_heap, 1, s->cap_heap);
    size_t i = s->n_heap++;
    for (; i > 0 && before(s, c, s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = c;
    return CG_OK;
}

static candidate pop(train *s) {
    candidate top = s->heap[0], last = s->heap[--s->n_heap];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < s->n_heap; i = child) {
        if (child + 1 < s->n_heap && before(s, s->heap[child + 1], s->heap[child])) child++;
        if (!before(s, s->heap[child], last)) break;
        s->heap[i] = s->heap[child];
    }
    s->heap[i] = last;
    return top;
}

static cg_status push_raised(train *s) {
    for (size_t i = 0; i < s->n_raised; i++) {
        pair *p = &s->pairs[s->raised[i]];
        if (p->count >= 2) CG_TRY(push(s, (candidate){p->count, s->raised[i]}));
    }
    s->n_raised = 0;
    return CG_OK;
}

/* The most frequent pair, or -1 where none occurs twice. Counts that have fallen since they were
 * pushed go back with their true value; those that have risen were pushed again. */
static cg_status best_pair(train *s, int32_t *best) {
    while (s->n_heap > 0) {
        candidate c = pop(s);
        int64_t count = s->pairs[c.pair].count;
        *best = c.pair;
        if (count == c.count) return CG_OK;
        if (count >= 2 && count < c.count) CG_TRY(push(s, (candidate){count, c.pair}));
    }
    *best = -1;
    return CG_OK;
}

/* ---- merging ---- */

static int holds(const train *s, const word *w, int32_t left, int32_t right) {
    for (int32_t i = 0; i + 1 < w->n; i++)
        if (s->symbols[w->first + (size_t)i] == left &&
            s->symbols[w->first + (size_t)i + 1] == right)
            return 1;
    return 0;
}

static cg_status merge_pair(train *s, int32_t index, const cg_merge *m, int32_t number) {
    int32_t n_words = s->pairs[index].n_words;
    int32_t *words = s->pairs[index].words; /* merging may append to it again, seldom */
    s->pairs[index].words = NULL;
    s->pairs[index].n_words = s->pairs[index].cap_words = 0;
    cg_status status = CG_OK;
    for (int32_t k = 0; k < n_words && status == CG_OK; k++) {
        word *w = &s->words[words[k]];
        if (!holds(s, w, m->left, m->right)) continue;
        status = count_pairs(s, words[k], -1, number, m->result);
        int32_t *symbols = s->symbols + w->first, n = 0;
        for (int32_t i = 0; i < w->n; i++, n++) {
            int both = i + 1 < w->n && symbols[i] == m->left && symbols[i + 1] == m->right;
            symbols[n] = both ? m->result : symbols[i];
            i += both;
        }
        w->n = n;
        if (status == CG_OK) status = count_pairs(s, words[k], 1, number, m->result);
    }
    free(words);
    return status;
}

static cg_status learn(train *s, int32_t n_merges, cg_tokenizer *t) {
    for (size_t w = 0; w < s->n_words; w++) CG_TRY(count_pairs(s, (int32_t)w, 1, 0, -1));
    CG_TRY(push_raised(s));
    /* A merge that spells a known symbol adds none, so merges may outnumber new symbols. */
    size_t capacity = 0;
    while (s->n_names < 512 + n_merges) {
        int32_t best;
        CG_TRY(best_pair(s, &best));
        if (best < 0) break;
        cg_merge m = {.left = s->pairs[best].left, .right = s->pairs[best].right};
        CG_TRY(intern(s, join(s->name[m.left], s->name[m.right]), &m.result));
        GROW(t->merge, (size_t)t->n_merges, 1, capacity);
        t->merge[t->n_merges++] = m;
        CG_TRY(merge_pair(s, best, &m, t->n_merges));
        CG_TRY(push_raised(s));
    }
    return CG_OK;
}

static cg_status finish(train *s, cg_tokenizer *t) {
    CG_TRY(intern(s, join(CG_BPE_START, ""), &t->start));
    CG_TRY(intern(s, join(CG_BPE_END, ""), &t->end));
    for (int k = 0; k < 256; k++) {
        t->byte[0][cg_bpe_byte_at(k)] = k;
        t->byte[1][cg_bpe_byte_at(k)] = 256 + k;
    }
    t->clean = CG_CLEAN_HTML;
    return cg_bpe_index(t);
}

static void train_free(train *s) {
    for (size_t i = 0; i < s->n_pairs; i++) free(s->pairs[i].words);
    free(s->symbols);
    free(s->words);
    free(s->pairs);
    free(s->heap);
    free(s->raised);
    free(s->by_word.slot);
    free(s->by_pair.slot);
    free(s->by_name.slot);
}

cg_status cg_tokenizer_train(const char *const *captions, size_t n, int vocab_size,
                             cg_tokenizer **out) {
    *out = NULL;
    if (vocab_size < 514)
        return cg_error(CG_EINVAL, "tokenizer: a vocabulary of %d, wanted 514 or more", vocab_size);
    train s = {0};
    cg_tokenizer *t = calloc(1, sizeof *t);
    s.name = calloc((size_t)vocab_size, sizeof *s.name);
    cg_status status = t && s.name ? CG_OK : no_memory();
    if (status == CG_OK) status = intern_bytes(&s);
    if (status == CG_OK) status = count_words(&s, captions, n);
    if (status == CG_OK) status = learn(&s, vocab_size - 514, t);
    if (status == CG_OK) status = finish(&s, t);
    train_free(&s);
    if (t) {
        t->symbol = s.name;
        t->n_symbols = s.n_names;
    } else {
        free(s.name);
    }
    if (status != CG_OK)
        cg_tokenizer_free(t);
    else
        *out = t;
    return status;
}
