/* A byte-pair tokenizer with CLIP's cleaning and splitting, trained on captions or read
 * back from the tokenizer.json stored with a model.
 *
 * source  CLIP, arXiv:2103.00020, section 2.4; Sennrich et al., arXiv:1508.07909 */
#ifndef CG_DATA_TOKENIZER_H
#define CG_DATA_TOKENIZER_H

#include "graph/status.h"

#include <stddef.h>
#include <stdint.h>

CG_API_BEGIN

typedef struct cg_tokenizer cg_tokenizer; /* immutable once made; may be shared by threads */

/* Learns up to vocab_size symbols: 256 bytes, the same with the end-of-word mark, merges by
 * falling pair count (ties: the lexicographically smaller pair), start, end. Deterministic.
 * Fewer merges are made when no pair occurs twice.
 * errors  CG_EINVAL: vocab_size < 514, or not one caption with a word in it */
cg_status cg_tokenizer_train(const char *const *captions, size_t n, int vocab_size,
                             cg_tokenizer **out);

/* tokenizer.json in the Hugging Face form (model.type "BPE"), written atomically; with a
 * context_length above 0 it says that texts are cut to so many tokens, which readers other than
 * ours go by. What it cannot say, they have to do themselves: HTML entities are unescaped first
 * (cg_caption_clean). A file whose normalizer composes characters (NFC), as Hugging Face's own CLIP
 * does, is taken at its word: its texts are composed and HTML is left alone; otherwise cleaning is
 * cg_caption_clean's.
 * errors  CG_EIO; CG_EFORMAT: no valid JSON, an id or a merge that cannot be (names it);
 *         CG_EUNSUPPORTED: another kind of model */
cg_status cg_tokenizer_load(const char *path, cg_tokenizer **out);
cg_status cg_tokenizer_save(const cg_tokenizer *t, int64_t context_length, const char *path);
void cg_tokenizer_free(cg_tokenizer *t);

int cg_tokenizer_vocab_size(const cg_tokenizer *t); /* the largest id plus 1 */
int cg_tokenizer_start(const cg_tokenizer *t);      /* id of <|startoftext|> */
int cg_tokenizer_end(const cg_tokenizer *t);        /* id of <|endoftext|>, the largest */

/* Encodes text into at most `limit` ids, start and end included; when the text is longer it
 * is cut, its last id is still the end token, and *truncated (may be NULL) is set to 1.
 * Returns in *n the number of ids. An empty text gives start, end.
 * errors  CG_EINVAL: limit < 2. Invalid UTF-8 is replaced by U+FFFD, as browsers do. */
cg_status cg_tokenizer_encode(const cg_tokenizer *t, const char *text, int limit, int32_t *ids,
                              int *n, int *truncated);

/* The text of ids, specials left out; allocated, the caller frees it. */
cg_status cg_tokenizer_decode(const cg_tokenizer *t, const int32_t *ids, int n, char **text);

/* The cleaned caption (HTML unescaped, white space collapsed, lower-cased): two captions are
 * the same where these are equal. Allocated, the caller frees it. */
cg_status cg_caption_clean(const char *text, char **clean);

CG_API_END

#endif
