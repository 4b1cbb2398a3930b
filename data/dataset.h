/* A dataset: numbered pairs of a picture and a caption. Everything above reads pairs through
 * this interface, whether they come from a table or are drawn on the fly. */
#ifndef CG_DATA_DATASET_H
#define CG_DATA_DATASET_H

#include "data/classes.h"
#include "data/image.h"

CG_API_BEGIN

typedef struct cg_dataset cg_dataset;

/* Captions and pictures may be asked for by several threads at once. */
typedef struct cg_dataset_ops {
    /* Pair i's picture; the caller frees it. */
    cg_status (*image)(const cg_dataset *d, int64_t i, cg_image *out);
    /* Frees what is the kind's own, d itself included; the arrays below are gone by then. */
    void (*free)(cg_dataset *d);
} cg_dataset_ops;

struct cg_dataset {
    const cg_dataset_ops *ops;
    int64_t size;        /* pairs (an endless dataset: those of one epoch) */
    char **caption;      /* [size] cleaned; "" where the source had none. Owned */
    int32_t *caption_id; /* [size] equal where the cleaned captions are equal. Owned */
    int32_t n_captions;  /* distinct cleaned captions */
    char **path;         /* [size] for messages and result lists. Owned */
    int endless;         /* pair i of epoch e is pair e·size + i: image() takes those too */
    cg_classes classes; /* what captions can be, where they are classes; n 0: they are not. Owned */
    char **skipped;     /* [n_skipped] messages: what could not be looked into. Owned */
    int64_t n_skipped;
};

typedef struct cg_table_options {
    const char *image_column;   /* NULL: "filepath" */
    const char *caption_column; /* NULL: "title" */
    char separator;             /* 0: tab */
    cg_decode_options decode;
} cg_table_options;

/* Reads a table with a header line (UTF-8, BOM allowed, CRLF allowed, RFC 4180 quotes).
 * Relative paths are relative to the file.
 * errors  CG_EIO; CG_EFORMAT: no such column (names those it has and the nearest), a line with
 *         too few fields or an open quote (names the line), a zero byte (UTF-16, say), no pair */
cg_status cg_dataset_table(const char *path, const cg_table_options *options, cg_dataset **out);

typedef struct cg_synthetic_options {
    uint64_t seed;
    int64_t size;   /* pairs in an epoch */
    int image_size; /* side of the pictures drawn */
    int held_out;   /* 0: the training combinations; 1: those never drawn in training */
} cg_synthetic_options;

/* Draws captioned scenes: shapes, colours, sizes, relations ("a small red circle above a
 * large blue square"). Endless; pair i of a seed is always the same. */
cg_status cg_dataset_synthetic(const cg_synthetic_options *options, cg_dataset **out);

/* All pictures below a folder (by content, hidden files left out), sorted by path, with empty
 * captions. A folder or file inside that cannot be read is noted in `skipped`.
 * errors  CG_EIO; CG_ENOTFOUND: no picture in it */
cg_status cg_dataset_folder(const char *folder, const cg_decode_options *options, cg_dataset **out);

/* A folder of folders, one for each class, with its pictures at any depth: their caption is the
 * class. A folder is called by its name, underscores read as spaces; `classes` may call it
 * otherwise, by its key (NULL: the classes are the folders that hold a picture).
 * errors  CG_EIO; CG_ENOTFOUND: no picture in a folder of it; CG_EFORMAT: two folders of one
 *         class, or a folder with pictures that is not among `classes` */
cg_status cg_dataset_class_folders(const char *folder, const cg_classes *classes,
                                   const cg_decode_options *options, cg_dataset **out);

/* Grey pictures and labels in two IDX files (MNIST and its like), plain or gzipped; the labels'
 * path is the pictures' with "images" and "idx3" in its name read as "labels" and "idx1". Label k
 * is class k of `classes` (NULL: they are called by their numbers); its caption is the class.
 * errors  CG_EIO; CG_EFORMAT: not such a file, cut short or too long, counts that differ, a label
 *         beyond the classes; CG_EUNSUPPORTED: more than 8 GB; CG_ENOMEM */
cg_status cg_dataset_idx(const char *images, const cg_classes *classes, cg_dataset **out);

/* Does the file begin as IDX pictures do, plain or gzipped? 0 also where it cannot be read. */
int cg_idx_begins(const char *path);

void cg_dataset_free(cg_dataset *d); /* NULL is allowed */

/* For those who write a kind of dataset: numbers the distinct captions once all are there (fills
 * caption_id and n_captions). errors  CG_ENOMEM */
cg_status cg_dataset_number_captions(cg_dataset *d);

/* Appends a pair; takes both strings (also where it fails). *capacity starts at 0.
 * errors  CG_ENOMEM, also where a string is NULL */
cg_status cg_dataset_append(cg_dataset *d, int64_t *capacity, char *path, char *caption);

/* A number that tells datasets apart: of their captions in order, and of the templates that these
 * stand in. Pictures do not count, nor where they lie. */
uint64_t cg_dataset_fingerprint(const cg_dataset *d, const cg_templates *t);

/* Notes in `skipped` what could not be looked into, and why. errors  CG_ENOMEM */
cg_status cg_dataset_skip(cg_dataset *d, const char *message);

CG_API_END

#endif
