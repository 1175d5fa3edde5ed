/*
 * The monitor protocol: one frame per SEQPACKET packet, both directions; the TypeScript side is
 * runtime/monitor/frames.ts.
 *
 *   header   u16 type, u16 version, u32 request
 *   values   u16 tag, u16 length in bytes, the bytes, padding to 4; numbers native endian
 *
 * Frames and the exit record only ever grow: an unknown tag is passed over, an unknown type answered with
 * FAILED (ENOSYS). A request carries a number chosen by the client; its answers carry the same. Number 0:
 * unasked. Descriptors travel with SCM_RIGHTS in the order given. Peers other than uid 0 are dropped.
 *
 *   daemon                                 monitor
 *     |  spawn, descriptor 3 is the socket    |
 *     |---- CREATE (plan, state dir, …) ----->|  makes fifo, socket; launches init; opens log
 *     |<--- CREATED {pid, start time} --------|  or FAILED, after which the monitor has cleaned up and ends
 *     |---- START --------------------------->|  writes to the exec fifo
 *     |<--- STARTED {pid} --------------------|  or FAILED {list, step, kind, errno, …}; an EXITED follows
 * then
 *     |---- EXEC (plan, stdio, helper) ------>|
 *     |<--- EXEC_STARTED {pid} ---------------|  or FAILED
 *     |<--- EXEC_EXITED {code, signal} -------|
 *     |<--- EXITED {code, signal, oom, at} ---|  written to the exit record first; then the monitor ends
 *
 * A client that connects to the listening socket in the state directory gets HELLO first.
 */
#pragma once
#include <stdint.h>

#define FRAME_VERSION 1
#define FRAME_MAX_BYTES 65536u
#define FRAME_MAX_FDS 16u

#define MONITOR_SOCKET_FD 3
#define MONITOR_SOCKET_NAME "monitor.sock"
#define MONITOR_EXIT_NAME "exit" /* the EXITED frame's bytes */

enum frame_type {
    FRAME_HELLO = 1, /* PHASE, PID, START_TIME; when exited all of EXITED; LOG_LOST_BYTES */
    /* CONTAINER_ID, FLAGS, LOG_PATH?, OOM_PATH?, KILL_PATH?; fds: plan, state directory (O_PATH|O_DIRECTORY),
     * log directory (absent: no LOG_PATH), passed… The connection ending before the answer undoes everything.
     */
    FRAME_CREATE = 2,
    FRAME_CREATED = 3, /* PID, START_TIME */
    /* ERRNO, SYSCALL, DETAIL; from a plan step also STEP_LIST, STEP_INDEX, STEP_KIND; MESSAGE */
    FRAME_FAILED = 4,
    FRAME_OK = 5,
    FRAME_START = 6,   /* of a running container: answered as the first time */
    FRAME_STARTED = 7, /* PID, START_TIME, AT_NS */
    /* EXEC_CGROUP?, FLAGS; fds: plan, helper, then stdin, stdout, stderr unless FLAG_TTY, then the cgroup v2
     * (or freezer) directory of the exec if FLAG_CGROUP, then passed… */
    FRAME_EXEC = 8,
    FRAME_EXEC_STARTED = 9, /* PID; with FLAG_TTY one descriptor: the pty master */
    FRAME_EXEC_EXITED = 10, /* EXIT_CODE, EXIT_SIGNAL, AT_NS */
    FRAME_EXEC_KILL = 11,   /* request = that of the exec: kills its cgroup (or its process); no answer */
    FRAME_SIGNAL = 12,      /* SIGNAL: to init */
    FRAME_RESIZE = 13,      /* COLUMNS, ROWS: the container's tty */
    FRAME_REOPEN_LOG = 14,
    FRAME_ATTACH = 15, /* FLAGS (STDIN, STDOUT, STDERR); fds: one per flag in that order, pipes or sockets */
    FRAME_LIMITS = 16, /* LOG_RATE_BYTES: per second, 0 none */
    /* EXIT_CODE, EXIT_SIGNAL, OOM, OOM_KILLS, AT_NS, STARTED_AT_NS, LOG_LOST_BYTES; if init never became the
     * command, FAILED's values too */
    FRAME_EXITED = 17,
    FRAME_LOG = 18, /* LEVEL, MESSAGE: a line for the daemon's log (from REPORT_LOG or the monitor itself) */
    FRAME_CLOSE_STDIN = 19, /* ends the container's stdin; a terminal has no end: FAILED EOPNOTSUPP */
    /* After a CREATE with FLAG_RESTORE: PID of the child that is init from now on; answered with STARTED, or
     * FAILED ECHILD if it is no child of the monitor */
    FRAME_INIT = 20,
};

enum frame_tag {
    TAG_PID = 1,        /* u32 */
    TAG_START_TIME = 2, /* u64 clock ticks after boot, /proc/PID/stat field 22 */
    TAG_PHASE = 3,      /* u32: 0 creating, 1 created, 2 running, 3 exited */
    TAG_ERRNO = 4,      /* u32 */
    TAG_SYSCALL = 5,    /* text without NUL, as all texts here */
    TAG_DETAIL = 6,
    TAG_MESSAGE = 7,
    TAG_STEP_LIST = 8,     /* u32 */
    TAG_STEP_INDEX = 9,    /* u32 */
    TAG_STEP_KIND = 10,    /* u32 */
    TAG_FLAGS = 11,        /* u32 of FLAG_* */
    TAG_CONTAINER_ID = 12, /* text */
    TAG_LOG_PATH = 13,     /* text, relative to the log directory */
    /* text: memory.events (v2) or memory.oom_control (v1) of the container's cgroup, host path */
    TAG_OOM_PATH = 14,
    /* text: cgroup.kill, or the cgroup.procs of one hierarchy where that file is absent */
    TAG_KILL_PATH = 15,
    TAG_EXIT_CODE = 16,   /* u32: exit code, or 128 + signal */
    TAG_EXIT_SIGNAL = 17, /* u32, 0 none */
    /* u32 0/1: the cgroup's oom_kill counter is above 0, and init was killed by SIGKILL or exited with 137 (a
     * shell whose last child was), and no SIGNAL frame had asked for SIGKILL. From the kernel's counter,
     * never guessed. */
    TAG_OOM = 18,
    TAG_OOM_KILLS = 19,      /* u64 */
    TAG_AT_NS = 20,          /* u64 nanoseconds since the epoch */
    TAG_STARTED_AT_NS = 21,  /* u64 */
    TAG_LOG_LOST_BYTES = 22, /* u64 bytes that could not be written */
    TAG_SIGNAL = 23,         /* u32 */
    TAG_COLUMNS = 24,        /* u32 */
    TAG_ROWS = 25,           /* u32 */
    TAG_EXEC_CGROUP = 26,    /* text: host path of the exec's sub-cgroup, removed when it is empty */
    TAG_LOG_RATE_BYTES = 27, /* u64 */
    TAG_LEVEL = 28,          /* u32 */
};

enum frame_flag {
    FLAG_TTY = 1u << 0,
    FLAG_STDIN = 1u << 1,      /* CREATE: keep a stdin pipe; ATTACH: a descriptor for stdin is there */
    FLAG_STDIN_ONCE = 1u << 2, /* stdin ends with its first attach client */
    FLAG_STDOUT = 1u << 3,
    FLAG_STDERR = 1u << 4,
    FLAG_CGROUP = 1u << 5, /* EXEC: a cgroup directory descriptor is there */
    /* CREATE: when init exits, kill the rest of its cgroup (shared or host pid namespace) */
    FLAG_KILL_CGROUP = 1u << 6,
    /* CREATE: the plan executes a program that makes init as a child of the monitor. No fifo; CREATED {PID of
     * the program} when it was executed. It is of no account once INIT has named init; if it ends before, so
     * does the container. */
    FLAG_RESTORE = 1u << 7,
};
