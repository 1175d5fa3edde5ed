/* Steps that open, write and close descriptors. */
#include "kernel.h"
#include "path.h"
#include "step.h"
#include <sched.h>

void step_open(struct stage *s, struct plan_values *v) {
    uint32_t out = plan_u32(v);
    int dir = stage_dir(s, plan_u32(v));
    const char *path = plan_str(v);
    uint64_t flags = plan_u64(v), mode = plan_u64(v), resolve = plan_u64(v);
    int fd = kernel_openat2(dir, path, flags | O_CLOEXEC, mode, resolve);
    if (fd < 0)
        step_fail(s, "openat2", path);
    stage_fill(s, out, fd);
}

void step_write(struct stage *s, struct plan_values *v) {
    int fd = stage_slot(s, plan_u32(v));
    uint32_t len;
    const unsigned char *bytes = plan_bytes(v, &len);
    ssize_t n = write(fd, bytes, len);
    if (n < 0)
        step_fail(s, "write", NULL);
    if ((size_t)n != len)
        step_fail_with(s, EIO, "write", "short write");
}

void step_close(struct stage *s, struct plan_values *v) {
    uint32_t slot = plan_u32(v);
    stage_slot(s, slot);
    stage_fill(s, slot, -1);
}

static int open_tree_at(int dir, const char *path, bool recursive) {
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0) |
                     (path[0] == 0 ? AT_EMPTY_PATH : 0);
    return kernel_open_tree(dir, path, flags);
}

void step_open_tree(struct stage *s, struct plan_values *v) {
    uint32_t out = plan_u32(v);
    int dir = stage_dir(s, plan_u32(v));
    const char *path = plan_str(v);
    int fd = open_tree_at(dir, path, plan_u32(v) != 0);
    if (fd < 0)
        step_fail(s, "open_tree", path);
    stage_fill(s, out, fd);
}

/* setns(CLONE_NEWNS) also moves root and working directory. */
static void return_home(struct stage *s, int home, int root, int cwd) {
    if (setns(home, CLONE_NEWNS) < 0)
        step_fail(s, "setns", "/proc/self/ns/mnt");
    if (fchdir(root) < 0 || chroot(".") < 0 || fchdir(cwd) < 0)
        step_fail(s, "chroot", "/");
}

void step_open_tree_in(struct stage *s, struct plan_values *v) {
    uint32_t out = plan_u32(v);
    int pidfd = stage_slot(s, plan_u32(v));
    const char *path = plan_str(v);
    cleanup_close int home = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    cleanup_close int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    cleanup_close int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (home < 0 || root < 0 || cwd < 0)
        step_fail(s, "open", "/proc/self/ns/mnt");
    if (setns(pidfd, CLONE_NEWNS) < 0)
        step_fail(s, "setns", path);
    cleanup_close int there = kernel_openat2(AT_FDCWD, path, O_PATH | O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS);
    int fd = there < 0 ? -1 : open_tree_at(there, "", false);
    int error = errno;
    return_home(s, home, root, cwd);
    if (fd < 0)
        step_fail_with(s, error, there < 0 ? "openat2" : "open_tree", path);
    stage_fill(s, out, fd);
}

/* In a mount namespace of our own, where the mount lies on the root: only what is attached can be copied in
 * part (before 6.15). */
static int copy_directory(int mount_fd, const char *path, const char **call) {
    *call = "unshare";
    if (unshare(CLONE_NEWNS) < 0)
        return -errno;
    *call = "move_mount";
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        kernel_move_mount(mount_fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return -errno;
    *call = "openat2";
    cleanup_close int there = path_open(mount_fd, path, O_PATH | O_DIRECTORY, 0);
    if (there < 0)
        return there;
    *call = "open_tree";
    int fd = open_tree_at(there, "", false);
    return fd < 0 ? -errno : fd;
}

void step_sub_tree(struct stage *s, struct plan_values *v) {
    uint32_t slot = plan_u32(v);
    int whole = stage_slot(s, slot);
    const char *path = plan_str(v), *call = NULL;
    cleanup_close int home = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    cleanup_close int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    cleanup_close int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (home < 0 || root < 0 || cwd < 0)
        step_fail(s, "open", "/proc/self/ns/mnt");
    int fd = copy_directory(whole, path, &call);
    return_home(s, home, root, cwd);
    if (fd < 0)
        step_fail_with(s, fd, call, path);
    stage_fill(s, slot, fd);
}

/* Field 22 of /proc/PID/stat, 0 if it cannot be read. The second field may contain anything, so it is counted
 * from the last parenthesis. */
static uint64_t start_time(uint32_t pid) {
    char path[32] = "/proc/", text[1024], digits[12];
    size_t n = 0, at = 6;
    for (; pid > 0 && n < sizeof digits; pid /= 10)
        digits[n++] = (char)('0' + pid % 10);
    while (n > 0)
        path[at++] = digits[--n];
    memcpy(path + at, "/stat", 6);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (len <= 0)
        return 0;
    text[len] = 0;
    char *field = strrchr(text, ')');
    for (int i = 2; field && i < 22; i++)
        field = strchr(field + 1, ' ');
    return field ? strtoull(field + 1, NULL, 10) : 0;
}

void step_open_pid(struct stage *s, struct plan_values *v) {
    uint32_t out = plan_u32(v), pid = plan_u32(v);
    uint64_t wanted = plan_u64(v);
    int fd = kernel_pidfd_open((pid_t)pid);
    if (fd < 0)
        step_fail(s, "pidfd_open", NULL);
    /* The descriptor first: whatever has this pid and that start time afterwards is what it refers to. */
    if (wanted != 0 && start_time(pid) != wanted)
        step_fail_with(s, ESRCH, "pidfd_open", "the pid belongs to another process now");
    stage_fill(s, out, fd);
}
