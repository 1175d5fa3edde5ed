/* Steps of namespaces: the child itself enters, makes and names them. */
#include "kernel.h"
#include "step.h"
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>

void ns_become_root(struct stage *s) {
    if (!s->new_user_namespace || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        return;                /* 0 is not mapped, or not yet */
    setgroups(0, NULL);        /* refused where setgroups is denied */
    prctl(PR_SET_DUMPABLE, 0); /* whatever fs.suid_dumpable made of it */
    s->new_user_namespace = false;
}

void ns_fork_on(struct stage *s) {
    int gate[2];
    if (pipe2(gate, O_CLOEXEC) < 0)
        step_fail(s, "pipe2", NULL);
    struct clone_args args = {.flags = CLONE_PARENT};
    pid_t pid = kernel_clone3(&args);
    if (pid < 0)
        step_fail(s, "clone3", NULL);
    if (pid > 0) {
        report_pid(s->report_fd, pid);
        (void)!write(gate[1], &(uint32_t){LAUNCHER_DONE}, sizeof(uint32_t));
        _exit(0);
    }
    close(gate[1]);
    /* Whoever reads the report learns our pid before anything else from us: stage_await_launcher. */
    s->sync_fd = gate[0];
    s->forked_on = true;
}

void step_unshare(struct stage *s, struct plan_values *v) {
    uint64_t flags = plan_u64(v);
    if (flags & CLONE_NEWPID)
        stage_await_launcher(s); /* it kills the first process only */
    if (unshare((int)flags) < 0)
        step_fail(s, "unshare", NULL);
    s->new_user_namespace = s->new_user_namespace || (flags & CLONE_NEWUSER);
    if (flags & CLONE_NEWPID) {
        procfs_close(s);
        ns_fork_on(s);
    }
}

void step_join(struct stage *s, struct plan_values *v) {
    int fd = stage_slot(s, plan_u32(v));
    uint64_t flags = plan_u64(v);
    if (setns(fd, (int)flags) < 0)
        step_fail(s, "setns", NULL);
    if (flags & CLONE_NEWUSER) {
        s->new_user_namespace = true;
        ns_become_root(s);
    }
}

/* The slots that steps after JOIN_PID may still use; everything else is the host's. */
static uint32_t slots_to_take_along(const struct stage *s, uint32_t keep[PLAN_MAX_SLOTS]) {
    uint32_t n = 0;
    for (uint32_t slot = PLAN_SLOT_STDIN; slot <= PLAN_SLOT_CONSOLE; slot++)
        keep[n++] = slot;
    for (uint32_t i = 0; i < process_preserved(s); i++)
        keep[n++] = PLAN_SLOT_PASSED + i;
    const unsigned char *at = s->plan->lists[PLAN_LIST_CHILD];
    for (uint32_t i = 0; i < s->plan->counts[PLAN_LIST_CHILD]; i++) {
        struct plan_step step = plan_step_at(at);
        at = step.end;
        if (step.kind != PLAN_SECCOMP || n == PLAN_MAX_SLOTS)
            continue;
        struct plan_values v = {step.payload};
        uint32_t len;
        plan_u32(&v);
        plan_bytes(&v, &len);
        uint32_t listener = plan_u32(&v);
        if (listener != PLAN_NO_SLOT)
            keep[n++] = listener;
    }
    return n;
}

void step_join_pid(struct stage *s, struct plan_values *v) {
    int fd = stage_slot(s, plan_u32(v));
    stage_await_launcher(s);
    if (setns(fd, CLONE_NEWPID) < 0)
        step_fail(s, "setns", NULL);
    procfs_close(s);
    uint32_t keep[PLAN_MAX_SLOTS];
    uint32_t count = slots_to_take_along(s, keep);
    s->null_mount = s->empty_mount = -1; /* closed with the rest */
    stage_close_all_but(s, keep, count);
    ns_fork_on(s);
    procfs_prepare(s);
}

void step_hostname(struct stage *s, struct plan_values *v) {
    const char *name = plan_str(v);
    if (sethostname(name, strlen(name)) < 0)
        step_fail(s, "sethostname", name);
}

void step_domainname(struct stage *s, struct plan_values *v) {
    const char *name = plan_str(v);
    if (setdomainname(name, strlen(name)) < 0)
        step_fail(s, "setdomainname", name);
}

/* "net.ipv4.ip_forward", or with slashes where a name contains dots. */
static bool sysctl_path(const char *key, char *path, size_t size) {
    size_t len = strlen(key);
    bool dots = strchr(key, '/') == NULL;
    if (len == 0 || len + 5 > size || strstr(key, "..") || key[0] == '/')
        return false;
    memcpy(path, "sys/", 4);
    for (size_t i = 0; i <= len; i++)
        path[4 + i] = dots && key[i] == '.' ? '/' : key[i];
    return true;
}

void step_sysctl(struct stage *s, struct plan_values *v) {
    const char *key = plan_str(v), *value = plan_str(v);
    char path[512];
    if (!sysctl_path(key, path, sizeof path))
        step_fail_with(s, EINVAL, "sysctl", key);
    cleanup_close int fd = procfs_file(s, true, path, O_WRONLY);
    if (fd < 0)
        step_fail_with(s, fd, "openat2", key);
    if (write(fd, value, strlen(value)) < 0)
        step_fail(s, "write", key);
}
