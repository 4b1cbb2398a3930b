/* A batch of captions in one of the two layouts that text towers read (models/clip.h). */
#ifndef CG_TEST_CAPTIONS_H
#define CG_TEST_CAPTIONS_H

#include "graph/exec.h"
#include "models/clip.h"

typedef struct captions {
    cg_text_layout layout;
    int64_t texts, rows, tokens; /* as in cg_clip_build */
    int32_t *token, *offset;
    float *mask;
} captions;

/* Lays out captions as a tokenizer gives them, start and end included. tokens: of each caption in
 * the uniform layout. What lies between and after the captions is chosen to be noticed if read. */
captions captions_lay_out(const cg_clip_desc *d, cg_text_layout layout, int64_t tokens, int64_t n,
                          const int32_t *token, const int32_t *offset);
void captions_free(captions *c);

/* Puts their sizes into a build, and their memory behind the inputs of its plan. */
void captions_build(const captions *c, cg_clip_build *b);
cg_status captions_bind(const captions *c, const cg_clip_desc *d, cg_exec *e);

#endif
