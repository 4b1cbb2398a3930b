#include "tests/support/folder.h"

#include "serialize/npy.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/clipgraph-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

int remove_folder(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

const char *in_folder(const char *name) {
    static char path[4][512];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

int there(const char *name) {
    return access(in_folder(name), F_OK) == 0;
}

int entries(const char *name) {
    int n = 0;
    DIR *d = opendir(in_folder(name));
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n;
}

void write_file(const char *name, const void *bytes, size_t size) {
    const char *path = in_folder(name);
    (void)unlink(path); /* an older one may be mapped */
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f) != 0) fail_msg("%s", path);
}

void write_text(const char *name, const char *text) {
    write_file(name, text, strlen(text));
}

void write_array(const char *name, cg_dtype dtype, cg_shape shape, const void *data) {
    ok(cg_npy_save(in_folder(name), dtype, &shape, data));
}

void write_program(const char *name, const char *script) {
    char text[1024];
    snprintf(text, sizeof text, "#!/bin/sh\n%s\n", script);
    write_text(name, text);
    assert_int_equal(chmod(in_folder(name), 0755), 0);
}

void read_file(const char *name, char *text, size_t size) {
    FILE *f = fopen(in_folder(name), "rb");
    if (!f) fail_msg("%s is not there", name);
    size_t n = fread(text, 1, size, f);
    fclose(f);
    if (n == size) fail_msg("%s has %zu bytes or more", name, size);
    text[n] = '\0';
}

void shell(const char *format, ...) {
    char text[2048], command[2400];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    snprintf(command, sizeof command, "cd '%s' && { %s; }", folder, text);
    if (system(command) != 0) fail_msg("failed: %s", text);
}
