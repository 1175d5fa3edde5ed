/* COPY_UP: what an image has in a directory goes into the tmpfs that will cover it. */
#include "kernel.h"
#include "path.h"
#include "step.h"
#include <dirent.h>
#include <sys/sendfile.h>
#include <sys/xattr.h>

/* Each level holds two descriptors; an image can nest deeper than anybody needs. */
#define DEPTH_MAX 200

static int copy_dir(int from, int to, int depth);

static int copy_bytes(int from, int to) {
    for (;;) {
        ssize_t n = sendfile(to, from, NULL, 1 << 20);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
    }
}

/* Without its capabilities a program of the image would fail in a way that is hard to see. */
static int copy_capabilities(int from, int to) {
    char value[64];
    ssize_t n = fgetxattr(from, "security.capability", value, sizeof value);
    return n > 0 && fsetxattr(to, "security.capability", value, (size_t)n, 0) < 0 ? -errno : 0;
}

static int copy_file(int from_dir, int to_dir, const char *name, const struct stat *st) {
    cleanup_close int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat opened;
    if (from < 0 || fstat(from, &opened) < 0)
        return -errno;
    if (!S_ISREG(opened.st_mode))
        return -ESTALE;
    cleanup_close int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return -errno;
    int error = copy_bytes(from, to);
    if (error < 0)
        return error;
    struct timespec times[2] = {st->st_atim, st->st_mtim};
    if (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0 ||
        futimens(to, times) < 0)
        return -errno;
    return copy_capabilities(from, to);
}

static int copy_link(int from_dir, int to_dir, const char *name) {
    char target[PATH_MAX];
    ssize_t n = readlinkat(from_dir, name, target, sizeof target - 1);
    if (n < 0)
        return -errno;
    target[n] = 0;
    return symlinkat(target, to_dir, name) < 0 ? -errno : 0;
}

static int copy_below(int from_dir, int to_dir, const char *name, const struct stat *st, int depth) {
    if (mkdirat(to_dir, name, 0700) < 0)
        return -errno;
    cleanup_close int from = openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    cleanup_close int to = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (from < 0 || to < 0)
        return -errno;
    int error = copy_dir(from, to, depth);
    if (error == 0 && fchmod(to, st->st_mode & 07777) < 0)
        error = -errno;
    return error;
}

static int copy_entry(int from, int to, const char *name, int depth) {
    struct stat st;
    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (S_ISREG(st.st_mode))
        return copy_file(from, to, name, &st);
    int error;
    if (S_ISDIR(st.st_mode))
        error = copy_below(from, to, name, &st, depth);
    else if (S_ISLNK(st.st_mode))
        error = copy_link(from, to, name);
    else
        error = mknodat(to, name, st.st_mode, st.st_rdev) < 0 ? -errno : 0;
    if (error < 0)
        return error;
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    if (fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    return 0;
}

static int copy_dir(int from, int to, int depth) {
    if (depth == DEPTH_MAX)
        return -ENAMETOOLONG;
    int listed = dup(from);
    DIR *dir = listed < 0 ? NULL : fdopendir(listed);
    if (!dir)
        return -errno;
    int error = 0;
    struct dirent *entry;
    while (error == 0 && (errno = 0, entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            error = copy_entry(from, to, entry->d_name, depth + 1);
    if (error == 0 && errno != 0)
        error = -errno;
    closedir(dir);
    return error;
}

/* A tmpfs whose mode nobody chose looks like the directory it covers. */
static int copy_root(int from, int to) {
    struct stat source, made;
    if (fstat(from, &source) < 0 || fstat(to, &made) < 0)
        return -errno;
    if ((made.st_mode & 07777) != 01777)
        return 0;
    return fchown(to, source.st_uid, source.st_gid) < 0 || fchmod(to, source.st_mode & 07777) < 0 ? -errno
                                                                                                  : 0;
}

void step_copy_up(struct stage *s, struct plan_values *v) {
    cleanup_close int own = -1;
    int mount = stage_slot(s, plan_u32(v)), root = step_root(s, plan_u32(v), &own);
    const char *path = plan_str(v);
    cleanup_close int from = path_open(root, path, O_RDONLY | O_DIRECTORY, 0);
    if (from == -ENOENT)
        return;
    if (from < 0)
        step_fail_with(s, from, "openat2", path);
    cleanup_close int to = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (to < 0)
        step_fail(s, "openat", path);
    int error = copy_root(from, to);
    if (error == 0)
        error = copy_dir(from, to, 0);
    if (error < 0)
        step_fail_with(s, error, "copy", path);
}
