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
