/* The models of models/configs, and pairs to run them on. Failures fail the running test. */
#ifndef CG_TEST_MODELS_H
#define CG_TEST_MODELS_H

#include "data/loader.h"
#include "models/clip.h"

/* models/configs/NAME.json */
cg_clip_desc describe(const char *name);

/* n pairs, at most PAIRS_MOST: hashed pictures, and captions of 1 to PAIRS_LONGEST tokens between
 * start and end, with room for as many tokens as cg_clip_rows makes of them. */
enum { PAIRS_MOST = 8, PAIRS_LONGEST = 7 };
cg_batch make_pairs(const cg_clip_desc *d, int64_t n);
void free_pairs(cg_batch *b);

#endif
