/* Drawing flat shapes with smooth edges. */
#ifndef CG_DATA_DRAW_H
#define CG_DATA_DRAW_H

#include "data/image.h"

typedef enum cg_figure {
    CG_FIGURE_CIRCLE,
    CG_FIGURE_SQUARE,
    CG_FIGURE_TRIANGLE,
    CG_FIGURE_STAR,
    CG_FIGURE_RING,
    CG_FIGURE_CROSS,
    CG_FIGURE_HEART,
    CG_FIGURE_DIAMOND,
    CG_FIGURE_HEXAGON,
    CG_FIGURE_CRESCENT,
    CG_N_FIGURES
} cg_figure;

typedef struct cg_sprite {
    cg_figure shape;
    double x, y, radius; /* in pixels, from the top left corner */
    double angle;        /* radians, clockwise */
    double rgb[3];       /* 0 … 1 */
} cg_sprite;

/* Draws over what is there; what lies outside the picture is cut off. */
void cg_draw_sprite(cg_image *image, const cg_sprite *s);

/* Hue in degrees, saturation and value 0 … 1. */
void cg_hsv_to_rgb(double hue, double saturation, double value, double rgb[3]);

#endif
