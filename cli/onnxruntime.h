/* ONNX Runtime, where it is installed, as a check of exported files. */
#ifndef CG_CLI_ONNXRUNTIME_H
#define CG_CLI_ONNXRUNTIME_H

#include "train/export.h"

/* A cg_export_check: runs every case by python3 and its package onnxruntime. arg is not read.
 * errors  CG_ENOTFOUND: no python3, or no such package there; CG_EIO, CG_EFORMAT */
cg_status cli_onnxruntime_check(void *arg, const char *path, cg_parity *p, char name[64]);

#endif
