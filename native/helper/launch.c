/* The interpreter: runs the steps of a list one after the other, in the launcher and in its child. */
#include "launch.h"
#include "kernel.h"
#include "step.h"
#include <sys/prctl.h>

static step_function *const steps[] = {
    [PLAN_OPEN] = step_open,
    [PLAN_WRITE] = step_write,
    [PLAN_CLOSE] = step_close,
    [PLAN_OPEN_TREE] = step_open_tree,
    [PLAN_OPEN_TREE_IN] = step_open_tree_in,
    [PLAN_FS_MOUNT] = step_fs_mount,
    [PLAN_OVERLAY] = step_overlay,
    [PLAN_MOUNT_SETATTR] = step_mount_setattr,
    [PLAN_MOVE_MOUNT] = step_move_mount,
    [PLAN_UNMOUNT] = step_unmount,
    [PLAN_MKDIR] = step_mkdir,
    [PLAN_SYMLINK] = step_symlink,
    [PLAN_MAKE_DEVICE] = step_make_device,
    [PLAN_FILE] = step_file,
    [PLAN_IDMAPPED_OVERLAY] = step_idmapped_overlay,
    [PLAN_SUB_TREE] = step_sub_tree,
    [PLAN_CLONE] = step_clone,
    [PLAN_ID_MAP] = step_id_map,
    [PLAN_SYNC] = step_sync,
    [PLAN_PIN_NAMESPACE] = step_pin_namespace,
    [PLAN_OOM_SCORE_ADJ] = step_oom_score_adj,
    [PLAN_OPEN_PID] = step_open_pid,
    [PLAN_USER_NAMESPACE] = step_user_namespace,
    [PLAN_STDIO_OWNER] = step_stdio_owner,
    [PLAN_CHOWN] = step_chown,
    [PLAN_UNSHARE] = step_unshare,
    [PLAN_JOIN] = step_join,
    [PLAN_JOIN_PID] = step_join_pid,
    [PLAN_PROPAGATION] = step_propagation,
    [PLAN_PIVOT_ROOT] = step_pivot_root,
    [PLAN_HOSTNAME] = step_hostname,
    [PLAN_DOMAINNAME] = step_domainname,
    [PLAN_SYSCTL] = step_sysctl,
    [PLAN_MASK] = step_mask,
    [PLAN_READ_ONLY] = step_read_only,
    [PLAN_COPY_UP] = step_copy_up,
    [PLAN_LINK_VETH] = step_link_veth,
    [PLAN_LINK_BRIDGE] = step_link_bridge,
    [PLAN_LINK_SET] = step_link_set,
    [PLAN_LINK_DELETE] = step_link_delete,
    [PLAN_ADDRESS] = step_address,
    [PLAN_ROUTE] = step_route,
    [PLAN_SETSID] = step_setsid,
    [PLAN_KEYRING] = step_keyring,
    [PLAN_RLIMIT] = step_rlimit,
    [PLAN_CAP_BOUNDING] = step_cap_bounding,
    [PLAN_USER] = step_user,
    [PLAN_CAPABILITIES] = step_capabilities,
    [PLAN_NO_NEW_PRIVS] = step_no_new_privs,
    [PLAN_SECCOMP] = step_seccomp,
    [PLAN_APPARMOR] = step_apparmor,
    [PLAN_SELINUX] = step_selinux,
    [PLAN_CHDIR] = step_chdir,
    [PLAN_STDIO] = step_stdio,
    [PLAN_CONSOLE] = step_console,
    [PLAN_EXEC_FIFO] = step_exec_fifo,
    [PLAN_EXEC] = step_exec,
    [PLAN_PAUSE] = step_pause,
    [PLAN_PARENT_DEATH_SIGNAL] = step_parent_death_signal,
};

/* Both sides of CLONE share one set of values; each has its own copy of the memory. */
static struct plan_view view;
static struct stage stage;

_Noreturn static void run_list(struct stage *s) {
    const unsigned char *at = s->plan->lists[s->list];
    for (s->index = 0; s->index < s->plan->counts[s->list]; s->index++) {
        struct plan_step step = plan_step_at(at);
        at = step.end;
        s->kind = step.kind;
        s->flags = step.flags;
        steps[step.kind](s, &(struct plan_values){step.payload});
    }
    if (s->goes_on)
        stage_run_child(s, -1);
    if (s->list == PLAN_LIST_CHILD)
        stage_await_launcher(s);
    else if (s->sync_fd >= 0)
        (void)!write(s->sync_fd, &(uint32_t){LAUNCHER_DONE}, sizeof(uint32_t));
    _exit(0);
}

/* Called by step_clone in the new process; never returns to the launcher's list. */
void stage_run_child(struct stage *s, int sync_fd) {
    s->list = PLAN_LIST_CHILD;
    s->sync_fd = sync_fd;
    s->child = 0;
    s->child_pidfd = -1;
    s->goes_on = false;
    run_list(s);
}

void step_fail_with(struct stage *s, int error, const char *syscall, const char *detail) {
    struct report r = {.list = s->list,
                       .index = s->index,
                       .kind = s->kind,
                       .errnum = (uint32_t)(error < 0 ? -error : error)};
    if (s->list == PLAN_LIST_CHILD && s->forked_on)
        stage_await_launcher(s);
    strncpy(r.syscall, syscall, sizeof r.syscall - 1);
    strncpy(r.text, detail ? detail : "", sizeof r.text - 1);
    report_error(s->report_fd, &r);
    if (s->child_pidfd >= 0)
        kernel_pidfd_kill(s->child_pidfd);
    _exit(1);
}

void step_fail(struct stage *s, const char *syscall, const char *detail) {
    step_fail_with(s, errno, syscall, detail);
}

int stage_slot(struct stage *s, uint32_t slot) {
    if (slot == PLAN_NO_SLOT || s->slots[slot] < 0)
        step_fail_with(s, EBADF, "slot", "the descriptor was not opened by an earlier step");
    return s->slots[slot];
}

int stage_dir(struct stage *s, uint32_t slot) {
    return slot == PLAN_NO_SLOT ? AT_FDCWD : stage_slot(s, slot);
}

void stage_fill(struct stage *s, uint32_t slot, int fd) {
    if (slot == PLAN_NO_SLOT)
        step_fail_with(s, EBADF, "slot", "the step has no slot for its result");
    if (s->slots[slot] > 2)
        close(s->slots[slot]);
    s->slots[slot] = fd;
}

bool stage_has_later(const struct stage *s, uint32_t kind) {
    return plan_has(s->plan, PLAN_LIST_CHILD, kind, s->list == PLAN_LIST_CHILD ? s->index : 0);
}

/* Closes everything above 2 that is not in the list. */
static void close_all_but(int *keep, size_t count) {
    for (size_t i = 1; i < count; i++)
        for (size_t j = i; j > 0 && keep[j - 1] > keep[j]; j--) {
            int swap = keep[j];
            keep[j] = keep[j - 1];
            keep[j - 1] = swap;
        }
    int from = 3;
    for (size_t i = 0; i < count; i++) {
        if (keep[i] > from)
            kernel_close_range((unsigned)from, (unsigned)keep[i] - 1, 0);
        if (keep[i] >= from)
            from = keep[i] + 1;
    }
    kernel_close_range((unsigned)from, ~0u, 0);
}

void stage_close_all_but(struct stage *s, const uint32_t *slots, uint32_t count) {
    int keep[PLAN_MAX_SLOTS + 6], kept[PLAN_MAX_SLOTS];
    memset(kept, -1, sizeof kept);
    size_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        keep[n++] = kept[slots[i]] = s->slots[slots[i]];
    memcpy(s->slots, kept, sizeof kept);
    keep[n++] = s->report_fd;
    keep[n++] = s->sync_fd;
    keep[n++] = s->procfs_fd;
    keep[n++] = s->null_mount;
    keep[n++] = s->empty_mount;
    close_all_but(keep, n);
}

void stage_await_launcher(struct stage *s) {
    if (s->sync_fd < 0)
        return;
    uint32_t token = 0;
    ssize_t n;
    do
        n = read(s->sync_fd, &token, sizeof token);
    while (n < 0 && errno == EINTR);
    if (n != sizeof token || token != LAUNCHER_DONE)
        _exit(1); /* it has reported why */
    close(s->sync_fd);
    s->sync_fd = -1;
}

/* Nothing that a step opens may become descriptor 0, 1 or 2. */
static void fill_standard_descriptors(void) {
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
            return;
}

void launch_init(struct launch *l) {
    *l = (struct launch){.report_fd = -1};
    memset(l->slots, -1, sizeof l->slots);
}

static int check(struct launch *l) {
    int error = plan_check(l->plan, l->plan_len, &view);
    if (error < 0)
        report_refused(l->report_fd, &view, error);
    return error;
}

/* The plan is checked. */
_Noreturn static void run(const struct launch *l) {
    /* Until execve nobody may trace us or follow /proc/PID/{fd,exe,cwd,root}: we enter namespaces of others.
     * An unprivileged launcher could not write its child's maps then; step_sync makes up for it. */
    if (geteuid() == 0)
        prctl(PR_SET_DUMPABLE, 0);
    signal(SIGPIPE, SIG_IGN); /* until execve: a report nobody reads is no failure */
    fill_standard_descriptors();
    struct stage *s = &stage;
    *s = (struct stage){.plan = &view,
                        .list = PLAN_LIST_PARENT,
                        .report_fd = l->report_fd,
                        .sync_fd = -1,
                        .child_pidfd = -1,
                        .procfs_fd = -1,
                        .null_mount = -1,
                        .empty_mount = -1,
                        .cgroup_device = l->cgroup_device,
                        .cgroup_inode = l->cgroup_inode};
    memcpy(s->slots, l->slots, sizeof s->slots);
    s->umask = umask(0);
    int keep[PLAN_MAX_SLOTS + 1];
    memcpy(keep, l->slots, sizeof l->slots);
    keep[PLAN_MAX_SLOTS] = l->report_fd;
    close_all_but(keep, PLAN_MAX_SLOTS + 1);
    run_list(s);
}

pid_t launch_start(struct launch *l, void (*prepare)(void)) {
    int error = check(l);
    if (error < 0)
        return error;
    pid_t pid = fork();
    if (pid == 0) {
        prepare();
        run(l);
    }
    return pid < 0 ? -errno : pid;
}

void launch_run(struct launch *l) {
    if (check(l) < 0)
        _exit(1);
    run(l);
}
