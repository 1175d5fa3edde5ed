/* CONSOLE: a pty of the container's own devpts. */
#include "kernel.h"
#include "path.h"
#include "step.h"
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#define PTMX "/dev/pts/ptmx"

/* Nothing on the way may be a link, and what is there must be a devpts' own multiplexer (class
 * CVE-2025-52565). */
static int open_master(struct stage *s) {
    int fd = kernel_openat2(AT_FDCWD, PTMX, O_RDWR | O_NOCTTY | O_CLOEXEC, 0,
                            RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    struct stat st;
    struct statfs fs;
    if (fd < 0)
        step_fail(s, "openat2", PTMX);
    if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
        step_fail(s, "fstat", PTMX);
    if (fs.f_type != DEVPTS_SUPER_MAGIC || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2))
        step_fail_with(s, ENXIO, "fstat", PTMX);
    return fd;
}

static int open_slave(struct stage *s, int master) {
    int unlocked = 0;
    if (ioctl(master, TIOCSPTLCK, &unlocked) < 0)
        step_fail(s, "ioctl", "TIOCSPTLCK");
    int fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        step_fail(s, "ioctl", "TIOCGPTPEER");
    return fd;
}

static void bind_console(struct stage *s, int slave) {
    cleanup_close int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    cleanup_close int dir = path_open(root, "/dev", O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
    if (dir < 0)
        step_fail_with(s, dir, "openat2", "/dev");
    cleanup_close int made =
        openat(dir, "console", O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0620);
    if (made < 0 && errno != EEXIST)
        step_fail(s, "open", "/dev/console");
    cleanup_close int target = path_open(root, "/dev/console", O_PATH, RESOLVE_NO_SYMLINKS);
    if (target < 0)
        step_fail_with(s, target, "openat2", "/dev/console");
    cleanup_close int mount =
        kernel_open_tree(slave, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (mount < 0)
        step_fail(s, "open_tree", "/dev/console");
    int error = path_attach(mount, root, "/dev/console", target, RESOLVE_NO_SYMLINKS);
    if (error < 0)
        step_fail_with(s, error, "move_mount", "/dev/console");
}

static void send_master(struct stage *s, int master) {
    static char name[] = PTMX;
    struct iovec data = {.iov_base = name, .iov_len = sizeof name - 1};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &master, sizeof master);
    if (sendmsg(stage_slot(s, PLAN_SLOT_CONSOLE), &message, MSG_NOSIGNAL) < 0)
        step_fail(s, "sendmsg", "console socket");
}

void step_console(struct stage *s, struct plan_values *v) {
    struct winsize size = {.ws_col = (unsigned short)plan_u32(v)};
    size.ws_row = (unsigned short)plan_u32(v);
    uid_t uid = plan_u32(v);
    gid_t gid = plan_u32(v);
    cleanup_close int master = open_master(s);
    cleanup_close int slave = open_slave(s, master);
    if ((size.ws_col || size.ws_row) && ioctl(master, TIOCSWINSZ, &size) < 0)
        step_fail(s, "ioctl", "TIOCSWINSZ");
    if (fchown(slave, uid, gid) < 0)
        step_fail(s, "fchown", "console");
    bool keep_dev_console = s->flags & 1;
    if (!keep_dev_console)
        bind_console(s, slave);
    send_master(s, master);
    stage_fill(s, PLAN_SLOT_CONSOLE, -1);
    if (setsid() < 0 && errno != EPERM)
        step_fail(s, "setsid", NULL);
    if (ioctl(slave, TIOCSCTTY, 0) < 0)
        step_fail(s, "ioctl", "TIOCSCTTY");
    for (uint32_t i = 0; i < 3; i++) {
        if (dup3(slave, (int)i, 0) < 0)
            step_fail(s, "dup3", NULL);
        stage_fill(s, i, (int)i);
    }
}
