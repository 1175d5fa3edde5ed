/* The static program itself, as the daemon starts it: roles, arguments, the memory of pause. HELPER names it.
 */
#include "../kernel.h"
#include "fixture.h"
#include "tap.h"
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

static struct fixture f;

static int make_plan(const void *bytes, size_t len) {
    int fd = memfd_create("plan", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
        abort();
    return fd;
}

/* The helper with descriptors 0.. of the list; -1 leaves one closed. */
static pid_t spawn(const char *const *argv, const int *fds, int count) {
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    int copies[8];
    for (int i = 0; i < count; i++)
        copies[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, 100);
    close_range(0, 99, 0);
    for (int i = 0; i < count; i++)
        if (copies[i] >= 0)
            dup2(copies[i], i);
    execv(getenv("HELPER"), (char **)(uintptr_t)argv);
    _exit(127);
}

/* Exit status of the helper with these arguments alone. */
static int plain(const char *const *argv, char *text, size_t size) {
    int ends[2], status = -1;
    if (pipe2(ends, O_CLOEXEC) < 0)
        abort();
    pid_t pid = spawn(argv, (const int[]){-1, ends[1], ends[1]}, 3);
    close(ends[1]);
    ssize_t n = read(ends[0], text, size - 1);
    text[n > 0 ? n : 0] = 0;
    close(ends[0]);
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

static void test_roles(void) {
    char text[512];
    is(plain((const char *const[]){"podwright-init", "version", NULL}, text, sizeof text), 0, "version");
    ok(strstr(text, "plan format 1") != NULL, "says the format of plans");
    is(plain((const char *const[]){"podwright-init", NULL}, text, sizeof text), 2, "no role");
    ok(strncmp(text, "usage:", 6) == 0, "prints the usage");
    is(plain((const char *const[]){"podwright-init", "launch", NULL}, text, sizeof text), 2,
       "launch without a number");
    is(plain((const char *const[]){"podwright-init", "launch", "x", NULL}, text, sizeof text), 2, "launch x");
    is(plain((const char *const[]){"podwright-init", "launch", "-1", NULL}, text, sizeof text), 2,
       "launch -1");
    is(plain((const char *const[]){"podwright-init", "launch", "0", "3", NULL}, text, sizeof text), 2,
       "a console that is not behind the passed ones");
}

static struct outcome launch(const char *const *argv, int plan) {
    struct outcome o = {.launcher_status = -1, .child_status = -1};
    int ends[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (pipe2(ends, O_CLOEXEC) < 0)
        abort();
    o.report_fd = ends[0];
    o.started = o.launcher = spawn(argv, (const int[]){null, null, null, plan, ends[1]}, 5);
    close(ends[1]);
    close(null);
    return o;
}

static const char *const launch_argv[] = {"podwright-init", "launch", "0", NULL};

static void test_bad_plans(void) {
    static unsigned char big[PLAN_MAX_BYTES + 1];
    int fd = make_plan("nonsense", 8);
    struct outcome o = launch(launch_argv, fd);
    follow(&o, false), reap(&o);
    ok(o.error.type == REPORT_ERROR && o.error.errnum == EINVAL && o.launcher_status == 0x100,
       "nonsense is refused");
    close(fd);
    fd = make_plan(big, sizeof big);
    o = launch(launch_argv, fd);
    follow(&o, false), reap(&o);
    ok(o.error.errnum == E2BIG && o.launcher_status == 0x100, "a plan that is too large");
    close(fd);
    o = launch(launch_argv, -1);
    follow(&o, false), reap(&o);
    ok(o.error.errnum == EBADF && o.launcher_status == 0x100, "no plan at all");
}

static unsigned long smaps(pid_t pid, const char *field) {
    char path[64], line[256];
    unsigned long value = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, field, strlen(field)) == 0)
            value = strtoul(line + strlen(field), NULL, 10);
    if (file)
        fclose(file);
    return value;
}

static void test_pause(void) {
    enum { COUNT = 10 };
    struct outcome pauses[COUNT];
    static const char *const options[] = {"size=64k", "mode=755", NULL};
    for (int i = 0; i < COUNT; i++) {
        struct builder b = {0};
        size_t len;
        add(&b, PARENT, PLAN_CLONE, "qs",
            (uint64_t)(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS), NONE);
        add(&b, CHILD, PLAN_FS_MOUNT, "sttTq", 16u, "tmpfs", "tmpfs", options, (uint64_t)0);
        add(&b, CHILD, PLAN_PROPAGATION, "tq", "/", (uint64_t)(MS_REC | MS_SLAVE));
        add(&b, CHILD, PLAN_MOVE_MOUNT, "sstw", 16u, NONE, "/tmp", 0u);
        add(&b, CHILD, PLAN_PIVOT_ROOT, "sw", 16u, 0u);
        add(&b, CHILD, PLAN_PAUSE, "");
        unsigned char *bytes = finish(&b, &len);
        int fd = make_plan(bytes, len);
        pauses[i] = launch(launch_argv, fd);
        follow(&pauses[i], false);
        close(fd);
        free(bytes);
    }
    ok(pauses[0].ready && pauses[COUNT - 1].ready, "ten pause processes");
    show(&pauses[0]);
    unsigned long pss = 0, private = 0;
    for (int attempt = 0; attempt < 500;
         attempt++) { /* it sheds its memory after it has said that it is ready */
        pss = private = 0;
        for (int i = 0; i < COUNT; i++) {
            pss += smaps(pauses[i].child, "Pss:");
            private += smaps(pauses[i].child, "Private_Dirty:");
        }
        if (pss / COUNT < 32)
            break;
        poll(NULL, 0, 10);
    }
    ok(pss / COUNT < 32, "one of ten costs less than 32 KiB (%lu KiB proportional, %lu private)", pss / COUNT,
       private / COUNT);
    for (int i = 0; i < COUNT; i++) {
        if (pauses[i].child > 0)
            kill(pauses[i].child, SIGTERM);
        reap(&pauses[i]);
    }
    is(pauses[COUNT - 1].child_status, 0, "they end on SIGTERM");
}

int main(void) {
    if (!getenv("HELPER")) {
        skip("the program", "HELPER names none");
        return tap_end();
    }
    test_roles();
    test_bad_plans();
    if (fixture_make(&f))
        test_pause();
    fixture_remove(&f);
    return tap_end();
}
