#include "receive.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "report.h"
#include "ring.h"

enum { PROGRESS_BYTES = 4 * 1024 * 1024, PROGRESS_SECONDS = 1, DIRECT_BLOCK = 4096 };

static struct receive_options options;
static struct receive_result result;
static int direct_fd = -1;

/* The receiving thread's own. */
static uint64_t received;
static int connection_error;

/* ---- in ---- */

static void tell_progress(int progress) {
    static uint64_t told;
    static time_t told_at;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    if (received - told < PROGRESS_BYTES && now.tv_sec - told_at < PROGRESS_SECONDS)
        return;
    told = received;
    told_at = now.tv_sec;
    char line[24];
    int length = snprintf(line, sizeof line, "%llu\n", (unsigned long long)received);
    if (write(progress, line, (size_t)length) != length)
        _exit(1); /* nobody reads any more */
}

/* The connection comes from an event loop and does not block by itself. */
static bool wait_for_data(int fd) {
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    int ready;
    do
        ready = poll(&wanted, 1, (int)options.idle_ms);
    while (ready < 0 && errno == EINTR);
    if (ready == 0)
        connection_error = ETIMEDOUT;
    else if (ready < 0)
        connection_error = errno;
    return ready > 0;
}

/* Until the descriptor's end or the blob's. */
static void take_from(int fd, int progress) {
    while (received < options.size && connection_error == 0) {
        size_t room;
        uint8_t *buffer = ring_room(&room);
        uint64_t left = options.size - received;
        ssize_t n = read(fd, buffer, room < left ? room : (size_t)left);
        if (n == 0)
            return;
        if (n > 0) {
            ring_add((size_t)n);
            received += (uint64_t)n;
            tell_progress(progress);
        } else if (errno == EAGAIN) {
            (void)wait_for_data(fd);
        } else if (errno != EINTR) {
            connection_error = errno;
        }
    }
}

void receive_run(int progress) {
    take_from(options.head, progress);
    take_from(options.connection, progress);
    ring_end();
}

/* ---- out ---- */

/* False if nobody reads any more. */
static bool pass_on(const uint8_t *data, size_t length) {
    while (length > 0) {
        ssize_t n = write(options.pipe, data, length);
        if (n >= 0) {
            data += n;
            length -= (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd wanted = {.fd = options.pipe, .events = POLLOUT};
            (void)poll(&wanted, 1, -1);
        } else if (errno == EPIPE) {
            return false;
        } else if (errno != EINTR) {
            report_fail("write", errno, "cannot pass the blob on");
        }
    }
    return true;
}

static ssize_t write_at(const uint8_t *data, size_t length, uint64_t offset) {
    if (direct_fd >= 0 && length % DIRECT_BLOCK == 0 && offset % DIRECT_BLOCK == 0) {
        ssize_t n = pwrite(direct_fd, data, length, (off_t)offset);
        if (n >= 0 || errno != EINVAL)
            return n;
        direct_fd = -1; /* this file system wants another alignment */
    }
    return pwrite(options.blob, data, length, (off_t)offset);
}

static void store(const uint8_t *data, size_t length) {
    uint64_t offset = result.bytes;
    while (length > 0) {
        ssize_t n = write_at(data, length, offset);
        if (n < 0 && errno != EINTR)
            report_fail("write", errno, "cannot write the blob");
        if (n > 0) {
            data += n;
            length -= (size_t)n;
            offset += (uint64_t)n;
        }
    }
    result.bytes = offset;
}

struct receive_result receive_store(void) {
    const uint8_t *data;
    size_t length;
    while ((data = ring_next(RING_CONTENT, &length)) != NULL) {
        if (!pass_on(data, length)) {
            result.reader_gone = true;
            return result;
        }
        store(data, length);
    }
    result.error = connection_error;
    return result;
}

/* Past the page cache where the file system can: the compressed bytes are read again only if their layer is
 * lost. */
void receive_open(struct receive_options given) {
    options = given;
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", options.blob);
    direct_fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
}
