/*
 * System calls and constants that one of the two libcs does not have (glibc 2.36, musl 1.2.3), and
 * scope-bound cleanup. The calls have names of ours, so that a libc that learns to wrap them is no conflict.
 */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/vfs.h>
#include <unistd.h>

/* glibc's <sys/mount.h> includes it itself, and bears it in no other order. */
#ifndef OPEN_TREE_CLONE
#include <linux/mount.h>
#endif
#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000
#endif
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#ifndef PROC_SUPER_MAGIC
#define PROC_SUPER_MAGIC 0x9fa0
#endif
#ifndef SYSFS_MAGIC
#define SYSFS_MAGIC 0x62656572
#endif
#ifndef DEVPTS_SUPER_MAGIC
#define DEVPTS_SUPER_MAGIC 0x1cd1
#endif

static inline void kernel_close(const int *fd) {
    if (*fd >= 0)
        close(*fd);
}

static inline void kernel_free(void *pointer) {
    free(*(void **)pointer);
}

#define cleanup_close __attribute__((cleanup(kernel_close)))
#define cleanup_free __attribute__((cleanup(kernel_free)))

static inline int kernel_openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
    return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}

static inline pid_t kernel_clone3(struct clone_args *args) {
    return (pid_t)syscall(SYS_clone3, args, sizeof *args);
}

static inline int kernel_pidfd_open(pid_t pid) {
    return (int)syscall(SYS_pidfd_open, pid, 0u);
}

static inline int kernel_pidfd_kill(int pidfd) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0u);
}

static inline int kernel_close_range(unsigned first, unsigned last, unsigned flags) {
    return (int)syscall(SYS_close_range, first, last, flags);
}

static inline int kernel_execveat(int dir, const char *path, char *const argv[], char *const envp[],
                                  int flags) {
    return (int)syscall(SYS_execveat, dir, path, argv, envp, flags);
}

static inline int kernel_open_tree(int dir, const char *path, unsigned flags) {
    return (int)syscall(SYS_open_tree, dir, path, flags);
}

static inline int kernel_move_mount(int from_dir, const char *from, int to_dir, const char *to,
                                    unsigned flags) {
    return (int)syscall(SYS_move_mount, from_dir, from, to_dir, to, flags);
}

static inline int kernel_mount_setattr(int dir, const char *path, unsigned flags, struct mount_attr *attr) {
    return (int)syscall(SYS_mount_setattr, dir, path, flags, attr, sizeof *attr);
}

static inline int kernel_fsopen(const char *type, unsigned flags) {
    return (int)syscall(SYS_fsopen, type, flags);
}

static inline int kernel_fsconfig(int fs, unsigned command, const char *key, const void *value, int number) {
    return (int)syscall(SYS_fsconfig, fs, command, key, value, number);
}

static inline int kernel_fsmount(int fs, unsigned flags, unsigned attributes) {
    return (int)syscall(SYS_fsmount, fs, flags, attributes);
}

/* The id of the mount that a descriptor is on, or -errno. */
static inline int64_t kernel_mount_id(int fd) {
    struct { /* struct statx: libcs end their declarations of it at different fields, or have none */
        uint32_t mask;
        uint8_t before[140];
        uint64_t mount_id;
        uint8_t after[104];
    } stx = {0};
    _Static_assert(sizeof stx == 256, "the size of struct statx");
    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) < 0)
        return -errno;
    return stx.mask & STATX_MNT_ID ? (int64_t)stx.mount_id : -ENOSYS;
}
