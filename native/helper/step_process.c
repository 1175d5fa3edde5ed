/* Steps that shape the process and turn it into the command. */
#include "kernel.h"
#include "path.h"
#include "step.h"
#include <linux/keyctl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>

void step_setsid(struct stage *s, struct plan_values *v) {
    plan_u32(v);
    if (setsid() < 0 && errno != EPERM) /* EPERM: it leads its group already, so nothing else is in it */
        step_fail(s, "setsid", NULL);
}

/* Lets the command's user search its session keyring: "type;uid;gid;permissions;name". */
static void open_keyring_to_user(long key) {
    char text[256];
    long n = syscall(SYS_keyctl, KEYCTL_DESCRIBE, key, text, sizeof text - 1);
    if (n <= 0 || n >= (long)sizeof text)
        return;
    text[n] = 0;
    char *field = text;
    for (int i = 0; field && i < 3; i++)
        field = strchr(field, ';') ? strchr(field, ';') + 1 : NULL;
    if (field)
        syscall(SYS_keyctl, KEYCTL_SETPERM, key, strtoul(field, NULL, 16) | 0x00080000ul /* user: search */);
}

void step_keyring(struct stage *s, struct plan_values *v) {
    const char *name = plan_str(v);
    long key = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name[0] ? name : NULL);
    if (key >= 0)
        open_keyring_to_user(key);
    else if (errno == ENOSYS)
        report_log(s->report_fd, 1, "the kernel has no keyrings");
    else
        step_fail(s, "keyctl", name);
}

void step_rlimit(struct stage *s, struct plan_values *v) {
    uint32_t resource = plan_u32(v);
    struct rlimit wanted = {.rlim_cur = plan_u64(v)}, present;
    wanted.rlim_max = plan_u64(v);
    char name[32];
    snprintf(name, sizeof name, "resource %u", resource);
    if (setrlimit(resource, &wanted) == 0)
        return;
    if (errno != EPERM || getrlimit(resource, &present) < 0 || wanted.rlim_cur > wanted.rlim_max)
        step_fail(s, "setrlimit", name);
    wanted.rlim_max = present.rlim_max;
    wanted.rlim_cur = wanted.rlim_cur < present.rlim_max ? wanted.rlim_cur : present.rlim_max;
    if (setrlimit(resource, &wanted) < 0)
        step_fail(s, "setrlimit", name);
    char text[96];
    snprintf(text, sizeof text, "the hard limit of %s cannot be raised here: it stays %llu", name,
             (unsigned long long)present.rlim_max);
    report_log(s->report_fd, 2, text);
}

void step_parent_death_signal(struct stage *s, struct plan_values *v) {
    if (prctl(PR_SET_PDEATHSIG, (unsigned long)plan_u32(v)) < 0)
        step_fail(s, "prctl", "PR_SET_PDEATHSIG");
}

/* A directory reached through a descriptor that leaked, or one outside the root, shows as "(unreachable)":
 * class CVE-2024-21626. Links of procfs are not followed in the first place. */
void step_chdir(struct stage *s, struct plan_values *v) {
    const char *path = plan_str(v);
    bool create = plan_u32(v) != 0;
    cleanup_close int dir =
        kernel_openat2(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS);
    if (dir < 0 && errno == ENOENT && create) {
        cleanup_close int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        dir = path_make_dir(root, path, &(struct path_owner){.mode = 0755});
        errno = dir < 0 ? -dir : 0;
    }
    if (dir < 0 || fchdir(dir) < 0)
        step_fail(s, "chdir", path);
    char here[PATH_MAX];
    if (syscall(SYS_getcwd, here, sizeof here) < 0)
        step_fail(s, "getcwd", path);
    if (here[0] != '/')
        step_fail_with(s, EXDEV, "getcwd", path);
}

/* ---- descriptors ---- */

/* The EXEC step is the last one, if there is one. */
static bool find_exec(const struct stage *s, struct plan_values *values, uint32_t *index) {
    const unsigned char *at = s->plan->lists[PLAN_LIST_CHILD];
    for (uint32_t i = 0; i < s->plan->counts[PLAN_LIST_CHILD]; i++) {
        struct plan_step step = plan_step_at(at);
        at = step.end;
        values->at = step.payload;
        *index = i;
        if (step.kind == PLAN_EXEC)
            return true;
    }
    return false;
}

uint32_t process_preserved(const struct stage *s) {
    struct plan_values v;
    uint32_t index;
    uint32_t count = find_exec(s, &v, &index) ? plan_u32(&v) : 0;
    uint32_t most = PLAN_MAX_SLOTS - PLAN_SLOT_PASSED;
    return count < most ? count : most;
}

bool process_exec_is_next(const struct stage *s) {
    struct plan_values v;
    uint32_t index;
    return find_exec(s, &v, &index) && index == s->index + 1;
}

/* A created container may wait here for days: it keeps only what the command will get. */
static void close_unneeded(struct stage *s) {
    uint32_t keep[PLAN_MAX_SLOTS], n = 0;
    if (!process_exec_is_next(s))
        return;
    for (uint32_t slot = PLAN_SLOT_STDIN; slot <= PLAN_SLOT_EXEC_FIFO; slot++)
        keep[n++] = slot;
    for (uint32_t i = 0; i < process_preserved(s); i++)
        keep[n++] = PLAN_SLOT_PASSED + i;
    stage_close_all_but(s, keep, n);
}

void step_exec_fifo(struct stage *s, struct plan_values *v) {
    (void)v;
    int fifo = stage_slot(s, PLAN_SLOT_EXEC_FIFO);
    char byte;
    ssize_t n;
    stage_await_launcher(s);
    close_unneeded(s);
    report_ready(s->report_fd);
    do
        n = read(fifo, &byte, 1);
    while (n < 0 && errno == EINTR);
    if (n != 1)
        step_fail_with(s, n < 0 ? errno : ECONNRESET, "read", "exec fifo");
    stage_fill(s, PLAN_SLOT_EXEC_FIFO, -1);
    procfs_close(s);
}

/* ---- execve ---- */

/* Passed descriptors become 3 and following; ours leave that range and close on execve. */
static void place_descriptors(struct stage *s, uint32_t preserve) {
    int first_free = 3 + (int)preserve, copies[PLAN_MAX_SLOTS];
    if (s->report_fd < first_free) {
        s->report_fd = fcntl(s->report_fd, F_DUPFD_CLOEXEC, first_free);
        if (s->report_fd < 0)
            _exit(1);
    }
    for (uint32_t i = 0; i < preserve; i++) {
        int fd = s->slots[PLAN_SLOT_PASSED + i];
        copies[i] = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, first_free);
        if (fd >= 0 && copies[i] < 0)
            step_fail(s, "dup", NULL);
    }
    for (uint32_t i = 0; i < preserve; i++)
        if (copies[i] < 0)
            close(3 + (int)i);
        else if (dup3(copies[i], 3 + (int)i, 0) < 0)
            step_fail(s, "dup3", NULL);
    /* Ours are close-on-exec from the start; this is for what was inherited, and for mistakes. */
    if (kernel_close_range((unsigned)first_free, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
        for (int fd = first_free; fd < 1024; fd++)
            fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* The pointers into a strs value, terminated. */
static char **string_array(struct stage *s, struct plan_values *v) {
    uint32_t count = plan_u32(v);
    const char **array = calloc((size_t)count + 1, sizeof *array);
    if (!array)
        step_fail_with(s, ENOMEM, "calloc", NULL);
    for (uint32_t i = 0; i < count; i++)
        array[i] = plan_str(v);
    return (char **)(uintptr_t)array;
}

static const char *search_path(char *const *environment) {
    for (; *environment; environment++)
        if (strncmp(*environment, "PATH=", 5) == 0)
            return *environment + 5;
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

/* Returns the error of the candidate that was worth reporting: EACCES over ENOENT. */
static int execute_from_path(char **argv, char **environment) {
    char candidate[PATH_MAX];
    int worst = ENOENT;
    for (const char *dir = search_path(environment);; dir++) {
        size_t len = strcspn(dir, ":");
        int n = snprintf(candidate, sizeof candidate, "%.*s%s%s", (int)len, dir, len ? "/" : "./", argv[0]);
        if (n > 0 && (size_t)n < sizeof candidate) {
            execve(candidate, argv, environment);
            if (errno == EACCES)
                worst = EACCES;
            else if (errno != ENOENT && errno != ENOTDIR)
                return errno;
        }
        dir += len;
        if (*dir == 0)
            return worst;
    }
}

void process_prepare_exec(struct stage *s) {
    struct plan_values v;
    uint32_t index;
    if (s->argv || !find_exec(s, &v, &index))
        return;
    uint32_t preserve = plan_u32(&v);
    char **argv = string_array(s, &v);
    s->environment = string_array(s, &v);
    if (!argv[0] || preserve > PLAN_MAX_SLOTS - PLAN_SLOT_PASSED)
        step_fail_with(s, EINVAL, "execve", argv[0]);
    stage_await_launcher(s);
    place_descriptors(s, preserve);
    signal(SIGPIPE, SIG_DFL);
    umask(s->umask);
    s->argv = argv;
}

void step_exec(struct stage *s, struct plan_values *v) {
    (void)v;
    process_prepare_exec(s);
    const char *name = s->argv[0];
    int error = ENOENT;
    if (strchr(name, '/')) {
        execve(name, s->argv, s->environment);
        error = errno;
    } else if (name[0]) {
        error = execute_from_path(s->argv, s->environment);
    }
    step_fail_with(s, error, "execve", name);
}
