/* Scenes of one or two shapes: what they hold, how they are described and drawn. A scene is
 * content, which its caption may tell of; place, exact size, hue, turn and background are chosen
 * anew whenever it is drawn, within what any caption of it says. */
#ifndef CG_DATA_SCENE_H
#define CG_DATA_SCENE_H

#include "data/draw.h"
#include "graph/rng.h"

enum { CG_N_COLOURS = 10 };

typedef enum cg_relation {
    CG_ALONE,    /* one shape anywhere */
    CG_AT,       /* one shape at `where` */
    CG_TOGETHER, /* two, one somewhere beside or over the other */
    CG_ABOVE,
    CG_BELOW,
    CG_LEFT_OF,
    CG_RIGHT_OF,
    CG_INSIDE,
    CG_N_RELATIONS
} cg_relation;

typedef struct cg_scene {
    cg_relation relation;
    int where;      /* CG_AT: 0…8, row by row; the corners, the edges, the middle */
    int background; /* 0: any; 1: light; 2: dark */
    int n;          /* shapes */
    cg_figure shape[2];
    int colour[2];
    int size[2]; /* 0: any; 1: small; 2: large */
} cg_scene;

/* Is this shape in this colour kept out of training? About an eighth of all are. */
int cg_scene_held_out(cg_figure shape, int colour);

/* Draws a scene's content: with held_out at least one shape is of a held-out combination,
 * otherwise none is. */
cg_scene cg_scene_choose(cg_rng *r, int held_out);

/* Describes it; r chooses among synonyms and phrases. Cleaned, as cg_caption_clean would leave it.
 * size ≥ 160 bytes. */
void cg_scene_describe(const cg_scene *s, cg_rng *r, char *caption, size_t size);

/* Draws it; r chooses what the caption leaves open. */
void cg_scene_draw(const cg_scene *s, cg_rng *r, cg_image *image);

#endif
