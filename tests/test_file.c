/* labels: unit */
#include "graph/file.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static cg_folder *scratch;

static const char *path_of(const char *name) {
    static char path[4][512];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", cg_folder_path(scratch), name);
    return p;
}

static int entries(const char *folder) {
    char command[600];
    int n = -1;
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", folder);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_int_equal(fscanf(pipe, "%d", &n), 1);
    pclose(pipe);
    return n;
}

static void assert_content(const char *path, const char *wanted) {
    cg_map map;
    assert_int_equal(cg_file_map(path, &map), CG_OK);
    assert_int_equal(map.bytes, strlen(wanted));
    assert_memory_equal(map.data, wanted, map.bytes);
    cg_file_unmap(&map);
}

static int make_scratch(void **state) {
    (void)state;
    return cg_folder_create("test_file", &scratch) == CG_OK ? 0 : -1;
}

static int remove_scratch(void **state) {
    (void)state;
    cg_folder_abandon(scratch);
    return 0;
}

static void commits(void **state) {
    (void)state;
    const char *path = path_of("a");
    cg_file *f;
    assert_int_equal(cg_file_create(path, &f), CG_OK);
    assert_int_equal(cg_file_write(f, "one ", 4), CG_OK);
    assert_int_equal(cg_file_printf(f, "%s %d", "two", 3), CG_OK);
    assert_int_equal(access(path, F_OK), -1); /* not before it is whole */
    assert_int_equal(cg_file_commit(f), CG_OK);
    assert_content(path, "one two 3");
    assert_int_equal(cg_file_save(path, "new", 3), CG_OK);
    assert_content(path, "new");
    assert_int_equal(cg_file_save(path, "", 0), CG_OK);
    assert_content(path, "");
    assert_int_equal(entries(cg_folder_path(scratch)), 1);
    assert_int_equal(cg_file_commit(NULL), CG_OK);
}

static void removes(void **state) {
    (void)state;
    const char *path = path_of("old");
    char inside[600];
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(inside, sizeof inside, "%s/in", path);
    assert_int_equal(mkdir(inside, 0777), 0);
    snprintf(inside, sizeof inside, "%s/in/a", path);
    assert_int_equal(cg_file_save(inside, "x", 1), CG_OK);
    int before = entries(cg_folder_path(scratch));
    assert_int_equal(cg_folder_remove(path), CG_OK);
    assert_int_equal(entries(cg_folder_path(scratch)), before - 1);
    assert_int_equal(cg_folder_remove(path), CG_ENOTFOUND);
    assert_non_null(strstr(cg_error_message(), "cannot remove "));
    assert_int_equal(cg_file_save(path, "x", 1), CG_OK); /* a file */
    assert_int_equal(cg_folder_remove(path), CG_OK);
    assert_int_equal(entries(cg_folder_path(scratch)), before - 1);
}

static void knows_its_temporary_names(void **state) {
    (void)state;
    const char *path = cg_folder_path(scratch);
    assert_true(cg_file_is_temporary(path));
    assert_true(cg_file_is_temporary("step-4.tmp-0123456789abcdef"));
    assert_true(cg_file_is_temporary("a.tmp-0123456789abcdef.tmp-0123456789abcdef"));
    static const char *const others[] = {"",
                                         "step-4",
                                         "step-4.tmp-",
                                         ".tmp-0123456789abcdef",
                                         "step-4.tmp-0123456789abcde",
                                         "step-4.tmp-0123456789abcdeF",
                                         "step-4.tmp-0123456789abcdef0",
                                         "step-4_tmp-0123456789abcdef"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(cg_file_is_temporary(others[i]));
}

static void writes_sizes_around_the_buffer(void **state) {
    (void)state;
    static unsigned char data[300000];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(i * 7 + i / 251);
    static const size_t parts[] = {1, 65535, 65536, 65537, 100000, 3};
    const char *path = path_of("large");
    cg_file *f;
    assert_int_equal(cg_file_create(path, &f), CG_OK);
    size_t done = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++, done += parts[i - 1])
        assert_int_equal(cg_file_write(f, data + done, parts[i]), CG_OK);
    assert_int_equal(cg_file_commit(f), CG_OK);
    cg_map map;
    assert_int_equal(cg_file_map(path, &map), CG_OK);
    assert_int_equal(map.bytes, done);
    assert_memory_equal(map.data, data, done);
    cg_file_unmap(&map);
    cg_file_unmap(&map);
    unlink(path);
}

static void abandons(void **state) {
    (void)state;
    const char *path = path_of("b");
    int before = entries(cg_folder_path(scratch));
    assert_int_equal(cg_file_save(path, "old", 3), CG_OK);
    cg_file *f;
    assert_int_equal(cg_file_create(path, &f), CG_OK);
    cg_file_write(f, "new", 3);
    cg_file_abandon(f);
    cg_file_abandon(NULL);
    assert_content(path, "old");
    assert_int_equal(entries(cg_folder_path(scratch)), before + 1);
}

/* Files cannot grow past 100,000 bytes while this runs: a full disk in small. */
static void full_disk_leaves_the_old_file(void **state) {
    (void)state;
    static const char data[200000];
    const char *path = path_of("c");
    assert_int_equal(cg_file_save(path, "old", 3), CG_OK);
    int before = entries(cg_folder_path(scratch));
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){100000, old.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    cg_file *f;
    assert_int_equal(cg_file_create(path, &f), CG_OK);
    assert_int_equal(cg_file_write(f, data, 50000), CG_OK);
    assert_int_equal(cg_file_write(f, data, sizeof data), CG_EIO);
    cg_error(CG_EINVAL, "another message in between");
    assert_int_equal(cg_file_write(f, data, 1), CG_EIO); /* it sticks */
    cg_status status = cg_file_commit(f);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, CG_EIO);
    assert_non_null(strstr(cg_error_message(), path));
    assert_non_null(strstr(cg_error_message(), strerror(EFBIG)));
    assert_content(path, "old");
    assert_int_equal(entries(cg_folder_path(scratch)), before);
}

static void device_is_written_in_place(void **state) {
    (void)state;
    assert_int_equal(cg_file_save("/dev/full", "x", 1), CG_EIO);
    assert_string_equal(cg_error_message(), "cannot write /dev/full: No space left on device");
    assert_int_equal(cg_file_save("/dev/null", "x", 1), CG_OK);
    struct stat info;
    assert_int_equal(stat("/dev/null", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
}

static void names_what_cannot_be_opened(void **state) {
    (void)state;
    cg_file *f;
    cg_map map;
    assert_int_equal(cg_file_create(path_of("no/such"), &f), CG_ENOTFOUND);
    assert_non_null(strstr(cg_error_message(), "no/such: No such file or directory"));
    assert_int_equal(cg_file_create(cg_folder_path(scratch), &f), CG_EIO);
    assert_non_null(strstr(cg_error_message(), "Is a directory"));
    assert_int_equal(cg_file_map(path_of("nothing"), &map), CG_ENOTFOUND);
    assert_non_null(strstr(cg_error_message(), "nothing"));
    assert_int_equal(cg_file_map(cg_folder_path(scratch), &map), CG_EIO);
    assert_non_null(strstr(cg_error_message(), "a folder"));
}

static void fill_folder(const char *path, const char *content) {
    char name[600];
    cg_folder *d;
    assert_int_equal(cg_folder_create(path, &d), CG_OK);
    snprintf(name, sizeof name, "%s/sub", cg_folder_path(d));
    assert_int_equal(mkdir(name, 0777), 0);
    snprintf(name, sizeof name, "%s/sub/file", cg_folder_path(d));
    assert_int_equal(cg_file_save(name, content, strlen(content)), CG_OK);
    assert_int_equal(cg_folder_publish(d), CG_OK);
}

static void publishes_folders(void **state) {
    (void)state;
    int before = entries(cg_folder_path(scratch));
    const char *path = path_of("folder");
    fill_folder(path, "first");
    assert_content(path_of("folder/sub/file"), "first");
    fill_folder(path, "second"); /* in the place of the first */
    assert_content(path_of("folder/sub/file"), "second");
    fill_folder(path_of("folder/"), "third");
    assert_content(path_of("folder/sub/file"), "third");
    assert_int_equal(entries(cg_folder_path(scratch)), before + 1);

    cg_folder *d;
    assert_int_equal(cg_folder_create(path, &d), CG_OK);
    cg_folder_abandon(d);
    cg_folder_abandon(NULL);
    assert_content(path_of("folder/sub/file"), "third");
    assert_int_equal(entries(cg_folder_path(scratch)), before + 1);
}

static void folder_keeps_its_mode(void **state) {
    (void)state;
    cg_folder *d;
    struct stat info;
    assert_int_equal(mkdir(path_of("shared"), 0777), 0);
    assert_int_equal(chmod(path_of("shared"), 02770), 0);
    assert_int_equal(cg_folder_create(path_of("shared"), &d), CG_OK);
    assert_int_equal(cg_folder_publish(d), CG_OK);
    assert_int_equal(stat(path_of("shared"), &info), 0);
    assert_int_equal(info.st_mode & 07777, 02770);
    assert_int_equal(rmdir(path_of("shared")), 0);
}

static void folder_does_not_replace_a_file(void **state) {
    (void)state;
    const char *path = path_of("plain");
    assert_int_equal(cg_file_save(path, "old", 3), CG_OK);
    int before = entries(cg_folder_path(scratch));
    cg_folder *d;
    assert_int_equal(cg_folder_create(path, &d), CG_OK);
    assert_int_equal(cg_folder_publish(d), CG_EIO);
    assert_non_null(strstr(cg_error_message(), "plain: Not a directory"));
    assert_content(path, "old");
    assert_int_equal(entries(cg_folder_path(scratch)), before);
    assert_int_equal(cg_folder_create(path_of("no/such"), &d), CG_ENOTFOUND);
}

static int is_letter(void *arg, const char *name) {
    ++*(int *)arg;
    return name[0] >= 'a' && name[0] <= 'z' && name[1] == '\0';
}

/* Only a folder of nothing but our own files may be replaced. */
static void foreign_files_are_spared(void **state) {
    (void)state;
    int asked = 0;
    char link[600];
    snprintf(link, sizeof link, "%s", path_of("link"));
    assert_int_equal(cg_folder_check(path_of("nowhere"), is_letter, &asked), CG_OK);
    assert_int_equal(mkdir(path_of("kept"), 0777), 0);
    assert_int_equal(cg_folder_check(path_of("kept"), is_letter, &asked), CG_OK);
    assert_int_equal(asked, 0);
    assert_int_equal(cg_file_save(path_of("kept/a"), "a", 1), CG_OK);
    assert_int_equal(cg_folder_check(path_of("kept/"), is_letter, &asked), CG_OK);
    assert_int_equal(asked, 1);
    assert_int_equal(mkdir(path_of("kept/b"), 0777), 0); /* a folder, of our name */
    assert_int_equal(cg_folder_check(path_of("kept"), is_letter, &asked), CG_EINVAL);
    assert_int_equal(rmdir(path_of("kept/b")), 0);
    assert_int_equal(cg_file_save(path_of("kept/thesis"), "a", 1), CG_OK);
    assert_int_equal(cg_folder_check(path_of("kept"), is_letter, &asked), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "with its \"thesis\""));
    assert_int_equal(cg_folder_check(path_of("kept/a"), is_letter, &asked), CG_EINVAL);
    assert_int_equal(symlink("kept", link), 0);
    assert_int_equal(cg_folder_check(link, is_letter, &asked), CG_EINVAL);
    static const char *const nameless[] = {"", ".", "..", "/", "./", "kept/.", "kept/.."};
    for (int i = 0; i < 7; i++)
        assert_int_equal(cg_folder_check(nameless[i], is_letter, &asked), CG_EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commits),
        cmocka_unit_test(removes),
        cmocka_unit_test(knows_its_temporary_names),
        cmocka_unit_test(writes_sizes_around_the_buffer),
        cmocka_unit_test(abandons),
        cmocka_unit_test(full_disk_leaves_the_old_file),
        cmocka_unit_test(device_is_written_in_place),
        cmocka_unit_test(names_what_cannot_be_opened),
        cmocka_unit_test(publishes_folders),
        cmocka_unit_test(folder_does_not_replace_a_file),
        cmocka_unit_test(folder_keeps_its_mode),
        cmocka_unit_test(foreign_files_are_spared),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
