#include "data/scene.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Synonyms; the first is the commonest. */
typedef const char *const words[4];

static words shape_words[CG_N_FIGURES] = {
    {"circle", "disc", "dot"},
    {"square", "box"},
    {"triangle"},
    {"star"},
    {"ring", "hoop"},
    {"cross", "plus sign"},
    {"heart"},
    {"diamond", "rhombus"},
    {"hexagon"},
    {"crescent", "crescent moon"},
};
static words size_words[3] = {{""}, {"small", "little", "tiny"}, {"large", "big", "huge"}};
static words relation_words[CG_N_RELATIONS] = {
    {""},
    {""},
    {"and", "and", "next to", "with"},
    {"above", "over", "on top of"},
    {"below", "under", "beneath"},
    {"to the left of", "left of"},
    {"to the right of", "right of"},
    {"inside", "in", "within"},
};
static words where_words[9] = {
    {"in the top left corner", "at the top left"},
    {"at the top", "in the upper part"},
    {"in the top right corner", "at the top right"},
    {"on the left", "at the left side"},
    {"in the middle", "in the centre"},
    {"on the right", "at the right side"},
    {"in the bottom left corner", "at the bottom left"},
    {"at the bottom", "in the lower part"},
    {"in the bottom right corner", "at the bottom right"},
};
static words opening_words = {"", "a picture of ", "a drawing of ", "there is "};

enum { BLACK = 8, WHITE = 9 };

/* Ranges of hue (degrees), saturation and value. */
static const struct {
    words name;
    double hue, spread, saturation[2], value[2];
} colours[CG_N_COLOURS] = {
    {{"red", "crimson"}, 0, 7, {.85, 1}, {.75, .95}},
    {{"orange"}, 27, 5, {.9, 1}, {.9, 1}},
    {{"yellow"}, 54, 4, {.85, 1}, {.9, 1}},
    {{"green"}, 125, 14, {.7, 1}, {.45, .7}},
    {{"turquoise", "cyan"}, 178, 6, {.7, .9}, {.75, .9}},
    {{"blue"}, 224, 8, {.75, 1}, {.65, .95}},
    {{"purple", "violet"}, 278, 7, {.6, .85}, {.5, .7}},
    {{"pink"}, 334, 7, {.35, .5}, {.95, 1}},
    {{"black"}, 0, 180, {0, .1}, {.02, .09}},
    {{"white"}, 0, 180, {0, .03}, {.96, 1}},
};

/* ---- content ---- */

int cg_scene_held_out(cg_figure shape, int colour) {
    return cg_mix64(UINT64_C(0x5ce7e) + (uint64_t)shape * 64 + (uint64_t)colour) % 8 == 0;
}

static int below(cg_rng *r, int n) {
    return (int)cg_rng_below(r, (uint64_t)n);
}

static void choose_shape(cg_scene *s, int i, cg_rng *r) {
    s->shape[i] = (cg_figure)below(r, CG_N_FIGURES);
    s->colour[i] = below(r, CG_N_COLOURS);
}

/* Can the caption tell the shapes apart, and can something be seen inside the second? */
static int sensible(const cg_scene *s) {
    if (s->n == 1) return 1;
    if (s->relation != CG_INSIDE) return s->shape[0] != s->shape[1] || s->colour[0] != s->colour[1];
    cg_figure outer = s->shape[1];
    return s->colour[0] != s->colour[1] &&
           (outer == CG_FIGURE_CIRCLE || outer == CG_FIGURE_SQUARE || outer == CG_FIGURE_HEXAGON);
}

static int has_colour(const cg_scene *s, int colour) {
    return s->colour[0] == colour || (s->n == 2 && s->colour[1] == colour);
}

cg_scene cg_scene_choose(cg_rng *r, int held_out) {
    static const cg_relation of[] = {CG_ALONE,    CG_ALONE,  CG_ALONE,   CG_AT,
                                     CG_AT,       CG_ABOVE,  CG_BELOW,   CG_LEFT_OF,
                                     CG_RIGHT_OF, CG_INSIDE, CG_TOGETHER};
    cg_scene s = {.relation = of[below(r, sizeof of / sizeof *of)]};
    s.n = s.relation >= CG_TOGETHER ? 2 : 1;
    int fits;
    do { /* until the combinations are those asked for */
        int held = 0;
        for (int i = 0; i < s.n; i++) {
            choose_shape(&s, i, r);
            held += cg_scene_held_out(s.shape[i], s.colour[i]);
        }
        fits = sensible(&s) && (held > 0) == (held_out != 0);
    } while (!fits);
    for (int i = 0; i < s.n; i++) s.size[i] = below(r, 4) > 1 ? 1 + below(r, 2) : 0;
    if (s.relation == CG_INSIDE) { /* it must fit, so these are its only true sizes */
        s.size[0] = s.size[0] ? 1 : 0;
        s.size[1] = s.size[1] ? 2 : 0;
    }
    if (s.relation == CG_AT) s.where = below(r, 9);
    int shade = below(r, 8);
    if (shade == 1 && !has_colour(&s, WHITE)) s.background = 1;
    if (shade == 2 && !has_colour(&s, BLACK)) s.background = 2;
    return s;
}

/* ---- captions ---- */

static const char *pick(cg_rng *r, words list) {
    int n = 0;
    while (n < 4 && list[n]) n++;
    int k = below(r, 2) ? 0 : below(r, n);
    return list[k];
}

static void append(char *text, size_t size, const char *more) {
    size_t n = strlen(text);
    snprintf(text + n, size - n, "%s", more);
}

static void describe_shape(const cg_scene *s, int i, cg_rng *r, char *text, size_t size) {
    const char *large = pick(r, size_words[s->size[i]]),
               *colour = pick(r, colours[s->colour[i]].name);
    const char *first = *large ? large : colour;
    append(text, size, strchr("aeiou", first[0]) ? "an " : "a ");
    append(text, size, large);
    append(text, size, *large ? " " : "");
    append(text, size, colour);
    append(text, size, " ");
    append(text, size, pick(r, shape_words[s->shape[i]]));
}

void cg_scene_describe(const cg_scene *s, cg_rng *r, char *caption, size_t size) {
    caption[0] = 0;
    append(caption, size, pick(r, opening_words));
    describe_shape(s, 0, r, caption, size);
    if (s->relation == CG_AT) {
        append(caption, size, " ");
        append(caption, size, pick(r, where_words[s->where]));
    }
    if (s->n == 2) {
        append(caption, size, " ");
        append(caption, size, pick(r, relation_words[s->relation]));
        append(caption, size, " ");
        describe_shape(s, 1, r, caption, size);
    }
    if (s->background)
        append(caption, size,
               s->background == 1 ? " on a light background" : " on a dark background");
}

/* ---- pictures ---- */

/* A fraction of the side. Small and large never overlap within one kind of scene. */
static double choose_radius(const cg_scene *s, int i, cg_rng *r) {
    if (s->relation == CG_INSIDE)
        return i == 0 ? cg_rng_range(r, .11, .15) : cg_rng_range(r, .34, .42);
    double most = s->relation == CG_ALONE ? .40 : .235, limit = s->relation == CG_ALONE ? .27 : .18;
    if (s->size[i] == 1) return cg_rng_range(r, .10, .14);
    if (s->size[i] == 2) return cg_rng_range(r, limit, most);
    return cg_rng_range(r, .12, most);
}

static double jitter(cg_rng *r, double most) {
    return cg_rng_range(r, -most, most);
}

/* Centres of the shapes, in fractions of the side. */
static void choose_places(const cg_scene *s, cg_rng *r, const double radius[2], double x[2],
                          double y[2]) {
    double along = .26 + jitter(r, .02), across = .5 + jitter(r, .12);
    double other = fmin(fmax(across + jitter(r, .08), .3), .7);
    cg_relation relation = s->relation;
    if (relation == CG_TOGETHER) relation = CG_ABOVE + (cg_relation)below(r, 4);
    int flip = relation == CG_BELOW || relation == CG_RIGHT_OF;
    double first = flip ? 1 - along : along, second = flip ? along : 1 - along;
    double room = .5 - radius[0];
    switch (relation) {
    case CG_AT:
        x[0] = .25 + .25 * (s->where % 3) + jitter(r, .03);
        y[0] = .25 + .25 * (s->where / 3) + jitter(r, .03);
        break;
    case CG_INSIDE:
        x[1] = .5 + jitter(r, .5 - radius[1]);
        y[1] = .5 + jitter(r, .5 - radius[1]);
        x[0] = x[1] + jitter(r, .07);
        y[0] = y[1] + jitter(r, .07);
        break;
    case CG_ABOVE:
    case CG_BELOW:
        x[0] = across, y[0] = first;
        x[1] = other, y[1] = second;
        break;
    case CG_LEFT_OF:
    case CG_RIGHT_OF:
        x[0] = first, y[0] = across;
        x[1] = second, y[1] = other;
        break;
    default:
        x[0] = .5 + jitter(r, room);
        y[0] = .5 + jitter(r, room);
    }
}

/* A quiet slope between two near tints, light, middling or dark, with a little noise. */
static void draw_background(const cg_scene *s, cg_rng *r, cg_image *image) {
    static const double low[3] = {.86, .42, .10}, high[3] = {.95, .58, .24};
    int shade = s->background == 1 ? 0 : 2;
    do { /* white is not drawn on light, nor black on dark */
        if (!s->background) shade = below(r, 3);
    } while ((shade == 0 && has_colour(s, WHITE)) || (shade == 2 && has_colour(s, BLACK)));
    double hue = cg_rng_range(r, 0, 360), from[3], to[3];
    double saturation = cg_rng_range(r, 0, shade == 0 ? .12 : .22);
    cg_hsv_to_rgb(hue, saturation, cg_rng_range(r, low[shade], high[shade]), from);
    cg_hsv_to_rgb(hue + jitter(r, 20), saturation, cg_rng_range(r, low[shade], high[shade]), to);
    double angle = cg_rng_range(r, 0, 6.283185307179586), noise = cg_rng_range(r, 0, 5);
    double c = cos(angle) / image->width, d = sin(angle) / image->height;
    for (int y = 0; y < image->height; y++)
        for (int x = 0; x < image->width; x++) {
            double t = .5 + .5 * (c * (2 * x - image->width) + d * (2 * y - image->height)) / 1.5;
            double grain = noise * (cg_rng_u32(r) * 0x1p-31 - 1);
            uint8_t *pixel = image->rgb + 3 * ((size_t)y * (size_t)image->width + (size_t)x);
            for (int k = 0; k < 3; k++) {
                double v = 255 * (from[k] + (to[k] - from[k]) * t) + grain + .5;
                pixel[k] = (uint8_t)fmin(255, fmax(0, v));
            }
        }
}

void cg_scene_draw(const cg_scene *s, cg_rng *r, cg_image *image) {
    double radius[2] = {0}, x[2] = {0}, y[2] = {0};
    double side = image->width < image->height ? image->width : image->height;
    draw_background(s, r, image);
    for (int i = 0; i < s->n; i++) radius[i] = choose_radius(s, i, r);
    choose_places(s, r, radius, x, y);
    for (int i = s->n - 1; i >= 0; i--) { /* what is inside comes last */
        int c = s->colour[i];
        cg_sprite sprite = {.shape = s->shape[i],
                            .x = x[i] * side,
                            .y = y[i] * side,
                            .radius = radius[i] * side,
                            .angle = jitter(r, .2)};
        double hue = colours[c].hue + jitter(r, colours[c].spread);
        double saturation = cg_rng_range(r, colours[c].saturation[0], colours[c].saturation[1]);
        double value = cg_rng_range(r, colours[c].value[0], colours[c].value[1]);
        cg_hsv_to_rgb(hue, saturation, value, sprite.rgb);
        cg_draw_sprite(image, &sprite);
    }
}
