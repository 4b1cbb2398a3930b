/* Caption text: cleaning, UTF-8, and splitting into the words that a tokenizer encodes.
 *
 * source  CLIP's tokenizer (arXiv:2103.00020, section 2.4); HTML 4.01, section 24; the
 *         replacement of invalid UTF-8 follows the WHATWG encoding standard */
#ifndef CG_DATA_TEXT_H
#define CG_DATA_TEXT_H

#include "graph/status.h"

#include <stddef.h>
#include <stdint.h>

/* What cleaning does besides collapsing white space, trimming and lower-casing. */
enum {
    CG_CLEAN_HTML = 1, /* undo HTML escapes, twice: captions from the web are often escaped twice */
    CG_CLEAN_NFC = 2,  /* compose characters (NFC), as Hugging Face's CLIP normaliser does */
};

/* Cleans text; invalid UTF-8 becomes U+FFFD. Allocated, the caller frees it. Lower-casing is by
 * character, without context: a final capital sigma becomes the medial one.
 * errors  CG_ENOMEM */
cg_status cg_text_clean(const char *text, int flags, char **clean);

/* Replaces what is invalid in n bytes by U+FFFD. Allocated, the caller frees it. */
cg_status cg_text_repair(const char *bytes, size_t n, char **text);

typedef enum cg_span_kind { CG_SPAN_WORD, CG_SPAN_START, CG_SPAN_END } cg_span_kind;

typedef struct cg_span {
    cg_span_kind kind; /* a word, or one of the specials written out in the text */
    size_t begin, end; /* bytes */
} cg_span;

/* The next span of a cleaned text at or after byte *at, which moves past it; 0 at the end.
 * Spans are <|startoftext|>, <|endoftext|>, 's 't 're 've 'm 'll 'd, a run of letters, one
 * number, or a run of anything else but white space. */
int cg_text_next(const char *text, size_t *at, cg_span *out);

/* Decodes the code point at s (n ≥ 1 bytes left): returns the bytes it takes. *code is -1 where
 * they are invalid; then the return value says how many make up one U+FFFD. */
size_t cg_utf8_decode(const char *s, size_t n, int32_t *code);

/* Writes a code point: 1 to 4 bytes. */
size_t cg_utf8_encode(int32_t code, char *out);

/* The code point of an HTML entity's name (n bytes, without & and ;), or -1. */
int32_t cg_entity_code(const char *name, size_t n);

/* Insertions, deletions and substitutions that turn a into b, counted on at most 63 bytes of each:
 * for "did you mean". */
int cg_text_distance(const char *a, const char *b);

#endif
