/* Steps with which the launcher makes its child and sets it up from outside. */
#include "kernel.h"
#include "step.h"
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

static bool only_score_follows(const struct stage *s) {
    const unsigned char *at = s->plan->lists[PLAN_LIST_PARENT];
    for (uint32_t i = 0; i < s->plan->counts[PLAN_LIST_PARENT]; i++) {
        struct plan_step step = plan_step_at(at);
        at = step.end;
        if (i > s->index && step.kind != PLAN_OOM_SCORE_ADJ)
            return false;
    }
    return true;
}

static bool is_in_cgroup(struct stage *s, uint32_t slot) {
    struct stat st;
    return slot == PLAN_NO_SLOT || (s->cgroup_inode != 0 && fstat(stage_slot(s, slot), &st) == 0 &&
                                    st.st_dev == s->cgroup_device && st.st_ino == s->cgroup_inode);
}

/* The child of an exec into a pid namespace forks there anyway, and nobody else needs a launcher meanwhile:
 * then the launcher is that child, and one process less is made. */
static bool may_go_on(struct stage *s, uint64_t flags, uint32_t cgroup) {
    return flags == 0 && plan_has(s->plan, PLAN_LIST_CHILD, PLAN_JOIN_PID, 0) &&
           !plan_has(s->plan, PLAN_LIST_CHILD, PLAN_EXEC_FIFO, 0) && only_score_follows(s) &&
           is_in_cgroup(s, cgroup);
}

void step_clone(struct stage *s, struct plan_values *v) {
    uint64_t flags = plan_u64(v);
    uint32_t cgroup = plan_u32(v);
    int sync[2], pidfd = -1;
    if (may_go_on(s, flags, cgroup)) {
        mask_prepare(s);
        s->child = getpid();
        s->goes_on = true;
        return;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sync) < 0)
        step_fail(s, "socketpair", NULL);
    struct clone_args args = {.flags = flags | CLONE_PARENT | CLONE_PIDFD, .pidfd = (uintptr_t)&pidfd};
    if (cgroup != PLAN_NO_SLOT) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)stage_slot(s, cgroup);
    }
    s->new_user_namespace = flags & CLONE_NEWUSER;
    mask_prepare(s);
    pid_t pid = kernel_clone3(&args);
    if (pid < 0)
        step_fail(s, "clone3", NULL);
    if (pid == 0) {
        close(sync[0]);
        stage_run_child(s, sync[1]);
    }
    close(sync[1]);
    s->child = pid;
    s->child_pidfd = pidfd;
    s->sync_fd = sync[0];
    report_pid(s->report_fd, pid);
}

void step_sync(struct stage *s, struct plan_values *v) {
    uint32_t token = plan_u32(v), theirs;
    ssize_t n = -1;
    if (send(s->sync_fd, &token, sizeof token, MSG_NOSIGNAL) == sizeof token)
        do
            n = read(s->sync_fd, &theirs, sizeof theirs);
        while (n < 0 && errno == EINTR);
    if (n != sizeof theirs) {
        /* The other side is dead and has said why, unless it was killed. */
        if (s->child_pidfd >= 0)
            kernel_pidfd_kill(s->child_pidfd);
        _exit(1);
    }
    if (theirs != token)
        step_fail_with(s, EPROTO, "sync", NULL);
    if (s->list == PLAN_LIST_CHILD) {
        prctl(PR_SET_DUMPABLE, 0);
        ns_become_root(s);
    }
}

const char *ns_proc_path(pid_t pid, const char *name) {
    static char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return path;
}

/* 0 or -errno. */
static int write_file(const char *path, const char *text) {
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return -errno;
    return 0;
}

void ns_write_maps(struct stage *s, pid_t pid, const char *uid_map, const char *gid_map,
                   bool deny_setgroups) {
    int error = deny_setgroups ? write_file(ns_proc_path(pid, "setgroups"), "deny") : 0;
    if (error < 0)
        step_fail_with(s, error, "write", "setgroups");
    error = uid_map[0] ? write_file(ns_proc_path(pid, "uid_map"), uid_map) : 0;
    if (error < 0)
        step_fail_with(s, error, "write", "uid_map");
    error = gid_map[0] ? write_file(ns_proc_path(pid, "gid_map"), gid_map) : 0;
    if (error < 0)
        step_fail_with(s, error, "write", "gid_map");
}

void step_id_map(struct stage *s, struct plan_values *v) {
    const char *uid_map = plan_str(v), *gid_map = plan_str(v);
    ns_write_maps(s, s->child, uid_map, gid_map, plan_u32(v) != 0);
}

static bool is_namespace(const char *name) {
    static const char *const names[] = {"net", "ipc", "uts", "user", "cgroup", "time", "pid", "mnt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

void step_pin_namespace(struct stage *s, struct plan_values *v) {
    const char *name = plan_str(v), *path = plan_str(v);
    char file[16];
    if (!is_namespace(name))
        step_fail_with(s, EINVAL, "open", name);
    snprintf(file, sizeof file, "ns/%s", name);
    cleanup_close int made = open(path, O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
    if (made < 0)
        step_fail(s, "open", path);
    cleanup_close int mount =
        kernel_open_tree(AT_FDCWD, ns_proc_path(s->child, file), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (mount >= 0 && kernel_move_mount(mount, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) == 0)
        return;
    int error = errno;
    unlink(path);
    step_fail_with(s, error, mount < 0 ? "open_tree" : "move_mount", path);
}

void step_oom_score_adj(struct stage *s, struct plan_values *v) {
    char value[16];
    snprintf(value, sizeof value, "%d", (int)plan_u32(v));
    int error = write_file(ns_proc_path(s->child, "oom_score_adj"), value);
    /* Below its own minimum only with CAP_SYS_RESOURCE. The child keeps what it inherited from us. */
    if (error == -EACCES || error == -EPERM)
        report_log(s->report_fd, 2,
                   "oom_score_adj cannot be lowered here: the process keeps that of its launcher");
    else if (error < 0)
        step_fail_with(s, error, "write", "oom_score_adj");
}

void step_user_namespace(struct stage *s, struct plan_values *v) {
    uint32_t out = plan_u32(v);
    const char *uid_map = plan_str(v), *gid_map = plan_str(v);
    struct clone_args args = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    pid_t launcher = getpid();
    pid_t pid = kernel_clone3(&args);
    if (pid < 0)
        step_fail(s, "clone3", NULL);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != launcher) /* died before the call above */
            _exit(1);
        for (;;)
            pause();
    }
    ns_write_maps(s, pid, uid_map, gid_map, false);
    int fd = open(ns_proc_path(pid, "ns/user"), O_RDONLY | O_CLOEXEC);
    int error = errno;
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (fd < 0)
        step_fail_with(s, error, "open", "/proc/PID/ns/user");
    stage_fill(s, out, fd);
}
