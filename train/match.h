/* Matching embeddings: labels from templates, probabilities, the best of many. Rows are unit
 * vectors, as cg_embed_texts and cg_embed_dataset make them. */
#ifndef CG_TRAIN_MATCH_H
#define CG_TRAIN_MATCH_H

#include "train/embed.h"

CG_API_BEGIN

/* Labels' embeddings [n_labels, embed_dim]: each label is put in place of the {} of each template,
 * and the texts' unit rows are averaged and made unit length again; without templates it stands
 * alone. Allocated, the caller frees. truncated (may be NULL): texts cut to the context length.
 * errors  CG_EINVAL: no label, or a template without {}
 * source  CLIP, arXiv:2103.00020, section 3.1.4 */
cg_status cg_match_labels(cg_runner *r, const cg_tokenizer *t, const char *const *label,
                          int64_t n_labels, const cg_templates *templates, float **out,
                          int64_t *truncated);

/* probability[n] = softmax(temperature · cosine), summed in double. */
void cg_match_probabilities(const float *query, const float *row, int64_t n, int64_t width,
                            double temperature, double *probability);

/* score[n] = cosine of the query and each row, whatever their lengths; 0 for a row of zeros. */
void cg_match_cosines(const float *query, const float *row, int64_t n, int64_t width,
                      double *score);

/* The indices of the k largest of n scores, falling; ties by index. Returns min(k, n). */
int64_t cg_match_best(const double *score, int64_t n, int64_t k, int64_t *best);

CG_API_END

#endif
