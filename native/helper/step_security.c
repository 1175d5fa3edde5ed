/* Steps that take privileges away. */
#include "kernel.h"
#include "step.h"
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>

void step_cap_bounding(struct stage *s, struct plan_values *v) {
    uint64_t mask = plan_u64(v);
    procfs_prepare(s);
    for (unsigned long cap = 0; cap < 64; cap++) {
        if ((mask >> cap & 1) || prctl(PR_CAPBSET_DROP, cap) == 0)
            continue;
        if (errno == EINVAL)
            return; /* beyond the kernel's last capability */
        int error = errno;
        if (prctl(PR_CAPBSET_READ, cap) != 0) /* without CAP_SETPCAP it may be gone already */
            step_fail_with(s, error, "prctl", "PR_CAPBSET_DROP");
    }
}

static void set_groups(struct stage *s, struct plan_values *v) {
    uint32_t count = plan_u32(v);
    gid_t *groups = calloc((size_t)count + 1, sizeof *groups);
    if (!groups)
        step_fail_with(s, ENOMEM, "calloc", NULL);
    for (uint32_t i = 0; i < count; i++)
        groups[i] = plan_u32(v);
    bool denied = s->flags & 1;
    if (!denied && setgroups(count, groups) < 0)
        step_fail(s, "setgroups", NULL);
    free(groups);
}

/* setresuid to another user has emptied the effective set; what follows still needs it, up to CAPABILITIES.
 */
static void restore_effective(struct stage *s) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0)
        step_fail(s, "capget", NULL);
    data[0].effective = data[0].permitted;
    data[1].effective = data[1].permitted;
    if (syscall(SYS_capset, &header, data) < 0)
        step_fail(s, "capset", NULL);
}

void step_user(struct stage *s, struct plan_values *v) {
    uid_t uid = plan_u32(v);
    gid_t gid = plan_u32(v);
    uint32_t mask = plan_u32(v);
    procfs_prepare(s);
    if (mask != PLAN_NO_SLOT)
        s->umask = mask & 0777;
    if (prctl(PR_SET_KEEPCAPS, 1) < 0)
        step_fail(s, "prctl", "PR_SET_KEEPCAPS");
    set_groups(s, v);
    if (setresgid(gid, gid, gid) < 0)
        step_fail(s, "setresgid", NULL);
    if (setresuid(uid, uid, uid) < 0)
        step_fail(s, "setresuid", NULL);
    if (prctl(PR_SET_KEEPCAPS, 0) < 0)
        step_fail(s, "prctl", "PR_SET_KEEPCAPS");
    restore_effective(s);
    prctl(PR_SET_DUMPABLE, 0); /* whatever fs.suid_dumpable made of it */
}

/* Those of a set that this kernel knows: from its last one on it knows all. */
static uint64_t known_capabilities(uint64_t set) {
    for (int cap = 63; cap >= 0; cap--)
        if ((set >> cap & 1) && prctl(PR_CAPBSET_READ, (unsigned long)cap) >= 0)
            return set & (~0ull >> (63 - cap));
    return 0;
}

void step_capabilities(struct stage *s, struct plan_values *v) {
    uint64_t effective = known_capabilities(plan_u64(v)), permitted = known_capabilities(plan_u64(v));
    uint64_t inheritable = known_capabilities(plan_u64(v)), ambient = known_capabilities(plan_u64(v));
    procfs_prepare(s);
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
        {(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)},
    };
    if (syscall(SYS_capset, &header, data) < 0)
        step_fail(s, "capset", NULL);
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        step_fail(s, "prctl", "PR_CAP_AMBIENT_CLEAR_ALL");
    for (unsigned long cap = 0; cap < 64; cap++)
        if ((ambient >> cap & 1) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
            step_fail(s, "prctl", "PR_CAP_AMBIENT_RAISE");
}

void step_no_new_privs(struct stage *s, struct plan_values *v) {
    (void)v;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        step_fail(s, "prctl", "PR_SET_NO_NEW_PRIVS");
}

/* One message: the metadata with the listener's descriptor, which the agent then holds alone. */
static void send_listener(struct stage *s, int socket, int listener, const unsigned char *metadata,
                          uint32_t len) {
    char empty = 0;
    struct iovec data = {.iov_base = len ? (void *)(uintptr_t)metadata : &empty, .iov_len = len ? len : 1};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &listener, sizeof listener);
    ssize_t n = sendmsg(socket, &message, MSG_NOSIGNAL);
    if (n < 0)
        step_fail(s, "sendmsg", "seccomp listener");
    for (size_t done = (size_t)n; len && done < len; done += (size_t)n) {
        n = send(socket, metadata + done, len - done, MSG_NOSIGNAL);
        if (n < 0)
            step_fail(s, "send", "seccomp listener");
    }
}

void step_seccomp(struct stage *s, struct plan_values *v) {
    uint32_t flags = plan_u32(v), len, metadata_len;
    const unsigned char *filter = plan_bytes(v, &len);
    uint32_t listener = plan_u32(v);
    const unsigned char *metadata = plan_bytes(v, &metadata_len);
    if (len == 0 || len % sizeof(struct sock_filter) != 0 || len / sizeof(struct sock_filter) > BPF_MAXINSNS)
        step_fail_with(s, EINVAL, "seccomp", "the filter's length");
    struct sock_fprog program = {.len = (unsigned short)(len / sizeof(struct sock_filter)),
                                 .filter = (struct sock_filter *)(uintptr_t)filter};
    int socket = -1;
    if (listener != PLAN_NO_SLOT) {
        flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
        /* Out of the way of what EXEC preserves. */
        socket = fcntl(stage_slot(s, listener), F_DUPFD_CLOEXEC, 3 + (int)process_preserved(s));
        if (socket < 0)
            step_fail(s, "dup", "seccomp listener");
    }
    stage_await_launcher(s);
    if (process_exec_is_next(s))
        process_prepare_exec(s);
    long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (fd < 0)
        step_fail(s, "seccomp", NULL);
    if (socket >= 0) {
        send_listener(s, socket, (int)fd, metadata, metadata_len);
        close((int)fd);
        close(socket);
    }
}

/* Labels of the next execve. */
static void write_label(struct stage *s, const char *file, const char *text, const char *detail) {
    cleanup_close int fd = procfs_file(s, false, file, O_WRONLY);
    if (fd < 0)
        step_fail_with(s, fd, "openat2", file);
    if (write(fd, text, strlen(text)) < 0)
        step_fail(s, "write", detail);
}

/* What waits for execve reads back as "NAME (MODE)"; execve then takes it or fails. */
static void check_profile(struct stage *s, const char *file, const char *profile) {
    char waiting[512] = "";
    cleanup_close int fd = procfs_file(s, false, file, O_RDONLY);
    if (fd < 0)
        step_fail_with(s, fd, "openat2", file);
    ssize_t n = read(fd, waiting, sizeof waiting - 1);
    if (n < 0)
        step_fail(s, "read", file);
    size_t len = strlen(profile);
    if (strncmp(waiting, profile, len) != 0 || (waiting[len] != ' ' && waiting[len] != '\n'))
        step_fail_with(s, EACCES, "read", "another AppArmor profile waits for the exec");
}

void step_apparmor(struct stage *s, struct plan_values *v) {
    const char *profile = plan_str(v);
    char text[512];
    int n = snprintf(text, sizeof text, "exec %s", profile);
    if (n < 0 || (size_t)n >= sizeof text)
        step_fail_with(s, ENAMETOOLONG, "write", profile);
    const char *file = "self/attr/apparmor/exec"; /* 5.1 with stacked LSMs */
    int own = procfs_file(s, false, file, O_PATH);
    if (own >= 0)
        close(own);
    else if (own == -ENOENT)
        file = "self/attr/exec";
    write_label(s, file, text, profile);
    check_profile(s, file, profile);
}

void step_selinux(struct stage *s, struct plan_values *v) {
    const char *label = plan_str(v);
    write_label(s, "self/attr/exec", label, label);
}
