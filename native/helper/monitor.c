#include "monitor.h"
#include "attach.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OOM_SCORE_PATH "/proc/self/oom_score_adj"
#define EARLY_DEATHS 64u

static const int ignored_signals[] = {SIGPIPE, SIGXFSZ, SIGTERM, SIGINT, SIGHUP,
                                      SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM};

static int epoll = -1;
static int signals = -1;
static bool ended;
static char oom_score_before[16]; /* what our children get back; empty: unchanged */
static ssize_t oom_score_length;

/* Processes reaped while a launch was under way whose pids nobody knew yet. */
static struct {
    pid_t pid;
    int status;
} early_deaths[EARLY_DEATHS];
static uint32_t early_next;

/* ---- the loop's descriptors ---- */

static int loop_control(int operation, int fd, uint32_t events, enum source source, uint32_t index) {
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)source << 32 | index};
    return epoll_ctl(epoll, operation, fd, &event) < 0 ? -errno : 0;
}

int loop_add(int fd, uint32_t events, enum source source, uint32_t index) {
    return loop_control(EPOLL_CTL_ADD, fd, events, source, index);
}

void loop_change(int fd, uint32_t events, enum source source, uint32_t index) {
    loop_control(EPOLL_CTL_MOD, fd, events, source, index);
}

/* By hand even before a close: the daemon may hold the same open file, which would keep the entry alive. */
void loop_remove(int fd) {
    loop_control(EPOLL_CTL_DEL, fd, 0, 0, 0);
}

void loop_close(int *fd) {
    if (*fd < 0)
        return;
    loop_remove(*fd);
    close(*fd);
    *fd = -1;
}

int set_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

static uint64_t nanoseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t monotonic_ms(void) {
    return nanoseconds(CLOCK_MONOTONIC) / 1000000u;
}

uint64_t realtime_ns(void) {
    return nanoseconds(CLOCK_REALTIME);
}

void monitor_end(void) {
    ended = true;
}

/* ---- set-up ---- */

/* The monitor outlives the daemon's session and terminal, and a full disk or a gone reader is an errno to it.
 */
static int set_signals(void) {
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    for (size_t i = 0; i < sizeof ignored_signals / sizeof *ignored_signals; i++)
        sigaction(ignored_signals[i], &ignore, NULL);
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    if (sigprocmask(SIG_SETMASK, &children, NULL) < 0)
        return -errno;
    signals = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
    return signals < 0 ? -errno : loop_add(signals, EPOLLIN, SOURCE_SIGNALS, 0);
}

/* After init's launcher was forked, which keeps the daemon's value. Without CAP_SYS_RESOURCE ours stays too.
 */
static void lower_oom_score(void) {
    int fd = open(OOM_SCORE_PATH, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t length = read(fd, oom_score_before, sizeof oom_score_before);
    if (length > 0 && pwrite(fd, "-999", 4, 0) == 4)
        oom_score_length = length;
    close(fd);
}

void monitor_child_reset(void) {
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (size_t i = 0; i < sizeof ignored_signals / sizeof *ignored_signals; i++)
        sigaction(ignored_signals[i], &standard, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (oom_score_length == 0)
        return;
    int fd = open(OOM_SCORE_PATH, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, oom_score_before, (size_t)oom_score_length) >= 0)
        close(fd);
}

/* Most of the program is code of other roles and of the set-up: what the loop needs is mapped again when it
 * runs. */
static void forget_setup_code(void) {
    extern const char __executable_start[], etext[];
    madvise((void *)(uintptr_t)__executable_start, (size_t)(etext - __executable_start), MADV_DONTNEED);
}

/* ---- reaping ---- */

bool reaped_before(pid_t pid, int *status) {
    for (uint32_t i = 0; i < EARLY_DEATHS; i++) {
        if (early_deaths[i].pid != pid)
            continue;
        *status = early_deaths[i].status;
        early_deaths[i].pid = 0;
        /* The number may be in use again, then that process is the one that was reported. */
        return kill(pid, 0) < 0 && errno == ESRCH;
    }
    return false;
}

/* We are a subreaper, so the orphans of the container come to us as well and are simply buried. */
static void reap(void) {
    struct signalfd_siginfo info;
    while (read(signals, &info, sizeof info) > 0)
        ;
    for (;;) {
        if (init_launching())
            init_on_report();
        exec_read_reports();
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0)
            break;
        if (init_reaped(pid, status) || exec_reaped(pid, status) || !(init_launching() || exec_launching()))
            continue;
        early_deaths[early_next].pid = pid;
        early_deaths[early_next].status = status;
        early_next = (early_next + 1) % EARLY_DEATHS;
    }
    if (!init_launching() && !exec_launching())
        for (uint32_t i = 0; i < EARLY_DEATHS; i++)
            early_deaths[i].pid = 0;
}

/* ---- the loop ---- */

static void dispatch(enum source source, uint32_t index) {
    switch (source) {
    case SOURCE_SIGNALS:
        reap();
        break;
    case SOURCE_LISTENER:
        client_on_listener();
        break;
    case SOURCE_CLIENT:
        client_on_event(index);
        break;
    case SOURCE_INIT_REPORT:
        init_on_report();
        break;
    case SOURCE_OUTPUT:
        stdio_on_output(index);
        break;
    case SOURCE_STDIN:
        stdio_on_stdin();
        break;
    case SOURCE_EXEC_REPORT:
        exec_on_report(index);
        break;
    case SOURCE_ATTACH_STDIN:
        attach_on_stdin(index);
        break;
    case SOURCE_ATTACH_OUTPUT:
        attach_on_output(index);
        break;
    }
}

static uint64_t earliest(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static int timeout_ms(void) {
    uint64_t deadline =
        earliest(earliest(init_deadline(), exec_deadline()), earliest(stdio_deadline(), attach_deadline()));
    if (deadline == NO_DEADLINE)
        return -1;
    uint64_t now = monotonic_ms();
    return deadline <= now ? 0 : (int)earliest(deadline - now, 60000);
}

static void tick(void) {
    uint64_t now = monotonic_ms();
    exec_tick(now);
    attach_tick(now);
    stdio_tick(now);
    if (init_deadline() <= now)
        init_tick(now);
}

static void run(void) {
    while (!ended) {
        struct epoll_event event;
        int timeout = timeout_ms();
        int count = epoll_wait(epoll, &event, 1, timeout);
        if (count == 1)
            dispatch((enum source)(event.data.u64 >> 32), (uint32_t)event.data.u64);
        if (timeout >= 0)
            tick();
    }
    attach_close_all();
}

/* The daemon's first frame, however late; false if the daemon leaves, or sends something else than CREATE. */
static bool receive_create(struct client_ref client, struct request *request) {
    struct pollfd wait = {.fd = MONITOR_SOCKET_FD, .events = POLLIN};
    while (poll(&wait, 1, -1) < 0)
        if (errno != EINTR)
            return false;
    if (client_receive(client.index, request) != 1)
        return false;
    if (request->frame.type == FRAME_CREATE)
        return true;
    request_close_fds(request);
    return false;
}

int monitor_main(int argc, char **argv) {
    (void)argv;
    struct client_ref client;
    struct request request;
    if (argc != 3)
        return 2;
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_NAME, "podwright-mon");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0 || chdir("/") < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || set_signals() < 0 ||
        fcntl(MONITOR_SOCKET_FD, F_SETFD, FD_CLOEXEC) < 0 || client_open(MONITOR_SOCKET_FD, &client) < 0)
        return 1;
    if (!receive_create(client, &request))
        return 1;
    init_create(&request);
    request_close_fds(&request);
    lower_oom_score();
    forget_setup_code();
    run();
    return 0;
}
