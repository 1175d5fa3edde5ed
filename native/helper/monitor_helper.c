/*
 * The launcher of an exec: a fork of ours that goes on in its role, or, where the daemon's helper is another
 * one than we are (an upgrade), that program.
 *
 * The fork has what an execve would have left it: signals, descriptors and the oom_score_adj are reset, it is
 * not dumpable as we are not, and what it has of our memory is the same container's input and output.
 */
#include "kernel.h"
#include "launch.h"
#include "monitor.h"
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static bool is_own_program(int program) {
    struct stat own, other;
    return stat("/proc/self/exe", &own) == 0 && fstat(program, &other) == 0 && own.st_dev == other.st_dev &&
           own.st_ino == other.st_ino;
}

/* ---- a fork of ours ---- */

_Noreturn static void go_on(const struct helper *helper, const struct stat *cgroup) {
    struct launch launch;
    monitor_child_reset();
    prctl(PR_SET_NAME, "podwright-init");
    launch_init(&launch);
    for (uint32_t fd = 0; fd < 3; fd++)
        launch.slots[fd] = helper->fds[fd];
    for (uint32_t i = 0; i < helper->passed; i++)
        launch.slots[PLAN_SLOT_PASSED + i] = helper->fds[LAUNCH_FD_PASSED + i];
    if (helper->has_console)
        launch.slots[PLAN_SLOT_CONSOLE] = helper->fds[LAUNCH_FD_PASSED + helper->passed];
    launch.report_fd = helper->fds[LAUNCH_FD_REPORT];
    launch.cgroup_device = cgroup->st_dev;
    launch.cgroup_inode = cgroup->st_ino;
    launch_run_file(&launch, helper->fds[LAUNCH_FD_PLAN]);
}

/* In the cgroup of the exec if that is one of the unified tree. */
static pid_t fork_helper(const struct helper *helper) {
    struct stat cgroup = {0};
    struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD};
    pid_t pid = -1;
    if (helper->cgroup >= 0 && fstat(helper->cgroup, &cgroup) == 0) {
        args.cgroup = (uint64_t)helper->cgroup;
        pid = kernel_clone3(&args);
    }
    if (pid < 0) {
        cgroup = (struct stat){0};
        pid = fork();
    }
    if (pid == 0)
        go_on(helper, &cgroup);
    return pid < 0 ? -errno : pid;
}

/* ---- another program ---- */

/*
 * The vfork child: it shares our memory, so it only makes system calls and returns errno through *error. The
 * sources are first copied above every target, so that no target overwrites a source.
 */
static _Noreturn void become_helper(const struct helper *helper, char *const argv[], volatile int *error) {
    static char *const environment[] = {NULL};
    int copies[HELPER_FDS_MAX];
    monitor_child_reset();
    int program = fcntl(helper->program, F_DUPFD_CLOEXEC, HELPER_FDS_MAX);
    bool ready = program >= 0;
    for (uint32_t i = 0; i < helper->fd_count && ready; i++)
        ready = (copies[i] = fcntl(helper->fds[i], F_DUPFD_CLOEXEC, HELPER_FDS_MAX)) >= 0;
    for (uint32_t i = 0; i < helper->fd_count && ready; i++)
        ready = dup2(copies[i], (int)i) >= 0;
    if (ready && kernel_close_range(helper->fd_count, HELPER_FDS_MAX - 1, 0) == 0)
        kernel_execveat(program, "", argv, environment, AT_EMPTY_PATH);
    *error = errno;
    _exit(127);
}

static pid_t spawn_helper(const struct helper *helper) {
    static char role[] = "podwright-init", verb[] = "exec";
    char passed[12], console[12];
    char *const argv[] = {role, verb, passed, helper->has_console ? console : NULL, NULL};
    volatile int error = 0;
    snprintf(passed, sizeof passed, "%u", helper->passed);
    snprintf(console, sizeof console, "%u", helper->fd_count - 1);
    pid_t pid = vfork();
    if (pid == 0)
        become_helper(helper, argv, &error);
    if (pid < 0)
        return -errno;
    if (error == 0)
        return pid;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return -error;
}

pid_t helper_start(const struct helper *helper) {
    return is_own_program(helper->program) ? fork_helper(helper) : spawn_helper(helper);
}
