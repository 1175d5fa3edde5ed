#include "monitor.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define PIDS_CHUNK 4096

static bool write_text(int dir_fd, const char *name, const char *text) {
    int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t length = strlen(text);
    bool done = write(fd, text, length) == (ssize_t)length;
    close(fd);
    return done;
}

/* Sends SIGKILL to every pid listed. How many there were; 0 as well if the file is gone. */
static uint32_t kill_listed(int dir_fd, const char *name) {
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    char chunk[PIDS_CHUNK];
    uint32_t count = 0;
    pid_t pid = 0;
    ssize_t length;
    while ((length = read(fd, chunk, sizeof chunk)) > 0) {
        for (ssize_t i = 0; i < length; i++) {
            if (chunk[i] >= '0' && chunk[i] <= '9') {
                pid = pid * 10 + (chunk[i] - '0');
                continue;
            }
            /* 0 stands for a process of another pid namespace than ours: never a process group to kill. */
            if (pid > 1 && pid != getpid()) {
                kill(pid, SIGKILL);
                count++;
            }
            pid = 0;
        }
    }
    close(fd);
    return count;
}

bool cgroup_kill_dir(int dir_fd) {
    if (write_text(dir_fd, "cgroup.kill", "1"))
        return true;
    bool frozen = write_text(dir_fd, "freezer.state", "FROZEN");
    uint32_t count = kill_listed(dir_fd, "cgroup.procs");
    if (frozen)
        write_text(dir_fd, "freezer.state", "THAWED");
    return count == 0;
}

bool cgroup_kill_path(const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash != NULL && strcmp(slash + 1, "cgroup.kill") == 0) {
        write_text(AT_FDCWD, path, "1");
        return true;
    }
    return kill_listed(AT_FDCWD, path) == 0;
}

uint64_t cgroup_oom_kills(const char *path) {
    static const char name[] = "oom_kill ";
    char text[1024];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    text[length > 0 ? length : 0] = 0;
    for (const char *line = text; line != NULL && *line != 0;) {
        if (strncmp(line, name, sizeof name - 1) == 0) {
            uint64_t count = 0;
            for (const char *at = line + sizeof name - 1; *at >= '0' && *at <= '9'; at++)
                count = count * 10 + (uint64_t)(*at - '0');
            return count;
        }
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    return 0;
}
