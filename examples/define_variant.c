/* define_variant: describes a small CLIP model in C, as wide as you like, and shows what it is made
 * of. Nothing is trained, and no memory is taken for its parameters.
 *
 *     define_variant [WIDTH]    features of the image tower's stem: 8, 16, 24, …; default 8 */
#include <clipgraph.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A description is a plain struct. It starts as open_clip's ViT-B/16; what differs is set. */
static cg_clip_desc describe(int64_t width) {
    cg_clip_desc d = cg_clip_desc_default();
    d.embed_dim = 32; /* of the space that both towers map into */
    d.vision.image_size = 32;
    d.vision.n_layers = 4;                              /* four stages: a ResNet */
    for (int i = 0; i < 4; i++) d.vision.layers[i] = 1; /* of one bottleneck each */
    d.vision.width = width;
    d.vision.head_width = 32;
    d.text.text_arch = CG_TEXT_CBOW; /* a bag of words */
    d.text.context_length = 32;
    d.text.vocab_size = 600;
    d.text.width = 32;
    return d;
}

/* One line for each layer. Layers are found by the names of the graph's nodes: depth 2 makes a
 * layer of all that begins with the same two parts, "visual/layer3" say. */
static cg_status print_layers(const cg_graph *g) {
    cg_layer *layer;
    int n;
    char shape[CG_SHAPE_TEXT];
    CG_TRY(cg_graph_layers(g, 2, &layer, &n));
    printf("%-28s %-20s %10s %8s\n", "layer", "result", "parameters", "MFLOPs");
    for (int i = 0; i < n; i++)
        printf("%-28s %-20s %10" PRId64 " %8.2f\n", layer[i].name,
               cg_shape_print(&layer[i].shape, shape), layer[i].params,
               (double)layer[i].flops * 1e-6);
    free(layer); /* allocated for us, as graph/summary.h says */
    return CG_OK;
}

/* main frees what is made here, also where only half of it was. */
static cg_status show(const cg_clip_desc *d, cg_params *params, cg_graph **g) {
    /* A graph has fixed sizes: here one picture, and one caption of up to 64 tokens. */
    cg_clip_build sizes = {.images = 1, .texts = 1, .rows = cg_clip_rows(64)};
    CG_TRY(cg_clip_desc_check("the variant", d)); /* do the sizes fit one another? */
    CG_TRY(cg_program_build(params, d, &sizes, &(cg_program){0}, g));
    CG_TRY(print_layers(*g));
    printf("%" PRId64 " parameters\n", cg_params_total(params));
    return CG_OK;
}

int main(int argc, char **argv) {
    cg_clip_desc d = describe(argc > 1 ? atoll(argv[1]) : 8);
    cg_params *params = NULL;
    cg_graph *g = NULL;
    cg_status s = cg_params_create(&params);
    if (s == CG_OK) s = show(&d, params, &g);
    cg_graph_free(g); /* the graph first: it uses the parameters */
    cg_params_free(params);
    if (s == CG_OK) return 0;
    fprintf(stderr, "define_variant: %s\n", cg_error_message());
    return 1;
}
