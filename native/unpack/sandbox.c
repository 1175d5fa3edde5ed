#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "report.h"

/* SYS_ADMIN is what trusted.* attributes need (overlayfs' opaque directories); the call list takes its other
 * powers. */
static const unsigned kept_capabilities[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER,   CAP_FSETID,
                                             CAP_MKNOD, CAP_SETFCAP,      CAP_SYS_ADMIN};

enum { ADDRESS_SPACE_LIMIT_MIB = 2048, LAST_CAPABILITY = 63 };

static void check(int code, const char *what) {
    if (code < 0)
        report_fail("confine", errno, "%s", what);
}

#ifdef UNPACK_SANITIZED
/* Leaks are looked for with ptrace, which does not go into a pid namespace. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "detect_leaks=0";
}
#endif

/* ---- namespaces and root ---- */

static int detached_directory(int directory) {
    int tree = open_tree(directory, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    check(tree, "open_tree of the target directory");
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC};
    check(mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes),
          "mount_setattr nodev,nosuid,noexec");
    return tree;
}

static int detached_empty(void) {
    int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
    check(fs, "fsopen tmpfs");
    check(fsconfig(fs, FSCONFIG_SET_STRING, "size", "4096", 0), "fsconfig tmpfs");
    check(fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "create a tmpfs");
    int tree = fsmount(fs, FSMOUNT_CLOEXEC,
                       MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    check(tree, "fsmount tmpfs");
    (void)close(fs);
    return tree;
}

/* Puts the detached mount in the place of the root and lets everything else of the host go. */
static void change_root(int tree) {
    check(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "make the mount namespace private");
    check(move_mount(tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH), "mount the target directory");
    check(fchdir(tree), "enter the target directory");
    if (syscall(SYS_pivot_root, ".", ".") == 0)
        check(umount2(".", MNT_DETACH), "unmount the host's root");
    else /* the root is an initramfs, which cannot be pivoted */
        check(chroot("."), "chroot");
    check(chdir("/"), "chdir");
}

/* ---- the child ---- */

static int wait_for(pid_t child) {
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            report_fail("waitpid", errno, "lost the confined process");
    if (WIFSIGNALED(status))
        report_fail("unpack", EIO, "the confined process was killed by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

/* The child must not outlive the parent, which is what the daemon kills. */
static void die_with_parent(int parent_lives) {
    check(prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl PR_SET_PDEATHSIG");
    struct pollfd parent = {.fd = parent_lives, .events = POLLIN};
    if (poll(&parent, 1, 0) != 0)
        _exit(1);
    (void)close(parent_lives);
}

static volatile sig_atomic_t confined_pid;
static volatile sig_atomic_t asked_to_end;

/* Whoever sends SIGTERM finds nobody writing any more when this process has ended. */
static void end_confined(int signal_number) {
    (void)signal_number;
    asked_to_end = 1;
    if (confined_pid > 0)
        (void)kill((pid_t)confined_pid, SIGKILL);
}

static void fork_into_namespace(void) {
    int lives[2];
    check(pipe2(lives, O_CLOEXEC), "pipe");
    (void)signal(SIGTERM, end_confined);
    pid_t child = fork();
    check(child, "fork");
    if (child > 0) {
        confined_pid = child;
        if (asked_to_end)
            (void)kill(child, SIGKILL);
        (void)close(lives[0]);
        _exit(wait_for(child));
    }
    (void)signal(SIGTERM, SIG_DFL);
    (void)close(lives[1]);
    die_with_parent(lives[0]);
}

/* ---- privileges ---- */

static void set_capabilities(uint64_t kept) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    check((int)syscall(SYS_capget, &header, data), "capget");
    for (int i = 0; i < 2; i++) {
        uint32_t word = (uint32_t)(kept >> 32 * i) & data[i].permitted;
        data[i] = (struct __user_cap_data_struct){.effective = word, .permitted = word};
    }
    check((int)syscall(SYS_capset, &header, data), "capset");
}

static void drop_capabilities(void) {
    uint64_t kept = 0;
    for (size_t i = 0; i < sizeof kept_capabilities / sizeof *kept_capabilities; i++)
        kept |= (uint64_t)1 << kept_capabilities[i];
    for (unsigned capability = 0; capability <= LAST_CAPABILITY; capability++)
        if ((kept >> capability & 1) == 0 && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 &&
            errno != EINVAL)
            report_fail("confine", errno, "drop capability %u", capability);
    set_capabilities(kept);
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl PR_SET_NO_NEW_PRIVS");
    check(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl PR_SET_DUMPABLE");
}

static void limit_resources(void) {
#ifndef UNPACK_SANITIZED
    rlim_t bytes = (rlim_t)ADDRESS_SPACE_LIMIT_MIB << 20;
    check(setrlimit(RLIMIT_AS, &(struct rlimit){bytes, bytes}), "setrlimit");
#endif
    check(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}), "setrlimit");
    check(setrlimit(RLIMIT_NOFILE, &(struct rlimit){128, 128}), "setrlimit");
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
    (void)umask(0);
}

int sandbox_enter(enum sandbox_root root, int directory, int last_fd) {
    check(close_range((unsigned)last_fd + 1, ~0u, 0), "close_range");
    int tree = root == SANDBOX_DIRECTORY ? detached_directory(directory) : detached_empty();
    check(unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS), "unshare");
    fork_into_namespace();
    change_root(tree);
    drop_capabilities();
    limit_resources();
    if (root == SANDBOX_EMPTY) {
        (void)close(tree);
        return directory;
    }
    (void)close(directory);
    return tree;
}

void sandbox_enter_bare(void) {
    set_capabilities(0);
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl PR_SET_NO_NEW_PRIVS");
    check(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl PR_SET_DUMPABLE");
    limit_resources();
}

/* ---- system calls ---- */

static const int memory_calls[] = {
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(tgkill),
    SCMP_SYS(sched_yield),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(getrandom),
    SCMP_SYS(close),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(pwrite64),
    SCMP_SYS(poll),
};

static const int file_calls[] = {
    SCMP_SYS(pread64),    SCMP_SYS(lseek),      SCMP_SYS(openat),    SCMP_SYS(openat2),
    SCMP_SYS(fstat),      SCMP_SYS(newfstatat), SCMP_SYS(statx),     SCMP_SYS(getdents64),
    SCMP_SYS(ftruncate),  SCMP_SYS(mkdirat),    SCMP_SYS(mknodat),   SCMP_SYS(symlinkat),
    SCMP_SYS(linkat),     SCMP_SYS(unlinkat),   SCMP_SYS(fchownat),  SCMP_SYS(fchown),
    SCMP_SYS(fchmod),     SCMP_SYS(fchmodat),   SCMP_SYS(utimensat), SCMP_SYS(fsetxattr),
    SCMP_SYS(lsetxattr),  SCMP_SYS(fgetxattr),  SCMP_SYS(lgetxattr), SCMP_SYS(flistxattr),
    SCMP_SYS(llistxattr), SCMP_SYS(readlinkat), SCMP_SYS(fchdir),    SCMP_SYS(fcntl),
    SCMP_SYS(seccomp),    SCMP_SYS(prctl),      SCMP_SYS(fadvise64),
};

/* Nobody calls these by mistake; anything else that is not allowed answers EPERM. */
static const int deadly_calls[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsmount),
    SCMP_SYS(open_tree),
    SCMP_SYS(move_mount),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(bpf),
    SCMP_SYS(socket),
    SCMP_SYS(socketpair),
    SCMP_SYS(connect),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(reboot),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(kill),
};

static void filter_check(int code) {
    if (code < 0)
        report_fail("confine", -code, "seccomp");
}

static void filter_allow(scmp_filter_ctx filter, const int *calls, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (calls[i] != __NR_SCMP_ERROR)
            filter_check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0));
}

/* Memory may be had, but none that can be executed. */
static void filter_allow_data_memory(scmp_filter_ctx filter) {
    struct scmp_arg_cmp not_executable = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    filter_check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, not_executable));
    filter_check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, not_executable));
}

static void filter_install(bool files) {
#ifndef UNPACK_SANITIZED
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (filter == NULL)
        report_fail("confine", ENOMEM, "seccomp");
    filter_check(seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, files ? 1 : 0));
    filter_allow(filter, memory_calls, sizeof memory_calls / sizeof *memory_calls);
    filter_allow_data_memory(filter);
    if (files)
        filter_allow(filter, file_calls, sizeof file_calls / sizeof *file_calls);
    for (size_t i = 0; i < sizeof deadly_calls / sizeof *deadly_calls; i++)
        if (deadly_calls[i] != __NR_SCMP_ERROR)
            filter_check(seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, deadly_calls[i], 0));
    filter_check(seccomp_load(filter));
    seccomp_release(filter);
#else
    (void)files;
    (void)filter_allow;
    (void)filter_allow_data_memory;
    (void)filter_check;
    (void)memory_calls;
    (void)file_calls;
    (void)deadly_calls;
#endif
}

void sandbox_seal(void) {
    filter_install(true);
}

void sandbox_drop_thread(void) {
    set_capabilities(0);
}

void sandbox_seal_thread(void) {
    filter_install(false);
}
