/* Drawing flat shapes with smooth edges. */
#ifndef CG_DATA_DRAW_H
#define CG_DATA_DRAW_H

#include "data/image.h"

typedef enum cg_shape {
    CG_SHAPE_CIRCLE,
    CG_SHAPE_SQUARE,
    CG_SHAPE_TRIANGLE,
    CG_SHAPE_STAR,
    CG_SHAPE_RING,
    CG_SHAPE_CROSS,
    CG_SHAPE_HEART,
    CG_SHAPE_DIAMOND,
    CG_SHAPE_HEXAGON,
    CG_SHAPE_CRESCENT,
    CG_N_SHAPES
} cg_shape;

typedef struct cg_sprite {
    cg_shape shape;
    double x, y, radius; /* in pixels, from the top left corner */
    double angle;        /* radians, clockwise */
    double rgb[3];       /* 0 … 1 */
} cg_sprite;

/* Draws over what is there; what lies outside the picture is cut off. */
void cg_draw_sprite(cg_image *image, const cg_sprite *s);

/* Hue in degrees, saturation and value 0 … 1. */
void cg_hsv_to_rgb(double hue, double saturation, double value, double rgb[3]);

#endif
