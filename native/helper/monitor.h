/*
 * The monitor: one process per container, parent of its init and of everything executed in it.
 *
 *   monitor.c         set-up, the event loop, reaping
 *   monitor_client.c  connections of the daemon: accept, receive, send
 *   monitor_request.c what each frame asks for
 *   monitor_create.c  makes the container up to the exec fifo, or undoes it
 *   monitor_init.c    init until it runs: report, start, signals
 *   monitor_end.c     init's end: the rest killed, the pipes emptied, the exit record
 *   monitor_exec.c    processes executed in the container
 *   monitor_helper.c  starts the launcher of such a process
 *   monitor_stdio.c   the container's pipes or terminal → log and attach clients, and their input
 *   monitor_cgroup.c  killing a cgroup, the OOM counter
 *   attach.c, log.c, frame.c
 *
 * One thread, one epoll, one event at a time, so that an event can never meet a table entry that an earlier
 * one of the same batch has freed. After CREATE nothing is allocated: tables and buffers have fixed sizes,
 * and pages of theirs that were never touched cost nothing. Every descriptor is non-blocking and
 * close-on-exec.
 */
#pragma once
#include "frame.h"
#include "plan_format.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct report; /* launch.h */

#define MONITOR_CLIENTS 16u
#define MONITOR_EXECS 256u
#define MONITOR_ATTACHED 16u

/* For large tables and buffers: the linker sorts by alignment, so they do not share pages with small
 * variables. */
#define PAGE_ALIGNED __attribute__((aligned(4096)))

/* Who an epoll event belongs to; the index is into the owner's table. */
enum source {
    SOURCE_SIGNALS,
    SOURCE_LISTENER,
    SOURCE_CLIENT,
    SOURCE_INIT_REPORT,
    SOURCE_OUTPUT,
    SOURCE_STDIN,
    SOURCE_EXEC_REPORT,
    SOURCE_ATTACH_STDIN,
    SOURCE_ATTACH_OUTPUT, /* index: client * 2 + stream */
};

enum phase { PHASE_CREATING = 0, PHASE_CREATED = 1, PHASE_RUNNING = 2, PHASE_EXITED = 3 };

/* ---- monitor.c ---- */

#define NO_DEADLINE UINT64_MAX

/* Level triggered. Events 0: only the end of the other side is reported. 0 or -errno. */
int loop_add(int fd, uint32_t events, enum source source, uint32_t index);
void loop_change(int fd, uint32_t events, enum source source, uint32_t index);
/* Reports nothing any more, not even a hang-up, which would be reported over and over. */
void loop_remove(int fd);
/* Takes the descriptor out of the loop, closes it and sets it to -1. -1 is fine. */
void loop_close(int *fd);
void monitor_end(void);
uint64_t monotonic_ms(void);
uint64_t realtime_ns(void);
int set_nonblocking(int fd);
/* A child that was reaped before its REPORT_PID was read: true and its status. */
bool reaped_before(pid_t pid, int *status);
/* What a child process must undo of the monitor's own settings before it executes anything: vfork-safe. */
void monitor_child_reset(void);

/* ---- monitor_client.c ---- */

/* A connection; a stale reference is harmless: what is sent to it is dropped. */
struct client_ref {
    uint32_t index;
    uint32_t generation;
};

struct request {
    struct frame frame;
    struct client_ref client;
    uint32_t fd_count;
    int fds[FRAME_MAX_FDS]; /* a handler that keeps one sets it to -1; the rest is closed afterwards */
};

/* Why something failed, in FAILED's terms. */
struct failure {
    int error; /* errno, positive */
    const char *syscall;
    const char *detail;
    const char *message;
    const struct report *step; /* NULL unless a plan step failed */
};

int client_listen(int state_dir);
void client_unlisten(void);
/* Takes over a connected socket. */
int client_open(int fd, struct client_ref *ref);
bool client_is_there(struct client_ref ref);
void client_on_listener(void);
void client_on_event(uint32_t index);
/* Reads one frame; for the wait for CREATE. 1, 0 at the end of the connection, -errno. */
int client_receive(uint32_t index, struct request *request);
void request_close_fds(struct request *request);
/* fd -1: none. */
void client_send(struct client_ref ref, const struct frame_buffer *out, int fd);
void client_broadcast(const struct frame_buffer *out);
/* Sends to everybody, waiting up to timeout_ms for a full socket. */
void client_broadcast_last(const struct frame_buffer *out, uint64_t timeout_ms);
/* A line for the daemon's log. */
void client_log(uint32_t level, const char *text);
void reply_ok(const struct request *request);
void reply_failed(struct client_ref client, uint32_t request, const struct failure *failure);
void frame_put_failure(struct frame_buffer *out, const struct failure *failure);

/* ---- monitor_request.c ---- */

void request_handle(struct request *request);

/* ---- monitor_create.c, monitor_init.c, monitor_end.c ---- */

void init_create(struct request *request);
void init_start(const struct request *request);
void init_signal(const struct request *request);
/* The daemon names the restored init. */
void init_adopt(const struct request *request);
void init_on_report(void);
/* Whether the pid was one of init's launch. */
bool init_reaped(pid_t pid, int status);
bool init_launching(void);
void init_client_gone(struct client_ref client);
bool init_alive(void);
void init_tick(uint64_t now);
uint64_t init_deadline(void);
void init_put_hello(struct frame_buffer *out);

/* ---- monitor_exec.c ---- */

void exec_start(struct request *request);
void exec_kill(const struct request *request);
void exec_client_gone(struct client_ref client);
void exec_on_report(uint32_t index);
bool exec_reaped(pid_t pid, int status);
/* Reads every report pipe of a launch in progress, so that REPORT_PID is known before its process is reaped.
 */
void exec_read_reports(void);
bool exec_launching(void);
bool exec_active(void);
void exec_kill_all(void);
void exec_tick(uint64_t now);
uint64_t exec_deadline(void);

/* ---- monitor_helper.c ---- */

#define HELPER_FDS_MAX (LAUNCH_FD_PASSED + FRAME_MAX_FDS + 1)

/* What the launcher of an exec gets. */
struct helper {
    int program; /* of the daemon that asks */
    int cgroup;  /* -1, or the directory of the exec's */
    /* By their numbers in the launcher: 0-2, LAUNCH_FD_*, the passed ones, the console's socket. */
    int fds[HELPER_FDS_MAX];
    uint32_t fd_count, passed;
    bool has_console;
};

/* The launcher's pid or -errno. */
pid_t helper_start(const struct helper *helper);

/* ---- monitor_stdio.c ---- */

struct launch;
struct log;

/* Makes the pipes, or the console's socket pair, and puts the child's ends into the launch's slots. 0 or
 * -errno. */
int stdio_make(uint32_t flags, struct launch *launch, const char **syscall);
/* Closes the child's ends. */
void stdio_launched(void);
/* A descriptor from a socket, if one is there by now; or -errno. */
int receive_descriptor(int socket_fd);
/* Receives the terminal that the plan's CONSOLE step has sent: 0 or -errno. Nothing to do without one. */
int stdio_take_console(void);
void stdio_on_output(uint32_t stream);
void stdio_on_stdin(void);
/* From now on only what is in the pipes at this moment is read: their end may be far (a background process).
 */
void stdio_drain(void);
bool stdio_drained(void);
int stdio_resize(uint32_t columns, uint32_t rows);
int stdio_close_stdin(void);
/* Stops reading the container's output, or goes on. */
void stdio_pause(bool paused);
/* Gives buffers back after a quiet second. */
void stdio_tick(uint64_t now);
uint64_t stdio_deadline(void);
extern struct log container_log;

/* Where attach clients' input goes. */
bool stdin_wanted(void); /* there is an open stdin and room for more */
bool stdin_is_open(void);
/* Room for the next input, or NULL; stdin_put takes over what was read there. */
char *stdin_space(size_t *room);
void stdin_put(size_t length);
void stdin_client_ended(void); /* an attach client's input has ended */

/* ---- monitor_cgroup.c ---- */

/*
 * Kills every process of a cgroup: cgroup.kill where the kernel has it; else every pid of cgroup.procs,
 * between a freeze and a thaw where there is a freezer. True when that is all there is to do (the kernel
 * kills the rest), false to be called again, from a timer.
 */
bool cgroup_kill_dir(int dir_fd);
/* The same by path: of a cgroup.kill, or of a cgroup.procs. */
bool cgroup_kill_path(const char *path);
/* The oom_kill counter in memory.events (v2) or memory.oom_control (v1); 0 if it cannot be read. */
uint64_t cgroup_oom_kills(const char *path);

int monitor_main(int argc, char **argv);
