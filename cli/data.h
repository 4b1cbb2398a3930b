/* The data that train, eval and export are given: which kind it is, and how it is opened. */
#ifndef CG_CLI_DATA_H
#define CG_CLI_DATA_H

#include "cli/cli.h"

/* What --dataset-type says. Auto: by the path, a folder by class, an IDX file, or else a table. */
typedef enum cli_data_type {
    CLI_DATA_AUTO,
    CLI_DATA_CSV,
    CLI_DATA_FOLDER,
    CLI_DATA_IDX,
    CLI_DATA_SYNTHETIC
} cli_data_type;

#define CLI_DATA_TYPES "auto|csv|folder|idx|synthetic"

typedef struct cli_data {
    cli_data_type type;
    cg_table_options table;
    const char *classes; /* file of class names; NULL: those that the data itself has */
} cli_data;

/* The type of a name; -1: there is none. */
int cli_data_type_named(const char *name);

/* What --val-data names, of a command that measures: --dataset-type, --classes and --csv-…, an argp
 * child, {&cli_data_argp, 0, NULL, 0}, with a cli_data as its input. Its options are of group 1. */
extern const struct argp cli_data_argp;

/* The first of those options that was given, "--classes"; NULL: none was. */
const char *cli_data_given(const cli_data *o);

/* Opens the data at a path, not synthetic. A table's captions are classes where `classes` is given.
 * Warns on stderr about what could not be looked into. */
cg_status cli_data_open(const char *command, const char *path, const cli_data *o, cg_dataset **out);

/* Warns about folders and files that could not be looked into. */
void cli_report_skipped(const char *command, const cg_dataset *d);

#endif
