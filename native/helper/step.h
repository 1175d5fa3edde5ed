/*
 * The interpreter's state and its steps. A step either succeeds or ends the process with step_fail: launcher
 * and child live only for the launch, so nothing is unwound except what outlives them.
 */
#pragma once
#include "launch.h"
#include <sys/types.h>

/* The launcher's last word to its child; no SYNC has this token in practice, and order tells them apart
 * anyway. */
#define LAUNCHER_DONE 0xffffffffu

struct stage {
    const struct plan_view *plan;
    enum plan_list list;
    uint32_t index, kind, flags; /* the step that runs */
    int slots[PLAN_MAX_SLOTS];
    int report_fd;
    int sync_fd;         /* the other side of CLONE; -1 when it is done */
    pid_t child;         /* launcher only */
    bool goes_on;        /* after its list the launcher runs the child's: step_clone */
    bool forked_on;      /* ns_fork_on; sync_fd tells when our pid is reported */
    dev_t cgroup_device; /* launch.h */
    ino_t cgroup_inode;
    int child_pidfd;
    int procfs_fd; /* procfs.c */
    bool procfs_whole;
    bool procfs_detached;        /* it is a mount of ours that is attached nowhere yet */
    int null_mount, empty_mount; /* step_mask.c: what files and directories are masked with */
    bool null_attached, empty_attached;
    mode_t umask; /* what the command will have; ours is 0 meanwhile */
    bool new_user_namespace;
    char **argv, **environment; /* set once EXEC is prepared */
};

/* Reports errno at the running step and ends: the launcher kills the child, the child's end ends the
 * launcher. */
_Noreturn void step_fail(struct stage *s, const char *syscall, const char *detail);
/* The same with an error number of its own (positive or negative). */
_Noreturn void step_fail_with(struct stage *s, int error, const char *syscall, const char *detail);
/* The descriptor in a slot; an empty one fails the step with EBADF. */
int stage_slot(struct stage *s, uint32_t slot);
/* NO_SLOT is AT_FDCWD. */
int stage_dir(struct stage *s, uint32_t slot);
/* Fills a slot; what was in it is closed. */
void stage_fill(struct stage *s, uint32_t slot, int fd);
/* Closes every descriptor but 0-2, the report pipe, the sync socket, the procfs handle and these slots. */
void stage_close_all_but(struct stage *s, const uint32_t *slots, uint32_t count);
/* Child: waits until the launcher has done its list, and our pid is reported; ends the process if it died
 * instead. */
void stage_await_launcher(struct stage *s);
/* In the process that CLONE made: runs the child list to its end. */
_Noreturn void stage_run_child(struct stage *s, int sync_fd);
/* Whether the child list has this kind at or after the running step. */
bool stage_has_later(const struct stage *s, uint32_t kind);

/* report.c */
void report_pid(int fd, pid_t pid);
void report_ready(int fd);
void report_error(int fd, const struct report *r);
void report_log(int fd, uint32_t level, const char *text);
/* A plan that plan_check refused. */
void report_refused(int fd, const struct plan_view *view, int error);

/* procfs.c */
/* A procfs of our own for the present pid namespace, with /sys if whole. Fails the step if there is none. */
int procfs_open(struct stage *s, bool whole);
/* Makes it now if a later step needs it, while the host's /proc is still visible. */
void procfs_prepare(struct stage *s);
/* Attaches it on a root that is detached next, with which its mount ends: the end of one that was attached
 * nowhere waits for a grace period of the kernel, in a start's way. Where it fails nothing but that is lost.
 */
void procfs_leave_to(struct stage *s, int old_root);
void procfs_close(struct stage *s);
/* Opens below the handle, never through a link or another mount. */
int procfs_file(struct stage *s, bool whole, const char *path, uint64_t flags);

/* step_path.c: the root of a slot; NO_SLOT is the present "/", opened into *own. */
int step_root(struct stage *s, uint32_t slot, int *own);

/* step_mount.c: fsconfig of "key" or "key=value". The key is cut out of the plan's string in place. 0 or
 * -errno. */
int mount_option(int fs, const char *option);
/* Logs what the kernel has to say about a file system context. */
void mount_log_kernel(struct stage *s, int fs);
/* A new detached file system; -1 and errno. */
int mount_new(const char *type, const char *const *options, uint64_t attributes);

typedef void step_function(struct stage *s, struct plan_values *v);

step_function step_open, step_write, step_close, step_open_tree, step_open_tree_in, step_open_pid;
step_function step_sub_tree;
step_function step_fs_mount, step_mount_setattr, step_move_mount, step_unmount, step_propagation,
    step_pivot_root;
step_function step_overlay, step_idmapped_overlay, step_copy_up, step_mask, step_read_only;
step_function step_mkdir, step_symlink, step_make_device, step_file, step_chown;
step_function step_clone, step_sync, step_id_map, step_pin_namespace, step_oom_score_adj, step_user_namespace;
step_function step_unshare, step_join, step_join_pid, step_hostname, step_domainname, step_sysctl;
step_function step_link_veth, step_link_bridge, step_link_set, step_link_delete, step_address, step_route;
step_function step_setsid, step_keyring, step_rlimit, step_chdir, step_stdio, step_stdio_owner, step_console,
    step_exec_fifo, step_exec;
step_function step_parent_death_signal, step_pause;
step_function step_cap_bounding, step_user, step_capabilities, step_no_new_privs, step_seccomp, step_apparmor,
    step_selinux;

/* step_ns.c */
/* In a new or joined user namespace: becomes its root once its maps are there. */
void ns_become_root(struct stage *s);
/* Goes on as a sibling in the pid namespace chosen for children; the present process ends. */
void ns_fork_on(struct stage *s);
/* /proc/PID/NAME, in a buffer that the next call overwrites. */
const char *ns_proc_path(pid_t pid, const char *name);
/* setgroups (deny if asked for), uid_map, gid_map. */
void ns_write_maps(struct stage *s, pid_t pid, const char *uid_map, const char *gid_map, bool deny_setgroups);

/* step_mask.c: opens what MASK steps need while the host's /dev is still there. */
void mask_prepare(struct stage *s);

/* step_process.c: everything of EXEC but execve itself, so that a filter need not allow it. */
void process_prepare_exec(struct stage *s);
/* Whether EXEC follows at once. */
bool process_exec_is_next(const struct stage *s);
/* The descriptors that EXEC hands on beyond 0-2; slots PASSED and following. */
uint32_t process_preserved(const struct stage *s);
