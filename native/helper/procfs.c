/*
 * A procfs that nobody else has: what we write to it reaches the kernel, whatever a container has mounted on
 * /proc (classes CVE-2019-16884, CVE-2025-52881). It is a detached mount, gone with its descriptor.
 */
#include "kernel.h"
#include "step.h"

static bool is_procfs_root(int fd) {
    struct statfs fs;
    struct stat st;
    return fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC && fstat(fd, &st) == 0 && st.st_ino == 1;
}

static int new_procfs(bool whole) {
    static const char *const all[] = {NULL}, *const pids[] = {"subset=pid", NULL};
    return mount_new("proc", whole ? all : pids, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

/* A user namespace may not have a new one where the visible one is partly covered: then the visible one
 * serves, as long as it is one; procfs_file crosses no mount on it. */
static int visible_procfs(void) {
    return kernel_openat2(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC, 0,
                          RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

int procfs_open(struct stage *s, bool whole) {
    if (s->procfs_fd >= 0 && (s->procfs_whole || !whole))
        return s->procfs_fd;
    procfs_close(s);
    int fd = new_procfs(whole);
    if (fd < 0 && errno == EINVAL && !whole) /* before 5.8 */
        fd = new_procfs(true);
    s->procfs_detached = fd >= 0;
    if (fd < 0 && errno == EPERM)
        fd = visible_procfs();
    if (fd < 0)
        step_fail(s, "fsmount", "proc");
    if (!is_procfs_root(fd))
        step_fail_with(s, EXDEV, "fstatfs", "/proc is not a procfs");
    s->procfs_fd = fd;
    s->procfs_whole = whole;
    return fd;
}

void procfs_prepare(struct stage *s) {
    bool whole = stage_has_later(s, PLAN_SYSCTL);
    bool needed = whole || stage_has_later(s, PLAN_APPARMOR) || stage_has_later(s, PLAN_SELINUX);
    if (!needed || stage_has_later(s, PLAN_JOIN_PID))
        return;
    procfs_open(s, whole);
}

void procfs_leave_to(struct stage *s, int old_root) {
    if (!s->procfs_detached)
        return;
    /* Not on the root itself: umount2 would find this mount there, and leave the root. */
    cleanup_close int place = kernel_openat2(old_root, "proc", O_PATH | O_DIRECTORY | O_CLOEXEC, 0,
                                             RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    if (place >= 0)
        kernel_move_mount(s->procfs_fd, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    s->procfs_detached = false;
}

void procfs_close(struct stage *s) {
    if (s->procfs_fd >= 0)
        close(s->procfs_fd);
    s->procfs_fd = -1;
    s->procfs_detached = false;
}

int procfs_file(struct stage *s, bool whole, const char *path, uint64_t flags) {
    int fd = kernel_openat2(procfs_open(s, whole), path, flags | O_CLOEXEC, 0,
                            RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);
    return fd < 0 ? -errno : fd;
}
