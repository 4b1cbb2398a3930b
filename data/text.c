#include "data/text.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

size_t cg_utf8_decode(const char *s, size_t n, int32_t *code) {
    const unsigned char *p = (const unsigned char *)s;
    *code = p[0];
    if (p[0] < 0x80) return 1;
    *code = -1;
    size_t need = p[0] >= 0xf0 ? 3 : p[0] >= 0xe0 ? 2 : 1;
    if (p[0] < 0xc2 || p[0] > 0xf4) return 1;
    /* The second byte's range shuts out overlong forms, surrogates and what is past U+10FFFF. */
    unsigned low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
    unsigned high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
    int32_t value = p[0] & (0x3f >> need);
    for (size_t i = 1; i <= need; i++) {
        if (i >= n || p[i] < low || p[i] > high) return i;
        value = value << 6 | (p[i] & 0x3f);
        low = 0x80;
        high = 0xbf;
    }
    *code = value;
    return need + 1;
}

size_t cg_utf8_encode(int32_t code, char *out) {
    return (size_t)utf8proc_encode_char(code, (utf8proc_uint8_t *)out);
}

static int is_space(int32_t c) {
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

cg_status cg_text_repair(const char *bytes, size_t n, char **text) {
    char *out = malloc(3 * n + 1); /* U+FFFD takes three bytes */
    *text = out;
    if (!out) return cg_error(CG_ENOMEM, "text: no memory for %zu bytes", n);
    for (size_t i = 0; i < n;) {
        int32_t code;
        size_t length = cg_utf8_decode(bytes + i, n - i, &code);
        out += cg_utf8_encode(code < 0 ? 0xfffd : code, out);
        i += length;
    }
    *out = 0;
    return CG_OK;
}

/* What a numeric reference stands for: HTML reads 128 to 159 as Windows-1252; -1: nothing. */
static int32_t numeric_reference(int32_t n) {
    static const uint16_t windows[32] = {
        0x20ac, 0x81,   0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
        0x2039, 0x0152, 0x8d,   0x017d, 0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
        0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x9d,   0x017e, 0x0178};
    if (n >= 0x80 && n < 0xa0) return windows[n - 0x80];
    if (n == 0 || (n >= 0xd800 && n < 0xe000) || n > 0x10ffff) return 0xfffd;
    if (is_space(n) && n != 0xb) return n;
    if (n < 0x20 || n == 0x7f || (n >= 0xfdd0 && n <= 0xfdef) || (n & 0xfffe) == 0xfffe) return -1;
    return n;
}

/* Reads "#123;" or "#x1f;" at s: returns its length and what it stands for; 0: it is none. */
static size_t read_number(const char *s, int32_t *code) {
    int hex = s[1] == 'x' || s[1] == 'X';
    const char *digits = hex ? "0123456789abcdefABCDEF" : "0123456789";
    const char *first = s + 1 + hex;
    size_t n = strspn(first, digits);
    if (n == 0) return 0;
    unsigned long value = strtoul(first, NULL, hex ? 16 : 10); /* ULONG_MAX where too long */
    *code = numeric_reference(value > 0x110000 ? 0x110000 : (int32_t)value);
    return (size_t)(first - s) + n + (first[n] == ';');
}

/* Reads "amp;" at s. Names of Latin-1 need no semicolon, and letters may follow ("&ampx"). */
static size_t read_name(const char *s, int32_t *code) {
    size_t n = strcspn(s, "\t\n\f <&#;");
    if (n > 32) n = 32;
    if (s[n] == ';' && (*code = cg_entity_code(s, n)) >= 0) return n + 1;
    for (; n >= 2; n--) {
        *code = cg_entity_code(s, n);
        if (*code >= 0 && *code < 256 && *code != '\'') return n;
    }
    return 0;
}

/* In place: no reference is shorter than the character it stands for. */
static void unescape(char *text) {
    char *out = text;
    for (const char *s = text; *s;) {
        int32_t code = -1;
        size_t length = 0;
        if (*s == '&') length = s[1] == '#' ? read_number(s + 1, &code) : read_name(s + 1, &code);
        if (length == 0) {
            *out++ = *s++;
            continue;
        }
        s += 1 + length;
        if (code >= 0) out += cg_utf8_encode(code, out);
    }
    *out = 0;
}

/* Lower-cases and collapses white space, trimmed at both ends. out holds twice the text: a few
 * capitals are a byte shorter than their small letter. */
static void fold(const char *text, char *out) {
    size_t n = strlen(text);
    int gap = 0;
    char *begin = out;
    for (size_t i = 0; i < n;) {
        int32_t code;
        i += cg_utf8_decode(text + i, n - i, &code);
        if (is_space(code)) {
            gap = 1;
            continue;
        }
        if (gap && out > begin) *out++ = ' ';
        gap = 0;
        if (code == 0x130) { /* the one letter whose small form is two characters */
            out += cg_utf8_encode('i', out);
            out += cg_utf8_encode(0x307, out);
        } else {
            out += cg_utf8_encode(utf8proc_tolower(code), out);
        }
    }
    *out = 0;
}

cg_status cg_text_clean(const char *text, int flags, char **clean) {
    *clean = NULL;
    char *repaired;
    CG_TRY(cg_text_repair(text, strlen(text), &repaired));
    if (flags & CG_CLEAN_HTML) {
        unescape(repaired);
        unescape(repaired);
    }
    if (flags & CG_CLEAN_NFC) {
        char *composed = (char *)utf8proc_NFC((const utf8proc_uint8_t *)repaired);
        free(repaired);
        if (!composed) return cg_error(CG_ENOMEM, "caption: no memory");
        repaired = composed;
    }
    char *out = malloc(2 * strlen(repaired) + 1);
    if (out) fold(repaired, out);
    free(repaired);
    *clean = out;
    return out ? CG_OK : cg_error(CG_ENOMEM, "caption: no memory");
}

typedef enum { OTHER, LETTER, NUMBER, SPACE } text_class;

static text_class classify(int32_t code) {
    if (is_space(code)) return SPACE;
    if (code < 0) return OTHER;
    switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return NUMBER;
    default:
        return OTHER;
    }
}

/* The length of a special or a contraction at s, or 0. */
static size_t match_fixed(const char *s, cg_span_kind *kind) {
    static const char *const fixed[] = {
        "<|startoftext|>", "<|endoftext|>", "'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        size_t length = strlen(fixed[i]);
        if (strncmp(s, fixed[i], length)) continue;
        *kind = i == 0 ? CG_SPAN_START : i == 1 ? CG_SPAN_END : CG_SPAN_WORD;
        return length;
    }
    return 0;
}

int cg_text_next(const char *text, size_t *at, cg_span *out) {
    /* The closing zero is no continuation byte, so decoding never reads past it. */
    enum { LONGEST = 4 };
    size_t i = *at, length = 0;
    int32_t code;
    text_class c = SPACE;
    for (; text[i]; i += length) {
        length = cg_utf8_decode(text + i, LONGEST, &code);
        if ((c = classify(code)) != SPACE) break;
    }
    *out = (cg_span){CG_SPAN_WORD, i, i};
    *at = i;
    if (!text[i]) return 0;
    size_t fixed = text[i] == '<' || text[i] == '\'' ? match_fixed(text + i, &out->kind) : 0;
    out->end = i + (fixed ? fixed : length);
    while (!fixed && c != NUMBER && text[out->end]) {
        length = cg_utf8_decode(text + out->end, LONGEST, &code);
        if (classify(code) != c) break;
        out->end += length;
    }
    *at = out->end;
    return 1;
}

int cg_text_distance(const char *a, const char *b) {
    int row[64];
    int n = (int)strnlen(a, 63), m = (int)strnlen(b, 63);
    for (int j = 0; j <= m; j++) row[j] = j;
    for (int i = 1; i <= n; i++) {
        int corner = row[0]; /* the distance of a[0, i-1) and b[0, j-1) */
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int best = corner + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            corner = row[j];
            row[j] = best;
        }
    }
    return row[m];
}
