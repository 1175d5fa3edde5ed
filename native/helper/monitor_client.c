#include "launch.h"
#include "monitor.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SEND_BUFFER_BYTES (1 << 20)

struct client {
    int fd;
    bool used;
    uint32_t generation;
};

static struct client clients[MONITOR_CLIENTS];
static int listener = -1;
static uint8_t packet[FRAME_MAX_BYTES] PAGE_ALIGNED;

/* ---- connections ---- */

/* bind(2) through the directory's descriptor: sun_path is too short for every state directory. */
int client_listen(int state_dir) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", state_dir,
             MONITOR_SOCKET_NAME);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    mode_t before = umask(0177);
    int result = bind(fd, (const struct sockaddr *)&address, sizeof address);
    int error = errno;
    umask(before);
    if (result < 0 || listen(fd, MONITOR_CLIENTS) < 0 || loop_add(fd, EPOLLIN, SOURCE_LISTENER, 0) < 0) {
        error = result < 0 ? error : errno;
        close(fd);
        return -error;
    }
    listener = fd;
    return 0;
}

void client_unlisten(void) {
    loop_close(&listener);
}

static bool is_root(int fd) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == 0;
}

/* Room for the answers of every exec at once: what does not fit is not queued. */
static void enlarge_buffer(int fd) {
    int bytes = SEND_BUFFER_BYTES;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

int client_open(int fd, struct client_ref *ref) {
    for (uint32_t i = 0; i < MONITOR_CLIENTS; i++) {
        struct client *client = &clients[i];
        if (client->used)
            continue;
        int result = is_root(fd) ? loop_add(fd, EPOLLIN, SOURCE_CLIENT, i) : -EPERM;
        if (result < 0)
            return result;
        enlarge_buffer(fd);
        client->fd = fd;
        client->used = true;
        client->generation++;
        *ref = (struct client_ref){.index = i, .generation = client->generation};
        return 0;
    }
    return -EAGAIN;
}

bool client_is_there(struct client_ref ref) {
    return clients[ref.index].used && clients[ref.index].generation == ref.generation;
}

static void client_drop(uint32_t index) {
    struct client *client = &clients[index];
    struct client_ref ref = {.index = index, .generation = client->generation};
    loop_close(&client->fd);
    client->used = false;
    exec_client_gone(ref);
    init_client_gone(ref);
}

void client_on_listener(void) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct client_ref ref;
    if (client_open(fd, &ref) < 0) {
        close(fd);
        return;
    }
    struct frame_buffer out;
    frame_begin(&out, FRAME_HELLO, 0);
    init_put_hello(&out);
    client_send(ref, &out, -1);
}

/* ---- receiving ---- */

void request_close_fds(struct request *request) {
    for (uint32_t i = 0; i < request->fd_count; i++)
        if (request->fds[i] >= 0)
            close(request->fds[i]);
    request->fd_count = 0;
}

static void take_descriptors(struct msghdr *message, struct request *request) {
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
            if (request->fd_count < FRAME_MAX_FDS)
                request->fds[request->fd_count++] = fd;
            else
                close(fd);
        }
    }
}

int client_receive(uint32_t index, struct request *request) {
    struct client *client = &clients[index];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(FRAME_MAX_FDS * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = packet, .iov_len = sizeof packet};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    request->fd_count = 0;
    request->client = (struct client_ref){.index = index, .generation = client->generation};
    ssize_t length;
    do
        length = recvmsg(client->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (length < 0 && errno == EINTR);
    if (length < 0)
        return -errno;
    take_descriptors(&message, request);
    int result = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0
                     ? -EMSGSIZE
                     : frame_parse(packet, (size_t)length, &request->frame);
    if (length == 0 && request->fd_count == 0)
        return 0;
    if (result < 0) {
        request_close_fds(request);
        return result;
    }
    return 1;
}

void client_on_event(uint32_t index) {
    struct request request;
    int result = client_receive(index, &request);
    if (result == -EAGAIN)
        return;
    if (result <= 0) {
        client_drop(index);
        return;
    }
    request_handle(&request);
    request_close_fds(&request);
}

/* ---- sending ---- */

static int send_packet(int socket_fd, const struct frame_buffer *out, int fd) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)out->bytes, .iov_len = out->length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    ssize_t sent;
    do
        sent = sendmsg(socket_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

/* A client that lets so many frames lie unread is broken: it is dropped, nothing is queued for it. */
void client_send(struct client_ref ref, const struct frame_buffer *out, int fd) {
    if (!client_is_there(ref))
        return;
    if (send_packet(clients[ref.index].fd, out, fd) < 0)
        client_drop(ref.index);
}

void client_broadcast(const struct frame_buffer *out) {
    for (uint32_t i = 0; i < MONITOR_CLIENTS; i++)
        client_send((struct client_ref){.index = i, .generation = clients[i].generation}, out, -1);
}

void client_broadcast_last(const struct frame_buffer *out, uint64_t timeout_ms) {
    uint64_t deadline = monotonic_ms() + timeout_ms;
    for (uint32_t i = 0; i < MONITOR_CLIENTS; i++) {
        if (!clients[i].used)
            continue;
        while (send_packet(clients[i].fd, out, -1) == -EAGAIN) {
            uint64_t now = monotonic_ms();
            struct pollfd wait = {.fd = clients[i].fd, .events = POLLOUT};
            if (now >= deadline || poll(&wait, 1, (int)(deadline - now)) == 0)
                break;
        }
    }
}

void client_log(uint32_t level, const char *text) {
    struct frame_buffer out;
    frame_begin(&out, FRAME_LOG, 0);
    frame_put_u32(&out, TAG_LEVEL, level);
    frame_put_text(&out, TAG_MESSAGE, text);
    client_broadcast(&out);
}

void reply_ok(const struct request *request) {
    struct frame_buffer out;
    frame_begin(&out, FRAME_OK, request->frame.request);
    client_send(request->client, &out, -1);
}

void frame_put_failure(struct frame_buffer *out, const struct failure *failure) {
    const struct report *step = failure->step;
    frame_put_u32(out, TAG_ERRNO, step != NULL ? step->errnum : (uint32_t)failure->error);
    if (step != NULL) {
        frame_put_text(out, TAG_SYSCALL, step->syscall);
        frame_put_text(out, TAG_DETAIL, step->text);
        frame_put_u32(out, TAG_STEP_LIST, step->list);
        frame_put_u32(out, TAG_STEP_INDEX, step->index);
        frame_put_u32(out, TAG_STEP_KIND, step->kind);
    } else {
        frame_put_text(out, TAG_SYSCALL, failure->syscall);
        frame_put_text(out, TAG_DETAIL, failure->detail != NULL ? failure->detail : "");
    }
    if (failure->message != NULL)
        frame_put_text(out, TAG_MESSAGE, failure->message);
}

void reply_failed(struct client_ref client, uint32_t request, const struct failure *failure) {
    struct frame_buffer out;
    frame_begin(&out, FRAME_FAILED, request);
    frame_put_failure(&out, failure);
    client_send(client, &out, -1);
}
