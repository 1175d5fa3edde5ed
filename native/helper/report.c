/* Records on the report pipe (plan_format.h). Each is one write below PIPE_BUF, so records of two writers
 * never mix. */
#include "kernel.h"
#include "step.h"
#include <poll.h>

struct record {
    unsigned char bytes[REPORT_MAX_BYTES];
    size_t len;
};

static void put(struct record *r, const void *data, size_t len) {
    memcpy(r->bytes + r->len, data, len);
    r->len += len;
}

static void put_u32(struct record *r, uint32_t value) {
    put(r, &value, sizeof value);
}

static void put_str(struct record *r, const char *text, size_t max) {
    uint32_t len = (uint32_t)strnlen(text, max - 1);
    put_u32(r, len + 1);
    put(r, text, len);
    put(r, "\0\0\0", 4 - len % 4); /* NUL and padding */
}

static void begin(struct record *r, uint16_t type) {
    uint16_t zero = 0;
    r->len = 0;
    put(r, &type, sizeof type);
    put(r, &zero, sizeof zero);
    put_u32(r, 0);
}

/* A caller that has gone away is no reason to fail: SIGPIPE is ignored by whoever launches or ends us. */
static void send_record(struct record *r, int fd) {
    uint32_t payload = (uint32_t)r->len - 8;
    memcpy(r->bytes + 4, &payload, sizeof payload);
    while (write(fd, r->bytes, r->len) < 0) {
        if (errno == EAGAIN)
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        else if (errno != EINTR)
            return;
    }
}

void report_pid(int fd, pid_t pid) {
    struct record r;
    begin(&r, REPORT_PID);
    put_u32(&r, (uint32_t)pid);
    send_record(&r, fd);
}

void report_ready(int fd) {
    struct record r;
    begin(&r, REPORT_READY);
    send_record(&r, fd);
}

void report_error(int fd, const struct report *e) {
    struct record r;
    begin(&r, REPORT_ERROR);
    put_u32(&r, e->list);
    put_u32(&r, e->index);
    put_u32(&r, e->kind);
    put_u32(&r, e->errnum);
    put_str(&r, e->syscall, REPORT_SYSCALL_BYTES);
    put_str(&r, e->text, REPORT_TEXT_BYTES);
    send_record(&r, fd);
}

void report_log(int fd, uint32_t level, const char *text) {
    struct record r;
    begin(&r, REPORT_LOG);
    put_u32(&r, level);
    put_str(&r, text, REPORT_TEXT_BYTES);
    send_record(&r, fd);
}

void report_refused(int fd, const struct plan_view *view, int error) {
    struct report e = {.list = view->problem_list,
                       .index = view->problem_index,
                       .kind = view->problem_kind,
                       .errnum = (uint32_t)(error < 0 ? -error : error),
                       .syscall = "plan_check"};
    strncpy(e.text, view->problem, sizeof e.text - 1);
    report_error(fd, &e);
}

/* ---- reading ---- */

static int read_all(int fd, void *out, size_t len) {
    size_t done = 0;
    while (done < len) {
        ssize_t n = read(fd, (char *)out + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return done == 0 ? -errno : -EPROTO;
        if (n == 0)
            return done == 0 ? 0 : -EPROTO;
        done += (size_t)n;
    }
    return 1;
}

static bool get_u32(const unsigned char **at, size_t *left, uint32_t *value) {
    if (*left < 4)
        return false;
    memcpy(value, *at, 4);
    *at += 4;
    *left -= 4;
    return true;
}

static bool get_str(const unsigned char **at, size_t *left, char *out, size_t size) {
    uint32_t len;
    if (!get_u32(at, left, &len) || len == 0 || len > size || len > *left || (*at)[len - 1] != 0)
        return false;
    memcpy(out, *at, len);
    size_t padded = ((size_t)len + 3u) & ~(size_t)3u;
    padded = padded > *left ? *left : padded;
    *at += padded;
    *left -= padded;
    return true;
}

static bool parse(const unsigned char *at, size_t left, struct report *out) {
    switch (out->type) {
    case REPORT_PID:
        return get_u32(&at, &left, &out->pid);
    case REPORT_READY:
        return true;
    case REPORT_ERROR:
        return get_u32(&at, &left, &out->list) && get_u32(&at, &left, &out->index) &&
               get_u32(&at, &left, &out->kind) && get_u32(&at, &left, &out->errnum) &&
               get_str(&at, &left, out->syscall, sizeof out->syscall) &&
               get_str(&at, &left, out->text, sizeof out->text);
    case REPORT_LOG:
        return get_u32(&at, &left, &out->level) && get_str(&at, &left, out->text, sizeof out->text);
    default:
        return false;
    }
}

int report_next(int fd, struct report *out) {
    unsigned char header[8], payload[REPORT_MAX_BYTES];
    int status = read_all(fd, header, sizeof header);
    if (status <= 0)
        return status;
    uint16_t type;
    uint32_t len;
    memcpy(&type, header, sizeof type);
    memcpy(&len, header + 4, sizeof len);
    *out = (struct report){.type = type};
    if (len > sizeof payload || (len > 0 && read_all(fd, payload, len) != 1))
        return -EPROTO;
    return parse(payload, len, out) ? 1 : -EPROTO;
}
