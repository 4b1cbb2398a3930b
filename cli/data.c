#include "cli/data.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int cli_data_type_named(const char *name) {
    static const char *const names[] = {"auto", "csv", "folder", "idx", "synthetic"};
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(names[i], name) == 0) return i;
    return -1;
}

enum { KEY_TYPE = 2000, KEY_CLASSES, KEY_IMAGE, KEY_CAPTION, KEY_SEPARATOR };

static const struct argp_option options[] = {
    {"dataset-type", KEY_TYPE, CLI_DATA_TYPES, 0,
     "what DATA is (auto: found out), or synthetic: scenes that training never draws", 1},
    {"classes", KEY_CLASSES, "FILE", 0,
     "the names of the classes, one per line; for a folder also FOLDER<tab>NAME (default: the "
     "folders' names, underscores read as spaces; IDX: numbers)",
     1},
    {"csv-img-key", KEY_IMAGE, "NAME", 0, "column of the pictures' paths (filepath)", 1},
    {"csv-caption-key", KEY_CAPTION, "NAME", 0, "column of the captions (title)", 1},
    {"csv-separator", KEY_SEPARATOR, "C", 0,
     "a character, tab or comma (what the header line has: a tab, else a comma)", 1},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state) {
    cli_data *o = state->input;
    if (!o) return ARGP_ERR_UNKNOWN;
    switch (key) {
    case KEY_TYPE:
        o->type = (cli_data_type)cli_data_type_named(text);
        if ((int)o->type < 0)
            argp_error(state, "--dataset-type: found \"%s\", wanted %s", text, CLI_DATA_TYPES);
        return 0;
    case KEY_CLASSES:
        o->classes = text;
        return 0;
    case KEY_IMAGE:
        o->table.image_column = text;
        return 0;
    case KEY_CAPTION:
        o->table.caption_column = text;
        return 0;
    case KEY_SEPARATOR:
        o->table.separator = cli_separator(state, "csv-separator", text);
        return 0;
    case ARGP_KEY_END:
        if (o->type == CLI_DATA_SYNTHETIC && o->classes)
            argp_error(state, "--classes: drawn scenes have no classes");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_data_argp = {.options = options, .parser = parse};

const char *cli_data_given(const cli_data *o) {
    if (o->type != CLI_DATA_AUTO) return "--dataset-type";
    if (o->classes) return "--classes";
    if (o->table.image_column) return "--csv-img-key";
    if (o->table.caption_column) return "--csv-caption-key";
    return o->table.separator ? "--csv-separator" : NULL;
}

static cli_data_type type_of(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) return CLI_DATA_CSV; /* which says that it is missing */
    if (S_ISDIR(st.st_mode)) return CLI_DATA_FOLDER;
    return S_ISREG(st.st_mode) && cg_idx_begins(path) ? CLI_DATA_IDX : CLI_DATA_CSV;
}

static cg_status open_typed(const char *path, const cli_data *o, const cg_classes *classes,
                            cg_dataset **out) {
    cli_data_type type = o->type == CLI_DATA_AUTO ? type_of(path) : o->type;
    if (type == CLI_DATA_FOLDER)
        return cg_dataset_class_folders(path, classes, &o->table.decode, out);
    if (type == CLI_DATA_IDX) return cg_dataset_idx(path, classes, out);
    CG_TRY(cli_table(path, o->table, out));
    cg_status s = classes ? cg_classes_copy(classes, &(*out)->classes) : CG_OK;
    if (s == CG_OK) return CG_OK;
    cg_dataset_free(*out);
    *out = NULL;
    return s;
}

cg_status cli_data_open(const char *command, const char *path, const cli_data *o,
                        cg_dataset **out) {
    cg_classes classes = {0};
    *out = NULL;
    cg_status s = o->classes ? cg_classes_read(o->classes, &classes) : CG_OK;
    if (s == CG_OK) s = open_typed(path, o, o->classes ? &classes : NULL, out);
    cg_classes_free(&classes);
    if (s == CG_OK) cli_report_skipped(command, *out);
    return s;
}

void cli_report_skipped(const char *command, const cg_dataset *d) {
    enum { SHOWN = 5 };
    if (!d->n_skipped) return;
    fflush(stdout);
    fprintf(stderr, "clipgraph %s: warning: %" PRId64 " path%s could not be read:\n", command,
            d->n_skipped, d->n_skipped == 1 ? "" : "s");
    for (int64_t i = 0; i < d->n_skipped && i < SHOWN; i++)
        fprintf(stderr, "  %s\n", d->skipped[i]);
    if (d->n_skipped > SHOWN) fprintf(stderr, "  … and %" PRId64 " more\n", d->n_skipped - SHOWN);
}
