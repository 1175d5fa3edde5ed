/*
 * MASK and READ_ONLY. Files are covered with the host's /dev/null, which no image can have replaced (class
 * CVE-2025-31133); all directories share one empty tmpfs.
 */
#include "kernel.h"
#include "path.h"
#include "step.h"
#include <sys/sysmacros.h>

static int open_null(void) {
    int fd = kernel_open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    struct stat st;
    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))) {
        close(fd);
        errno = ENXIO;
        return -1;
    }
    return fd;
}

/* A detached mount passes into the child's mount namespace; one opened there after its root changed would be
 * the image's. Where the launcher may not make one, the child does, before PIVOT_ROOT. */
void mask_prepare(struct stage *s) {
    if (s->null_mount < 0 && stage_has_later(s, PLAN_MASK))
        s->null_mount = open_null();
}

static int open_empty(void) {
    static const char *const options[] = {"mode=755", "nr_inodes=1", "nr_blocks=1", "ro", NULL};
    return mount_new("tmpfs", options,
                     MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

/* The first use attaches the mount itself, the next ones clones of it: only an attached mount of our own
 * namespace can be cloned everywhere. */
static void cover(struct stage *s, int mount, bool *attached, int root, const char *path, int target) {
    cleanup_close int clone = -1;
    if (*attached) {
        clone = kernel_open_tree(mount, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (clone < 0)
            step_fail(s, "open_tree", path);
    }
    int error = path_attach(*attached ? clone : mount, root, path, target, 0);
    if (error < 0)
        step_fail_with(s, error, "move_mount", path);
    *attached = true;
}

void step_mask(struct stage *s, struct plan_values *v) {
    cleanup_close int own = -1;
    int root = step_root(s, plan_u32(v), &own);
    const char *path = plan_str(v);
    cleanup_close int target = path_open(root, path, O_PATH, 0);
    struct stat st;
    if (target == -ENOENT || target == -ENOTDIR)
        return;
    if (target < 0)
        step_fail_with(s, target, "openat2", path);
    if (fstat(target, &st) < 0)
        step_fail(s, "fstat", path);
    if (S_ISDIR(st.st_mode)) {
        if (s->empty_mount < 0 && (s->empty_mount = open_empty()) < 0)
            step_fail(s, "fsmount", "tmpfs");
        cover(s, s->empty_mount, &s->empty_attached, root, path, target);
    } else {
        if (s->null_mount < 0 && (s->null_mount = open_null()) < 0)
            step_fail(s, "open_tree", "/dev/null");
        cover(s, s->null_mount, &s->null_attached, root, path, target);
    }
}

void step_read_only(struct stage *s, struct plan_values *v) {
    cleanup_close int own = -1;
    int root = step_root(s, plan_u32(v), &own);
    const char *path = plan_str(v);
    cleanup_close int target = path_open(root, path, O_PATH, 0);
    if (target == -ENOENT || target == -ENOTDIR)
        return;
    if (target < 0)
        step_fail_with(s, target, "openat2", path);
    cleanup_close int mount =
        kernel_open_tree(target, "", AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (mount < 0)
        step_fail(s, "open_tree", path);
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    if (kernel_mount_setattr(mount, "", AT_EMPTY_PATH, &attr) < 0)
        step_fail(s, "mount_setattr", path);
    int error = path_attach(mount, root, path, target, 0);
    if (error < 0)
        step_fail_with(s, error, "move_mount", path);
}
