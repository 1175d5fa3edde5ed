#include "attach.h"
#include "launch.h"
#include "log.h"
#include "monitor.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_FAILED_CODE 128u
#define REPORT_END_MS 5000u /* how long the rest of a launch may outlive its child */
#define END_MS 5000u        /* how long the rest of the container may take to die */
#define KILL_TICK_MS 10u
#define SEND_MS 1000u
#define FLUSH_MS 2000u
#define CGROUP_PATH_BYTES 1024u
#define RECORD_TEMPORARY MONITOR_EXIT_NAME ".tmp"

static struct {
    enum phase phase;
    uint32_t flags;
    int state_dir;
    bool made_fifo, made_socket, opened_log;

    pid_t launcher; /* 0: none, or reaped */
    pid_t pid;      /* 0: not known yet */
    uint64_t start_time;
    bool reaped;
    int status;
    int report; /* -1: its end was read */
    int fifo;
    bool released;  /* init has passed the fifo */
    bool kill_sent; /* SIGKILL through us: then an exit by SIGKILL is not the kernel's doing */
    uint64_t started_at;
    uint64_t ended_at;
    bool failed; /* it never became the command */
    struct failure failure;

    struct client_ref creator, starter;
    uint32_t create_request, start_request;
    bool start_pending;

    uint64_t dead_since; /* monotonic ms; 0: alive */
    uint64_t end_at;     /* the container's end is declared then at the latest; 0: not ending */
    bool cgroup_killed;
    uint64_t tick;
    uint64_t flush_until;
} init = {.state_dir = -1, .report = -1, .fifo = -1, .tick = NO_DEADLINE};

/* Apart from the rest, so that pages which nothing was written to cost nothing. */
static char oom_path[CGROUP_PATH_BYTES];
static char kill_path[CGROUP_PATH_BYTES];
static struct report failed_step PAGE_ALIGNED;

static uint64_t read_start_time(pid_t pid);
static void maybe_ended(void);

static void kill_launch(void) {
    if (init.pid > 0 && !init.reaped)
        kill(init.pid, SIGKILL);
    if (init.launcher > 0)
        kill(init.launcher, SIGKILL);
}

/* ---- create ---- */

/* The plan's bytes, mapped; the launcher is forked with them. */
static int read_plan(int fd, const unsigned char **plan, size_t *length) {
    struct stat found;
    if (fstat(fd, &found) < 0)
        return -errno;
    if (found.st_size <= 0 || found.st_size > (off_t)PLAN_MAX_BYTES)
        return -EFBIG;
    *length = (size_t)found.st_size;
    unsigned char *bytes = mmap(NULL, *length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED)
        return -errno;
    *plan = bytes;
    for (size_t at = 0; at < *length;) {
        ssize_t count = pread(fd, bytes + at, *length - at, (off_t)at);
        if (count <= 0)
            return count < 0 ? -errno : -EPROTO;
        at += (size_t)count;
    }
    return 0;
}

/* An existing fifo is an error: somebody else's container lives in this directory. */
static int make_fifo(int *fd) {
    if (mkfifoat(init.state_dir, MONITOR_FIFO_NAME, 0600) < 0)
        return -errno;
    init.made_fifo = true;
    *fd = openat(init.state_dir, MONITOR_FIFO_NAME, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (*fd < 0)
        return -errno;
    /* After the umask, and through the descriptor. */
    return fchmodat(init.state_dir, MONITOR_FIFO_NAME, 0622, 0) < 0 ? -errno : 0;
}

static int read_request(struct request *request, struct failure *failure) {
    const struct frame *frame = &request->frame;
    static char log_path[LOG_PATH_BYTES];
    frame_u32(frame, TAG_FLAGS, &init.flags);
    int result = frame_text(frame, TAG_OOM_PATH, oom_path, sizeof oom_path);
    if (result == 0 || result == -ENODATA)
        result = frame_text(frame, TAG_KILL_PATH, kill_path, sizeof kill_path);
    if (result < 0 && result != -ENODATA)
        return result;
    result = frame_text(frame, TAG_LOG_PATH, log_path, sizeof log_path);
    if (result < 0 && result != -ENODATA)
        return result;
    bool has_log = result == 0;
    if (request->fd_count < 2u + has_log ||
        request->fd_count - 2u - has_log > PLAN_SLOT_FREE - PLAN_SLOT_PASSED)
        return -EINVAL;
    init.state_dir = request->fds[1];
    request->fds[1] = -1;
    if (!has_log)
        return 0;
    int log_dir = request->fds[2];
    request->fds[2] = -1;
    failure->detail = log_path;
    result = log_open(&container_log, log_dir, log_path, (init.flags & FLAG_TTY) != 0, &failure->syscall);
    init.opened_log = result == 0;
    return result;
}

static void keep_failure(const struct failure *failure) {
    if (init.failed)
        return;
    init.failed = true;
    init.failure = *failure;
}

static void keep_step_failure(const struct report *report) {
    if (init.failed)
        return;
    failed_step = *report;
    keep_failure(&(struct failure){.step = &failed_step});
}

/* Forks the launcher; 0 or -errno. A refused plan's own report is kept for the answer. */
static int launch(const struct request *request, uint32_t first_passed, struct launch *work) {
    int report[2];
    int result = read_plan(request->fds[0], &work->plan, &work->plan_len);
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
    pid_t launcher = result < 0 ? result : launch_start(work);
    close(report[1]);
    munmap((void *)(uintptr_t)work->plan, work->plan_len);
    struct report refused;
    if (launcher < 0 && result == 0 && report_next(init.report, &refused) == 1 &&
        refused.type == REPORT_ERROR)
        keep_step_failure(&refused);
    if (launcher < 0)
        return launcher;
    init.launcher = launcher;
    return 0;
}

static int create(struct request *request, struct failure *failure) {
    static struct launch work; /* large; used once */
    int fifo = -1;
    *failure = (struct failure){.syscall = "create", .detail = ""};
    int result = read_request(request, failure);
    if (result < 0)
        return result;
    *failure = (struct failure){.syscall = "mknodat", .detail = MONITOR_FIFO_NAME};
    if ((result = make_fifo(&fifo)) < 0)
        return result;
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
    result = launch(request, init.opened_log ? 3 : 2, &work);
    stdio_launched();
    close(fifo);
    return result;
}

/* Undoes everything and ends the monitor; the daemon learns why. Every process of the launch has been reaped.
 */
static void create_failed(const struct failure *failure) {
    if (init.made_fifo)
        unlinkat(init.state_dir, MONITOR_FIFO_NAME, 0);
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
    create_failed(init.failed ? &init.failure : &failure);
}

/* READY: init waits at the fifo. */
static void created(void) {
    int result = stdio_take_console();
    if (result < 0 || init.pid == 0) {
        keep_failure(result < 0
                         ? &(struct failure){.error = -result, .syscall = "recvmsg", .detail = "console"}
                         : &(struct failure){.error = EPROTO, .syscall = "launch", .detail = "no pid"});
        kill_launch();
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

static void start_failed(const struct failure *failure) {
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

/* Opens the fifo, which lets init go on: the loop sees it write. */
static int release_init(void) {
    if (init.fifo >= 0 || init.released)
        return 0;
    init.fifo = openat(init.state_dir, MONITOR_FIFO_NAME, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    return init.fifo < 0 ? -errno : loop_add(init.fifo, EPOLLIN, SOURCE_INIT_FIFO, 0);
}

static void send_started(struct client_ref client, uint32_t request) {
    struct frame_buffer out;
    frame_begin(&out, FRAME_STARTED, request);
    frame_put_u32(&out, TAG_PID, (uint32_t)init.pid);
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
        failure =
            (struct failure){.error = -release_init(), .syscall = "openat", .detail = MONITOR_FIFO_NAME};
    if (failure.error != 0) {
        reply_failed(request->client, request->frame.request, &failure);
        return;
    }
    init.starter = request->client;
    init.start_request = request->frame.request;
    init.start_pending = true;
}

/* Whether init has written to the fifo. The fifo has served then, and goes. */
static bool read_fifo(void) {
    char byte;
    if (init.fifo < 0 || read(init.fifo, &byte, 1) != 1)
        return false;
    loop_close(&init.fifo);
    unlinkat(init.state_dir, MONITOR_FIFO_NAME, 0);
    init.made_fifo = false;
    init.released = true;
    return true;
}

static void started(void) {
    init.phase = PHASE_RUNNING;
    init.started_at = realtime_ns();
    if (init.start_pending)
        send_started(init.starter, init.start_request);
    init.start_pending = false;
}

/* Released, and the report pipe has ended without an error: execve has closed it. */
static void maybe_started(void) {
    if (init.phase == PHASE_CREATED && init.released && init.report < 0 && !init.failed)
        started();
}

void init_on_fifo(void) {
    if (read_fifo()) {
        maybe_started();
        return;
    }
    /* A hang-up without data: init has died at the fifo; its exit says so. */
    if (init.fifo >= 0)
        loop_remove(init.fifo);
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
    keep_step_failure(report);
    start_failed(&init.failure);
    kill_launch();
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
}

void init_on_report(void) {
    struct report report;
    int result = -EAGAIN;
    while (init.report >= 0 && (result = report_next(init.report, &report)) == 1) {
        if (report.type == REPORT_PID)
            on_pid((pid_t)report.pid);
        else if (report.type == REPORT_READY && init.phase == PHASE_CREATING)
            created();
        else if (report.type == REPORT_ERROR && !init.failed)
            on_step_error(&report);
        else if (report.type == REPORT_LOG)
            client_log(report.level, report.text);
    }
    if (init.report >= 0 && result != -EAGAIN && result != -EINTR) {
        if (result < 0) {
            keep_failure(&(struct failure){.error = -result, .syscall = "read", .detail = "report"});
            start_failed(&init.failure);
            kill_launch();
        }
        loop_close(&init.report);
    }
    maybe_started();
    maybe_ended();
}

/* A daemon that has gone while init is being made will never start it. */
void init_client_gone(struct client_ref client) {
    if (init.phase == PHASE_CREATING && client.index == init.creator.index &&
        client.generation == init.creator.generation)
        kill_launch();
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
    maybe_ended();
    return true;
}

/* ---- the end ---- */

/* Nothing of the launch is left that could still report or change anything. */
static bool launch_over(void) {
    bool waited = init.dead_since != 0 && monotonic_ms() - init.dead_since >= REPORT_END_MS;
    return (init.pid == 0 || init.reaped) && ((init.report < 0 && init.launcher == 0) || waited);
}

static void put_exit_values(struct frame_buffer *out) {
    uint32_t signal_number = WIFSIGNALED(init.status) ? (uint32_t)WTERMSIG(init.status) : 0;
    uint32_t code = signal_number != 0 ? 128 + signal_number : (uint32_t)WEXITSTATUS(init.status);
    uint64_t kills = oom_path[0] != 0 ? cgroup_oom_kills(oom_path) : 0;
    bool killed = (signal_number == SIGKILL || code == 128 + SIGKILL) && !init.kill_sent;
    frame_put_u32(out, TAG_EXIT_CODE, init.failed ? START_FAILED_CODE : code);
    frame_put_u32(out, TAG_EXIT_SIGNAL, init.failed ? 0 : signal_number);
    frame_put_u32(out, TAG_OOM, kills > 0 && killed && !init.failed);
    frame_put_u64(out, TAG_OOM_KILLS, kills);
    frame_put_u64(out, TAG_AT_NS, init.ended_at);
    frame_put_u64(out, TAG_STARTED_AT_NS, init.started_at);
    frame_put_u64(out, TAG_LOG_LOST_BYTES, container_log.lost);
    if (init.failed)
        frame_put_failure(out, &init.failure);
}

/* Temporary file and rename: a reader sees the whole record or none. */
static int write_record(const struct frame_buffer *record) {
    int fd =
        openat(init.state_dir, RECORD_TEMPORARY, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    ssize_t written = write(fd, record->bytes, record->length);
    int error = written < 0 ? errno : written != (ssize_t)record->length ? ENOSPC : 0;
    close(fd);
    if (error == 0 && renameat(init.state_dir, RECORD_TEMPORARY, init.state_dir, MONITOR_EXIT_NAME) < 0)
        error = errno;
    if (error != 0)
        unlinkat(init.state_dir, RECORD_TEMPORARY, 0);
    return -error;
}

static void declare_ended(void) {
    log_finish(&container_log);
    init.phase = PHASE_EXITED;
    struct frame_buffer exited;
    frame_begin(&exited, FRAME_EXITED, 0);
    put_exit_values(&exited);
    if (write_record(&exited) < 0)
        client_log(2, "exit record cannot be written");
    unlinkat(init.state_dir, MONITOR_SOCKET_NAME, 0);
    if (init.made_fifo)
        unlinkat(init.state_dir, MONITOR_FIFO_NAME, 0);
    client_broadcast_last(&exited, SEND_MS);
    init.flush_until = monotonic_ms() + FLUSH_MS;
    init.tick = init.flush_until;
}

/* What is still to die or to be read before the end can be declared. */
static bool everything_over(uint64_t now) {
    if (!init.cgroup_killed)
        init.cgroup_killed = cgroup_kill_path(kill_path);
    bool dead = init.cgroup_killed && !exec_active();
    if (dead || now >= init.end_at)
        stdio_drain();
    return (dead && stdio_drained()) || now >= init.end_at;
}

static void start_ending(uint64_t now) {
    if (init.start_pending && !read_fifo())
        start_failed(&(struct failure){.error = ESRCH, .syscall = "start", .detail = "init has ended"});
    maybe_started();
    init.end_at = now + END_MS;
    init.tick = now;
    init.cgroup_killed = (init.flags & FLAG_KILL_CGROUP) == 0 || kill_path[0] == 0;
    exec_kill_all();
}

static void maybe_ended(void) {
    if (init.phase == PHASE_EXITED || init.end_at != 0 || !launch_over())
        return;
    if (init.phase != PHASE_CREATING) {
        start_ending(monotonic_ms());
        init_tick(monotonic_ms());
        return;
    }
    keep_failure(&(struct failure){.error = ECHILD, .syscall = "launch", .detail = "init has ended"});
    create_failed(&init.failure);
}

uint64_t init_deadline(void) {
    uint64_t waiting =
        init.dead_since != 0 && init.end_at == 0 ? init.dead_since + REPORT_END_MS : NO_DEADLINE;
    return init.tick < waiting ? init.tick : waiting;
}

void init_tick(uint64_t now) {
    if (init.phase == PHASE_EXITED) {
        if (attach_flushed() || now >= init.flush_until)
            monitor_end();
    } else if (init.end_at == 0) {
        maybe_ended();
    } else if (everything_over(now)) {
        declare_ended();
        init_tick(monotonic_ms());
    } else {
        init.tick = now + KILL_TICK_MS;
    }
}

void init_put_hello(struct frame_buffer *out) {
    frame_put_u32(out, TAG_PHASE, init.phase);
    frame_put_u32(out, TAG_PID, (uint32_t)init.pid);
    frame_put_u64(out, TAG_START_TIME, init.start_time);
    if (init.phase == PHASE_EXITED)
        put_exit_values(out);
    else {
        frame_put_u64(out, TAG_STARTED_AT_NS, init.started_at);
        frame_put_u64(out, TAG_LOG_LOST_BYTES, container_log.lost);
    }
}
