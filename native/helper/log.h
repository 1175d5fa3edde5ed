/*
 * The container's log file in the format that the kubelet reads (CRI, "2006-01-02T15:04:05.000000000Z stdout
 * F text"), UTC with nine digits.
 *
 * Output is read into the log's own buffer (log_space), then taken over (log_commit): complete lines leave
 * with one writev per batch, what has no newline yet is held back. A line longer than LOG_LINE_BYTES is cut
 * into pieces tagged P; the rest of a stream that never got its newline is written as P when the container
 * has ended, as containerd does: the kubelet then prints it without one. On a terminal the carriage return
 * that the terminal put before the newline is left out.
 *
 * A write that fails loses that batch and never stops the caller: the bytes are counted, a line that was torn
 * is taken back, and the first write that works again is preceded by a line that says how much is missing.
 * The same becomes of lines beyond the rate, if there is one: so many bytes of content per second, whole
 * lines, and one at least.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_BYTES 16384u
#define LOG_READ_BYTES 65536u
#define LOG_PATH_BYTES 1024u

enum log_stream { LOG_STDOUT = 0, LOG_STDERR = 1, LOG_STREAMS = 2 };

struct log {
    int dir_fd;
    int fd; /* -1: there is no log, everything is dropped uncounted */
    char path[LOG_PATH_BYTES];
    bool terminal;
    bool created;         /* by log_open: the file was not there before */
    bool wrote;           /* anything, since log_open */
    bool torn;            /* the file ends within a line that could not be taken back */
    uint64_t lost;        /* bytes of output that could not be written, in all */
    uint64_t lost_unsaid; /* of those, what no line in the log speaks of yet */
    int lost_errno;       /* of the last failure; LOG_OVER_RATE */
    uint64_t rate;        /* bytes per second, 0: any */
    uint64_t second_used; /* in the present second */
    int64_t second;
};

#define LOG_OVER_RATE (-1)

/* Opens (or makes) path below dir_fd; takes over dir_fd. 0, or -errno with *syscall naming the call. */
int log_open(struct log *log, int dir_fd, const char *path, bool terminal, const char **syscall);
/* Opens the path anew after somebody renamed the file. On failure the old file stays in use. */
int log_reopen(struct log *log, const char **syscall);
/* From now on at most so many bytes of output per second; 0: any. */
void log_limit(struct log *log, uint64_t bytes_per_second);
/* Removes the file if log_open made it and it is still empty. */
void log_discard(struct log *log);

/* Room for the next read of that stream: LOG_READ_BYTES. Valid until log_commit or the next log_space. */
char *log_space(enum log_stream stream);
/* Takes over length bytes that were read to log_space's answer. */
void log_commit(struct log *log, enum log_stream stream, size_t length);
/* Writes what the streams still hold back, and the notice of lost bytes. */
void log_finish(struct log *log);
/* Gives the buffers' pages back to the kernel. Nothing may be between log_space and log_commit. */
void log_release_buffers(void);
