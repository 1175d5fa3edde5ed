/* What is written to a report pipe comes back the same, and nonsense is told from it. Needs nothing. */
#include "../kernel.h"
#include "../step.h"
#include "builder.h"
#include "tap.h"

static int ends[2];

static struct report take(int *status) {
    static struct report r;
    *status = report_next(ends[0], &r);
    return r;
}

static void test_round_trip(void) {
    int status;
    report_pid(ends[1], 4711);
    report_ready(ends[1]);
    report_log(ends[1], 2, "a line");
    struct report e = {
        .list = 1, .index = 7, .kind = PLAN_MASK, .errnum = EPERM, .syscall = "move_mount", .text = "/a"};
    report_error(ends[1], &e);
    struct report r = take(&status);
    ok(status == 1 && r.type == REPORT_PID && r.pid == 4711, "a pid");
    r = take(&status);
    ok(status == 1 && r.type == REPORT_READY, "ready");
    r = take(&status);
    ok(status == 1 && r.type == REPORT_LOG && r.level == 2 && strcmp(r.text, "a line") == 0, "a log line");
    r = take(&status);
    ok(status == 1 && r.type == REPORT_ERROR && r.list == 1 && r.index == 7 && r.kind == PLAN_MASK &&
           r.errnum == EPERM && strcmp(r.syscall, "move_mount") == 0 && strcmp(r.text, "/a") == 0,
       "an error");
    take(&status);
    is(status, -EAGAIN, "an empty pipe that does not block");
}

static void test_long(void) {
    static char text[8192];
    int status;
    memset(text, 'x', sizeof text - 1);
    report_log(ends[1], 0, text);
    struct report r = take(&status);
    ok(status == 1 && strlen(r.text) == REPORT_TEXT_BYTES - 1, "a long line is cut, the record stays whole");
}

static void test_nonsense(void) {
    static const uint32_t records[][4] = {
        {99, 0}, {REPORT_PID, 0}, {REPORT_PID, 5000}, {REPORT_LOG, 8, 1, 4000}, {REPORT_LOG, 8, 1, 0}};
    static const size_t sizes[] = {8, 8, 8, 16, 16};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int status;
        if (write(ends[1], records[i], sizes[i]) < 0)
            abort();
        take(&status);
        is(status, -EPROTO, "a record that nobody writes");
    }
}

int main(void) {
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        abort();
    test_round_trip();
    test_long();
    test_nonsense();
    close(ends[1]);
    int status;
    take(&status);
    is(status, 0, "the end");
    return tap_end();
}
