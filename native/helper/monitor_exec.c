#include "kernel.h"
#include "launch.h"
#include "monitor.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CGROUP_PATH_BYTES 512u
#define KILL_TICK_MS 10u
#define KILL_MS 2000u
/* For so long what a command leaves can still be killed: one that dies of its terminal's hang-up ends before
 * its client is known to have gone. */
#define LINGER_MS 1000u

struct exec {
    bool used;
    bool answered; /* EXEC_STARTED or FAILED was sent */
    bool started;
    bool reaped;
    bool killing; /* its cgroup is being killed until kill_until */
    uint64_t kill_until;
    uint64_t over_at; /* 0: its process lives */
    struct client_ref client;
    uint32_t request;
    pid_t launcher; /* 0: reaped */
    pid_t pid;      /* 0: not known yet */
    int status;
    int report; /* -1: its end was read */
    int console;
    int cgroup;
    char cgroup_path[CGROUP_PATH_BYTES];
};

static struct exec execs[MONITOR_EXECS] PAGE_ALIGNED;
static uint32_t used_count;
static uint32_t launching_count;
static uint64_t tick = NO_DEADLINE;

static void maybe_over(struct exec *exec);

/* ---- start ---- */

static int make_report(struct exec *exec, uint32_t index, int *write_end) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    exec->report = ends[0];
    *write_end = ends[1];
    int result = set_nonblocking(exec->report);
    return result < 0 ? result : loop_add(exec->report, EPOLLIN, SOURCE_EXEC_REPORT, index);
}

/* Sorts the request's descriptors: plan, helper, stdio unless a terminal is asked for, cgroup if flagged,
 * passed. */
static int arrange(const struct request *request, uint32_t flags, struct exec *exec, struct helper *helper,
                   int console) {
    uint32_t next = 0;
    uint32_t fixed = 2u + ((flags & FLAG_TTY) ? 0 : 3) + ((flags & FLAG_CGROUP) != 0);
    if (request->fd_count < fixed)
        return -EINVAL;
    helper->fds[LAUNCH_FD_PLAN] = request->fds[next++];
    helper->program = request->fds[next++];
    for (int fd = 0; fd < 3; fd++)
        helper->fds[fd] = (flags & FLAG_TTY) ? fd : request->fds[next++];
    if (flags & FLAG_CGROUP)
        exec->cgroup = helper->cgroup = fcntl(request->fds[next++], F_DUPFD_CLOEXEC, 3);
    helper->fd_count = LAUNCH_FD_PASSED;
    while (next < request->fd_count)
        helper->fds[helper->fd_count++] = request->fds[next++];
    helper->passed = helper->fd_count - LAUNCH_FD_PASSED;
    helper->has_console = console >= 0;
    if (console >= 0)
        helper->fds[helper->fd_count++] = console;
    return (flags & FLAG_CGROUP) && exec->cgroup < 0 ? -EMFILE : 0;
}

static int launch(const struct request *request, uint32_t flags, struct exec *exec, const char **syscall) {
    struct helper helper = {.cgroup = -1};
    int console[2] = {-1, -1}, report = -1;
    *syscall = "socketpair";
    if ((flags & FLAG_TTY) && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, console) < 0)
        return -errno;
    exec->console = console[0];
    *syscall = "exec";
    int result = arrange(request, flags, exec, &helper, console[1]);
    if (result == 0)
        result = make_report(exec, (uint32_t)(exec - execs), &report);
    helper.fds[LAUNCH_FD_REPORT] = report;
    *syscall = "execveat";
    if (result == 0)
        result = helper_start(&helper);
    if (report >= 0)
        close(report);
    if (console[1] >= 0)
        close(console[1]);
    if (result < 0)
        return result;
    exec->launcher = result;
    return 0;
}

static struct exec *free_exec(void) {
    for (uint32_t i = 0; i < MONITOR_EXECS && used_count < MONITOR_EXECS; i++)
        if (!execs[i].used)
            return &execs[i];
    return NULL;
}

static void release(struct exec *exec) {
    loop_close(&exec->report);
    if (exec->console >= 0)
        close(exec->console);
    if (exec->cgroup >= 0)
        close(exec->cgroup);
    exec->used = false;
    used_count--;
}

static void fail(struct client_ref client, uint32_t request, int error, const char *syscall,
                 const char *detail, const char *message) {
    reply_failed(client, request,
                 &(struct failure){.error = error, .syscall = syscall, .detail = detail, .message = message});
}

void exec_start(struct request *request) {
    uint32_t number = request->frame.request;
    if (!init_alive()) {
        fail(request->client, number, ESRCH, "exec", "", "the container is not running");
        return;
    }
    struct exec *exec = free_exec();
    if (exec == NULL) {
        fail(request->client, number, EAGAIN, "exec", "", "too many processes are being executed");
        return;
    }
    *exec = (struct exec){
        .client = request->client, .request = number, .report = -1, .console = -1, .cgroup = -1};
    uint32_t flags = 0;
    const char *syscall = "exec";
    frame_u32(&request->frame, TAG_FLAGS, &flags);
    int result = frame_text(&request->frame, TAG_EXEC_CGROUP, exec->cgroup_path, sizeof exec->cgroup_path);
    exec->used = true;
    used_count++;
    if (result == 0 || result == -ENODATA)
        result = launch(request, flags, exec, &syscall);
    if (result < 0) {
        fail(request->client, number, -result, syscall, "", NULL);
        release(exec);
        return;
    }
    launching_count++;
}

/* ---- report ---- */

static void send_started(struct exec *exec, int terminal) {
    struct frame_buffer out;
    frame_begin(&out, FRAME_EXEC_STARTED, exec->request);
    frame_put_u32(&out, TAG_PID, (uint32_t)exec->pid);
    exec->answered = true;
    exec->started = true;
    client_send(exec->client, &out, terminal);
}

static void kill_process(const struct exec *exec) {
    if (exec->pid > 0 && !exec->reaped)
        kill(exec->pid, SIGKILL);
    if (exec->launcher > 0 && exec->report >= 0)
        kill(exec->launcher, SIGKILL);
}

/* The report's end: the process has become its command, or is dead. */
static void launched(struct exec *exec) {
    loop_close(&exec->report);
    launching_count--;
    if (exec->answered)
        return;
    if (exec->pid == 0) {
        exec->answered = true;
        fail(exec->client, exec->request, ECHILD, "launch", "the launcher has ended", NULL);
        return;
    }
    int terminal = exec->console < 0 ? -1 : receive_descriptor(exec->console);
    if (exec->console >= 0 && terminal < 0) {
        exec->answered = true;
        fail(exec->client, exec->request, -terminal, "recvmsg", "console", NULL);
        kill_process(exec);
        return;
    }
    send_started(exec, terminal);
    if (terminal >= 0)
        close(terminal);
}

static void on_error(struct exec *exec, const struct report *report) {
    if (!exec->answered)
        reply_failed(exec->client, exec->request, &(struct failure){.step = report});
    exec->answered = true;
    kill_process(exec);
}

static void on_record(struct exec *exec, const struct report *report) {
    if (report->type == REPORT_PID) {
        exec->pid = (pid_t)report->pid;
        exec->reaped = reaped_before(exec->pid, &exec->status);
    } else if (report->type == REPORT_ERROR) {
        on_error(exec, report);
    } else if (report->type == REPORT_LOG) {
        client_log(report->level, report->text);
    }
}

static void read_report(struct exec *exec) {
    struct report report;
    int result = -EAGAIN;
    while (exec->report >= 0 && (result = report_next(exec->report, &report)) == 1)
        on_record(exec, &report);
    if (exec->report >= 0 && result != -EAGAIN && result != -EINTR) {
        if (result < 0)
            kill_process(exec);
        launched(exec);
    }
}

void exec_on_report(uint32_t index) {
    struct exec *exec = &execs[index];
    if (!exec->used)
        return;
    read_report(exec);
    maybe_over(exec);
}

void exec_read_reports(void) {
    for (uint32_t i = 0; i < MONITOR_EXECS && launching_count > 0; i++)
        if (execs[i].used && execs[i].report >= 0)
            /* The process may be reaped already: then the report's end is the last that is heard of it. */
            exec_on_report(i);
}

bool exec_launching(void) {
    return launching_count > 0;
}

bool exec_active(void) {
    return used_count > 0;
}

/* ---- end ---- */

bool exec_reaped(pid_t pid, int status) {
    for (uint32_t i = 0; i < MONITOR_EXECS && used_count > 0; i++) {
        struct exec *exec = &execs[i];
        if (!exec->used)
            continue;
        if (pid == exec->launcher)
            exec->launcher = 0;
        else if (pid == exec->pid && !exec->reaped) {
            exec->reaped = true;
            exec->status = status;
        } else
            continue;
        maybe_over(exec);
        return true;
    }
    return false;
}

static void send_exited(const struct exec *exec) {
    uint32_t signal_number = WIFSIGNALED(exec->status) ? (uint32_t)WTERMSIG(exec->status) : 0;
    struct frame_buffer out;
    frame_begin(&out, FRAME_EXEC_EXITED, exec->request);
    frame_put_u32(&out, TAG_EXIT_CODE,
                  signal_number != 0 ? 128 + signal_number : (uint32_t)WEXITSTATUS(exec->status));
    frame_put_u32(&out, TAG_EXIT_SIGNAL, signal_number);
    frame_put_u64(&out, TAG_AT_NS, realtime_ns());
    client_send(exec->client, &out, -1);
}

/* Kills what is left where that was asked for, and removes the empty cgroup. False: later again. */
static bool clean_up(struct exec *exec, uint64_t now) {
    bool last_time = now >= (exec->killing ? exec->kill_until : exec->over_at + LINGER_MS);
    if (exec->killing && exec->cgroup >= 0 && !cgroup_kill_dir(exec->cgroup) && !last_time)
        return false;
    /* EBUSY: a process that it left in the background, or one that is not quite dead. */
    return exec->cgroup_path[0] == 0 || rmdir(exec->cgroup_path) == 0 || errno != EBUSY || last_time;
}

static void maybe_over(struct exec *exec) {
    bool dead = exec->report < 0 && (exec->pid == 0 || exec->reaped);
    if (!exec->used || !dead)
        return;
    if (exec->started)
        send_exited(exec);
    exec->started = false;
    uint64_t now = monotonic_ms();
    if (exec->over_at == 0)
        exec->over_at = now;
    uint64_t again = exec->killing ? now + KILL_TICK_MS : exec->over_at + LINGER_MS;
    if (clean_up(exec, now))
        release(exec);
    else if (tick > again)
        tick = again;
}

/* False: something may be left. While it is being launched there may always be a process that nobody knows
 * yet. */
static bool kill_now(struct exec *exec) {
    kill_process(exec);
    bool killed = exec->cgroup >= 0 && cgroup_kill_dir(exec->cgroup);
    return killed && exec->report < 0;
}

static void kill_exec(struct exec *exec) {
    uint64_t now = monotonic_ms();
    exec->killing = true;
    exec->kill_until = now + KILL_MS;
    if (!kill_now(exec) || exec->over_at != 0)
        tick = now + KILL_TICK_MS;
}

void exec_kill(const struct request *request) {
    for (uint32_t i = 0; i < MONITOR_EXECS; i++) {
        struct exec *exec = &execs[i];
        if (exec->used && exec->request == request->frame.request &&
            exec->client.index == request->client.index &&
            exec->client.generation == request->client.generation) {
            kill_exec(exec);
            return;
        }
    }
    /* Gone already: its EXEC_EXITED is on the way or was read. */
}

void exec_client_gone(struct client_ref client) {
    for (uint32_t i = 0; i < MONITOR_EXECS && used_count > 0; i++)
        if (execs[i].used && execs[i].client.index == client.index &&
            execs[i].client.generation == client.generation)
            kill_exec(&execs[i]);
}

void exec_kill_all(void) {
    for (uint32_t i = 0; i < MONITOR_EXECS && used_count > 0; i++)
        if (execs[i].used)
            kill_exec(&execs[i]);
}

uint64_t exec_deadline(void) {
    return tick;
}

/* Repeats what could not be finished: processes that were born past a kill, cgroups not empty yet. */
void exec_tick(uint64_t now) {
    if (now < tick)
        return;
    tick = NO_DEADLINE;
    for (uint32_t i = 0; i < MONITOR_EXECS && used_count > 0; i++) {
        struct exec *exec = &execs[i];
        if (!exec->used)
            continue;
        if (exec->killing && now < exec->kill_until && !kill_now(exec))
            tick = now + KILL_TICK_MS;
        maybe_over(exec);
    }
}
