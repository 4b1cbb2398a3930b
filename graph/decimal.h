/* A float in as few digits as say it: 0.48145467, not 0.48145467042922974. */
#ifndef CG_DECIMAL_H
#define CG_DECIMAL_H

/* The number of fewest digits, 6 at least, that reads back as x; what is not finite stays. */
double cg_decimal(float x);

#endif
