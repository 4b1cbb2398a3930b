/* tokenizer.json, in the form that Hugging Face's tokenizers library reads and writes. */
#include "data/bpe.h"
#include "data/files.h"
#include "data/text.h"

#include "graph/file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* CLIP's pattern, for readers other than ours. */
#define PATTERN                                                                                    \
    "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|"            \
    "[^\\s\\p{L}\\p{N}]+"

/* ---- writing ---- */

static json_t *special(const char *name, int id) {
    return json_pack("{s:i,s:s,s:b,s:b,s:b,s:b,s:b}", "id", id, "content", name, "single_word", 0,
                     "lstrip", 0, "rstrip", 0, "normalized", 1, "special", 1);
}

static json_t *normalizer(int flags) {
    json_t *steps = json_array();
    if (flags & CG_CLEAN_NFC) json_array_append_new(steps, json_pack("{s:s}", "type", "NFC"));
    json_array_append_new(steps, json_pack("{s:s,s:{s:s},s:s}", "type", "Replace", "pattern",
                                           "Regex", "\\s+", "content", " "));
    json_array_append_new(
        steps, json_pack("{s:s,s:b,s:b}", "type", "Strip", "strip_left", 1, "strip_right", 1));
    json_array_append_new(steps, json_pack("{s:s}", "type", "Lowercase"));
    return json_pack("{s:s,s:o}", "type", "Sequence", "normalizers", steps);
}

static json_t *byte_level(void) {
    return json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", 1, "use_regex", 0);
}

static json_t *pre_tokenizer(void) {
    json_t *split = json_pack("{s:s,s:{s:s},s:s,s:b}", "type", "Split", "pattern", "Regex", PATTERN,
                              "behavior", "Removed", "invert", 1);
    return json_pack("{s:s,s:[o,o]}", "type", "Sequence", "pretokenizers", split, byte_level());
}

static json_t *model(const cg_tokenizer *t) {
    json_t *vocabulary = json_object(), *merges = json_array();
    for (int32_t i = 0; i < t->n_symbols; i++)
        if (t->symbol[i]) json_object_set_new(vocabulary, t->symbol[i], json_integer(i));
    for (int32_t i = 0; i < t->n_merges; i++)
        json_array_append_new(merges, json_sprintf("%s %s", t->symbol[t->merge[i].left],
                                                   t->symbol[t->merge[i].right]));
    return json_pack("{s:s,s:n,s:s,s:s,s:s,s:b,s:o,s:o}", "type", "BPE", "dropout", "unk_token",
                     CG_BPE_END, "continuing_subword_prefix", "", "end_of_word_suffix",
                     CG_BPE_WORD_END, "fuse_unk", 0, "vocab", vocabulary, "merges", merges);
}

/* What is cut are the words between start and end, so the end stays. */
static json_t *truncation(int64_t context_length) {
    if (context_length <= 0) return json_null();
    return json_pack("{s:s,s:I,s:s,s:i}", "direction", "Right", "max_length",
                     (json_int_t)context_length, "strategy", "LongestFirst", "stride", 0);
}

static json_t *document(const cg_tokenizer *t, int64_t context_length) {
    json_t *ends =
        json_pack("{s:s,s:[s,i],s:[s,i],s:b,s:b}", "type", "RobertaProcessing", "sep", CG_BPE_END,
                  t->end, "cls", CG_BPE_START, t->start, "trim_offsets", 0, "add_prefix_space", 0);
    return json_pack("{s:s,s:o,s:n,s:[o,o],s:o,s:o,s:o,s:o,s:o}", "version", "1.0", "truncation",
                     truncation(context_length), "padding", "added_tokens",
                     special(CG_BPE_START, t->start), special(CG_BPE_END, t->end), "normalizer",
                     normalizer(t->clean), "pre_tokenizer", pre_tokenizer(), "post_processor", ends,
                     "decoder", byte_level(), "model", model(t));
}

cg_status cg_tokenizer_save(const cg_tokenizer *t, int64_t context_length, const char *path) {
    json_t *root = document(t, context_length);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    if (!text) return cg_error(CG_ENOMEM, "%s: no memory to write the tokenizer", path);
    cg_file *f;
    cg_status status = cg_file_create(path, &f);
    if (status == CG_OK) {
        cg_file_write(f, text, strlen(text)); /* an error sticks, and is the commit's */
        cg_file_write(f, "\n", 1);
        status = cg_file_commit(f);
    }
    free(text);
    return status;
}

/* ---- reading ---- */

static cg_status check_model(const char *path, json_t *found) {
    const char *type = json_string_value(json_object_get(found, "type"));
    const char *suffix = json_string_value(json_object_get(found, "end_of_word_suffix"));
    const char *prefix = json_string_value(json_object_get(found, "continuing_subword_prefix"));
    if (!json_is_object(found)) return cg_error(CG_EFORMAT, "%s: no object \"model\"", path);
    if (!type || strcmp(type, "BPE"))
        return cg_error(CG_EUNSUPPORTED, "%s: model.type is \"%.40s\", wanted \"BPE\"", path,
                        type ? type : "");
    if (!suffix || strcmp(suffix, CG_BPE_WORD_END))
        return cg_error(CG_EUNSUPPORTED,
                        "%s: model.end_of_word_suffix is \"%.40s\", wanted \"" CG_BPE_WORD_END "\"",
                        path, suffix ? suffix : "");
    if (prefix && *prefix)
        return cg_error(CG_EUNSUPPORTED,
                        "%s: model.continuing_subword_prefix is \"%.40s\", wanted none", path,
                        prefix);
    return CG_OK;
}

static cg_status set_symbol(const char *path, cg_tokenizer *t, const char *name, json_t *id) {
    json_int_t i = json_is_integer(id) ? json_integer_value(id) : -1;
    if (i < 0 || i >= t->n_symbols)
        return cg_error(CG_EFORMAT, "%s: \"%.60s\" has %s id, wanted 0 to %d", path, name,
                        json_is_integer(id) ? "an impossible" : "no", t->n_symbols - 1);
    if (t->symbol[i] && !strcmp(t->symbol[i], name)) return CG_OK;
    if (t->symbol[i])
        return cg_error(CG_EFORMAT, "%s: \"%.60s\" and \"%.60s\" both have id %d", path,
                        t->symbol[i], name, (int)i);
    t->symbol[i] = strdup(name);
    return t->symbol[i] ? CG_OK : cg_error(CG_ENOMEM, "%s: no memory", path);
}

/* Takes the vocabulary and the added tokens, and puts the latter into the former. */
static cg_status read_symbols(const char *path, cg_tokenizer *t, json_t *vocabulary,
                              json_t *added) {
    if (!json_is_object(vocabulary))
        return cg_error(CG_EFORMAT, "%s: no object \"model.vocab\"", path);
    size_t most = json_object_size(vocabulary) + json_array_size(added);
    if (most > INT32_MAX / 8) return cg_error(CG_EFORMAT, "%s: %zu symbols", path, most);
    /* Ids have no gaps, so none may reach the number of symbols. */
    t->symbol = calloc(most + 1, sizeof *t->symbol);
    if (!t->symbol) return cg_error(CG_ENOMEM, "%s: no memory for %zu symbols", path, most);
    t->n_symbols = (int32_t)most;
    const char *name;
    json_t *value;
    json_object_foreach(vocabulary, name, value) CG_TRY(set_symbol(path, t, name, value));
    size_t i;
    json_array_foreach(added, i, value) {
        const char *content = json_string_value(json_object_get(value, "content"));
        json_t *id = json_object_get(value, "id");
        if (!content || !*content || !json_is_integer(id))
            return cg_error(CG_EFORMAT, "%s: added_tokens[%zu] lacks its content or id", path, i);
        json_t *known = json_object_get(vocabulary, content);
        if (known && json_integer_value(known) != json_integer_value(id))
            return cg_error(CG_EFORMAT, "%s: \"%.60s\" has two ids", path, content);
        CG_TRY(set_symbol(path, t, content, id));
        if (!known) json_object_set(vocabulary, content, id);
    }
    while (t->n_symbols > 0 && !t->symbol[t->n_symbols - 1]) t->n_symbols--;
    return CG_OK;
}

static cg_status find_symbol(const char *path, json_t *vocabulary, const char *name, int32_t *id) {
    json_t *value = json_object_get(vocabulary, name);
    *id = (int32_t)json_integer_value(value);
    return value ? CG_OK : cg_error(CG_EFORMAT, "%s: the vocabulary lacks \"%.200s\"", path, name);
}

static cg_status find_bytes(const char *path, cg_tokenizer *t, json_t *vocabulary) {
    for (int byte = 0; byte < 256; byte++) {
        char name[16];
        cg_bpe_spell(byte, name);
        CG_TRY(find_symbol(path, vocabulary, name, &t->byte[0][byte]));
        strcat(name, CG_BPE_WORD_END);
        CG_TRY(find_symbol(path, vocabulary, name, &t->byte[1][byte]));
    }
    CG_TRY(find_symbol(path, vocabulary, CG_BPE_START, &t->start));
    CG_TRY(find_symbol(path, vocabulary, CG_BPE_END, &t->end));
    if (t->end != t->n_symbols - 1)
        return cg_error(CG_EUNSUPPORTED, "%s: " CG_BPE_END " has id %d, wanted the largest, %d",
                        path, t->end, t->n_symbols - 1);
    return CG_OK;
}

/* One merge: "a b", or ["a", "b"]. */
static cg_status read_merge(const char *path, json_t *vocabulary, json_t *found, size_t rank,
                            cg_merge *m) {
    const char *whole = json_string_value(found);
    const char *space = whole ? strchr(whole, ' ') : NULL;
    const char *left = whole, *right = space ? space + 1 : NULL;
    if (json_array_size(found) == 2) {
        left = json_string_value(json_array_get(found, 0));
        right = json_string_value(json_array_get(found, 1));
    }
    if (!left || !right || !*right || left == space || strchr(right, ' '))
        return cg_error(CG_EFORMAT, "%s: merge %zu is no pair of symbols", path, rank);
    size_t n = whole ? (size_t)(space - left) : strlen(left), length = strlen(right);
    char *text = malloc(n + length + 1);
    if (!text) return cg_error(CG_ENOMEM, "%s: no memory", path);
    memcpy(text, left, n);
    text[n] = 0;
    cg_status status = find_symbol(path, vocabulary, text, &m->left);
    if (status == CG_OK) status = find_symbol(path, vocabulary, right, &m->right);
    memcpy(text + n, right, length + 1);
    if (status == CG_OK) status = find_symbol(path, vocabulary, text, &m->result);
    free(text);
    if (status != CG_OK) return cg_error_in(status, "merge %zu", rank);
    return CG_OK;
}

static cg_status read_merges(const char *path, cg_tokenizer *t, json_t *vocabulary,
                             json_t *merges) {
    if (!json_is_array(merges)) return cg_error(CG_EFORMAT, "%s: no array \"model.merges\"", path);
    size_t n = json_array_size(merges), i;
    if (n > INT32_MAX / 8) return cg_error(CG_EFORMAT, "%s: %zu merges", path, n);
    t->merge = calloc(n + 1, sizeof *t->merge);
    if (!t->merge) return cg_error(CG_ENOMEM, "%s: no memory for %zu merges", path, n);
    json_t *value;
    json_array_foreach(merges, i, value) {
        CG_TRY(read_merge(path, vocabulary, value, i, &t->merge[i]));
        t->n_merges++;
    }
    return CG_OK;
}

/* Does the normalizer, or one in its sequence, compose? */
static int composes(json_t *found) {
    const char *type = json_string_value(json_object_get(found, "type"));
    if (type && !strcmp(type, "NFC")) return 1;
    size_t i;
    json_t *step;
    json_array_foreach(json_object_get(found, "normalizers"), i, step) {
        type = json_string_value(json_object_get(step, "type"));
        if (type && !strcmp(type, "NFC")) return 1;
    }
    return 0;
}

static cg_status read_document(const char *path, cg_tokenizer *t, json_t *root) {
    json_t *found = json_object_get(root, "model"), *vocabulary = json_object_get(found, "vocab");
    CG_TRY(check_model(path, found));
    CG_TRY(read_symbols(path, t, vocabulary, json_object_get(root, "added_tokens")));
    CG_TRY(find_bytes(path, t, vocabulary));
    CG_TRY(read_merges(path, t, vocabulary, json_object_get(found, "merges")));
    t->clean = composes(json_object_get(root, "normalizer")) ? CG_CLEAN_NFC : CG_CLEAN_HTML;
    return cg_bpe_index(t);
}

cg_status cg_tokenizer_load(const char *path, cg_tokenizer **out) {
    *out = NULL;
    char *text;
    size_t size;
    json_error_t problem;
    CG_TRY(cg_file_read(path, &text, &size)); /* jansson reads files a character at a time */
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &problem);
    free(text);
    if (!root) return cg_error(CG_EFORMAT, "%s: line %d: %s", path, problem.line, problem.text);
    cg_tokenizer *t = calloc(1, sizeof *t);
    cg_status status =
        t ? read_document(path, t, root) : cg_error(CG_ENOMEM, "%s: no memory", path);
    json_decref(root);
    if (status == CG_OK)
        *out = t;
    else
        cg_tokenizer_free(t);
    return status;
}
