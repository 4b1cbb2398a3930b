/* The nearest of several names, for messages: "unknown key widht; did you mean width?" */
#ifndef CG_NEAREST_H
#define CG_NEAREST_H

/* The candidate (a NULL-terminated list) with the smallest edit distance to `word`, ignoring
 * case; NULL where none is near enough to be a likely slip. */
const char *cg_nearest(const char *word, const char *const *candidates);

/* Insertions, deletions, replacements and swaps of neighbours that turn a into b, ignoring case;
 * CG_FAR where either is longer than 200 bytes. */
enum { CG_FAR = 1000 };
int cg_edit_distance(const char *a, const char *b);

#endif
