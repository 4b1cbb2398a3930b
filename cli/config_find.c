/* Where model descriptions are: names such as "RN50-CBOW" instead of paths. */
#include "cli/cli.h"

#include "graph/nearest.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_ROOM = 4096, MAX_NAMES = 256, NAME_ROOM = 128, MAX_FOLDERS = 6 };

static int ends_in_json(const char *name) {
    size_t n = strlen(name);
    return n > 5 && strcmp(name + n - 5, ".json") == 0;
}

/* The folders to look into, best first. */
static int list_folders(char folder[MAX_FOLDERS][PATH_ROOM]) {
    static const char *const beside[] = {"configs", "../share/clipgraph/configs",
                                         "../models/configs", "../../models/configs"};
    int n = 0;
    const char *own = getenv("CLIPGRAPH_CONFIGS");
    char program[PATH_ROOM - 64];
    if (own && own[0]) snprintf(folder[n++], PATH_ROOM, "%s", own);
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length > 0) {
        program[length] = '\0';
        *strrchr(program, '/') = '\0';
        for (size_t i = 0; i < sizeof beside / sizeof *beside; i++)
            snprintf(folder[n++], PATH_ROOM, "%s/%s", program, beside[i]);
    }
    snprintf(folder[n++], PATH_ROOM, "%s", CG_CONFIG_DIR);
    return n;
}

static int by_name(const void *a, const void *b) {
    return strcmp(a, b);
}

/* Adds the names of a folder's descriptions. */
static int list_names(const char *folder, char (*name)[NAME_ROOM], int n) {
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        size_t length = strlen(e->d_name);
        if (!ends_in_json(e->d_name) || length - 5 >= NAME_ROOM || n == MAX_NAMES) continue;
        snprintf(name[n], NAME_ROOM, "%.*s", (int)(length - 5), e->d_name);
        int known = 0;
        for (int i = 0; i < n; i++) known |= strcmp(name[i], name[n]) == 0;
        n += !known;
    }
    if (d) closedir(d);
    return n;
}

static cg_status unknown(const char *model, char folder[][PATH_ROOM], int folders) {
    char(*name)[NAME_ROOM] = calloc(MAX_NAMES, sizeof *name), list[700] = "";
    const char *known[MAX_NAMES + 1] = {0};
    int n = 0;
    size_t used = 0;
    if (!name) return cg_error(CG_ENOMEM, "no memory for the names of models");
    for (int i = 0; i < folders; i++) n = list_names(folder[i], name, n);
    qsort(name, (size_t)n, sizeof *name, by_name);
    for (int i = 0; i < n; i++) {
        known[i] = name[i];
        if (used + NAME_ROOM + 8 < sizeof list)
            used +=
                (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", name[i]);
    }
    const char *nearest = cg_nearest(model, known);
    if (n == 0)
        cg_error(CG_EINVAL,
                 "no model is called \"%s\", and no folder of descriptions was found: give a JSON "
                 "file, or set CLIPGRAPH_CONFIGS",
                 model);
    else
        cg_error(CG_EINVAL, "no model is called \"%s\"; %s%s%s: %s; or give a JSON file", model,
                 nearest ? "did you mean \"" : "there are", nearest ? nearest : "",
                 nearest ? "\"? There are" : "", list);
    free(name);
    return CG_EINVAL;
}

cg_status cli_config_find(const char *model, char **path) {
    char folder[MAX_FOLDERS][PATH_ROOM], file[PATH_ROOM + 256];
    *path = NULL;
    snprintf(file, sizeof file, "%s", model);
    if (!strchr(model, '/') && !ends_in_json(model)) {
        int n = list_folders(folder), found = 0;
        for (int i = 0; i < n && !found; i++) {
            snprintf(file, sizeof file, "%s/%.240s.json", folder[i], model);
            found = access(file, F_OK) == 0;
        }
        if (!found) return unknown(model, folder, n);
    }
    *path = strdup(file);
    return *path ? CG_OK : cg_error(CG_ENOMEM, "no memory for a path");
}
