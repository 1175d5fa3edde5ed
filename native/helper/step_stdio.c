/* STDIO: the command's first three descriptors. */
#include "kernel.h"
#include "step.h"
#include <sys/sysmacros.h>

static void give_to_user(int fd, uid_t uid, gid_t gid) {
    struct stat st;
    /* Refused where the ids are not mapped; the command can still write to what it has open. */
    if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
        (void)!fchown(fd, uid, gid);
}

void step_stdio_owner(struct stage *s, struct plan_values *v) {
    uid_t uid = plan_u32(v);
    gid_t gid = plan_u32(v);
    for (uint32_t i = 0; i < 3; i++)
        if (s->slots[i] >= 0)
            give_to_user(s->slots[i], uid, gid);
}

static bool is_null_device(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

/*
 * The container's own /dev/null, or -1: a descriptor of the host's would tie the container to a mount it does
 * not have, and could not be checkpointed. An image may have put anything in its place: that is not waited
 * for, and not taken.
 */
static int open_null(void) {
    int fd = open("/dev/null", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 && is_null_device(fd) && fcntl(fd, F_SETFL, 0) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* What becomes a standard descriptor, above the first three. */
static int copy_stream(struct stage *s, uint32_t slot) {
    bool absent = s->slots[slot] < 0 || is_null_device(s->slots[slot]);
    int fd = absent ? open_null() : -1;
    if (fd < 0 && s->slots[slot] < 0)
        step_fail_with(s, ENOENT, "open", "/dev/null");
    if (fd < 0)
        fd = fcntl(s->slots[slot], F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        step_fail(s, "dup", NULL);
    return fd;
}

void step_stdio(struct stage *s, struct plan_values *v) {
    uid_t uid = plan_u32(v);
    gid_t gid = plan_u32(v);
    int copies[3];
    for (uint32_t i = 0; i < 3; i++)
        copies[i] = copy_stream(s, i);
    for (uint32_t i = 0; i < 3; i++) {
        if (dup3(copies[i], (int)i, 0) < 0)
            step_fail(s, "dup3", NULL);
        close(copies[i]);
        stage_fill(s, i, (int)i);
        give_to_user((int)i, uid, gid);
    }
}
