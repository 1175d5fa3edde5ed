/*
 * What the three files of init's life share: monitor_create.c, monitor_init.c (until it runs), monitor_end.c.
 */
#pragma once
#include "launch.h"
#include "monitor.h"

#define CGROUP_PATH_BYTES 1024u

struct init {
    enum phase phase;
    uint32_t flags;
    int state_dir;
    bool made_socket, opened_log;

    pid_t launcher; /* 0: none, or reaped */
    pid_t pid;      /* 0: not known yet */
    uint64_t start_time;
    bool reaped;
    int status;
    int report;     /* -1: its end was read */
    int fifo;       /* our end of the exec fifo; -1: there is none, or it has served */
    bool released;  /* the byte that init waits for is in the fifo, or was */
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
};

extern struct init init;
/* Apart from the rest, so that pages which nothing was written to cost nothing. Empty: none. */
extern char init_oom_path[CGROUP_PATH_BYTES];
extern char init_kill_path[CGROUP_PATH_BYTES];

/* The first failure is kept, for the answer or the exit record. */
void init_keep_failure(const struct failure *failure);
void init_keep_step_failure(const struct report *report);
/* Undoes everything and ends the monitor; the daemon learns why. Every process of the launch has been reaped.
 */
void init_create_failed(const struct failure *failure);
/* What is known of it; a pid that is reported after a failure follows. */
void init_kill_launch(void);
/* Whether init has taken what START has put into the fifo. */
bool init_passed_fifo(void);
/* Answers a START that waits. */
void init_start_failed(const struct failure *failure);
/* Released, and the report pipe has ended without an error: execve has closed it. */
void init_maybe_started(void);
/* If nothing of the launch is left, the end begins; of one that never got ready, the failure. */
void init_maybe_ended(void);
