#include "builder.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void put(struct builder *b, int list, const void *data, size_t len) {
    b->lists[list] = realloc(b->lists[list], b->len[list] + len + 8);
    if (!b->lists[list])
        abort();
    if (len > 0)
        memcpy(b->lists[list] + b->len[list], data, len);
    b->len[list] += len;
}

static void put_u32(struct builder *b, int list, uint32_t value) {
    put(b, list, &value, sizeof value);
}

static void put_bytes(struct builder *b, int list, const void *data, size_t len) {
    put_u32(b, list, (uint32_t)len);
    put(b, list, data, len);
    put(b, list, "\0\0\0", -len & 3);
}

static void put_value(struct builder *b, int list, char type, va_list *args) {
    if (type == 's' || type == 'w') {
        put_u32(b, list, va_arg(*args, unsigned));
    } else if (type == 'q') {
        uint64_t value = va_arg(*args, uint64_t);
        put(b, list, &value, sizeof value);
    } else if (type == 't') {
        const char *text = va_arg(*args, const char *);
        put_bytes(b, list, text, strlen(text) + 1);
    } else if (type == 'b') {
        const void *data = va_arg(*args, const void *);
        put_bytes(b, list, data, va_arg(*args, size_t));
    } else if (type == 'T') {
        const char *const *texts = va_arg(*args, const char *const *);
        uint32_t count = 0;
        while (texts && texts[count])
            count++;
        put_u32(b, list, count);
        for (uint32_t i = 0; i < count; i++)
            put_bytes(b, list, texts[i], strlen(texts[i]) + 1);
    } else if (type == 'g') {
        uint32_t count = va_arg(*args, unsigned);
        put_u32(b, list, count);
        put(b, list, va_arg(*args, const uint32_t *), (size_t)count * 4);
    }
}

void add(struct builder *b, enum plan_list list, uint32_t kind, const char *types, ...) {
    va_list args;
    va_start(args, types);
    uint16_t head[2] = {(uint16_t)kind, strchr(types, '+') != NULL};
    put(b, list, head, sizeof head);
    size_t length_at = b->len[list];
    put_u32(b, list, 0);
    for (const char *type = types; *type; type++)
        put_value(b, list, *type, &args);
    uint32_t length = (uint32_t)(b->len[list] - length_at - 4);
    memcpy(b->lists[list] + length_at, &length, sizeof length);
    b->counts[list]++;
    va_end(args);
}

unsigned char *finish(struct builder *b, size_t *len) {
    uint32_t total = (uint32_t)(20 + b->len[0] + b->len[1]);
    uint32_t header[5] = {PLAN_MAGIC, PLAN_VERSION, total, b->counts[0], b->counts[1]};
    unsigned char *plan = malloc(total);
    if (!plan)
        abort();
    memcpy(plan, header, sizeof header);
    if (b->len[0])
        memcpy(plan + 20, b->lists[0], b->len[0]);
    if (b->len[1])
        memcpy(plan + 20 + b->len[0], b->lists[1], b->len[1]);
    free(b->lists[0]);
    free(b->lists[1]);
    *b = (struct builder){0};
    *len = total;
    return plan;
}

/* The tests have done nothing to them. */
static void keep_signals(void) {}

struct outcome start(struct builder *b, struct launch *l) {
    struct outcome o = {.launcher_status = -1, .child_status = -1};
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0)
        abort();
    unsigned char *plan = finish(b, &l->plan_len);
    l->plan = plan;
    l->report_fd = report[1];
    o.report_fd = report[0];
    o.started = launch_start(l, keep_signals);
    o.launcher = o.started > 0 ? o.started : 0;
    close(report[1]);
    free(plan);
    return o;
}

void follow(struct outcome *o, bool until_ready) {
    struct report r;
    while (!o->ended && !(until_ready && o->ready)) {
        int status = report_next(o->report_fd, &r);
        if (status <= 0)
            o->ended = true;
        else if (r.type == REPORT_PID)
            o->child = (pid_t)r.pid;
        else if (r.type == REPORT_READY)
            o->ready = true;
        else if (r.type == REPORT_ERROR && o->error.type == 0)
            o->error = r;
        else if (r.type == REPORT_LOG) {
            size_t at = strlen(o->logs);
            snprintf(o->logs + at, sizeof o->logs - at, "%s\n", r.text);
        }
    }
}

void reap(struct outcome *o) {
    close(o->report_fd);
    if (o->launcher > 0)
        waitpid(o->launcher, &o->launcher_status, 0);
    if (o->child > 0)
        waitpid(o->child, &o->child_status, 0);
    while (waitpid(-1, NULL, WNOHANG) > 0) /* the first of two processes of JOIN_PID */
        ;
}

struct outcome run(struct builder *b, struct launch *l) {
    struct outcome o = start(b, l);
    follow(&o, false);
    reap(&o);
    return o;
}

void show(const struct outcome *o) {
    if (o->error.type)
        printf("#   list %u step %u (%s): %s: %s (%s)\n", o->error.list, o->error.index,
               plan_kind_name(o->error.kind), o->error.syscall, strerror((int)o->error.errnum),
               o->error.text);
    if (o->logs[0])
        printf("#   log: %s", o->logs);
}
