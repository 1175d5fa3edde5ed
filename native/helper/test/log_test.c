/* The CRI log: what its lines say, that no cut or failed write ever breaks one, and where it may be. */
#include "../log.h"
#include "tap.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_BYTES (8u << 20)
#define PREFIX 40u

static char directory[] = "/tmp/podwright-log-test-XXXXXX";
static struct log log_;
static char file[FILE_BYTES];
static size_t file_length;
static char text[FILE_BYTES];
static unsigned next_file;

static uint32_t random_u32(void) {
    static uint64_t state = 2463534242u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

static int open_directory(void) {
    return open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int open_log(const char *path, bool terminal) {
    const char *syscall;
    return log_open(&log_, open_directory(), path, terminal, &syscall);
}

static void open_next(bool terminal) {
    char path[64];
    snprintf(path, sizeof path, "pod/%u/0.log", ++next_file);
    if (open_log(path, terminal) < 0)
        abort();
}

static void close_log(void) {
    log_finish(&log_);
    close(log_.fd);
    close(log_.dir_fd);
}

static void feed(enum log_stream stream, const char *bytes, size_t length) {
    while (length > 0) {
        size_t part = length < LOG_READ_BYTES ? length : LOG_READ_BYTES;
        memcpy(log_space(stream), bytes, part);
        log_commit(&log_, stream, part);
        bytes += part;
        length -= part;
    }
}

static void read_file(void) {
    char path[LOG_PATH_BYTES + 64];
    snprintf(path, sizeof path, "%s/%s", directory, log_.path);
    FILE *stream = fopen(path, "re");
    file_length = stream ? fread(file, 1, sizeof file, stream) : 0;
    if (stream)
        fclose(stream);
}

static bool is_line(const char *line, size_t length) {
    static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddddddddZ std";
    for (size_t i = 0; i < sizeof shape - 1; i++)
        if (i >= length || (shape[i] == 'd' && i < 30 ? line[i] < '0' || line[i] > '9' : line[i] != shape[i]))
            return false;
    return length > PREFIX && (memcmp(line + 34, "out ", 4) == 0 || memcmp(line + 34, "err ", 4) == 0) &&
           (line[38] == 'F' || line[38] == 'P') && line[39] == ' ';
}

/* Puts one stream's output together again in `text`; (size_t)-1 if a line is not one. */
static size_t reassemble(const char *stream, unsigned *partial, unsigned *whole) {
    size_t length = 0;
    *partial = *whole = 0;
    for (const char *line = file; line < file + file_length;) {
        const char *end = memchr(line, '\n', (size_t)(file + file_length - line));
        if (end == NULL || !is_line(line, (size_t)(end + 1 - line)))
            return (size_t)-1;
        if (memcmp(line + 31, stream, 6) == 0) {
            memcpy(text + length, line + PREFIX, (size_t)(end - line) - PREFIX);
            length += (size_t)(end - line) - PREFIX;
            *(line[38] == 'P' ? partial : whole) += 1;
            if (line[38] == 'F')
                text[length++] = '\n';
        }
        line = end + 1;
    }
    return length;
}

static bool holds(const char *stream, const char *expected, size_t length, unsigned partial, unsigned whole) {
    unsigned have_partial, have_whole;
    read_file();
    return reassemble(stream, &have_partial, &have_whole) == length && memcmp(text, expected, length) == 0 &&
           have_partial == partial && have_whole == whole;
}

static void test_lines(void) {
    open_next(false);
    feed(LOG_STDOUT, "one\ntwo\n\npart", 13);
    feed(LOG_STDERR, "error\n", 6);
    feed(LOG_STDOUT, "ly\nrest", 7);
    ok(holds("stdout", "one\ntwo\n\npartly\n", 16, 0, 4), "lines are whole; the rest is held back");
    close_log();
    ok(holds("stdout", "one\ntwo\n\npartly\nrest", 20, 1, 4), "what never got its newline is a partial line");
    ok(holds("stderr", "error\n", 6, 0, 1), "streams are told apart");
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    char day[16];
    strftime(day, sizeof day, "%Y-%m-%dT", &utc);
    ok(memcmp(file, day, 11) == 0, "time stamps are of today, in UTC");
}

static void test_long(void) {
    static char line[50001];
    memset(line, 'x', sizeof line);
    line[16384] = '\n';
    open_next(false);
    feed(LOG_STDOUT, line, 16385);
    ok(holds("stdout", line, 16385, 0, 1), "a line of 16384 bytes is whole");
    close_log();
    line[16384] = 'x';
    line[50000] = '\n';
    open_next(false);
    feed(LOG_STDOUT, line, 50001);
    ok(holds("stdout", line, 50001, 3, 1), "a longer one is cut into pieces of that size");
    close_log();
    open_next(false);
    for (size_t i = 0; i < 50001; i++)
        feed(LOG_STDOUT, line + i, 1);
    ok(holds("stdout", line, 50001, 3, 1), "also when it comes byte by byte");
    close_log();
}

static void test_terminal(void) {
    open_next(true);
    feed(LOG_STDOUT, "a\r\nb\rc\r", 7);
    feed(LOG_STDOUT, "\n\r\n", 3);
    ok(holds("stdout", "a\nb\rc\n\n", 7, 0, 3),
       "a terminal's carriage return before the newline is left out");
    close_log();
    open_next(false);
    feed(LOG_STDOUT, "a\r\n", 3);
    ok(holds("stdout", "a\r\n", 3, 0, 1), "a pipe's is kept");
    close_log();
}

static void test_random(void) {
    static char bytes[1 << 20];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = random_u32() % 50 == 0 ? '\n' : (char)random_u32();
    memset(bytes + 300000, 'y', 200000);
    open_next(false);
    for (size_t at = 0; at < sizeof bytes;) {
        size_t part = 1 + random_u32() % (random_u32() % 8 == 0 ? LOG_READ_BYTES : 3000);
        part = part < sizeof bytes - at ? part : sizeof bytes - at;
        feed(LOG_STDERR, bytes + at, part);
        at += part;
    }
    close_log();
    unsigned partial, whole;
    read_file();
    size_t length = reassemble("stderr", &partial, &whole);
    ok(length == sizeof bytes && memcmp(text, bytes, length) == 0,
       "any bytes in any portions come out as they went in");
}

/* A limit on the file's size fails a write in the middle of a line, as a full disk does. */
static void test_full(void) {
    struct rlimit before, small = {.rlim_cur = 30000};
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    open_next(false);
    size_t given = 0;
    setrlimit(RLIMIT_FSIZE, &small);
    for (unsigned i = 0; i < 2000; i++) {
        char line[64];
        int length = snprintf(line, sizeof line, "line number %u of many\n", i);
        feed(LOG_STDOUT, line, (size_t)length);
        given += (size_t)length;
    }
    unsigned partial, whole;
    read_file();
    size_t kept = reassemble("stdout", &partial, &whole);
    ok(kept != (size_t)-1 && kept > 0, "a full disk leaves whole lines only");
    is((long long)(log_.lost + kept), (long long)given, "every byte is written or counted as lost");
    setrlimit(RLIMIT_FSIZE, &before);
    uint64_t lost = log_.lost;
    feed(LOG_STDOUT, "again\n", 6);
    read_file();
    size_t all = reassemble("stdout", &partial, &whole);
    ok(all == kept + 6 && memcmp(text + kept, "again\n", 6) == 0, "it goes on when there is room");
    reassemble("stderr", &partial, &whole);
    char notice[128];
    snprintf(notice, sizeof notice, "podwright: %llu bytes of output lost: file too large\n",
             (unsigned long long)lost);
    ok(whole == 1 && memcmp(text, notice, strlen(notice)) == 0, "and one line says what is missing");
    if (whole != 1)
        printf("#   %u notices: %.300s\n", whole, text);
    is((long long)log_.lost, (long long)lost, "nothing more is lost");
    close_log();
}

/* What is within the rate is written whole, what is not is counted. */
static void test_rate(void) {
    static const char line[] =
        "0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 123\n";
    open_next(false);
    log_limit(&log_, 1000);
    for (int i = 0; i < 1000; i++)
        feed(LOG_STDOUT, line, sizeof line - 1);
    uint64_t lost = log_.lost;
    log_limit(&log_, 0);
    feed(LOG_STDOUT, "the end\n", 8);
    close_log();
    read_file();
    size_t kept = 0;
    for (const char *at = file; (at = memmem(at, file_length - (size_t)(at - file), line, sizeof line - 1));
         at += sizeof line - 1)
        kept++;
    ok(kept >= 12 && kept <= 36, "lines within the rate are whole");
    ok(lost == (1000 - kept) * (sizeof line - 1), "the others are counted");
    char notice[160];
    snprintf(notice, sizeof notice, "bytes of output lost: more than the log may take per second\n");
    const char *said = memmem(file, file_length, notice, strlen(notice));
    const char *end = memmem(file, file_length, "the end\n", 8);
    ok(said && end && said < end, "a line says so before what follows");
    static char longest[LOG_LINE_BYTES + 1];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\n';
    open_next(false);
    log_limit(&log_, 10);
    feed(LOG_STDOUT, longest, sizeof longest);
    ok(log_.lost == 0, "one line a second gets through, however long");
    close_log();
}

static void test_reopen(void) {
    char from[LOG_PATH_BYTES + 64], to[LOG_PATH_BYTES + 80];
    const char *syscall;
    open_next(false);
    feed(LOG_STDOUT, "before\nhel", 10);
    snprintf(from, sizeof from, "%s/%s", directory, log_.path);
    snprintf(to, sizeof to, "%s.1", from);
    ok(rename(from, to) == 0 && log_reopen(&log_, &syscall) == 0, "a renamed log is opened anew");
    feed(LOG_STDOUT, "d\n", 2);
    ok(holds("stdout", "held\n", 5, 0, 1), "what was held back goes to the new file");
    mkdir(to, 0755);
    unlink(from);
    mkdir(from, 0755);
    ok(log_reopen(&log_, &syscall) < 0 && log_.fd >= 0, "a failed reopening keeps the old file");
    close_log();
}

static void refuses(const char *path) {
    char name[64];
    snprintf(name, sizeof name, "\"%.40s\" is refused", path);
    int result = open_log(path, false);
    ok(result < 0 && result != -ENOENT, "%s", name);
    close(result == 0 ? log_.fd : log_.dir_fd);
}

static void test_places(void) {
    char path[128];
    snprintf(path, sizeof path, "%s/link", directory);
    if (symlink("/tmp", path) < 0)
        abort();
    snprintf(path, sizeof path, "%s/link.log", directory);
    if (symlink("/tmp/podwright-log-test-target", path) < 0)
        abort();
    snprintf(path, sizeof path, "%s/fifo", directory);
    if (mkfifo(path, 0600) < 0 || mkdir(strcat(path, "dir"), 0700) < 0)
        abort();
    refuses("../escape");
    refuses("/tmp/escape");
    refuses("a/../b");
    refuses("a//b");
    refuses("a/");
    refuses(".");
    refuses("");
    refuses("link/escape");
    refuses("link.log");
    refuses("fifo");
    refuses("fifodir");
    struct stat found;
    open_next(false);
    snprintf(path, sizeof path, "%s/pod/%u/0.log", directory, next_file);
    ok(stat(path, &found) == 0 && (found.st_mode & 07777) == 0640, "the file's mode is 0640");
    log_discard(&log_);
    ok(stat(path, &found) < 0, "an empty log that it made is discarded");
    close(log_.fd);
    close(log_.dir_fd);
}

int main(void) {
    umask(022);
    if (mkdtemp(directory) == NULL)
        return 1;
    test_lines();
    test_long();
    test_terminal();
    test_random();
    test_full();
    test_rate();
    test_reopen();
    test_places();
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    ok(system(command) == 0, "scratch directory removed");
    return tap_end();
}
