/* A dataset whose pictures are files: what tables and folders have in common. */
#ifndef CG_DATA_FILES_H
#define CG_DATA_FILES_H

#include "data/dataset.h"

/* An empty dataset that decodes its pair i from path[i]. NULL: no memory (with a message). */
cg_dataset *cg_dataset_files(const cg_decode_options *options);

/* Reads a whole file, with a zero behind it; the caller frees *bytes. errors  CG_EIO, CG_ENOMEM */
cg_status cg_file_read(const char *path, char **bytes, size_t *size);

#endif
