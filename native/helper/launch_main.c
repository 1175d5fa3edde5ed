/* `podwright-init launch N`: the launcher as a process of its own. */
#include "kernel.h"
#include "launch.h"
#include "step.h"
#include <sys/mman.h>

int launch_read_plan(struct launch *l, int fd) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size < 0 || st.st_size > PLAN_MAX_BYTES)
        return -E2BIG;
    size_t size = (size_t)st.st_size, done = 0;
    unsigned char *plan = mmap(NULL, size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (plan == MAP_FAILED)
        return -errno;
    while (done < size) {
        ssize_t n = pread(fd, plan + done, size - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += (size_t)n;
    }
    l->plan = plan;
    l->plan_len = size;
    return 0;
}

void launch_run_file(struct launch *l, int plan_fd) {
    int error = launch_read_plan(l, plan_fd);
    if (error == 0)
        launch_run(l);
    struct plan_view view = {.problem = "the plan cannot be read"};
    report_refused(l->report_fd, &view, error);
    _exit(1);
}

/* N, or -1. */
static long passed_count(const char *text) {
    char *end;
    long count = strtol(text, &end, 10);
    bool valid = text[0] >= '0' && text[0] <= '9' && *end == 0;
    return valid && count <= (long)(PLAN_MAX_SLOTS - PLAN_SLOT_PASSED) ? count : -1;
}

/* A third argument is the descriptor of the console's socket, the one behind the passed ones. */
int launch_main(int argc, char **argv) {
    long passed = argc == 3 || argc == 4 ? passed_count(argv[2]) : -1;
    if (passed < 0 || (argc == 4 && passed_count(argv[3]) != LAUNCH_FD_PASSED + passed))
        return 2;
    struct launch l;
    launch_init(&l);
    for (int fd = 0; fd < 3; fd++)
        l.slots[fd] = fd;
    for (int i = 0; i < passed; i++)
        l.slots[PLAN_SLOT_PASSED + (unsigned)i] = LAUNCH_FD_PASSED + i;
    if (argc == 4)
        l.slots[PLAN_SLOT_CONSOLE] = LAUNCH_FD_PASSED + (int)passed;
    l.report_fd = LAUNCH_FD_REPORT;
    for (int fd = LAUNCH_FD_PLAN; fd < LAUNCH_FD_PASSED + passed + (argc == 4); fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    launch_run_file(&l, LAUNCH_FD_PLAN);
}
