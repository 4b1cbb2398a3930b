/* The inside of a tokenizer, shared by the files that train, use, read and write it. */
#ifndef CG_DATA_BPE_H
#define CG_DATA_BPE_H

#include "data/tokenizer.h"

#define CG_BPE_START    "<|startoftext|>"
#define CG_BPE_END      "<|endoftext|>"
#define CG_BPE_WORD_END "</w>"

typedef struct cg_merge {
    int32_t left, right, result;
} cg_merge;

struct cg_tokenizer {
    int32_t n_symbols;
    char **symbol;        /* [n_symbols] as vocabularies spell them; NULL: an unused id */
    int32_t byte[2][256]; /* a byte's symbol; [1]: as the last of a word */
    cg_merge *merge;      /* [n_merges] by rank */
    int32_t n_merges;
    int32_t *slot; /* [mask + 1] hash of (left, right) → rank + 1; 0: free */
    uint32_t mask;
    int32_t start, end;
    int clean; /* CG_CLEAN_ flags of its normaliser */
};

/* Builds the hash table once the merges are there. errors  CG_ENOMEM */
cg_status cg_bpe_index(cg_tokenizer *t);

/* The rank of merging left and right, or -1. */
int32_t cg_bpe_rank(const cg_tokenizer *t, int32_t left, int32_t right);

/* Byte number k (0 … 255) in the order of CLIP's vocabulary. */
int cg_bpe_byte_at(int k);

/* Spells a byte as vocabularies do: itself where it prints in Latin-1, else a character from
 * U+0100 on. Writes up to 2 bytes and a zero. */
void cg_bpe_spell(int byte, char out[4]);

#endif
