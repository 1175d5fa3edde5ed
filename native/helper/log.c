#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PREFIX_BYTES 40u /* "2006-01-02T15:04:05.000000000Z stdout F " */
#define STREAM_AT 31u
#define TAG_AT 38u
#define NOTICE_BYTES 160u
#define BATCH_BYTES 65536u
#define PAGE_BYTES 4096u

/*
 * One process keeps one log: these live outside struct log, each on pages of its own, so that what is not
 * needed is never touched. A batch holds complete lines in the file's format.
 */
static size_t held_length[LOG_STREAMS];
static char held[LOG_STREAMS][LOG_LINE_BYTES] __attribute__((aligned(PAGE_BYTES)));
static char buffer[LOG_LINE_BYTES + LOG_READ_BYTES] __attribute__((aligned(PAGE_BYTES)));
static char batch[BATCH_BYTES] __attribute__((aligned(PAGE_BYTES)));
static size_t batch_length;
static char prefix[PREFIX_BYTES + 1];

/* ---- the file ---- */

static int open_below(int dir_fd, const char *path, uint64_t flags, uint64_t mode) {
    struct open_how how = {
        .flags = flags | O_CLOEXEC | O_NOFOLLOW,
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    return (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof how);
}

/* Makes the missing directories of path: each is opened below the one before it, never through a link. */
static int make_parents(int dir_fd, const char *path, const char **syscall_name) {
    char name[LOG_PATH_BYTES];
    int parent = dir_fd;
    int result = 0;
    const char *slash;
    for (const char *at = path; (slash = strchr(at, '/')) != NULL; at = slash + 1) {
        size_t length = (size_t)(slash - at);
        memcpy(name, at, length);
        name[length] = 0;
        *syscall_name = "mkdirat";
        if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST) {
            result = -errno;
            break;
        }
        *syscall_name = "openat2";
        int next = open_below(parent, name, O_PATH | O_DIRECTORY, 0);
        if (next < 0) {
            result = -errno;
            break;
        }
        if (parent != dir_fd)
            close(parent);
        parent = next;
    }
    if (parent != dir_fd)
        close(parent);
    return result;
}

/* A plain relative path: no empty component, no "." and no "..". */
static bool is_plain(const char *path) {
    for (const char *at = path;;) {
        size_t length = strcspn(at, "/");
        if (length == 0 || (at[0] == '.' && (length == 1 || (length == 2 && at[1] == '.'))))
            return false;
        if (at[length] == 0)
            return true;
        at += length + 1;
    }
}

/* Descriptor of the file, or -errno. O_NONBLOCK: a fifo at that name must not stop us; it has no effect on a
 * file. */
static int open_file(struct log *log, const char **syscall_name) {
    const uint64_t flags = O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY;
    int result = make_parents(log->dir_fd, log->path, syscall_name);
    if (result < 0)
        return result;
    *syscall_name = "openat2";
    log->created = false;
    int fd = open_below(log->dir_fd, log->path, flags, 0);
    if (fd < 0 && errno == ENOENT) {
        fd = open_below(log->dir_fd, log->path, flags | O_CREAT, 0640);
        log->created = fd >= 0;
    }
    if (fd < 0)
        return -errno;
    struct stat found;
    if (fstat(fd, &found) < 0 || !S_ISREG(found.st_mode)) {
        close(fd);
        return -EINVAL;
    }
    return fd;
}

int log_open(struct log *log, int dir_fd, const char *path, bool terminal, const char **syscall_name) {
    *log = (struct log){.dir_fd = dir_fd, .fd = -1, .terminal = terminal};
    *syscall_name = "openat2";
    if (strlen(path) >= sizeof log->path)
        return -ENAMETOOLONG;
    if (!is_plain(path))
        return -EXDEV;
    strcpy(log->path, path);
    int fd = open_file(log, syscall_name);
    if (fd < 0)
        return fd;
    log->fd = fd;
    return 0;
}

int log_reopen(struct log *log, const char **syscall_name) {
    *syscall_name = "openat2";
    if (log->fd < 0)
        return -ENOENT;
    int fd = open_file(log, syscall_name);
    if (fd < 0)
        return fd;
    close(log->fd);
    log->fd = fd;
    log->torn = false;
    return 0;
}

void log_discard(struct log *log) {
    if (log->fd >= 0 && log->created && !log->wrote) {
        struct stat found;
        if (fstat(log->fd, &found) == 0 && found.st_size == 0)
            unlinkat(log->dir_fd, log->path, 0);
    }
}

/* ---- lines ---- */

static void put_decimal(char *at, uint32_t value, uint32_t digits) {
    while (digits-- > 0) {
        at[digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* Returns the end. */
static char *put_number(char *at, uint64_t value) {
    uint32_t digits = 1;
    for (uint64_t rest = value; rest > 9; rest /= 10)
        digits++;
    for (uint32_t i = digits; i-- > 0; value /= 10)
        at[i] = (char)('0' + value % 10);
    return at + digits;
}

/* Days since the epoch → civil date, valid for every year from 1970 on. */
static void put_date(char *at, int64_t days) {
    uint64_t z = (uint64_t)days + 719468;
    uint64_t era = z / 146097;
    uint32_t day_of_era = (uint32_t)(z - era * 146097);
    uint32_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t shifted_month = (5 * day_of_year + 2) / 153;
    uint32_t month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
    put_decimal(at, (uint32_t)(year_of_era + era * 400 + (month <= 2)), 4);
    put_decimal(at + 5, month, 2);
    put_decimal(at + 8, day_of_year - (153 * shifted_month + 2) / 5 + 1, 2);
}

static void set_prefix(enum log_stream stream) {
    static const char *const names[LOG_STREAMS] = {"stdout", "stderr"};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint32_t second = (uint32_t)(now.tv_sec % 86400);
    memcpy(prefix, "0000-00-00T00:00:00.000000000Z stdxxx F ", PREFIX_BYTES + 1);
    put_date(prefix, now.tv_sec / 86400);
    put_decimal(prefix + 11, second / 3600, 2);
    put_decimal(prefix + 14, second / 60 % 60, 2);
    put_decimal(prefix + 17, second % 60, 2);
    put_decimal(prefix + 20, (uint32_t)now.tv_nsec, 9);
    memcpy(prefix + STREAM_AT, names[stream], 6);
}

/* Of the first `written` bytes of the batch, those of a line that is not complete. */
static size_t torn_bytes(size_t written) {
    const char *newline = memrchr(batch, '\n', written);
    return written - (newline == NULL ? 0 : (size_t)(newline + 1 - batch));
}

/* The container's bytes in the batch from a line's start on: no prefix, and the newline only of a whole line.
 */
static uint64_t content_from(size_t at) {
    uint64_t content = 0;
    while (at < batch_length) {
        const char *line = batch + at;
        size_t length = (size_t)((const char *)memchr(line, '\n', batch_length - at) + 1 - line);
        content += length - PREFIX_BYTES - (line[TAG_AT] == 'P');
        at += length;
    }
    return content;
}

/* Removes the bytes of a torn line from the file's end. */
static void take_back(struct log *log, size_t torn) {
    struct stat now;
    if (torn == 0)
        return;
    log->torn = fstat(log->fd, &now) < 0 || now.st_size < (off_t)torn ||
                ftruncate(log->fd, now.st_size - (off_t)torn) < 0;
}

/* Bytes written; less than the batch: errno says why. */
static size_t write_batch(int fd) {
    size_t written = 0;
    while (written < batch_length) {
        ssize_t count = write(fd, batch + written, batch_length - written);
        if (count > 0)
            written += (size_t)count;
        else if (count == 0 || errno != EINTR) {
            errno = count == 0 ? EIO : errno;
            break;
        }
    }
    return written;
}

static void lose(struct log *log, uint64_t bytes, int error) {
    log->lost += bytes;
    log->lost_unsaid += bytes;
    log->lost_errno = error;
}

static const char *reason_of(int error) {
    switch (error) {
    case ENOSPC:
        return "no space left";
    case EDQUOT:
        return "disk quota exceeded";
    case EFBIG:
        return "file too large";
    case EROFS:
        return "read-only file system";
    case LOG_OVER_RATE:
        return "more than the log may take per second";
    default:
        return "input/output error";
    }
}

/* One write: a newline where a torn line stands, and what is missing. False if it could not be written. */
static bool write_notice(struct log *log) {
    if (log->lost_unsaid == 0 && !log->torn)
        return true;
    char text[NOTICE_BYTES] = "\n";
    char *end = text + log->torn;
    if (log->lost_unsaid > 0) {
        end = mempcpy(end, prefix, PREFIX_BYTES);
        if (!log->terminal)
            memcpy(end - PREFIX_BYTES + STREAM_AT, "stderr", 6);
        end = stpcpy(end, "podwright: ");
        end = put_number(end, log->lost_unsaid);
        end = stpcpy(stpcpy(stpcpy(end, " bytes of output lost: "), reason_of(log->lost_errno)), "\n");
    }
    size_t length = (size_t)(end - text);
    ssize_t written = write(log->fd, text, length);
    if (written != (ssize_t)length) {
        bool was_torn = log->torn;
        log->lost_errno = written < 0 ? errno : log->lost_errno;
        if (written > 0)
            take_back(log, (size_t)written);
        log->torn = log->torn || was_torn;
        return false;
    }
    log->torn = false;
    log->wrote = true;
    log->lost_unsaid = 0;
    return true;
}

static void flush_batch(struct log *log) {
    if (batch_length == 0)
        return;
    if (!write_notice(log)) {
        lose(log, content_from(0), log->lost_errno);
    } else {
        size_t written = write_batch(log->fd);
        log->wrote = log->wrote || written > 0;
        if (written < batch_length) {
            int error = errno;
            size_t torn = torn_bytes(written);
            lose(log, content_from(written - torn), error);
            take_back(log, torn);
        }
    }
    batch_length = 0;
}

void log_limit(struct log *log, uint64_t bytes_per_second) {
    log->rate = bytes_per_second;
    log->second_used = 0;
}

/* Whether these bytes still go into the present second. */
static bool within_rate(struct log *log, uint64_t bytes) {
    struct timespec now;
    if (log->rate == 0)
        return true;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (now.tv_sec != log->second) {
        log->second = now.tv_sec;
        log->second_used = 0;
    }
    if (log->second_used > 0 && log->second_used + bytes > log->rate)
        return false;
    log->second_used += bytes;
    return true;
}

/* One line of the file: `length` bytes of content without newline. */
static void add_line(struct log *log, char tag, const char *content, size_t length) {
    uint64_t bytes = length + (tag == 'F');
    if (!within_rate(log, bytes)) {
        flush_batch(log); /* the notice comes behind what was before the gap */
        lose(log, bytes, LOG_OVER_RATE);
        return;
    }
    if (BATCH_BYTES - batch_length < PREFIX_BYTES + length + 1)
        flush_batch(log);
    char *at = batch + batch_length;
    memcpy(at, prefix, PREFIX_BYTES);
    at[TAG_AT] = tag;
    memcpy(at + PREFIX_BYTES, content, length);
    at[PREFIX_BYTES + length] = '\n';
    batch_length += PREFIX_BYTES + length + 1;
}

char *log_space(enum log_stream stream) {
    char *space = buffer + LOG_LINE_BYTES;
    memcpy(space - held_length[stream], held[stream], held_length[stream]);
    return space;
}

void log_commit(struct log *log, enum log_stream stream, size_t length) {
    if (log->fd < 0)
        return;
    const char *scan = buffer + LOG_LINE_BYTES;
    const char *line = scan - held_length[stream];
    const char *end = scan + length;
    const char *newline;
    set_prefix(stream);
    while ((newline = memchr(scan, '\n', (size_t)(end - scan))) != NULL) {
        for (; newline - line > (ptrdiff_t)LOG_LINE_BYTES; line += LOG_LINE_BYTES)
            add_line(log, 'P', line, LOG_LINE_BYTES);
        bool from_terminal = log->terminal && newline > line && newline[-1] == '\r';
        add_line(log, 'F', line, (size_t)(newline - line) - from_terminal);
        line = scan = newline + 1;
    }
    for (; end - line > (ptrdiff_t)LOG_LINE_BYTES; line += LOG_LINE_BYTES)
        add_line(log, 'P', line, LOG_LINE_BYTES);
    flush_batch(log);
    held_length[stream] = (size_t)(end - line);
    memcpy(held[stream], line, held_length[stream]);
}

void log_finish(struct log *log) {
    if (log->fd < 0)
        return;
    for (enum log_stream stream = 0; stream < LOG_STREAMS; stream++) {
        set_prefix(stream);
        if (held_length[stream] > 0)
            add_line(log, 'P', held[stream], held_length[stream]);
        held_length[stream] = 0;
        flush_batch(log);
    }
    write_notice(log);
}

void log_release_buffers(void) {
    madvise(buffer, sizeof buffer, MADV_DONTNEED);
    madvise(batch, sizeof batch, MADV_DONTNEED);
}
