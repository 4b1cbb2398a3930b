#include "data/classes.h"

#include "data/files.h"
#include "data/tokenizer.h"
#include "graph/rng.h"

#include <stdlib.h>
#include <string.h>

/* ---- classes ---- */

void cg_classes_drop(cg_classes *c) {
    cg_class *last = &c->at[--c->n];
    free(last->key);
    free(last->name);
    free(last->caption);
}

void cg_classes_free(cg_classes *c) {
    while (c->n > 0) cg_classes_drop(c);
    free(c->at);
    free(c->order);
    *c = (cg_classes){0};
}

cg_status cg_classes_add(cg_classes *c, const char *key, const char *name) {
    cg_class made = {0};
    if (c->n == INT32_MAX / 2)
        return cg_error(CG_EUNSUPPORTED, "classes: more than %d", INT32_MAX / 2);
    if (c->n == c->capacity) {
        int64_t wanted = 2 * c->capacity + 16;
        cg_class *bigger = realloc(c->at, (size_t)wanted * sizeof *bigger);
        if (!bigger) return cg_error(CG_ENOMEM, "classes: no memory for %d", (int)wanted);
        c->at = bigger;
        c->capacity = wanted;
    }
    CG_TRY(cg_caption_clean(name, &made.caption));
    made.key = strdup(key);
    made.name = strdup(name);
    c->at[c->n++] = made; /* whole or not, it is freed with the others */
    return made.key && made.name ? CG_OK : cg_error(CG_ENOMEM, "classes: no memory");
}

typedef struct named {
    const char *caption;
    int32_t class;
} named;

static int by_caption(const void *a, const void *b) {
    const named *x = a, *y = b;
    int differ = strcmp(x->caption, y->caption);
    return differ ? differ : (x->class > y->class) - (x->class < y->class);
}

cg_status cg_classes_index(cg_classes *c, const char *where) {
    named *sorted = malloc((size_t)c->n * sizeof *sorted + 1);
    free(c->order);
    c->order = malloc((size_t)c->n * sizeof *c->order + 1);
    cg_status s = sorted && c->order ? CG_OK : cg_error(CG_ENOMEM, "%s: no memory", where);
    for (int32_t i = 0; s == CG_OK && i < c->n; i++) {
        sorted[i] = (named){c->at[i].caption, i};
        if (!*c->at[i].caption)
            s = cg_error(CG_EFORMAT, "%s: class %d has an empty name", where, (int)i + 1);
    }
    if (s == CG_OK) qsort(sorted, (size_t)c->n, sizeof *sorted, by_caption);
    for (int32_t i = 0; s == CG_OK && i < c->n; i++) {
        c->order[i] = sorted[i].class;
        if (i == 0 || strcmp(sorted[i - 1].caption, sorted[i].caption) != 0) continue;
        const cg_class *x = &c->at[sorted[i - 1].class], *y = &c->at[sorted[i].class];
        s = strcmp(x->key, y->key) == 0
                ? cg_error(CG_EFORMAT, "%s: class \"%.80s\" is given twice", where, y->name)
                : cg_error(CG_EFORMAT, "%s: \"%.80s\" and \"%.80s\" are both class \"%.80s\"",
                           where, x->key, y->key, y->caption);
    }
    free(sorted);
    return s;
}

int32_t cg_classes_find(const cg_classes *c, const char *caption) {
    int32_t low = 0, high = c->n;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        int differ = strcmp(caption, c->at[c->order[middle]].caption);
        if (differ == 0) return c->order[middle];
        if (differ > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

int32_t cg_classes_find_key(const cg_classes *c, const char *key) {
    for (int32_t i = 0; i < c->n; i++)
        if (strcmp(c->at[i].key, key) == 0) return i;
    return -1;
}

cg_status cg_classes_copy(const cg_classes *from, cg_classes *out) {
    *out = (cg_classes){0};
    for (int32_t i = 0; i < from->n; i++)
        CG_TRY(cg_classes_add(out, from->at[i].key, from->at[i].name));
    return cg_classes_index(out, "classes");
}

/* "KEY<tab>NAME" or "NAME"; line from 1. */
static cg_status read_line(cg_classes *c, const char *path, char *text, int line) {
    char *tab = strchr(text, '\t'), *name = tab ? tab + 1 : text;
    if (tab) *tab = '\0';
    if (tab && (!*text || strchr(name, '\t')))
        return cg_error(CG_EFORMAT, "%s: line %d: wanted NAME, or KEY<tab>NAME; found %s", path,
                        line, *text ? "a second tab" : "an empty key");
    CG_TRY(cg_classes_add(c, text, name));
    if (!*c->at[c->n - 1].caption)
        return cg_error(CG_EFORMAT, "%s: line %d: the class's name is empty", path, line);
    if (tab && cg_classes_find_key(c, text) != c->n - 1)
        return cg_error(CG_EFORMAT, "%s: line %d: \"%.80s\" is given twice", path, line, text);
    return CG_OK;
}

cg_status cg_classes_read(const char *path, cg_classes *out) {
    char *bytes;
    size_t size;
    *out = (cg_classes){0};
    CG_TRY(cg_file_read(path, &bytes, &size));
    cg_status s =
        memchr(bytes, 0, size)
            ? cg_error(CG_EFORMAT, "%s: a zero byte in it, wanted one class per line", path)
            : CG_OK;
    char *at = strncmp(bytes, "\xef\xbb\xbf", 3) == 0 ? bytes + 3 : bytes;
    for (int line = 1; s == CG_OK && at; line++) {
        char *next = strchr(at, '\n');
        if (next) *next++ = '\0';
        size_t n = strlen(at);
        if (n && at[n - 1] == '\r') at[--n] = '\0';
        if (n) s = read_line(out, path, at, line);
        at = next;
    }
    if (s == CG_OK && out->n == 0) s = cg_error(CG_EFORMAT, "%s: no class in it", path);
    if (s == CG_OK) s = cg_classes_index(out, path);
    free(bytes);
    return s;
}

/* ---- templates ---- */

cg_status cg_templates_check(const cg_templates *t) {
    for (int k = 0; k < t->n; k++)
        if (!strstr(t->text[k], "{}"))
            return cg_error(CG_EINVAL, "template \"%s\" has no {} for the label", t->text[k]);
    return CG_OK;
}

char *cg_template_fill(const char *template_text, const char *name) {
    const char *at = strstr(template_text, "{}");
    size_t before = (size_t)(at - template_text), middle = strlen(name), after = strlen(at + 2);
    char *text = malloc(before + middle + after + 1);
    if (!text) return NULL;
    memcpy(text, template_text, before);
    memcpy(text + before, name, middle);
    memcpy(text + before + middle, at + 2, after + 1);
    return text;
}

char *cg_templates_sentence(const cg_templates *t, const char *caption, uint64_t seed,
                            uint64_t epoch, uint64_t pair) {
    if (t->n == 0 || !*caption) return strdup(caption);
    cg_rng r = cg_rng_at(seed, CG_RNG_CAPTION, epoch, pair);
    return cg_template_fill(t->text[cg_rng_below(&r, (uint64_t)t->n)], caption);
}
