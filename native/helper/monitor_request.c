#include "attach.h"
#include "log.h"
#include "monitor.h"
#include <errno.h>

static void answer(const struct request *request, int result, const char *syscall, const char *detail) {
    if (result == 0)
        reply_ok(request);
    else
        reply_failed(request->client, request->frame.request,
                     &(struct failure){.error = -result, .syscall = syscall, .detail = detail});
}

static void resize(const struct request *request) {
    uint32_t columns, rows;
    int result = frame_u32(&request->frame, TAG_COLUMNS, &columns);
    if (result == 0)
        result = frame_u32(&request->frame, TAG_ROWS, &rows);
    if (result == 0)
        result = stdio_resize(columns, rows);
    answer(request, result, "ioctl TIOCSWINSZ", "terminal");
}

static void reopen_log(const struct request *request) {
    const char *syscall = "openat2";
    int result = log_reopen(&container_log, &syscall);
    answer(request, result, syscall, container_log.path);
}

static void set_limits(const struct request *request) {
    uint64_t rate;
    int result = frame_u64(&request->frame, TAG_LOG_RATE_BYTES, &rate);
    if (result == 0)
        log_limit(&container_log, rate);
    answer(request, result, "limits", "log rate");
}

static void attach(struct request *request) {
    const char *message = NULL;
    int result = attach_open(request, &message);
    if (result == 0)
        reply_ok(request);
    else
        reply_failed(
            request->client, request->frame.request,
            &(struct failure){.error = -result, .syscall = "attach", .detail = "", .message = message});
}

void request_handle(struct request *request) {
    switch (request->frame.type) {
    case FRAME_CREATE:
        answer(request, -EALREADY, "create", "");
        break;
    case FRAME_START:
        init_start(request);
        break;
    case FRAME_INIT:
        init_adopt(request);
        break;
    case FRAME_EXEC:
        exec_start(request);
        break;
    case FRAME_EXEC_KILL:
        exec_kill(request);
        break;
    case FRAME_SIGNAL:
        init_signal(request);
        break;
    case FRAME_RESIZE:
        resize(request);
        break;
    case FRAME_REOPEN_LOG:
        reopen_log(request);
        break;
    case FRAME_ATTACH:
        attach(request);
        break;
    case FRAME_LIMITS:
        set_limits(request);
        break;
    case FRAME_CLOSE_STDIN:
        answer(request, stdio_close_stdin(), "close", "stdin");
        break;
    default:
        answer(request, -ENOSYS, "frame", "unknown type");
    }
}
