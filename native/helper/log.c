#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PREFIX_BYTES 40u /* "2006-01-02T15:04:05.000000000Z stdout F " */
#define TAG_AT 38u
#define STREAM_AT 31u
#define BATCH_PARTS 768u /* iovecs: below IOV_MAX */
#define NOTICE_BYTES 160u
#define PAGE_BYTES 4096u

struct held {
    size_t length;
    char bytes[LOG_LINE_BYTES];
};

/* One process keeps one log: these live outside struct log so that untouched pages cost nothing. */
static struct held held[LOG_STREAMS];
static char buffer[LOG_LINE_BYTES + LOG_READ_BYTES] __attribute__((aligned(PAGE_BYTES)));

static struct {
    struct iovec parts[BATCH_PARTS];
    uint32_t count;
    char full[PREFIX_BYTES + 1];
    char partial[PREFIX_BYTES + 1];
} batch;

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
    memcpy(batch.full, "0000-00-00T00:00:00.000000000Z stdxxx F ", PREFIX_BYTES + 1);
    put_date(batch.full, now.tv_sec / 86400);
    put_decimal(batch.full + 11, second / 3600, 2);
    put_decimal(batch.full + 14, second / 60 % 60, 2);
    put_decimal(batch.full + 17, second % 60, 2);
    put_decimal(batch.full + 20, (uint32_t)now.tv_nsec, 9);
    memcpy(batch.full + STREAM_AT, names[stream], 6);
    memcpy(batch.partial, batch.full, PREFIX_BYTES + 1);
    batch.partial[TAG_AT] = 'P';
}

/* Of the first `written` bytes of the batch, those that belong to a line that is not complete. */
static size_t torn_bytes(size_t written) {
    size_t since_line = 0;
    for (uint32_t i = 0; i < batch.count && written > 0; i++) {
        size_t length = batch.parts[i].iov_len;
        size_t taken = length < written ? length : written;
        const char *bytes = batch.parts[i].iov_base;
        bool ends_line = taken == length && bytes[length - 1] == '\n';
        since_line = ends_line ? 0 : since_line + taken;
        written -= taken;
    }
    return since_line;
}

/* Content bytes (no prefixes, no newlines that we added) of the batch behind its first `written` bytes. */
static uint64_t content_behind(size_t written) {
    uint64_t content = 0;
    for (uint32_t i = 0; i < batch.count; i++) {
        const struct iovec *part = &batch.parts[i];
        size_t taken = part->iov_len < written ? part->iov_len : written;
        const char *bytes = part->iov_base;
        if (bytes >= buffer && bytes < buffer + sizeof buffer)
            content += part->iov_len - taken;
        written -= taken;
    }
    return content;
}

/* Content bytes of the torn line are lost as well: it is taken back. */
static void take_back(struct log *log, size_t torn) {
    struct stat now;
    if (torn == 0)
        return;
    log->torn = fstat(log->fd, &now) < 0 || now.st_size < (off_t)torn ||
                ftruncate(log->fd, now.st_size - (off_t)torn) < 0;
}

/* Writes the parts from `skip` bytes on. Total written; less than asked: errno says why. */
static size_t write_parts(int fd, size_t total) {
    struct iovec parts[BATCH_PARTS];
    uint32_t first = 0;
    size_t written = 0;
    struct iovec *from = batch.parts;
    while (written < total) {
        ssize_t count = writev(fd, from + first, (int)(batch.count - first));
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            if (count == 0)
                errno = EIO;
            break;
        }
        written += (size_t)count;
        if (written == total)
            break;
        /* Short write, rare: go on with a copy, so that the batch stays as it is for the accounts. */
        if (from == batch.parts) {
            memcpy(parts, batch.parts, sizeof parts);
            from = parts;
        }
        size_t rest = (size_t)count;
        while (rest >= from[first].iov_len)
            rest -= from[first++].iov_len;
        from[first].iov_base = (char *)from[first].iov_base + rest;
        from[first].iov_len -= rest;
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
        end = mempcpy(end, batch.full, PREFIX_BYTES);
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
        log->lost_errno = written < 0 ? errno : ENOSPC;
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
    if (batch.count == 0)
        return;
    size_t total = 0;
    for (uint32_t i = 0; i < batch.count; i++)
        total += batch.parts[i].iov_len;
    if (!write_notice(log)) {
        lose(log, content_behind(0), log->lost_errno);
    } else {
        size_t written = write_parts(log->fd, total);
        log->wrote = log->wrote || written > 0;
        if (written < total) {
            int error = errno;
            size_t torn = torn_bytes(written);
            lose(log, content_behind(written - torn), error);
            take_back(log, torn);
        }
    }
    batch.count = 0;
}

static void add_part(const char *bytes, size_t length) {
    batch.parts[batch.count++] = (struct iovec){.iov_base = (char *)(uintptr_t)bytes, .iov_len = length};
}

static void add_line(struct log *log, const char *line, size_t length_with_newline) {
    if (batch.count + 2 > BATCH_PARTS)
        flush_batch(log);
    add_part(batch.full, PREFIX_BYTES);
    add_part(line, length_with_newline);
}

static void add_piece(struct log *log, const char *piece, size_t length) {
    if (batch.count + 3 > BATCH_PARTS)
        flush_batch(log);
    add_part(batch.partial, PREFIX_BYTES);
    add_part(piece, length);
    add_part("\n", 1);
}

char *log_space(enum log_stream stream) {
    const struct held *rest = &held[stream];
    char *space = buffer + LOG_LINE_BYTES;
    memcpy(space - rest->length, rest->bytes, rest->length);
    return space;
}

void log_commit(struct log *log, enum log_stream stream, size_t length) {
    if (log->fd < 0)
        return;
    struct held *rest = &held[stream];
    char *scan = buffer + LOG_LINE_BYTES;
    char *line = scan - rest->length;
    char *end = scan + length;
    char *newline;
    set_prefix(stream);
    while ((newline = memchr(scan, '\n', (size_t)(end - scan))) != NULL) {
        for (; newline - line > (ptrdiff_t)LOG_LINE_BYTES; line += LOG_LINE_BYTES)
            add_piece(log, line, LOG_LINE_BYTES);
        scan = newline + 1;
        if (log->terminal && newline > line && newline[-1] == '\r')
            *--newline = '\n';
        add_line(log, line, (size_t)(newline + 1 - line));
        line = scan;
    }
    for (; end - line > (ptrdiff_t)LOG_LINE_BYTES; line += LOG_LINE_BYTES)
        add_piece(log, line, LOG_LINE_BYTES);
    flush_batch(log);
    rest->length = (size_t)(end - line);
    memcpy(rest->bytes, line, rest->length);
}

void log_finish(struct log *log) {
    if (log->fd < 0)
        return;
    for (enum log_stream stream = 0; stream < LOG_STREAMS; stream++) {
        size_t length = held[stream].length;
        if (length == 0)
            continue;
        char *space = log_space(stream);
        set_prefix(stream);
        add_piece(log, space - length, length);
        flush_batch(log);
        held[stream].length = 0;
    }
    set_prefix(LOG_STDOUT);
    write_notice(log);
}

void log_release_buffer(void) {
    madvise(buffer, sizeof buffer, MADV_DONTNEED);
}
