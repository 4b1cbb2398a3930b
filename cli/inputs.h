/* What classify, search and embed read: pictures named on the command line, lists of texts. */
#ifndef CG_CLI_INPUTS_H
#define CG_CLI_INPUTS_H

#include "cli/cli.h"

/* A text file's lines, without line ends, a byte order mark or (keep_empty 0) empty lines. */
typedef struct cli_lines {
    char **line; /* in text */
    int64_t n;
    char *text;
} cli_lines;

/* errors  CG_EIO; CG_EFORMAT: a zero byte, so no text file */
cg_status cli_lines_read(const char *path, int keep_empty, cli_lines *out);

/* The parts of a text between commas, white space around them left out. */
cg_status cli_lines_split(const char *text, cli_lines *out);
void cli_lines_free(cli_lines *l);

/* Labels, from a list with commas or a file with a label a line, or KEY<tab>NAME, of which the
 * names are taken. errors  CG_EINVAL, of a file CG_EFORMAT: there is none, or an empty one, or one
 * twice; those of the file */
#define CLI_LABELS_DOC      "the labels, between commas (one that has a comma: in --labels-file)"
#define CLI_LABELS_FILE_DOC "the labels, one per line; also KEY<tab>NAME, as eval reads classes"
cg_status cli_labels_read(const char *labels, const char *file, cli_lines *out);

/* --template TEXT (repeatable) and --templates FILE, a template per line: an argp child,
 * {&cli_templates_argp, 0, NULL, 0}, with a cli_templates as its input. */
enum { CLI_TEMPLATES_GIVEN = 256 };
typedef struct cli_templates {
    const char *given[CLI_TEMPLATES_GIVEN];
    int n_given;
    const char *path; /* of the file; NULL: none */
    cli_lines file;
    const char **text;
    cg_templates all; /* those given, then the file's; n 0: none at all */
} cli_templates;
extern const struct argp cli_templates_argp;

/* Fills `all` from what was given.
 * errors  those of the file; CG_EFORMAT: a line without {} (names it), or no template in it */
cg_status cli_templates_read(cli_templates *t);
void cli_templates_free(cli_templates *t);

/* A dataset of the pictures at n paths, in their order: files as they are, folders with all that
 * is in them. Warns on stderr about what inside cannot be read.
 * errors  CG_ENOTFOUND: no such file, no picture in a folder */
cg_status cli_pictures(const char *command, char *const *path, int n, cg_dataset **out);

/* Embeds a dataset's pictures and warns on stderr about those left out.
 * errors  CG_EFORMAT: not one could be read (the message is the first one's) */
cg_status cli_embed_pictures(const char *command, cg_model *m, const cli_run *run,
                             const cg_dataset *d, cg_embeddings *out);

#endif
