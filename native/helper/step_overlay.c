/* The rootfs: an overlay as a detached mount, which the host's mount table never holds. */
#include "step_overlay.h"
#include "kernel.h"
#include "step.h"
#include <sched.h>
#include <stdio.h>

/* fsconfig takes 255 bytes per value before 6.7's lowerdir+. */
#define FSCONFIG_VALUE_MAX 255

/* One lowerdir+ per layer: 0, or -EINVAL where the kernel does not know it. */
static int add_layers(int fs, const struct overlay *o) {
    struct plan_values v = o->lower;
    for (uint32_t left = plan_u32(&v); left > 0; left--)
        if (kernel_fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir+", plan_str(&v), 0) < 0)
            return -errno;
    return 0;
}

static int add_writable(int fs, const struct overlay *o) {
    if (o->upper[0] == 0)
        return 0;
    if (kernel_fsconfig(fs, FSCONFIG_SET_STRING, "upperdir", o->upper, 0) < 0 ||
        kernel_fsconfig(fs, FSCONFIG_SET_STRING, "workdir", o->work, 0) < 0)
        return -errno;
    return 0;
}

static int add_options(int fs, const struct overlay *o) {
    struct plan_values v = o->options;
    for (uint32_t left = plan_u32(&v); left > 0; left--) {
        int error = mount_option(fs, plan_str(&v));
        if (error < 0)
            return error;
    }
    return 0;
}

/* "a:b:c" into out; false if it does not fit. */
static bool join_layers(const struct overlay *o, char *out, size_t size) {
    struct plan_values v = o->lower;
    size_t at = 0;
    for (uint32_t left = plan_u32(&v); left > 0; left--) {
        int n = snprintf(out + at, size - at, "%s%s", plan_str(&v), left > 1 ? ":" : "");
        if (n < 0 || (size_t)n >= size - at)
            return false;
        at += (size_t)n;
    }
    return true;
}

static int finish(struct stage *s, int fs, const struct overlay *o, const char **call) {
    int error = add_writable(fs, o);
    if (error == 0)
        error = add_options(fs, o);
    if (error == 0 && kernel_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        error = -errno;
    if (error < 0) {
        *call = "fsconfig";
        mount_log_kernel(s, fs);
        return error;
    }
    *call = "fsmount";
    int mount = kernel_fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)o->attributes);
    return mount < 0 ? -errno : mount;
}

int overlay_new_api(struct stage *s, const struct overlay *o, const char **call) {
    *call = "fsopen";
    cleanup_close int fs = kernel_fsopen("overlay", FSOPEN_CLOEXEC);
    if (fs < 0)
        return -errno;
    /* The name that is seen as the mount's source; a kernel without it is no reason to fail. */
    kernel_fsconfig(fs, FSCONFIG_SET_STRING, "source", "overlay", 0);
    int error = add_layers(fs, o);
    *call = "fsconfig";
    if (error == 0)
        return finish(s, fs, o, call);
    if (error != -EINVAL)
        return error;
    char layers[FSCONFIG_VALUE_MAX + 1];
    if (!join_layers(o, layers, sizeof layers))
        return -E2BIG;
    if (kernel_fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir", layers, 0) < 0)
        return -errno;
    return finish(s, fs, o, call);
}

/* All of mount(2)'s data, one page. */
static int join_data(const struct overlay *o, char *data, size_t size) {
    size_t at = (size_t)snprintf(data, size, "lowerdir=");
    if (!join_layers(o, data + at, size - at))
        return -E2BIG;
    at = strlen(data);
    int n = o->upper[0] ? snprintf(data + at, size - at, ",upperdir=%s,workdir=%s", o->upper, o->work) : 0;
    struct plan_values v = o->options;
    for (uint32_t left = plan_u32(&v); left > 0 && n >= 0 && (size_t)n < size - at; left--) {
        at += (size_t)n;
        n = snprintf(data + at, size - at, ",%s", plan_str(&v));
    }
    return n < 0 || (size_t)n >= size - at ? -E2BIG : 0;
}

/* In a private mount namespace: mounted over the layers directory, then cloned from there. */
static int mount_and_clone(const struct overlay *o, const char **call) {
    char data[4096];
    int error = join_data(o, data, sizeof data);
    if (error < 0)
        return error;
    *call = "mount";
    if (mount("overlay", o->layers, "overlay", 0, data) < 0)
        return -errno;
    *call = "open_tree";
    int fd = kernel_open_tree(AT_FDCWD, o->layers, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    struct mount_attr attr = {.attr_set = o->attributes};
    if (fd < 0)
        return -errno;
    *call = "mount_setattr";
    if (o->attributes != 0 && kernel_mount_setattr(fd, "", AT_EMPTY_PATH, &attr) < 0) {
        error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

/* A mount namespace of our own for a while: nothing that is attached in it is seen elsewhere. */
struct excursion {
    int home, root;
};

static int excursion_begin(struct excursion *e, const char **call) {
    *call = "unshare";
    e->home = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    e->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (e->home < 0 || e->root < 0 || unshare(CLONE_NEWNS) < 0)
        return -errno;
    *call = "mount";
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ? -errno : 0;
}

static int excursion_end(struct excursion *e, const char *layers) {
    cleanup_close int home = e->home, root = e->root;
    if (setns(home, CLONE_NEWNS) < 0 || fchdir(root) < 0 || chroot(".") < 0 || chdir(layers) < 0)
        return -errno;
    return 0;
}

/* Home again with the overlay, or with why there is none. */
static int bring_home(struct excursion *e, const struct overlay *o, int fd, const char **call) {
    int error = excursion_end(e, o->layers);
    if (error == 0)
        return fd;
    *call = "setns";
    if (fd >= 0)
        close(fd);
    return error;
}

int overlay_mount(const struct overlay *o, const char **call) {
    struct excursion away;
    int error = excursion_begin(&away, call);
    if (error < 0)
        return error;
    return bring_home(&away, o, mount_and_clone(o, call), call);
}

/* A detached copy of what lies at the path, seen through the maps of the user namespace; or -errno. */
static int open_idmapped(const char *path, int user_namespace, const char **call) {
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)user_namespace};
    *call = "open_tree";
    int fd = kernel_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (fd < 0)
        return -errno;
    *call = "mount_setattr";
    if (kernel_mount_setattr(fd, "", AT_EMPTY_PATH, &attr) == 0)
        return fd;
    int error = -errno;
    close(fd);
    return error;
}

/* The root of an overlay has the owner of its upper directory, which is not seen through maps: the container
 * writes there with the ids that it has on the host. */
static int own_upper(const struct overlay *o, int user_namespace, const char **call) {
    if (o->upper[0] == 0)
        return 0;
    cleanup_close int seen = open_idmapped(o->upper, user_namespace, call);
    struct stat st;
    if (seen < 0)
        return seen;
    *call = "chown";
    if (fstat(seen, &st) < 0 || fchownat(AT_FDCWD, o->upper, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    return 0;
}

/* In a private mount namespace: the idmapped layers lie on the layers directory while the overlay is made,
 * which keeps copies of their mounts. Overlayfs takes detached ones by descriptor only since 6.15. */
static int mount_over_idmapped(struct stage *s, const struct overlay *o, int layers, const char **call) {
    *call = "move_mount";
    if (kernel_move_mount(layers, "", AT_FDCWD, o->layers, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return -errno;
    *call = "chdir";
    if (chdir(o->layers) < 0)
        return -errno;
    int fd = overlay_new_api(s, o, call);
    return fd == -E2BIG ? mount_and_clone(o, call) : fd;
}

static int overlay_idmapped(struct stage *s, const struct overlay *o, int user_namespace, const char **call) {
    int error = own_upper(o, user_namespace, call);
    if (error < 0)
        return error;
    cleanup_close int layers = open_idmapped(o->layers, user_namespace, call);
    if (layers < 0)
        return layers;
    struct excursion away;
    error = excursion_begin(&away, call);
    if (error < 0)
        return error;
    return bring_home(&away, o, mount_over_idmapped(s, o, layers, call), call);
}

static struct overlay read_overlay(struct plan_values *v) {
    struct overlay o = {.layers = plan_str(v), .lower = *v};
    for (uint32_t left = plan_u32(v); left > 0; left--)
        plan_str(v);
    o.upper = plan_str(v);
    o.work = plan_str(v);
    o.options = *v;
    for (uint32_t left = plan_u32(v); left > 0; left--)
        plan_str(v);
    o.attributes = plan_u64(v);
    return o;
}

/* The names of the layers are relative to their directory. */
static int enter_layers(struct stage *s, const struct overlay *o) {
    int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (cwd < 0 || chdir(o->layers) < 0)
        step_fail(s, "chdir", o->layers);
    return cwd;
}

static void keep(struct stage *s, const struct overlay *o, uint32_t out, int fd, const char *call) {
    if (fd < 0)
        step_fail_with(s, fd, call, o->layers);
    stage_fill(s, out, fd);
}

void step_overlay(struct stage *s, struct plan_values *v) {
    uint32_t out = plan_u32(v);
    struct overlay o = read_overlay(v);
    cleanup_close int cwd = enter_layers(s, &o);
    const char *call;
    int fd = overlay_new_api(s, &o, &call);
    if (fd == -E2BIG)
        fd = overlay_mount(&o, &call);
    keep(s, &o, out, fd, call);
    if (fchdir(cwd) < 0)
        step_fail(s, "fchdir", NULL);
}

void step_idmapped_overlay(struct stage *s, struct plan_values *v) {
    uint32_t out = plan_u32(v);
    struct overlay o = read_overlay(v);
    int user_namespace = stage_slot(s, plan_u32(v));
    cleanup_close int cwd = enter_layers(s, &o);
    const char *call;
    int fd = overlay_idmapped(s, &o, user_namespace, &call);
    keep(s, &o, out, fd, call);
    if (fchdir(cwd) < 0)
        step_fail(s, "fchdir", NULL);
}
