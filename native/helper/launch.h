/*
 * Starting a launch plan, and reading what it reports.
 *
 *   caller                    launcher                      child
 *     | launch_start (fork) ---> parent steps
 *     |                          CLONE (CLONE_PARENT) -------> child steps
 *     | <- REPORT_PID ---------- |                             |
 *     |                          | <------- SYNC n ----------> |
 *     |                          list done, exits 0            |
 *     | <- REPORT_READY --------------------------------------- EXEC_FIFO or PAUSE
 *     | <- end of file ---------------------------------------- execve
 *
 * The launcher and the child are both children of the caller: it reaps both. The child becomes ready, or the
 * command, only when the launcher's list is done. If either fails it reports one REPORT_ERROR and the other
 * one dies with it.
 */
#pragma once
#include "plan.h"
#include <sys/types.h>

struct launch {
    const unsigned char *plan;
    size_t plan_len;
    int slots[PLAN_MAX_SLOTS]; /* -1: empty */
    int report_fd;             /* write end of the report pipe */
    /* The unified cgroup in which the launcher was started; 0: that of whoever started it. */
    dev_t cgroup_device;
    ino_t cgroup_inode;
};

/* Every slot empty, no report pipe. */
void launch_init(struct launch *l);
/*
 * Validates the plan, then forks the launcher process (no exec); that one calls prepare, which undoes what
 * the caller has done to signals, and closes every descriptor that is in no slot. The caller keeps its
 * descriptors and closes its copy of report_fd. Returns the launcher's pid or -errno; for a refused plan
 * (-EINVAL, -E2BIG) a REPORT_ERROR has been written too.
 */
pid_t launch_start(struct launch *l, void (*prepare)(void));
/* The same in this process, whose signals are at their defaults; used by `podwright-init launch N`. */
_Noreturn void launch_run(struct launch *l);
/* The same with the plan of a file. */
_Noreturn void launch_run_file(struct launch *l, int plan_fd);
/* Copies the plan from its file, so that nobody changes it after the check. 0 or -errno; plan_len + 1 bytes
 * are mapped. */
int launch_read_plan(struct launch *l, int fd);
/* `podwright-init launch N` and `exec N`: see LAUNCH_FD_* in plan_format.h. */
int launch_main(int argc, char **argv);

#define REPORT_MAX_BYTES 4096u /* PIPE_BUF: a record is one atomic write */
#define REPORT_SYSCALL_BYTES 32u
#define REPORT_TEXT_BYTES 3072u

struct report {
    uint32_t type;                      /* enum report_type */
    uint32_t pid;                       /* REPORT_PID */
    uint32_t list, index, kind, errnum; /* REPORT_ERROR */
    char syscall[REPORT_SYSCALL_BYTES]; /* REPORT_ERROR */
    uint32_t level;                     /* REPORT_LOG */
    char text[REPORT_TEXT_BYTES]; /* REPORT_ERROR: the detail; REPORT_LOG: the line. Always terminated */
};

/* Reads one record from the pipe: 1 and *out, 0 at the end, -EAGAIN on a non-blocking pipe, -EPROTO for
 * nonsense. */
int report_next(int fd, struct report *out);
