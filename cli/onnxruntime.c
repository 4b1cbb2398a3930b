#include "cli/onnxruntime.h"

#include "cli/child.h"
#include "graph/file.h"
#include "serialize/shape_json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 1024 };

/* Inputs and outputs pass through files of numbers alone; what they are stands in cases.json.
 * Prints the version, or why there is none. */
static const char script[] =
    "import sys\n"
    "sys.path[:] = [p for p in sys.path if p]  # not what lies in the folder of the day\n"
    "import json, os\n"
    "try:\n"
    "    import numpy, onnxruntime\n"
    "except ImportError as e:\n"
    "    print('missing', e)\n"
    "    sys.exit(0)\n"
    "folder = sys.argv[1]\n"
    "job = json.load(open(os.path.join(folder, 'cases.json')))\n"
    "options = onnxruntime.SessionOptions()\n"
    "options.log_severity_level = 3\n"
    "session = onnxruntime.InferenceSession(job['model'], options,\n"
    "                                       providers=['CPUExecutionProvider'])\n"
    "types = {'f32': 'float32', 'i64': 'int64', 'u8': 'uint8'}\n"
    "for case in job['cases']:\n"
    "    feed = {i['name']: numpy.fromfile(os.path.join(folder, i['file']), types[i['dtype']])\n"
    "                       .reshape(i['shape']) for i in case['inputs']}\n"
    "    for name, x in zip(case['outputs'], session.run(list(case['outputs']), feed)):\n"
    "        x.astype('float32').tofile(os.path.join(folder, case['outputs'][name]))\n"
    "print('onnxruntime', onnxruntime.__version__)\n";

static cg_status save(const char *folder, const char *name, const void *data, size_t bytes) {
    char path[ROOM];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return cg_file_save(path, data, bytes);
}

/* Writes a case's inputs, and appends it to the list. */
static cg_status add_case(const char *folder, int number, const cg_parity_case *t, json_t *cases) {
    json_t *in = json_array(), *out = json_object();
    json_array_append_new(cases, json_pack("{s:o, s:o}", "inputs", in, "outputs", out));
    for (int i = 0; i < t->n_in; i++) {
        char file[64];
        snprintf(file, sizeof file, "%d.in.%d", number, i);
        json_array_append_new(in, json_pack("{s:s, s:s, s:s, s:o}", "name", t->in[i].name, "dtype",
                                            cg_dtype_name(t->in[i].dtype), "file", file, "shape",
                                            cg_shape_json(&t->in[i].shape)));
        CG_TRY(save(folder, file, t->in[i].data, t->in[i].bytes));
    }
    for (int i = 0; i < t->n_out; i++) {
        char file[64];
        snprintf(file, sizeof file, "%d.out.%d", number, i);
        json_object_set_new(out, t->out[i].name, json_string(file));
    }
    return CG_OK;
}

static cg_status write_cases(const char *folder, const char *path, const cg_parity_case *list,
                             int n) {
    json_t *cases = json_array();
    cg_status s = CG_OK;
    for (int i = 0; i < n && s == CG_OK; i++) s = add_case(folder, i, &list[i], cases);
    json_t *all = json_pack("{s:s, s:o}", "model", path, "cases", cases);
    char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
    if (s == CG_OK && !text) s = cg_error(CG_EFORMAT, "%s: the path is not UTF-8", path);
    if (s == CG_OK) s = save(folder, "cases.json", text, strlen(text));
    free(text);
    json_decref(all);
    return s;
}

static cg_status read_output(const char *folder, int number, int i, const cg_parity_output *o) {
    char path[ROOM];
    cg_map map;
    size_t bytes = (size_t)(o->rows * o->width) * sizeof *o->found;
    snprintf(path, sizeof path, "%s/%d.out.%d", folder, number, i);
    CG_TRY(cg_file_map(path, &map));
    cg_status s = map.bytes == bytes ? CG_OK
                                     : cg_error(CG_EFORMAT, "%s: %zu bytes, wanted %zu", o->name,
                                                map.bytes, bytes);
    if (s == CG_OK) memcpy(o->found, map.data, bytes);
    cg_file_unmap(&map);
    return s;
}

static cg_status run(const char *folder, char name[64]) {
    const char *const program[] = {"python3", "-", folder, NULL};
    char *output;
    size_t size;
    cg_status s = cli_child(program, script, strlen(script), &output, &size);
    if (s == CG_ENOTFOUND)
        return cg_error_in(s, "ONNX Runtime is asked by Python, which has to be installed");
    CG_TRY(s);
    output[strcspn(output, "\n")] = '\0';
    if (strncmp(output, "missing", 7) == 0)
        s = cg_error(CG_ENOTFOUND,
                     "python3 has no package onnxruntime (pip install onnxruntime):%s", output + 7);
    else if (strncmp(output, "onnxruntime ", 12) != 0)
        s = cg_error(CG_EFORMAT, "python3 says \"%.100s\", wanted onnxruntime and its version",
                     output);
    snprintf(name, 64, "%s", output);
    free(output);
    return s;
}

cg_status cli_onnxruntime_check(void *arg, const char *path, cg_parity *p, char name[64]) {
    (void)arg;
    cg_parity_case *list;
    int n = cg_parity_cases(p, &list);
    const char *tmp = getenv("TMPDIR");
    char folder[ROOM / 2];
    snprintf(folder, sizeof folder, "%s/clipgraph-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return cg_error(CG_EIO, "no temporary folder %s: %s", folder, strerror(errno));
    cg_status s = write_cases(folder, path, list, n);
    if (s == CG_OK) s = run(folder, name);
    for (int i = 0; i < n && s == CG_OK; i++)
        for (int k = 0; k < list[i].n_out && s == CG_OK; k++)
            s = read_output(folder, i, k, &list[i].out[k]);
    if (s != CG_OK) {
        cg_error_prefix("--verify-with onnxruntime");
        char message[1024];
        snprintf(message, sizeof message, "%s", cg_error_message());
        cg_folder_remove(folder);
        return cg_error(s, "%s", message);
    }
    return cg_folder_remove(folder);
}
