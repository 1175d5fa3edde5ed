#include "relay.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define RELAY_BYTES 32768
#define RELAY_CONNECT_SECONDS 10
enum { RELAY_INPUT, RELAY_OUTPUT, RELAY_TARGET = 3 };

struct pipe_state {
    int from, to;
    size_t at, end;
    bool open;
    char bytes[RELAY_BYTES];
};

static struct pipe_state input = {.from = RELAY_INPUT, .to = RELAY_TARGET, .open = true};
static struct pipe_state output = {.from = RELAY_TARGET, .to = RELAY_OUTPUT, .open = true};

static bool waits(int error) {
    return error == EAGAIN || error == EINTR;
}

static bool is_empty(const struct pipe_state *way) {
    return way->at == way->end;
}

/* Reads if there is room, writes if there is something; false: this way has ended. */
static bool move(struct pipe_state *way, bool readable) {
    if (is_empty(way) && readable) {
        ssize_t count = read(way->from, way->bytes, sizeof way->bytes);
        if (count <= 0)
            return count < 0 && waits(errno);
        way->at = 0;
        way->end = (size_t)count;
    }
    while (!is_empty(way)) {
        ssize_t count = write(way->to, way->bytes + way->at, way->end - way->at);
        if (count < 0)
            return waits(errno);
        way->at += (size_t)count;
    }
    return true;
}

static short wanted(const struct pipe_state *way, short event, bool when_empty) {
    return way->open && is_empty(way) == when_empty ? event : 0;
}

int relay_terminal(void) {
    signal(SIGPIPE, SIG_IGN);
    int fds[] = {RELAY_INPUT, RELAY_OUTPUT, RELAY_TARGET};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK) < 0)
            return 1;
    while (output.open) {
        /* Of the output no event is asked for while nothing waits: that its reader has gone is always told.
         */
        struct pollfd polled[] = {
            {.fd = wanted(&input, POLLIN, true) ? RELAY_INPUT : -1, .events = POLLIN},
            {.fd = RELAY_OUTPUT, .events = wanted(&output, POLLOUT, false)},
            {.fd = RELAY_TARGET,
             .events = (short)(wanted(&output, POLLIN, true) | wanted(&input, POLLOUT, false))},
        };
        if (polled[2].events == 0)
            polled[2].fd = -1; /* a hang-up would spin while output waits for its reader */
        if (poll(polled, 3, -1) < 0 && errno != EINTR)
            return 1;
        if ((polled[1].revents & (POLLERR | POLLNVAL)) != 0)
            return 0;
        output.open = move(&output, (polled[2].revents & (POLLIN | POLLHUP | POLLERR)) != 0);
        if (input.open)
            input.open = move(&input, (polled[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0);
    }
    return 0;
}

static int connect_to(const struct sockaddr *address, socklen_t length) {
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* It bounds connect(2) too. */
    struct timeval limit = {.tv_sec = RELAY_CONNECT_SECONDS}, none = {0};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, address, length) < 0) {
        int error = errno == EINPROGRESS ? ETIMEDOUT : errno;
        close(fd);
        return -error;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
    return fd;
}

static int connect_loopback(uint16_t port) {
    struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = connect_to((const struct sockaddr *)&v4, sizeof v4);
    if (fd >= 0)
        return fd;
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int second = connect_to((const struct sockaddr *)&v6, sizeof v6);
    return second >= 0 ? second : fd;
}

static int answer(int fd) {
    char text[16];
    int length = snprintf(text, sizeof text, "%d", fd < 0 ? -fd : 0);
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {.iov_base = text, .iov_len = (size_t)length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    return sendmsg(RELAY_INPUT, &message, MSG_NOSIGNAL) < 0 ? 1 : 0;
}

int relay_connect(const char *port) {
    char *end;
    long number = strtol(port, &end, 10);
    if (*end != 0 || number < 1 || number > UINT16_MAX)
        return 2;
    if (setns(RELAY_TARGET, CLONE_NEWNET) < 0)
        return answer(-errno);
    return answer(connect_loopback((uint16_t)number));
}
