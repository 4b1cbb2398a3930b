#include "cli/how.h"

#include <string.h>

/* open_clip's names too: its "amp" variants keep parameters in f32, as bf16 does here. */
cg_precision cli_precision(const struct argp_state *state, const char *text) {
    static const struct {
        const char *name;
        cg_precision precision;
    } list[] = {{"fp32", CG_PRECISION_F32},      {"f32", CG_PRECISION_F32},
                {"float32", CG_PRECISION_F32},   {"bf16", CG_PRECISION_BF16},
                {"amp_bf16", CG_PRECISION_BF16}, {"amp_bfloat16", CG_PRECISION_BF16}};
    static const char *const never[] = {"amp", "fp16", "float16", "pure_bf16", "pure_fp16", NULL};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (strcmp(text, list[i].name) == 0) return list[i].precision;
    for (int i = 0; never[i]; i++)
        if (strcmp(text, never[i]) == 0)
            argp_error(state, "--precision: %s is not for processors; fp32 and bf16 are", text);
    argp_error(state, "--precision: found \"%s\", wanted fp32 or bf16", text);
    return CG_PRECISION_F32;
}

cg_passes_off cli_passes(const struct argp_state *state, const char *text) {
    cg_passes_off off = 0;
    if (cg_passes_parse(text, &off) != CG_OK) argp_error(state, "--passes: %s", cg_error_message());
    return off;
}

const char *cli_precision_name(cg_precision p) {
    return p == CG_PRECISION_BF16 ? "bf16" : "fp32";
}
