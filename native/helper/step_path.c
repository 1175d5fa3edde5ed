/* Steps that make directories, links, devices and files inside a root (path.h). */
#include "kernel.h"
#include "path.h"
#include "step.h"
#include <sys/sysmacros.h>

/* The root of a slot; NO_SLOT is the host's (after PIVOT_ROOT: the container's) "/", opened into *own. */
int step_root(struct stage *s, uint32_t slot, int *own) {
    if (slot != PLAN_NO_SLOT)
        return stage_slot(s, slot);
    *own = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*own < 0)
        step_fail(s, "open", "/");
    return *own;
}

void step_mkdir(struct stage *s, struct plan_values *v) {
    cleanup_close int own = -1;
    int root = step_root(s, plan_u32(v), &own);
    const char *path = plan_str(v);
    struct path_owner owner = {.mode = plan_u32(v)};
    owner.uid = plan_u32(v);
    owner.gid = plan_u32(v);
    cleanup_close int fd = path_make_dir(root, path, &owner);
    if (fd < 0)
        step_fail_with(s, fd, "mkdir", path);
}

/* Where a name is to be made: its directory, with parents. */
static int open_parent(struct stage *s, int root, const char *path, char name[NAME_MAX + 1], int *own) {
    int dir = path_parent(root, path, true, name, own);
    if (dir < 0)
        step_fail_with(s, dir, "mkdir", path);
    return dir;
}

void step_symlink(struct stage *s, struct plan_values *v) {
    cleanup_close int own = -1;
    int root = step_root(s, plan_u32(v), &own);
    const char *path = plan_str(v), *target = plan_str(v);
    char name[NAME_MAX + 1];
    cleanup_close int parent = -1;
    int dir = open_parent(s, root, path, name, &parent);
    if (symlinkat(target, dir, name) == 0)
        return;
    if (errno != EEXIST || unlinkat(dir, name, 0) < 0 || symlinkat(target, dir, name) < 0)
        step_fail(s, "symlink", path);
}

void step_make_device(struct stage *s, struct plan_values *v) {
    cleanup_close int own = -1;
    int root = step_root(s, plan_u32(v), &own);
    const char *path = plan_str(v);
    mode_t mode = plan_u32(v);
    uint32_t major = plan_u32(v), minor = plan_u32(v), uid = plan_u32(v), gid = plan_u32(v);
    if (!S_ISCHR(mode) && !S_ISBLK(mode) && !S_ISFIFO(mode))
        step_fail_with(s, EINVAL, "mknod", path);
    char name[NAME_MAX + 1];
    cleanup_close int parent = -1;
    int dir = open_parent(s, root, path, name, &parent);
    int made = mknodat(dir, name, mode, makedev(major, minor));
    if (made < 0 && errno == EEXIST && unlinkat(dir, name, 0) == 0)
        made = mknodat(dir, name, mode, makedev(major, minor));
    if (made < 0)
        step_fail(s, "mknod", path);
    if ((uid != 0 || gid != 0) && fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
        step_fail(s, "chown", path);
}

void step_file(struct stage *s, struct plan_values *v) {
    cleanup_close int own = -1;
    int root = step_root(s, plan_u32(v), &own);
    const char *path = plan_str(v);
    mode_t mode = plan_u32(v);
    uint32_t uid = plan_u32(v), gid = plan_u32(v), len;
    const unsigned char *content = plan_bytes(v, &len);
    char name[NAME_MAX + 1];
    cleanup_close int parent = -1;
    int dir = open_parent(s, root, path, name, &parent);
    /* Never written through: whatever has the name is unlinked, be it a link, a device or somebody's hard
     * link. */
    if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
        step_fail(s, "unlink", path);
    cleanup_close int fd =
        openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 07777);
    if (fd < 0)
        step_fail(s, "open", path);
    for (size_t done = 0; done < len;) {
        ssize_t n = write(fd, content + done, len - done);
        if (n < 0)
            step_fail(s, "write", path);
        done += (size_t)n;
    }
    if ((uid != 0 || gid != 0) && fchown(fd, uid, gid) < 0)
        step_fail(s, "chown", path);
    if ((mode & 07000) && fchmod(fd, mode & 07777) < 0) /* chown clears set-id bits */
        step_fail(s, "chmod", path);
}

void step_chown(struct stage *s, struct plan_values *v) {
    const char *path = plan_str(v);
    uid_t uid = plan_u32(v);
    gid_t gid = plan_u32(v);
    if (fchownat(AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
        step_fail(s, "chown", path);
}
