/* Labelled data: the names of its classes, and the templates that make sentences of them. */
#ifndef CG_DATA_CLASSES_H
#define CG_DATA_CLASSES_H

#include "graph/status.h"

#include <stdint.h>

CG_API_BEGIN

/* One class: what the data calls it, and what sentences do. All owned. */
typedef struct cg_class {
    char *key;     /* "n02123394", a folder's name; the name where there is no other */
    char *name;    /* "Persian cat": as it is printed and put into templates */
    char *caption; /* the name cleaned, "persian cat": the caption of its pictures */
} cg_class;

typedef struct cg_classes {
    int32_t n;
    cg_class *at;   /* [n] */
    int32_t *order; /* [n] by caption; NULL before cg_classes_index */
    int64_t capacity;
} cg_classes;

/* Reads a file of one class per line: NAME, or KEY<tab>NAME where the data calls the class
 * something else. Empty lines are skipped. Free it in any case.
 * errors  CG_EIO; CG_EFORMAT: a zero byte, an empty name or key, a class twice, no class */
cg_status cg_classes_read(const char *path, cg_classes *out);

/* Appends a class; copies both strings. errors  CG_ENOMEM */
cg_status cg_classes_add(cg_classes *c, const char *key, const char *name);

/* Takes the last class away again. */
void cg_classes_drop(cg_classes *c);

/* Puts the names in order, for cg_classes_find; `where` stands in messages.
 * errors  CG_EFORMAT: an empty name, or two that are the same once cleaned; CG_ENOMEM */
cg_status cg_classes_index(cg_classes *c, const char *where);

/* The class with this (cleaned) caption, or with this key; -1: none. */
int32_t cg_classes_find(const cg_classes *c, const char *caption);
int32_t cg_classes_find_key(const cg_classes *c, const char *key);

cg_status cg_classes_copy(const cg_classes *from, cg_classes *out); /* of those in order */
void cg_classes_free(cg_classes *c);                                /* and zeroes it */

/* Sentences with a place for a name: "a photo of a {}". Borrowed where options hold them. */
typedef struct cg_templates {
    const char *const *text; /* [n]; n 0: names stand alone */
    int n;
} cg_templates;

/* errors  CG_EINVAL: a template without {} */
cg_status cg_templates_check(const cg_templates *t);

/* The template with the name in place of its first {}; allocated, the caller frees it.
 * NULL: no memory. */
char *cg_template_fill(const char *template_text, const char *name);

/* The sentence of a caption in an epoch of training: the template follows from (seed, epoch, pair)
 * alone. Allocated, the caller frees it; an empty caption stays empty. NULL: no memory. */
char *cg_templates_sentence(const cg_templates *t, const char *caption, uint64_t seed,
                            uint64_t epoch, uint64_t pair);

CG_API_END

#endif
