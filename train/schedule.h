/* The learning rate's course. */
#ifndef CG_TRAIN_SCHEDULE_H
#define CG_TRAIN_SCHEDULE_H

#include "graph/status.h"

#include <stdint.h>

CG_API_BEGIN

/* Step `step` (from 0) of `total`: linear warm-up over `warmup` steps, then a half cosine to 0.
 * source  Loshchilov and Hutter, arXiv:1608.03983; CLIP, arXiv:2103.00020, section 2.5 */
double cg_schedule_lr(double base, int64_t step, int64_t warmup, int64_t total);

CG_API_END

#endif
