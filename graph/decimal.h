/* The decimal that was meant by a float: 0.48145466, not 0.48145464062690735. */
#ifndef CG_DECIMAL_H
#define CG_DECIMAL_H

/* The number of fewest digits, 6 at least, that reads back as x; what is not finite stays. */
double cg_decimal(float x);

#endif
