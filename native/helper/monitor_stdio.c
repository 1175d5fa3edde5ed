#include "attach.h"
#include "launch.h"
#include "log.h"
#include "monitor.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define STDIN_BYTES 4096u
#define RELEASE_AFTER_MS 1000u
#define RELEASE_ABOVE 8192u /* smaller reads touch so few pages that giving them back is not worth it */
#define TERMINAL_DRAIN_BYTES 1048576u

struct log container_log = {.dir_fd = -1, .fd = -1};

static struct {
    uint32_t flags;
    int output[LOG_STREAMS]; /* read ends, or the pty master as stdout */
    int input;               /* write end, or a copy of the pty master */
    int console;             /* our end of the socket that brings the pty master */
    int terminal; /* our copy of the slave: the master reports no hang-up while nobody has it open */
    int child_ends[LOG_STREAMS + 1];
    bool paused;
    bool draining;
    size_t remaining[LOG_STREAMS];
    bool end_input;                 /* close the input once it is written out */
    size_t pending_at, pending_end; /* of the input that the container has not taken yet */
    uint64_t release_at;
    bool loss_said;
} stdio = {.output = {-1, -1},
           .input = -1,
           .console = -1,
           .terminal = -1,
           .child_ends = {-1, -1, -1},
           .release_at = NO_DEADLINE};

/* Apart from the rest, as are all large buffers: pages that nothing was written to cost nothing. */
static char pending[STDIN_BYTES] PAGE_ALIGNED;

/* ---- set-up ---- */

static int make_pipe(int *ours, int *theirs, bool we_read, enum source source, uint32_t index) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    *ours = we_read ? ends[0] : ends[1];
    *theirs = we_read ? ends[1] : ends[0];
    int result = set_nonblocking(*ours);
    return result < 0 ? result : loop_add(*ours, we_read ? EPOLLIN : 0, source, index);
}

static int make_console(struct launch *launch) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    stdio.console = ends[0];
    stdio.child_ends[0] = ends[1];
    launch->slots[PLAN_SLOT_CONSOLE] = ends[1];
    return 0;
}

int stdio_make(uint32_t flags, struct launch *launch, const char **syscall) {
    stdio.flags = flags;
    /* Our own 0-2 are /dev/null. */
    for (int fd = 0; fd < 3; fd++)
        launch->slots[PLAN_SLOT_STDIN + fd] = fd;
    if (flags & FLAG_TTY) {
        *syscall = "socketpair";
        return make_console(launch);
    }
    *syscall = "pipe2";
    int result = 0;
    if (flags & FLAG_STDIN) {
        result = make_pipe(&stdio.input, &stdio.child_ends[0], false, SOURCE_STDIN, 0);
        launch->slots[PLAN_SLOT_STDIN] = stdio.child_ends[0];
    }
    for (uint32_t stream = 0; stream < LOG_STREAMS && result == 0; stream++) {
        result = make_pipe(&stdio.output[stream], &stdio.child_ends[1 + stream], true, SOURCE_OUTPUT, stream);
        launch->slots[PLAN_SLOT_STDOUT + stream] = stdio.child_ends[1 + stream];
    }
    return result;
}

void stdio_launched(void) {
    for (uint32_t i = 0; i < LOG_STREAMS + 1; i++) {
        if (stdio.child_ends[i] >= 0)
            close(stdio.child_ends[i]);
        stdio.child_ends[i] = -1;
    }
}

int receive_descriptor(int socket_fd) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    char text[64];
    struct iovec part = {.iov_base = text, .iov_len = sizeof text};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (recvmsg(socket_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
        return -errno;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header == NULL || header->cmsg_type != SCM_RIGHTS || header->cmsg_len < CMSG_LEN(sizeof(int)))
        return -EPROTO;
    int fd;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

int stdio_take_console(void) {
    if (stdio.console < 0)
        return 0;
    int master = receive_descriptor(stdio.console);
    close(stdio.console);
    stdio.console = -1;
    if (master < 0)
        return master;
    stdio.output[LOG_STDOUT] = master;
    stdio.terminal = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    int result = set_nonblocking(master);
    if (result == 0)
        result = loop_add(master, EPOLLIN, SOURCE_OUTPUT, LOG_STDOUT);
    if (result == 0 && (stdio.flags & FLAG_STDIN)) {
        stdio.input = fcntl(master, F_DUPFD_CLOEXEC, 0);
        result = stdio.input < 0 ? -errno : loop_add(stdio.input, 0, SOURCE_STDIN, 0);
    }
    return result;
}

/* ---- output ---- */

static void say_loss(void) {
    bool losing = container_log.lost_unsaid > 0;
    if (losing && !stdio.loss_said)
        client_log(2, "container output is being lost: the log cannot be written");
    stdio.loss_said = losing;
}

/* Bytes that may still be read from a stream: all, or while draining the rest of what was there then. */
static size_t readable(uint32_t stream) {
    if (!stdio.draining || stdio.remaining[stream] > LOG_READ_BYTES)
        return LOG_READ_BYTES;
    return stdio.remaining[stream];
}

void stdio_on_output(uint32_t stream) {
    int fd = stdio.output[stream];
    size_t room = readable(stream);
    char *space = log_space(stream);
    ssize_t length = fd < 0 || room == 0 ? 0 : read(fd, space, room);
    if (length < 0 && errno == EINTR)
        return;
    if (length < 0 && errno == EAGAIN) {
        stdio.remaining[stream] = 0;
        return;
    }
    if (length <= 0) {
        /* The end, or EIO of a terminal that was hung up. */
        stdio.remaining[stream] = 0;
        loop_close(&stdio.output[stream]);
        return;
    }
    if (stdio.draining)
        stdio.remaining[stream] -= (size_t)length;
    if (length > RELEASE_ABOVE)
        stdio.release_at = monotonic_ms() + RELEASE_AFTER_MS;
    attach_output(stream, space, (size_t)length);
    log_commit(&container_log, stream, (size_t)length);
    if (container_log.lost_unsaid > 0 || stdio.loss_said)
        say_loss();
}

void stdio_pause(bool paused) {
    if (paused == stdio.paused)
        return;
    stdio.paused = paused;
    for (uint32_t stream = 0; stream < LOG_STREAMS; stream++) {
        int fd = stdio.output[stream];
        if (fd < 0)
            continue;
        if (paused)
            loop_remove(fd);
        else if (loop_add(fd, EPOLLIN, SOURCE_OUTPUT, stream) < 0)
            loop_close(&stdio.output[stream]);
    }
}

void stdio_drain(void) {
    if (stdio.draining)
        return;
    stdio.draining = true;
    for (uint32_t stream = 0; stream < LOG_STREAMS; stream++) {
        int waiting = 0;
        if (stdio.output[stream] >= 0 && (stdio.flags & FLAG_TTY))
            waiting = TERMINAL_DRAIN_BYTES; /* FIONREAD leaves out what is on its way through the terminal */
        else if (stdio.output[stream] >= 0)
            ioctl(stdio.output[stream], FIONREAD, &waiting);
        stdio.remaining[stream] = waiting > 0 ? (size_t)waiting : 0;
    }
}

bool stdio_drained(void) {
    for (uint32_t stream = 0; stream < LOG_STREAMS; stream++) {
        while (stdio.remaining[stream] > 0 && !stdio.paused)
            stdio_on_output(stream);
        if (stdio.remaining[stream] > 0)
            return false;
    }
    return true;
}

uint64_t stdio_deadline(void) {
    return stdio.release_at;
}

void stdio_tick(uint64_t now) {
    if (now < stdio.release_at)
        return;
    stdio.release_at = NO_DEADLINE;
    log_release_buffers();
    attach_release_buffers();
}

/* ---- input ---- */

static void close_input(void) {
    stdio.pending_at = stdio.pending_end = 0;
    loop_close(&stdio.input);
    attach_stdin_ready();
}

static void flush_input(void) {
    while (stdio.pending_at < stdio.pending_end) {
        ssize_t count = write(stdio.input, pending + stdio.pending_at, stdio.pending_end - stdio.pending_at);
        if (count > 0) {
            stdio.pending_at += (size_t)count;
        } else if (count < 0 && errno == EAGAIN) {
            loop_change(stdio.input, EPOLLOUT, SOURCE_STDIN, 0);
            return;
        } else if (count == 0 || errno != EINTR) {
            close_input();
            return;
        }
    }
    stdio.pending_at = stdio.pending_end = 0;
    if (stdio.end_input)
        close_input();
    else
        loop_change(stdio.input, 0, SOURCE_STDIN, 0);
}

void stdio_on_stdin(void) {
    if (stdio.input < 0)
        return;
    if (stdio.pending_end == 0) {
        /* Nothing to write, so the event says that nobody reads any more. */
        close_input();
        return;
    }
    flush_input();
    attach_stdin_ready();
}

bool stdin_is_open(void) {
    return stdio.input >= 0 && !stdio.end_input;
}

bool stdin_wanted(void) {
    return stdin_is_open() && stdio.pending_end == 0;
}

char *stdin_space(size_t *room) {
    *room = sizeof pending;
    return stdin_wanted() ? pending : NULL;
}

void stdin_put(size_t length) {
    stdio.pending_end = length;
    flush_input();
}

/* A terminal's input has no end of its own: it stays. */
int stdio_close_stdin(void) {
    if (stdio.flags & FLAG_TTY)
        return -EOPNOTSUPP;
    if (stdio.input < 0)
        return 0;
    stdio.end_input = true;
    if (stdio.pending_end == 0)
        close_input();
    return 0;
}

void stdin_client_ended(void) {
    if ((stdio.flags & FLAG_STDIN_ONCE) && stdin_is_open())
        stdio_close_stdin();
}

int stdio_resize(uint32_t columns, uint32_t rows) {
    if ((stdio.flags & FLAG_TTY) == 0 || stdio.output[LOG_STDOUT] < 0)
        return -ENOTTY;
    if (columns > UINT16_MAX || rows > UINT16_MAX)
        return -EINVAL;
    struct winsize size = {.ws_col = (uint16_t)columns, .ws_row = (uint16_t)rows};
    return ioctl(stdio.output[LOG_STDOUT], TIOCSWINSZ, &size) < 0 ? -errno : 0;
}
