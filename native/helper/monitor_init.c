#include "monitor_init.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct init init = {.state_dir = -1, .report = -1, .fifo = -1, .tick = NO_DEADLINE};
char init_oom_path[CGROUP_PATH_BYTES];
char init_kill_path[CGROUP_PATH_BYTES];
static struct report failed_step PAGE_ALIGNED;

static uint64_t read_start_time(pid_t pid);

void init_kill_launch(void) {
    if (init.pid > 0 && !init.reaped)
        kill(init.pid, SIGKILL);
    if (init.launcher > 0)
        kill(init.launcher, SIGKILL);
}

void init_keep_failure(const struct failure *failure) {
    if (init.failed)
        return;
    init.failed = true;
    init.failure = *failure;
}

void init_keep_step_failure(const struct report *report) {
    if (init.failed)
        return;
    failed_step = *report;
    init_keep_failure(&(struct failure){.step = &failed_step});
}

/* ---- created ---- */

/* READY: init waits at the fifo. */
static void created(void) {
    int result = stdio_take_console();
    if (result < 0 || init.pid == 0) {
        init_keep_failure(result < 0
                              ? &(struct failure){.error = -result, .syscall = "recvmsg", .detail = "console"}
                              : &(struct failure){.error = EPROTO, .syscall = "launch", .detail = "no pid"});
        init_kill_launch();
        return;
    }
    init.start_time = read_start_time(init.pid);
    init.phase = PHASE_CREATED;
    struct frame_buffer out;
    frame_begin(&out, FRAME_CREATED, init.create_request);
    frame_put_u32(&out, TAG_PID, (uint32_t)init.pid);
    frame_put_u64(&out, TAG_START_TIME, init.start_time);
    client_send(init.creator, &out, -1);
}

/* The program that makes init runs: execve has closed the report pipe, and it made no report of an error. */
static void maybe_restoring(void) {
    bool executed = init.report < 0 && !init.failed && init.pid != 0 && !init.reaped;
    if ((init.flags & FLAG_RESTORE) != 0 && init.phase == PHASE_CREATING && executed)
        created();
}

/* Field 22 of /proc/PID/stat; the name before it may hold anything but is the last thing in brackets. */
static uint64_t read_start_time(pid_t pid) {
    char path[] = "/proc/0000000000/stat";
    char text[1024];
    char *at = path + sizeof "/proc/0000000000" - 1;
    memcpy(at, "/stat", sizeof "/stat");
    do
        *--at = (char)('0' + pid % 10);
    while ((pid /= 10) > 0);
    memcpy(at - 6, "/proc/", 6);
    int fd = open(at - 6, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    text[length > 0 ? length : 0] = 0;
    const char *field = strrchr(text, ')');
    for (int i = 0; field != NULL && i < 20; i++)
        field = strchr(field + 1, ' ');
    uint64_t value = 0;
    for (field = field == NULL ? "" : field + 1; *field >= '0' && *field <= '9'; field++)
        value = value * 10 + (uint64_t)(*field - '0');
    return value;
}

/* ---- start ---- */

void init_start_failed(const struct failure *failure) {
    if (init.start_pending)
        reply_failed(init.starter, init.start_request, failure);
    init.start_pending = false;
}

/* Why START is refused, or 0. One that a client has left without its answer is taken over. */
static int refuse_start(void) {
    if (init.phase != PHASE_CREATED || init.dead_since != 0)
        return ESRCH;
    return init.start_pending && client_is_there(init.starter) ? EALREADY : 0;
}

/* Lets init go on. One that is dead already does not: its end answers the START. */
static int release_init(void) {
    if (init.released)
        return 0;
    if (init.fifo < 0)
        return -ENOENT;
    init.released = write(init.fifo, "", 1) == 1;
    return init.released || errno == EPIPE ? 0 : -errno;
}

static void send_started(struct client_ref client, uint32_t request) {
    struct frame_buffer out;
    frame_begin(&out, FRAME_STARTED, request);
    frame_put_u32(&out, TAG_PID, (uint32_t)init.pid);
    frame_put_u64(&out, TAG_START_TIME, init.start_time);
    frame_put_u64(&out, TAG_AT_NS, init.started_at);
    client_send(client, &out, -1);
}

/* A second START, of a daemon that died before it knew, gets the answer of the first. */
void init_start(const struct request *request) {
    if (init.phase == PHASE_RUNNING) {
        send_started(request->client, request->frame.request);
        return;
    }
    struct failure failure = {.error = refuse_start(), .syscall = "start", .detail = ""};
    if (failure.error == 0)
        failure = (struct failure){.error = -release_init(), .syscall = "write", .detail = "exec fifo"};
    if (failure.error != 0) {
        reply_failed(request->client, request->frame.request, &failure);
        return;
    }
    init.starter = request->client;
    init.start_request = request->frame.request;
    init.start_pending = true;
}

bool init_passed_fifo(void) {
    int left;
    return init.released && ioctl(init.fifo, FIONREAD, &left) == 0 && left == 0;
}

static void started(void) {
    init.phase = PHASE_RUNNING;
    init.started_at = realtime_ns();
    if (init.fifo >= 0)
        close(init.fifo);
    init.fifo = -1;
    if (init.start_pending)
        send_started(init.starter, init.start_request);
    init.start_pending = false;
}

/* Released, and the report pipe has ended without an error: execve has closed it. */
void init_maybe_started(void) {
    if (init.phase == PHASE_CREATED && init.report < 0 && !init.failed && init_passed_fifo())
        started();
}

static bool is_child(pid_t pid) {
    siginfo_t info;
    return pid > 0 && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static int adopt(const struct request *request) {
    uint32_t pid = 0;
    int result = frame_u32(&request->frame, TAG_PID, &pid);
    if (result < 0)
        return result;
    if ((init.flags & FLAG_RESTORE) == 0 || init.phase != PHASE_CREATED || init.dead_since != 0)
        return -ESRCH;
    /* The launcher and the program itself are our children too, but no init. */
    if ((pid_t)pid == init.pid || (pid_t)pid == init.launcher || !is_child((pid_t)pid))
        return -ECHILD;
    init.pid = (pid_t)pid;
    init.start_time = read_start_time(init.pid);
    init.released = true;
    return 0;
}

void init_adopt(const struct request *request) {
    int result = adopt(request);
    if (result < 0) {
        reply_failed(request->client, request->frame.request,
                     &(struct failure){.error = -result, .syscall = "waitid", .detail = "init"});
        return;
    }
    started();
    send_started(request->client, request->frame.request);
}

void init_signal(const struct request *request) {
    uint32_t number = 0;
    int result = frame_u32(&request->frame, TAG_SIGNAL, &number);
    if (result == 0 && number > 64)
        result = -EINVAL;
    /* Not reaped yet, so the pid is still init's own. */
    if (result == 0)
        result = init.pid == 0 || init.reaped || init.phase == PHASE_EXITED ? -ESRCH
                 : kill(init.pid, (int)number) < 0                          ? -errno
                                                                            : 0;
    init.kill_sent = init.kill_sent || (result == 0 && number == SIGKILL);
    if (result == 0)
        reply_ok(request);
    else
        reply_failed(request->client, request->frame.request,
                     &(struct failure){.error = -result, .syscall = "kill", .detail = "init"});
}

/* ---- the launch's report ---- */

static void on_step_error(const struct report *report) {
    init_keep_step_failure(report);
    init_start_failed(&init.failure);
    init_kill_launch();
}

static void note_death(int status) {
    init.reaped = true;
    init.status = status;
    init.dead_since = monotonic_ms();
    init.ended_at = realtime_ns();
}

/* A later pid replaces the one before it: JOIN_PID forks again. */
static void on_pid(pid_t pid) {
    int status;
    init.pid = pid;
    init.reaped = false;
    init.dead_since = 0;
    if (reaped_before(pid, &status))
        note_death(status);
    if (init.failed)
        init_kill_launch();
}

void init_on_report(void) {
    struct report report;
    int result = -EAGAIN;
    while (init.report >= 0 && (result = report_next(init.report, &report)) == 1) {
        if (report.type == REPORT_PID)
            on_pid((pid_t)report.pid);
        else if (report.type == REPORT_READY && init.phase == PHASE_CREATING && !init.failed)
            created();
        else if (report.type == REPORT_ERROR && !init.failed)
            on_step_error(&report);
        else if (report.type == REPORT_LOG)
            client_log(report.level, report.text);
    }
    if (init.report >= 0 && result != -EAGAIN && result != -EINTR) {
        if (result < 0) {
            init_keep_failure(&(struct failure){.error = -result, .syscall = "read", .detail = "report"});
            init_start_failed(&init.failure);
            init_kill_launch();
        }
        loop_close(&init.report);
    }
    maybe_restoring();
    init_maybe_started();
    init_maybe_ended();
}

/* A daemon that has gone while init is being made will never start it. */
void init_client_gone(struct client_ref client) {
    bool being_made =
        init.phase == PHASE_CREATING || (init.phase == PHASE_CREATED && (init.flags & FLAG_RESTORE) != 0);
    if (being_made && client.index == init.creator.index && client.generation == init.creator.generation)
        init_kill_launch();
}

bool init_alive(void) {
    return init.phase != PHASE_CREATING && init.phase != PHASE_EXITED && init.dead_since == 0;
}

bool init_launching(void) {
    return init.report >= 0;
}

bool init_reaped(pid_t pid, int status) {
    if (pid == init.launcher)
        init.launcher = 0;
    else if (pid == init.pid && !init.reaped)
        note_death(status);
    else
        return false;
    init_maybe_ended();
    return true;
}
