#include "log.h"
#include "monitor_init.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A pipe: init, which may wait for days, then holds nothing of the host's file system. */
static int make_fifo(int *theirs) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    *theirs = ends[0];
    init.fifo = ends[1];
    return 0;
}

/* Kept for the answer. */
static char log_path[LOG_PATH_BYTES];

static int read_request(struct request *request, bool *has_log) {
    const struct frame *frame = &request->frame;
    frame_u32(frame, TAG_FLAGS, &init.flags);
    int result = frame_text(frame, TAG_OOM_PATH, init_oom_path, sizeof init_oom_path);
    if (result == 0 || result == -ENODATA)
        result = frame_text(frame, TAG_KILL_PATH, init_kill_path, sizeof init_kill_path);
    if (result < 0 && result != -ENODATA)
        return result;
    result = frame_text(frame, TAG_LOG_PATH, log_path, sizeof log_path);
    if (result < 0 && result != -ENODATA)
        return result;
    *has_log = result == 0;
    if (request->fd_count < 2u + *has_log ||
        request->fd_count - 2u - *has_log > PLAN_SLOT_FREE - PLAN_SLOT_PASSED)
        return -EINVAL;
    init.state_dir = request->fds[1];
    request->fds[1] = -1;
    return 0;
}

static int open_log(struct request *request, struct failure *failure) {
    int log_dir = request->fds[2];
    request->fds[2] = -1;
    failure->detail = log_path;
    int result = log_open(&container_log, log_dir, log_path, (init.flags & FLAG_TTY) != 0, &failure->syscall);
    init.opened_log = result == 0;
    return result;
}

/* Nothing of the container runs before START, so a launch whose log cannot be opened ends with that failure.
 */
static void open_log_beside(struct request *request) {
    struct failure failure = {.detail = ""};
    int result = open_log(request, &failure);
    if (result == 0)
        return;
    failure.error = -result;
    init_keep_failure(&failure);
    init_kill_launch();
}

/* Forks the launcher; 0 or -errno. A refused plan's own report is kept for the answer. */
static int launch(const struct request *request, uint32_t first_passed, struct launch *work) {
    int report[2];
    int result = launch_read_plan(work, request->fds[0]);
    if (result < 0)
        return result;
    if (pipe2(report, O_CLOEXEC) < 0)
        return -errno;
    init.report = report[0];
    result = set_nonblocking(init.report);
    if (result == 0)
        result = loop_add(init.report, EPOLLIN, SOURCE_INIT_REPORT, 0);
    work->report_fd = report[1];
    for (uint32_t i = first_passed; i < request->fd_count; i++)
        work->slots[PLAN_SLOT_PASSED + i - first_passed] = request->fds[i];
    pid_t launcher = result < 0 ? result : launch_start(work, monitor_child_reset);
    close(report[1]);
    munmap((void *)(uintptr_t)work->plan, work->plan_len + 1);
    struct report refused;
    if (launcher < 0 && result == 0 && report_next(init.report, &refused) == 1 &&
        refused.type == REPORT_ERROR)
        init_keep_step_failure(&refused);
    if (launcher < 0)
        return launcher;
    init.launcher = launcher;
    return 0;
}

static int create(struct request *request, struct failure *failure) {
    static struct launch work; /* large; used once */
    int fifo = -1;
    bool has_log = false, restores;
    *failure = (struct failure){.syscall = "create", .detail = ""};
    int result = read_request(request, &has_log);
    restores = (init.flags & FLAG_RESTORE) != 0;
    if (result == 0 && has_log && restores) /* what is restored runs at once */
        result = open_log(request, failure);
    if (result < 0)
        return result;
    *failure = (struct failure){.syscall = "pipe2", .detail = "exec fifo"};
    if (!restores && (result = make_fifo(&fifo)) < 0)
        return result;
    /* An existing socket is an error: somebody else's container lives in this directory. */
    *failure = (struct failure){.syscall = "bind", .detail = MONITOR_SOCKET_NAME};
    if ((result = client_listen(init.state_dir)) < 0)
        return result;
    init.made_socket = true;
    launch_init(&work);
    work.slots[PLAN_SLOT_EXEC_FIFO] = fifo;
    failure->detail = "stdio";
    if ((result = stdio_make(init.flags, &work, &failure->syscall)) < 0)
        return result;
    *failure = (struct failure){.syscall = "fork", .detail = "launcher"};
    result = launch(request, has_log ? 3 : 2, &work);
    stdio_launched();
    if (result == 0 && has_log && !restores)
        open_log_beside(request);
    if (fifo >= 0)
        close(fifo);
    return result;
}

/* Undoes everything and ends the monitor; the daemon learns why. Every process of the launch has been reaped.
 */
void init_create_failed(const struct failure *failure) {
    if (init.made_socket)
        unlinkat(init.state_dir, MONITOR_SOCKET_NAME, 0);
    if (init.opened_log)
        log_discard(&container_log);
    reply_failed(init.creator, init.create_request, failure);
    monitor_end();
}

void init_create(struct request *request) {
    struct failure failure;
    init.creator = request->client;
    init.create_request = request->frame.request;
    int result = create(request, &failure);
    if (result == 0)
        return;
    failure.error = -result;
    init_create_failed(init.failed ? &init.failure : &failure);
}
