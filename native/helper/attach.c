#include "attach.h"
#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct output {
    int fd;      /* -1: not attached to this stream */
    uint64_t at; /* position in the stream's ring, in bytes ever written to it */
    bool polled; /* waits for room */
};

struct attached {
    bool used;
    bool ends_stdin; /* its input is the container's: the end of it may end that */
    int stdin_fd;
    bool stdin_polled;
    struct output outputs[LOG_STREAMS];
    uint64_t behind_since; /* monotonic ms; 0: not behind */
};

static struct attached clients[MONITOR_ATTACHED];
static uint32_t client_count;
static uint64_t written[LOG_STREAMS]; /* bytes ever put into each ring */
static char rings[LOG_STREAMS][ATTACH_RING_BYTES] PAGE_ALIGNED;

/* ---- attach and drop ---- */

static void stop_input(struct attached *client) {
    loop_close(&client->stdin_fd);
    if (client->ends_stdin) {
        client->ends_stdin = false;
        stdin_client_ended();
    }
}

static void update_pause(void);

static void drop(struct attached *client) {
    if (!client->used)
        return;
    for (uint32_t stream = 0; stream < LOG_STREAMS; stream++) {
        struct output *output = &client->outputs[stream];
        if (output->fd >= 0)
            loop_close(&output->fd);
    }
    client->used = false;
    client_count--;
    stop_input(client);
    update_pause();
}

/* A client is done when no output is left to it and, if it came with input only, that has ended. */
static void drop_if_done(struct attached *client) {
    if (client->used && client->outputs[LOG_STDOUT].fd < 0 && client->outputs[LOG_STDERR].fd < 0 &&
        client->stdin_fd < 0)
        drop(client);
}

/* Reads the client's input while the container's has room; without a container's input there is none to read.
 */
static void poll_input(struct attached *client) {
    if (client->stdin_fd < 0)
        return;
    if (!stdin_is_open()) {
        loop_close(&client->stdin_fd);
        drop_if_done(client);
        return;
    }
    bool wanted = stdin_wanted();
    if (wanted && !client->stdin_polled)
        wanted = loop_add(client->stdin_fd, EPOLLIN, SOURCE_ATTACH_STDIN, (uint32_t)(client - clients)) == 0;
    else if (!wanted && client->stdin_polled)
        loop_remove(client->stdin_fd);
    client->stdin_polled = wanted;
}

static bool can_be_polled(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 &&
           (S_ISFIFO(found.st_mode) || S_ISSOCK(found.st_mode) || S_ISCHR(found.st_mode));
}

static int take_fds(struct request *request, uint32_t flags, struct attached *client) {
    static const uint32_t wanted[] = {FLAG_STDIN, FLAG_STDOUT, FLAG_STDERR};
    int *targets[] = {&client->stdin_fd, &client->outputs[LOG_STDOUT].fd, &client->outputs[LOG_STDERR].fd};
    uint32_t next = 0;
    for (uint32_t i = 0; i < 3; i++) {
        if ((flags & wanted[i]) == 0)
            continue;
        if (next == request->fd_count || !can_be_polled(request->fds[next]))
            return -EINVAL;
        *targets[i] = request->fds[next++];
    }
    return next == request->fd_count && next > 0 ? 0 : -EINVAL;
}

static struct attached *find_free(void) {
    for (uint32_t i = 0; i < MONITOR_ATTACHED; i++)
        if (!clients[i].used)
            return &clients[i];
    return NULL;
}

/* Drops clients whose going the loop has not come to yet. */
static void drop_gone(void) {
    for (uint32_t i = 0; i < MONITOR_ATTACHED * LOG_STREAMS; i++) {
        struct attached *client = &clients[i / LOG_STREAMS];
        struct output *output = &client->outputs[i % LOG_STREAMS];
        struct pollfd state = {.fd = client->used ? output->fd : -1};
        if (state.fd < 0 || poll(&state, 1, 0) <= 0)
            continue;
        loop_close(&output->fd);
        drop_if_done(client);
    }
}

static struct attached *free_client(void) {
    struct attached *client = find_free();
    if (client != NULL)
        return client;
    drop_gone();
    return find_free();
}

int attach_open(struct request *request, const char **message) {
    uint32_t flags = 0;
    frame_u32(&request->frame, TAG_FLAGS, &flags);
    struct attached *client = free_client();
    if (client == NULL) {
        *message = "too many attach clients";
        return -EAGAIN;
    }
    uint32_t index = (uint32_t)(client - clients);
    *client = (struct attached){.stdin_fd = -1, .outputs = {{.fd = -1}, {.fd = -1}}};
    int result = take_fds(request, flags, client);
    if (result < 0) {
        *message = "one pipe or socket per stream is needed";
        return result;
    }
    /* From here on the descriptors are ours. */
    request->fd_count = 0;
    client->used = true;
    client_count++;
    for (uint32_t stream = 0; stream < LOG_STREAMS; stream++) {
        struct output *output = &client->outputs[stream];
        output->at = written[stream];
        if (output->fd >= 0 && result == 0 && (result = set_nonblocking(output->fd)) == 0)
            result = loop_add(output->fd, 0, SOURCE_ATTACH_OUTPUT, index * LOG_STREAMS + stream);
    }
    if (client->stdin_fd >= 0 && result == 0 && (result = set_nonblocking(client->stdin_fd)) == 0)
        client->ends_stdin = true;
    if (result < 0) {
        drop(client);
        return result;
    }
    poll_input(client);
    return 0;
}

/* ---- output ---- */

/* Writes as much as the client takes. */
static void flush_output(uint32_t index, uint32_t stream) {
    struct attached *client = &clients[index];
    struct output *output = &client->outputs[stream];
    while (output->fd >= 0 && output->at < written[stream]) {
        size_t from = output->at % ATTACH_RING_BYTES;
        size_t length = (size_t)(written[stream] - output->at);
        if (length > ATTACH_RING_BYTES - from)
            length = ATTACH_RING_BYTES - from;
        ssize_t count = write(output->fd, rings[stream] + from, length);
        if (count > 0) {
            output->at += (uint64_t)count;
        } else if (count < 0 && errno == EINTR) {
            continue;
        } else if (count < 0 && errno == EAGAIN) {
            break;
        } else {
            loop_close(&output->fd);
            drop_if_done(client);
            return;
        }
    }
    bool wait = output->fd >= 0 && output->at < written[stream];
    if (output->fd >= 0 && wait != output->polled)
        loop_change(output->fd, wait ? EPOLLOUT : 0, SOURCE_ATTACH_OUTPUT, index * LOG_STREAMS + stream);
    output->polled = wait;
}

static bool is_behind(const struct attached *client, uint64_t limit) {
    for (uint32_t stream = 0; stream < LOG_STREAMS; stream++) {
        const struct output *output = &client->outputs[stream];
        if (client->used && output->fd >= 0 && written[stream] - output->at > limit)
            return true;
    }
    return false;
}

/* Reading goes on once every client has room for a whole read. */
static void update_pause(void) {
    bool paused = false;
    uint64_t now = monotonic_ms();
    for (uint32_t i = 0; i < MONITOR_ATTACHED; i++) {
        struct attached *client = &clients[i];
        bool behind = is_behind(client, ATTACH_RING_BYTES - LOG_READ_BYTES);
        if (!behind)
            client->behind_since = 0;
        else if (client->behind_since == 0)
            client->behind_since = now;
        paused = paused || behind;
    }
    stdio_pause(paused);
}

static bool has_reader(uint32_t stream) {
    for (uint32_t i = 0; client_count > 0 && i < MONITOR_ATTACHED; i++)
        if (clients[i].used && clients[i].outputs[stream].fd >= 0)
            return true;
    return false;
}

void attach_output(uint32_t stream, const char *bytes, size_t length) {
    if (!has_reader(stream))
        return;
    size_t from = written[stream] % ATTACH_RING_BYTES;
    size_t first = length < ATTACH_RING_BYTES - from ? length : ATTACH_RING_BYTES - from;
    memcpy(rings[stream] + from, bytes, first);
    memcpy(rings[stream], bytes + first, length - first);
    written[stream] += length;
    for (uint32_t i = 0; i < MONITOR_ATTACHED; i++)
        if (clients[i].used && !clients[i].outputs[stream].polled)
            flush_output(i, stream);
    update_pause();
}

void attach_on_output(uint32_t index) {
    struct attached *client = &clients[index / LOG_STREAMS];
    uint32_t stream = index % LOG_STREAMS;
    if (!client->used)
        return;
    if (client->outputs[stream].at == written[stream]) {
        /* Nothing to send, so the event says that the other end is gone. */
        loop_close(&client->outputs[stream].fd);
        drop_if_done(client);
    } else {
        flush_output(index / LOG_STREAMS, stream);
    }
    update_pause();
}

/* ---- input ---- */

void attach_on_stdin(uint32_t index) {
    struct attached *client = &clients[index];
    size_t room;
    char *space = stdin_space(&room);
    if (!client->used || client->stdin_fd < 0)
        return;
    if (space == NULL && stdin_is_open())
        return;
    ssize_t length = space == NULL ? 0 : read(client->stdin_fd, space, room);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (length > 0) {
        stdin_put((size_t)length);
    } else {
        stop_input(client);
        drop_if_done(client);
    }
    attach_stdin_ready();
}

void attach_stdin_ready(void) {
    for (uint32_t i = 0; i < MONITOR_ATTACHED; i++)
        if (clients[i].used)
            poll_input(&clients[i]);
}

/* ---- time and end ---- */

uint64_t attach_deadline(void) {
    uint64_t first = NO_DEADLINE;
    for (uint32_t i = 0; client_count > 0 && i < MONITOR_ATTACHED; i++)
        if (clients[i].used && clients[i].behind_since > 0 &&
            clients[i].behind_since + ATTACH_GRACE_MS < first)
            first = clients[i].behind_since + ATTACH_GRACE_MS;
    return first;
}

void attach_tick(uint64_t now) {
    if (attach_deadline() > now)
        return;
    for (uint32_t i = 0; i < MONITOR_ATTACHED; i++)
        if (clients[i].used && clients[i].behind_since > 0 &&
            clients[i].behind_since + ATTACH_GRACE_MS <= now) {
            drop(&clients[i]);
            client_log(2, "attach client dropped: it did not read its output");
        }
}

bool attach_flushed(void) {
    bool flushed = true;
    for (uint32_t i = 0; i < MONITOR_ATTACHED; i++) {
        struct attached *client = &clients[i];
        for (uint32_t stream = 0; client->used && stream < LOG_STREAMS; stream++)
            if (client->outputs[stream].fd >= 0 && client->outputs[stream].at < written[stream])
                flushed = false;
    }
    return flushed;
}

void attach_release_buffers(void) {
    if (attach_flushed())
        madvise(rings, sizeof rings, MADV_DONTNEED);
}

void attach_close_all(void) {
    for (uint32_t i = 0; i < MONITOR_ATTACHED; i++)
        drop(&clients[i]);
}
