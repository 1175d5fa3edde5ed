/* Parts of the monitor that need no container: the OOM counter and killing by a list of pids. */
#include "../monitor.h"
#include "tap.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[] = "/tmp/podwright-monitor-test-XXXXXX";

static const char *write_file(const char *name, const char *content) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, content, strlen(content)) < 0)
        abort();
    close(fd);
    return path;
}

static void counts(const char *content, uint64_t expected, const char *name) {
    is((long long)cgroup_oom_kills(write_file("counter", content)), (long long)expected, name);
}

static void test_counter(void) {
    counts("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 9\n", 2, "memory.events");
    counts("oom_kill_disable 1\nunder_oom 0\noom_kill 41\n", 41, "memory.oom_control");
    counts("oom_kill_disable 5\nunder_oom 7\n", 0, "a kernel without the counter");
    counts("", 0, "an empty file");
    counts("oom_kill ", 0, "a line that is cut");
    is((long long)cgroup_oom_kills("/no/such/file"), 0, "a missing file");
}

static pid_t start_sleeper(void) {
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    return pid;
}

static void test_kill(void) {
    char list[64];
    pid_t first = start_sleeper(), second = start_sleeper();
    snprintf(list, sizeof list, "%d\n0\n1\n%d\n", first, second);
    ok(!cgroup_kill_path(write_file("cgroup.procs", list)),
       "listed processes are killed, to be looked at again");
    int status;
    ok(waitpid(first, &status, 0) == first && WTERMSIG(status) == SIGKILL, "the first");
    ok(waitpid(second, &status, 0) == second && WTERMSIG(status) == SIGKILL, "and the last");
    ok(cgroup_kill_path(write_file("cgroup.procs", "")), "an empty list is done");
    ok(cgroup_kill_path("/no/such/cgroup.procs"), "so is one that is gone");
    int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    write_file("freezer.state", "");
    ok(cgroup_kill_dir(fd), "a cgroup without cgroup.kill and processes is done");
    char state[16] = "";
    int file = openat(fd, "freezer.state", O_RDONLY | O_CLOEXEC);
    ok(read(file, state, sizeof state - 1) > 0 && strcmp(state, "THAWED") == 0, "and is left thawed");
    close(file);
    write_file("cgroup.kill", "");
    ok(cgroup_kill_dir(fd), "cgroup.kill does it where it is");
    close(fd);
}

int main(void) {
    if (mkdtemp(directory) == NULL)
        return 1;
    test_counter();
    test_kill();
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    ok(system(command) == 0, "scratch directory removed");
    return tap_end();
}
