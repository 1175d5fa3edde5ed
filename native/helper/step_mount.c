/* Steps that make, change, attach and detach mounts. */
#include "kernel.h"
#include "path.h"
#include "step.h"

int mount_option(int fs, const char *option) {
    const char *value = strchr(option, '=');
    char key[64];
    if (!value)
        return kernel_fsconfig(fs, FSCONFIG_SET_FLAG, option, NULL, 0) < 0 ? -errno : 0;
    size_t len = (size_t)(value - option);
    if (len >= sizeof key)
        return -EINVAL;
    memcpy(key, option, len);
    key[len] = 0;
    return kernel_fsconfig(fs, FSCONFIG_SET_STRING, key, value + 1, 0) < 0 ? -errno : 0;
}

/* The kernel's messages come one per read, as "e text", "w text" or "i text". */
void mount_log_kernel(struct stage *s, int fs) {
    char text[512];
    for (int i = 0; i < 8; i++) {
        ssize_t n = read(fs, text, sizeof text - 1);
        if (n <= 0)
            return;
        text[n] = 0;
        text[strcspn(text, "\n")] = 0;
        report_log(s->report_fd, 2, text);
    }
}

_Noreturn static void fail_context(struct stage *s, int fs, int error, const char *call, const char *detail) {
    mount_log_kernel(s, fs);
    step_fail_with(s, error, call, detail);
}

void step_fs_mount(struct stage *s, struct plan_values *v) {
    uint32_t out = plan_u32(v);
    const char *type = plan_str(v), *source = plan_str(v);
    cleanup_close int fs = kernel_fsopen(type, FSOPEN_CLOEXEC);
    if (fs < 0)
        step_fail(s, "fsopen", type);
    if (source[0] != 0 && kernel_fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) < 0)
        fail_context(s, fs, errno, "fsconfig", source);
    for (uint32_t left = plan_u32(v); left > 0; left--) {
        const char *option = plan_str(v);
        int error = mount_option(fs, option);
        if (error < 0)
            fail_context(s, fs, error, "fsconfig", option);
    }
    if (kernel_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        fail_context(s, fs, errno, "fsconfig", type);
    int mount = kernel_fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)plan_u64(v));
    if (mount < 0)
        fail_context(s, fs, errno, "fsmount", type);
    stage_fill(s, out, mount);
}

int mount_new(const char *type, const char *const *options, uint64_t attributes) {
    cleanup_close int fs = kernel_fsopen(type, FSOPEN_CLOEXEC);
    if (fs < 0)
        return -1;
    for (; *options; options++) {
        int error = mount_option(fs, *options);
        if (error < 0) {
            errno = -error;
            return -1;
        }
    }
    if (kernel_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -1;
    return kernel_fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)attributes);
}

void step_mount_setattr(struct stage *s, struct plan_values *v) {
    int mount = stage_slot(s, plan_u32(v));
    bool recursive = plan_u32(v) != 0;
    struct mount_attr attr = {.attr_set = plan_u64(v)};
    attr.attr_clr = plan_u64(v);
    attr.propagation = plan_u64(v);
    uint32_t namespace = plan_u32(v);
    if (namespace != PLAN_NO_SLOT) {
        attr.attr_set |= MOUNT_ATTR_IDMAP;
        attr.userns_fd = (uint64_t)stage_slot(s, namespace);
    }
    if (kernel_mount_setattr(mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr) < 0)
        step_fail(s, "mount_setattr", NULL);
}

/* A whole procfs or sysfs, whose root is inode 1: what later steps and the container's programs take for the
 * kernel's word. */
static bool is_kernel_root(int mount, const struct stat *st) {
    struct statfs fs;
    return st->st_ino == 1 && fstatfs(mount, &fs) == 0 &&
           (fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC);
}

/* MOVE_MOUNT's fourth way of making what is missing: what this mount fits on. */
#define CREATE_SAME 3u

void step_move_mount(struct stage *s, struct plan_values *v) {
    cleanup_close int own = -1;
    int mount = stage_slot(s, plan_u32(v)), root = step_root(s, plan_u32(v), &own);
    const char *path = plan_str(v);
    uint32_t create = plan_u32(v);
    struct stat st;
    if (fstat(mount, &st) < 0)
        st = (struct stat){0}; /* a volume that is out of reach is mounted all the same */
    if (create == CREATE_SAME)
        create = S_ISDIR(st.st_mode) ? PATH_CREATE_DIRECTORY : PATH_CREATE_FILE;
    /* An image whose /proc or /sys is a link gets no procfs somewhere else (class CVE-2023-28642). */
    uint64_t resolve = is_kernel_root(mount, &st) ? RESOLVE_NO_SYMLINKS : 0;
    cleanup_close int target = path_target(root, path, create, resolve);
    if (target < 0)
        step_fail_with(s, target, "openat2", path);
    int error = path_attach(mount, root, path, target, resolve);
    if (error < 0)
        step_fail_with(s, error, "move_mount", path);
}

/* By name in a directory that we hold: umount2 takes no descriptor. */
static int unmount_below(int root, const char *path, int flags) {
    char name[NAME_MAX + 1];
    cleanup_close int own = -1;
    int dir = path_parent(root, path, false, name, &own);
    cleanup_close int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return dir;
    if (cwd < 0 || fchdir(dir) < 0)
        return -errno;
    int error = umount2(name, flags | UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
    return fchdir(cwd) < 0 ? -errno : error;
}

void step_unmount(struct stage *s, struct plan_values *v) {
    uint32_t slot = plan_u32(v);
    const char *path = plan_str(v);
    int flags = (int)plan_u32(v), error;
    if (slot == PLAN_NO_SLOT)
        error = umount2(path, flags) < 0 ? -errno : 0;
    else
        error = unmount_below(stage_slot(s, slot), path, flags);
    if (error < 0)
        step_fail_with(s, error, "umount2", path);
}

void step_propagation(struct stage *s, struct plan_values *v) {
    const char *path = plan_str(v);
    if (mount(NULL, path, NULL, plan_u64(v), NULL) < 0)
        step_fail(s, "mount", path);
}

/* The old root is stacked on the new one at "/" and then detached; nothing of it may reach the host by
 * propagation. */
static void pivot(struct stage *s, int rootfs) {
    cleanup_close int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (old < 0 || fchdir(rootfs) < 0)
        step_fail(s, "fchdir", "/");
    if (syscall(SYS_pivot_root, ".", ".") < 0)
        step_fail(s, "pivot_root", NULL);
    if (fchdir(old) < 0)
        step_fail(s, "fchdir", "/");
    if (mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) < 0)
        step_fail(s, "mount", "the old root");
    procfs_leave_to(s, old);
    if (umount2(".", MNT_DETACH) < 0)
        step_fail(s, "umount2", "the old root");
}

/* A root that cannot be pivoted (initramfs): the new one goes on top of it. What the old one shows of the
 * kernel is hidden first, because a process that leaves its chroot would find it. */
static void move_root(struct stage *s, int rootfs) {
    static const char *const shown[] = {"/proc", "/sys"};
    static const char *const none[] = {NULL};
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
        if (umount2(shown[i], MNT_DETACH) == 0 || errno == ENOENT || errno == EINVAL)
            continue;
        cleanup_close int cover = mount_new("tmpfs", none, MOUNT_ATTR_RDONLY);
        if (cover < 0 || kernel_move_mount(cover, "", AT_FDCWD, shown[i], MOVE_MOUNT_F_EMPTY_PATH) < 0)
            step_fail(s, "umount2", shown[i]);
    }
    if (fchdir(rootfs) < 0)
        step_fail(s, "fchdir", "/");
    if (kernel_move_mount(rootfs, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        step_fail(s, "move_mount", "/");
    if (chroot(".") < 0)
        step_fail(s, "chroot", "/");
}

void step_pivot_root(struct stage *s, struct plan_values *v) {
    int rootfs = stage_slot(s, plan_u32(v));
    procfs_prepare(s);
    if (plan_u32(v) == 0)
        pivot(s, rootfs);
    else
        move_root(s, rootfs);
    if (chdir("/") < 0)
        step_fail(s, "chdir", "/");
}
