/* The process: user, capabilities, filter, limits, working directory, terminal, labels. */
#include "../kernel.h"
#include "fixture.h"
#include "tap.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

static struct fixture f;

static void add_container(struct builder *b) {
    add_rootfs(b, &f, CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS);
    add_mounts(b);
    add_pivot(b);
}

/* A line of /proc/self/status as the command saw it. */
static bool has_status(const char *field, const char *value) {
    char line[128];
    snprintf(line, sizeof line, "%s:\t%s", field, value);
    return fixture_printed(&f, line);
}

static void test_user(void) {
    struct builder b = {0};
    add_container(&b);
    add(&b, CHILD, PLAN_CAP_BOUNDING, "q", (uint64_t)0x20);
    add(&b, CHILD, PLAN_USER, "wwwg", 1234u, 2345u, 077u, 2u, (const uint32_t[]){2345, 7});
    add(&b, CHILD, PLAN_CAPABILITIES, "qqqq", (uint64_t)0x20, (uint64_t)0x20, (uint64_t)0, (uint64_t)0);
    add(&b, CHILD, PLAN_NO_NEW_PRIVS, "");
    add_probe(&b, "process", "", "cat", "/proc/self/status", NULL);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "a user without root");
    ok(strstr(f.text, "uid 1234 gid 2345") && fixture_printed(&f, "groups 7 2345") &&
           fixture_printed(&f, "umask 077"),
       "ids, groups and umask");
    ok(has_status("CapInh", "0000000000000000") && has_status("CapPrm", "0000000000000000") &&
           has_status("CapAmb", "0000000000000000") && has_status("CapBnd", "0000000000000020"),
       "no capability but the bounding set survives execve");
    ok(has_status("NoNewPrivs", "1") && has_status("Seccomp", "0"), "no_new_privs");
    if (tap_failed)
        printf("# %s\n", f.text);

    add_container(&b);
    add(&b, CHILD, PLAN_USER, "wwwg", 1234u, 2345u, NONE, 0u, NULL);
    add(&b, CHILD, PLAN_CAPABILITIES, "qqqq", (uint64_t)0x400, (uint64_t)0x400, (uint64_t)0x400,
        (uint64_t)0x400);
    add_probe(&b, "cat", "/proc/self/status", NULL);
    o = fixture_run(&f, &b);
    exited(&o, 0, "a user with an ambient capability");
    ok(has_status("CapPrm", "0000000000000400") && has_status("CapEff", "0000000000000400"),
       "has it after execve");

    add_container(&b);
    add(&b, CHILD, PLAN_USER, "wwwg", 0u, 0u, NONE, 0u, NULL);
    add(&b, CHILD, PLAN_CAP_BOUNDING, "q", ~(uint64_t)0 & 0xa80425fb);
    add(&b, CHILD, PLAN_CAPABILITIES, "qqqq", (uint64_t)0xa80425fb, (uint64_t)0xa80425fb, (uint64_t)0,
        (uint64_t)0);
    add_probe(&b, "cat", "/proc/self/status", NULL);
    o = fixture_run(&f, &b);
    exited(&o, 0, "root with the usual capabilities");
    ok(has_status("CapPrm", "00000000a80425fb") && has_status("CapInh", "0000000000000000"),
       "and nothing inheritable");
}

static void test_limits(void) {
    struct builder b = {0};
    add_container(&b);
    add(&b, CHILD, PLAN_RLIMIT, "wqq", (unsigned)RLIMIT_NOFILE, (uint64_t)1024, (uint64_t)2048);
    add(&b, CHILD, PLAN_PARENT_DEATH_SIGNAL, "w", 9u);
    add(&b, CHILD, PLAN_KEYRING, "t", "podwright-test");
    add_probe(&b, "process", "", NULL);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "limits, a keyring and a parent death signal");
    ok(fixture_printed(&f, "nofile 1024 2048"), "the limit is there");
    struct rlimit own;
    getrlimit(RLIMIT_NOFILE, &own);
    add_container(&b);
    add(&b, CHILD, PLAN_CAP_BOUNDING, "q", (uint64_t)0x20);
    add(&b, CHILD, PLAN_CAPABILITIES, "qqqq", (uint64_t)0x20, (uint64_t)0x20, (uint64_t)0, (uint64_t)0);
    add(&b, CHILD, PLAN_RLIMIT, "wqq", (unsigned)RLIMIT_NOFILE, (uint64_t)own.rlim_max + 1,
        (uint64_t)own.rlim_max + 2);
    add_probe(&b, "process", "", NULL);
    o = fixture_run(&f, &b);
    exited(&o, 0, "a hard limit that cannot be raised");
    char line[64];
    snprintf(line, sizeof line, "nofile %llu %llu", (unsigned long long)own.rlim_max,
             (unsigned long long)own.rlim_max);
    ok(fixture_printed(&f, line) && strstr(o.logs, "cannot be raised"), "stays, and that is logged");
    add_container(&b);
    add(&b, CHILD, PLAN_RLIMIT, "wqq", 99u, (uint64_t)1, (uint64_t)1);
    add_probe(&b, NULL);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_RLIMIT, EINVAL, "an unknown resource");
}

static void test_chdir(void) {
    struct builder b = {0};
    struct outcome o;
    add_container(&b), add(&b, CHILD, PLAN_CHDIR, "tw", "/opt", 0u), add_probe(&b, "process", "", NULL);
    o = fixture_run(&f, &b);
    ok(fixture_printed(&f, "cwd /opt"), "a working directory");
    add_container(&b), add(&b, CHILD, PLAN_CHDIR, "tw", "/new/dir", 1u), add_probe(&b, "process", "", NULL);
    o = fixture_run(&f, &b);
    ok(fixture_printed(&f, "cwd /new/dir"), "one that is made");
    add_container(&b), add(&b, CHILD, PLAN_CHDIR, "tw", "/nowhere", 0u), add_probe(&b, NULL);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_CHDIR, ENOENT, "one that is missing");
    unsigned refused = 0;
    for (unsigned fd = 3; fd < 31; fd++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%u", fd);
        add(&b, PARENT, PLAN_OPEN, "sstqqq", 30u, NONE, "/", (uint64_t)(O_RDONLY | O_DIRECTORY), (uint64_t)0,
            (uint64_t)0);
        add_container(&b), add(&b, CHILD, PLAN_CHDIR, "tw", path, 0u), add_probe(&b, NULL);
        o = fixture_run(&f, &b);
        refused += o.error.kind == PLAN_CHDIR && (o.error.errnum == ELOOP || o.error.errnum == ENOENT);
    }
    is(refused, 28, "descriptors by way of procfs are refused");
}

static void test_sysctl(void) {
    struct builder b = {0};
    add_container(&b);
    add(&b, CHILD, PLAN_SYSCTL, "tt", "net.ipv4.ip_forward", "1");
    add(&b, CHILD, PLAN_SYSCTL, "tt", "net/ipv4/conf/lo/forwarding", "0");
    add(&b, CHILD, PLAN_SYSCTL, "tt", "kernel.shmmni", "123");
    add_probe(&b, "cat", "/proc/sys/net/ipv4/ip_forward", "cat", "/proc/sys/kernel/shmmni", NULL);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "sysctls");
    ok(fixture_printed(&f, "1") && fixture_printed(&f, "123"), "are those of the container");
    static const char *const bad[] = {"../net/x", "/net/x", "", "net..ipv4"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        add_container(&b), add(&b, CHILD, PLAN_SYSCTL, "tt", bad[i], "1"), add_probe(&b, NULL);
        o = fixture_run(&f, &b);
        failed(&o, PLAN_SYSCTL, EINVAL, "a key that is a way out");
    }
    add_container(&b), add(&b, CHILD, PLAN_SYSCTL, "tt", "net.nothing", "1"), add_probe(&b, NULL);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_SYSCTL, ENOENT, "an unknown key");
    /* An image that covers /proc with a directory of its own */
    add_rootfs(&b, &f, CLONE_NEWPID | CLONE_NEWIPC);
    add_file_system(&b, "tmpfs", "/proc", (const char *const[]){"mode=755", NULL}, 0);
    add(&b, CHILD, PLAN_FILE, "stwwwb", ROOT_SLOT, "/proc/sys/kernel/shmmni", 0666u, 0u, 0u, "", (size_t)0);
    add_pivot(&b);
    add(&b, CHILD, PLAN_SYSCTL, "tt", "kernel.shmmni", "77");
    add_probe(&b, "stat", "/proc/sys/kernel/shmmni", NULL);
    o = fixture_run(&f, &b);
    exited(&o, 0, "a sysctl under a false procfs");
    ok(strstr(f.text, "shmmni: 100666 0:0 dev 0:0 size 0"), "goes to the kernel, not into the false file");
}

/* In a user namespace a procfs of one's own is refused where the visible one is partly covered. */
static void test_covered_procfs(void) {
    struct builder b = {0};
    for (int covered = 0; covered < 2; covered++) {
        add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC), NONE);
        add(&b, PARENT, PLAN_ID_MAP, "ttw", "0 100000 65536\n", "0 100000 65536\n", 0u);
        add(&b, PARENT, PLAN_SYNC, "w", 1u);
        add(&b, CHILD, PLAN_SYNC, "w", 1u);
        add(&b, CHILD, PLAN_MASK, "st", NONE, covered ? "/proc/sys/kernel/shmmni" : "/proc/version");
        add(&b, CHILD, PLAN_SYSCTL, "tt", "kernel.shmmni", "99");
        add(&b, CHILD, PLAN_STDIO, "ww", 0u, 0u);
        add_exec(&b, (const char *const[]){"/bin/cat", "/proc/sys/kernel/shmmni", NULL});
        struct outcome o = fixture_run(&f, &b);
        if (covered) {
            failed(&o, PLAN_SYSCTL, EXDEV, "a sysctl whose file is covered is not written through the cover");
        } else {
            exited(&o, 0, "a sysctl through the visible procfs");
            ok(fixture_printed(&f, "99"), "is set");
        }
    }
}

/* Everything is allowed but one call, which fails with EPERM. */
static size_t make_filter(struct sock_filter out[4], uint32_t call, uint32_t action) {
    const struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    memcpy(out, filter, sizeof filter);
    return sizeof filter;
}

/* A profile that knows nothing of the calls of a launch: what is left of it after the filter must not need
 * them. */
static void test_strict_filter(void) {
    static const uint32_t denied[] = {SYS_openat2, SYS_close_range,  SYS_dup3, SYS_fcntl,
                                      SYS_umask,   SYS_rt_sigaction, SYS_prctl};
    enum { DENIED = sizeof denied / sizeof *denied };
    struct sock_filter filter[DENIED + 3];
    struct builder b = {0};
    filter[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < DENIED; i++)
        filter[1 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, denied[i],
                                                     (unsigned char)(DENIED - i), 0);
    filter[DENIED + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[DENIED + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    add_container(&b);
    add(&b, CHILD, PLAN_STDIO, "ww", 0u, 0u);
    add(&b, CHILD, PLAN_NO_NEW_PRIVS, "");
    add(&b, CHILD, PLAN_SECCOMP, "wbsb", 0u, filter, sizeof filter, NONE, "", (size_t)0);
    add_exec(&b, (const char *const[]){"probe", NULL});
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "nothing but execve is left after the filter");
}

static void test_seccomp(void) {
    struct builder b = {0};
    struct sock_filter filter[4];
    size_t len = make_filter(filter, SYS_getsid, SECCOMP_RET_ERRNO | EPERM);
    add_container(&b);
    add(&b, CHILD, PLAN_USER, "wwwg", 1000u, 1000u, NONE, 0u, NULL);
    add(&b, CHILD, PLAN_SECCOMP, "wbsb", 0u, filter, len, NONE, "", (size_t)0);
    add_probe(&b, "process", "", "cat", "/proc/self/status", NULL);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "a filter without no_new_privs, set by a user that still has root's capabilities");
    ok(has_status("Seccomp", "2") && fixture_printed(&f, "sid -1"), "works");
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        abort();
    len = make_filter(filter, SYS_getsid, SECCOMP_RET_USER_NOTIF);
    f.launch.slots[PLAN_SLOT_PASSED] = ends[1];
    add_container(&b);
    add(&b, CHILD, PLAN_SECCOMP, "wbsb", 0u, filter, len, PLAN_SLOT_PASSED, "{\"state\":1}", (size_t)11);
    add_probe(&b, "fds", "", NULL);
    o = fixture_run(&f, &b);
    exited(&o, 0, "a filter with a listener");
    char text[64] = "", control[CMSG_SPACE(sizeof(int))];
    struct iovec data = {text, sizeof text};
    struct msghdr m = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ok(recvmsg(ends[0], &m, MSG_DONTWAIT) == 11 && strcmp(text, "{\"state\":1}") == 0 &&
           CMSG_FIRSTHDR(&m) != NULL,
       "the agent receives it with the metadata");
    if (CMSG_FIRSTHDR(&m)) {
        int listener;
        memcpy(&listener, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof listener);
        close(listener);
    }
    ok(strstr(f.text, "fd 3") == NULL, "the command does not have it");
    close(ends[0]);
    close(ends[1]);
    f.launch.slots[PLAN_SLOT_PASSED] = -1;
    add_container(&b), add(&b, CHILD, PLAN_SECCOMP, "wbsb", 0u, "1234567", (size_t)7, NONE, "", (size_t)0);
    add_probe(&b, NULL);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_SECCOMP, EINVAL, "a filter of a wrong length");
}

static int take_master(int socket) {
    char text[64], control[CMSG_SPACE(sizeof(int))];
    struct iovec data = {text, sizeof text};
    struct msghdr m = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    int master = -1;
    if (recvmsg(socket, &m, MSG_DONTWAIT) > 0 && CMSG_FIRSTHDR(&m))
        memcpy(&master, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof master);
    return master;
}

static void test_console(void) {
    struct builder b = {0};
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        abort();
    f.launch.slots[PLAN_SLOT_CONSOLE] = ends[1];
    add_container(&b);
    add(&b, CHILD, PLAN_CONSOLE, "wwww", 100u, 40u, 1000u, 5u);
    add_exec(&b, (const char *const[]){"probe", "tty", "", "stat", "/dev/console", "fds", "", NULL});
    fixture_streams(&f);
    struct outcome o = start(&b, &f.launch);
    follow(&o, false);
    int master = take_master(ends[0]);
    ok(master >= 0, "the terminal's master arrives");
    f.text[0] = 0;
    size_t at = 0;
    ssize_t n;
    while (master >= 0 && (n = read(master, f.text + at, sizeof f.text - 1 - at)) > 0)
        at += (size_t)n;
    f.text[at] = 0;
    reap(&o);
    exited(&o, 0, "a command on a terminal");
    ok(strstr(f.text, "tty /dev/pts/0 100x40 controlling yes"),
       "which is its controlling one, with its size");
    ok(strstr(f.text, "/dev/console: 20620 1000:5 dev 136:0"),
       "/dev/console is the terminal, owned by the user");
    ok(strstr(f.text, "fd 2") && !strstr(f.text, "fd 3"), "nothing else is open");
    if (tap_failed)
        printf("# %s\n", f.text);
    close(master);
    struct stat st;
    stat("/dev/console", &st);
    /* A link in the image's place of the console leads to nothing. */
    add_rootfs(&b, &f, CLONE_NEWPID);
    add_mounts(&b);
    add(&b, CHILD, PLAN_SYMLINK, "stt", ROOT_SLOT, "/dev/console", "/etc/target");
    add(&b, CHILD, PLAN_FILE, "stwwwb", ROOT_SLOT, "/etc/target", 0644u, 0u, 0u, "", (size_t)0);
    add_pivot(&b);
    add(&b, CHILD, PLAN_CONSOLE, "wwww", 0u, 0u, 0u, 0u);
    add_exec(&b, (const char *const[]){"probe", NULL});
    o = fixture_run(&f, &b);
    failed(&o, PLAN_CONSOLE, ELOOP, "a console that is a link");
    add_rootfs(&b, &f, CLONE_NEWPID);
    add_pivot(&b);
    add(&b, CHILD, PLAN_MKDIR, "stwww", NONE, "/dev/pts", 0755u, 0u, 0u);
    add(&b, CHILD, PLAN_MAKE_DEVICE, "stwwwww", NONE, "/dev/pts/ptmx", S_IFCHR | 0666u, 5u, 2u, 0u, 0u);
    add(&b, CHILD, PLAN_CONSOLE, "wwww", 0u, 0u, 0u, 0u);
    add_exec(&b, (const char *const[]){"probe", NULL});
    o = fixture_run(&f, &b);
    ok(o.error.kind == PLAN_CONSOLE, "a multiplexer outside a devpts");
    close(ends[0]);
    close(ends[1]);
    f.launch.slots[PLAN_SLOT_CONSOLE] = -1;
}

static void test_labels(void) {
    struct builder b = {0};
    add_container(&b), add(&b, CHILD, PLAN_APPARMOR, "t", "no-such-profile"), add_probe(&b, NULL);
    struct outcome o = fixture_run(&f, &b);
    ok(o.error.kind == PLAN_APPARMOR && o.child_status != 0,
       "an AppArmor profile that cannot be set ends the launch");
    add_container(&b), add(&b, CHILD, PLAN_SELINUX, "t", "no:such:label:s0"), add_probe(&b, NULL);
    o = fixture_run(&f, &b);
    ok(o.error.kind == PLAN_SELINUX && o.child_status != 0, "so does an SELinux label");
}

int main(void) {
    if (fixture_make(&f)) {
        test_user();
        test_limits();
        test_chdir();
        test_sysctl();
        test_covered_procfs();
        test_seccomp();
        test_strict_filter();
        test_console();
        test_labels();
    }
    fixture_remove(&f);
    return tap_end();
}
