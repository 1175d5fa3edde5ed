#include "attach.h"
#include "log.h"
#include "monitor_init.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_FAILED_CODE 128u
#define REPORT_END_MS 5000u /* how long the rest of a launch may outlive its child */
#define END_MS 5000u        /* how long the rest of the container may take to die */
#define TICK_MS 10u
#define SEND_MS 1000u
#define FLUSH_MS 2000u
#define RECORD_TEMPORARY MONITOR_EXIT_NAME ".tmp"

/* Nothing of the launch is left that could still report or change anything. */
static bool launch_over(void) {
    bool waited = init.dead_since != 0 && monotonic_ms() - init.dead_since >= REPORT_END_MS;
    return (init.pid == 0 || init.reaped) && ((init.report < 0 && init.launcher == 0) || waited);
}

static void put_exit_values(struct frame_buffer *out) {
    uint32_t signal_number = WIFSIGNALED(init.status) ? (uint32_t)WTERMSIG(init.status) : 0;
    uint32_t code = signal_number != 0 ? 128 + signal_number : (uint32_t)WEXITSTATUS(init.status);
    uint64_t kills = init_oom_path[0] != 0 ? cgroup_oom_kills(init_oom_path) : 0;
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
    client_broadcast_last(&exited, SEND_MS);
    init.flush_until = monotonic_ms() + FLUSH_MS;
}

/* What is still to die or to be read before the end can be declared. */
static bool everything_over(uint64_t now) {
    if (!init.cgroup_killed)
        init.cgroup_killed = cgroup_kill_path(init_kill_path);
    bool dead = init.cgroup_killed && !exec_active();
    if (dead || now >= init.end_at)
        stdio_drain();
    return (dead && stdio_drained()) || now >= init.end_at;
}

static void start_ending(uint64_t now) {
    if (init.start_pending && !init_passed_fifo())
        init_start_failed(&(struct failure){.error = ESRCH, .syscall = "start", .detail = "init has ended"});
    init_maybe_started();
    init.end_at = now + END_MS;
    init.tick = now;
    init.cgroup_killed = (init.flags & FLAG_KILL_CGROUP) == 0 || init_kill_path[0] == 0;
    exec_kill_all();
}

void init_maybe_ended(void) {
    if (init.phase == PHASE_EXITED || init.end_at != 0 || !launch_over())
        return;
    if (init.phase != PHASE_CREATING) {
        start_ending(monotonic_ms());
        init_tick(monotonic_ms());
        return;
    }
    init_keep_failure(&(struct failure){.error = ECHILD, .syscall = "launch", .detail = "init has ended"});
    init_create_failed(&init.failure);
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
        init.tick = now + TICK_MS;
    } else if (init.end_at == 0) {
        init_maybe_ended();
    } else if (everything_over(now)) {
        declare_ended();
        init_tick(monotonic_ms());
    } else {
        init.tick = now + TICK_MS;
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
