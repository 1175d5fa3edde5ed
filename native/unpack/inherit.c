#include "inherit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "report.h"
#include "tar.h"
#include "xattrs.h"

static int open_below(int root, const char *path) {
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, root, *path == '\0' ? "." : path, &how, sizeof how);
}

static void copy_xattrs(int target, int source) {
    struct xattr_list list = xattrs_of_open(source);
    for (const char *name = NULL; (name = xattrs_next(&list, name)) != NULL;) {
        if (xattr_is_overlay(name))
            continue;
        struct xattr_value value = xattr_of_open(source, name);
        if (fsetxattr(target, name, value.bytes, value.length, 0) != 0 && errno != ENOTSUP)
            report_fail("setxattr", errno, "cannot set the extended attribute %s", name);
        free(value.bytes);
    }
    free(list.names);
}

static void copy_attributes(int target, int source) {
    struct stat status;
    if (fstat(source, &status) != 0)
        report_fail("fstat", errno, "cannot read the directory below");
    if (fchown(target, status.st_uid, status.st_gid) != 0)
        report_fail("chown", errno, "cannot set the owner");
    if (fchmod(target, status.st_mode & 07777) != 0)
        report_fail("chmod", errno, "cannot set the mode");
    copy_xattrs(target, source);
    struct timespec times[2] = {status.st_mtim, status.st_mtim};
    if (futimens(target, times) != 0)
        report_fail("utimensat", errno, "cannot set the time");
}

static void inherit(int target_root, int source_root, const char *path) {
    int source = open_below(source_root, path);
    if (source < 0) {
        if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
            return;
        report_fail("openat2", errno, "cannot open the directory below");
    }
    int target = open_below(target_root, path);
    if (target < 0)
        report_fail("openat2", errno, "cannot open the directory");
    copy_attributes(target, source);
    (void)close(target);
    (void)close(source);
}

void inherit_run(int target, int source) {
    char *path = NULL;
    size_t room = 0;
    for (;;) {
        ssize_t length = getdelim(&path, &room, '\0', stdin);
        if (length <= 0)
            break;
        if (length > TAR_PATH_LIMIT || path[length - 1] != '\0')
            report_fail("read", EBADMSG, "invalid list of directories");
        report_entry(path);
        inherit(target, source, path);
        report_entry(NULL);
    }
    if (ferror(stdin))
        report_fail("read", errno, "cannot read the list of directories");
    free(path);
}
