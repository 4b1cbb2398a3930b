#include "data/draw.h"

#include <math.h>

/* Five tips at radius 1, notches at .42: folded into a tenth, it is one edge. */
static int in_star(double x, double y) {
    const double tenth = 0.6283185307179586, notch = .42;
    double angle = fabs(remainder(atan2(x, -y), 2 * tenth)), r = hypot(x, y);
    double px = r * cos(angle), py = r * sin(angle);
    double ex = notch * cos(tenth) - 1, ey = notch * sin(tenth);
    return ex * py - ey * (px - 1) >= 0;
}

static int in_heart(double x, double y) {
    double u = 1.2 * x, v = .15 - 1.2 * y, s = u * u + v * v - 1;
    return s * s * s <= u * u * v * v * v;
}

/* Is (x, y), y downwards, inside the shape of radius 1 about the origin? */
static int inside(cg_figure shape, double x, double y) {
    double ax = fabs(x), ay = fabs(y), r2 = x * x + y * y;
    switch (shape) {
    case CG_FIGURE_CIRCLE:
        return r2 <= .9 * .9;
    case CG_FIGURE_SQUARE:
        return ax <= .78 && ay <= .78;
    case CG_FIGURE_TRIANGLE:
        return y <= .6 && ax * 1.6 <= .95 * (y + 1);
    case CG_FIGURE_STAR:
        return in_star(x, y);
    case CG_FIGURE_RING:
        return r2 <= .95 * .95 && r2 >= .55 * .55;
    case CG_FIGURE_CROSS:
        return (ax <= .3 && ay <= .92) || (ay <= .3 && ax <= .92);
    case CG_FIGURE_HEART:
        return in_heart(x, y);
    case CG_FIGURE_DIAMOND:
        return ax / .68 + ay <= 1;
    case CG_FIGURE_HEXAGON:
        return ax * .866 + ay * .5 <= .85 && ay <= .85;
    case CG_FIGURE_CRESCENT:
        return r2 <= .95 * .95 && (x - .42) * (x - .42) + y * y >= .72 * .72;
    case CG_N_FIGURES:
        break;
    }
    return 0;
}

void cg_draw_sprite(cg_image *image, const cg_sprite *s) {
    enum { FINE = 4 }; /* samples per pixel in each direction */
    int left = (int)fmax(0, floor(s->x - 1.2 * s->radius));
    int top = (int)fmax(0, floor(s->y - 1.2 * s->radius));
    int right = (int)fmin(image->width, ceil(s->x + 1.2 * s->radius) + 1);
    int bottom = (int)fmin(image->height, ceil(s->y + 1.2 * s->radius) + 1);
    double c = cos(s->angle) / s->radius, d = sin(s->angle) / s->radius;
    for (int row = top; row < bottom; row++) {
        for (int column = left; column < right; column++) {
            int hits = 0;
            for (int k = 0; k < FINE * FINE; k++) {
                double x = column + (k % FINE + .5) / FINE - s->x;
                double y = row + (k / FINE + .5) / FINE - s->y;
                hits += inside(s->shape, c * x + d * y, c * y - d * x);
            }
            double cover = hits / (double)(FINE * FINE);
            uint8_t *pixel = image->rgb + 3 * ((size_t)row * (size_t)image->width + (size_t)column);
            for (int k = 0; hits && k < 3; k++)
                pixel[k] = (uint8_t)(pixel[k] * (1 - cover) + 255 * s->rgb[k] * cover + .5);
        }
    }
}

void cg_hsv_to_rgb(double hue, double saturation, double value, double rgb[3]) {
    for (int k = 0; k < 3; k++) {
        double at = fmod(hue / 60 + (k == 0 ? 5 : k == 1 ? 3 : 1) + 12, 6);
        double part = fmax(0, fmin(fmin(at, 4 - at), 1));
        rgb[k] = value - value * saturation * part;
    }
}
