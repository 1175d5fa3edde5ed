/* Whole launches: what the command finds, how failures are told, and that nothing is left. */
#include "../kernel.h"
#include "fixture.h"
#include "tap.h"
#include <poll.h>
#include <sched.h>
#include <sys/wait.h>

static struct fixture f;
#define ALL_NAMESPACES (CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

static void add_container(struct builder *b) {
    add_rootfs(b, &f, ALL_NAMESPACES);
    add_mounts(b);
    add_pivot(b);
}

static void test_whole(void) {
    struct builder b = {0};
    add_container(&b);
    add(&b, CHILD, PLAN_SETSID, "w", 0u);
    add(&b, CHILD, PLAN_HOSTNAME, "t", "probe-host");
    add_probe(&b, "process", "", "fds", "", "env", "NAME", "stat", "/dev/null", "list", "/proc/self/fd",
              "cat", "/proc/sys/kernel/hostname", "exit", "7", NULL);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 7, "a container with every usual mount ends with its command's code");
    ok(fixture_printed(&f, "pid 1 ppid 0 uid 0 gid 0"), "it is pid 1");
    ok(fixture_printed(&f, "sid 1"), "it leads a session");
    ok(fixture_printed(&f, "cwd /"), "its working directory is the new root");
    ok(fixture_printed(&f, "NAME=value"), "it has its environment");
    ok(fixture_printed(&f, "probe-host"), "it has its host name");
    ok(fixture_printed(&f, "umask 022"), "the umask is the launching process' own");
    ok(fixture_printed(&f, "dumpable 1"), "it can be traced again after execve");
    ok(fixture_printed(&f, "fd 0") && fixture_printed(&f, "fd 2") && !strstr(f.text, "fd 3"),
       "descriptors 0 to 2 and no other");
    ok(fixture_printed(&f, "/dev/null: 20666 0:0 dev 1:3 size 0"), "/dev/null is a device");
    if (tap_failed)
        printf("# %s\n", f.text);
}

static void test_errors(void) {
    static const char *const missing[] = {"nothing", NULL}, *const dir[] = {"/etc", NULL},
                             *const none[] = {NULL};
    static const char *const plain[] = {"plain", NULL}, *const text[] = {"/bin/text", NULL},
                             *const inside[] = {"/bin/probe/x", NULL};
    struct builder b = {0};
    struct outcome o;
    fixture_write(&f, "layers/0/bin/plain", "no program");
    fixture_write(&f, "layers/0/bin/text", "no program");
    chmod(fixture_path(&f, "layers/0/bin/text"), 0755);
    add_container(&b), add_exec(&b, missing);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_EXEC, ENOENT, "a command that is not in PATH");
    ok(strcmp(o.error.syscall, "execve") == 0 && strcmp(o.error.text, "nothing") == 0 &&
           o.error.list == CHILD,
       "the report names the system call, the command and the list");
    add_container(&b), add_exec(&b, plain);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_EXEC, EACCES, "a command in PATH that is not executable");
    add_container(&b), add_exec(&b, dir);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_EXEC, EACCES, "a command that is a directory");
    add_container(&b), add_exec(&b, text);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_EXEC, ENOEXEC, "a command of an unknown format");
    add_container(&b), add_exec(&b, inside);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_EXEC, ENOTDIR, "a command below a file");
    add_container(&b), add_exec(&b, none);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_EXEC, EINVAL, "no command at all");
    add(&b, PARENT, PLAN_OPEN, "sstqqq", 16u, NONE, "/nowhere", (uint64_t)0, (uint64_t)0, (uint64_t)0);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_OPEN, ENOENT, "a failing step of the launcher");
    ok(o.error.index == 0 && o.error.list == PARENT && o.launcher_status == 0x100,
       "the launcher ends with 1");
    add(&b, PARENT, 999, "");
    o = fixture_run(&f, &b);
    ok(o.started == -EINVAL && o.error.type == REPORT_ERROR &&
           strcmp(o.error.text, "unknown kind of step") == 0,
       "a refused plan is reported and starts nothing");
}

static void test_death_together(void) {
    struct builder b = {0};
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)0, NONE);
    add(&b, PARENT, PLAN_OPEN, "sstqqq", 16u, NONE, "/nowhere", (uint64_t)0, (uint64_t)0, (uint64_t)0);
    add(&b, PARENT, PLAN_SYNC, "w", 5u);
    add(&b, CHILD, PLAN_SYNC, "w", 5u);
    add_exec(&b, (const char *const[]){"/bin/true", NULL});
    struct outcome o = fixture_run(&f, &b);
    failed(&o, PLAN_OPEN, ENOENT, "a launcher that fails takes its waiting child along");
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)0, NONE);
    add(&b, PARENT, PLAN_SYNC, "w", 5u);
    add(&b, CHILD, PLAN_CHDIR, "tw", "/nowhere", 0u);
    add(&b, CHILD, PLAN_SYNC, "w", 5u);
    add_exec(&b, (const char *const[]){"/bin/true", NULL});
    o = fixture_run(&f, &b);
    failed(&o, PLAN_CHDIR, ENOENT, "a child that fails ends its waiting launcher");
    is(o.launcher_status, 0x100, "the launcher ends with 1 and says nothing more");
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)0, NONE);
    add(&b, PARENT, PLAN_OPEN_PID, "swq", 16u, (unsigned)getpid(), (uint64_t)1);
    add_exec(&b, (const char *const[]){"/bin/touch", fixture_path(&f, "ran"), NULL});
    o = fixture_run(&f, &b);
    failed(&o, PLAN_OPEN_PID, ESRCH, "another start time");
    ok(access(fixture_path(&f, "ran"), F_OK) < 0,
       "the command never runs before the launcher's list is done");
}

/* The end to write to. */
static int open_fifo(void) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        abort();
    f.launch.slots[PLAN_SLOT_EXEC_FIFO] = ends[0];
    return ends[1];
}

static void close_fifo(void) {
    close(f.launch.slots[PLAN_SLOT_EXEC_FIFO]);
    f.launch.slots[PLAN_SLOT_EXEC_FIFO] = -1;
}

static void test_exec_fifo(void) {
    struct builder b = {0};
    int fifo = open_fifo();
    add_container(&b);
    add(&b, CHILD, PLAN_STDIO, "ww", 0u, 0u);
    add(&b, CHILD, PLAN_USER, "wwwg", 1000u, 1000u, NONE, 0u, NULL);
    add(&b, CHILD, PLAN_CAPABILITIES, "qqqq", (uint64_t)0, (uint64_t)0, (uint64_t)0, (uint64_t)0);
    add(&b, CHILD, PLAN_EXEC_FIFO, "");
    add_exec(&b, (const char *const[]){"probe", "fds", "", "process", "", NULL});
    fixture_streams(&f);
    struct outcome o = start(&b, &f.launch);
    follow(&o, true);
    ok(o.ready && !o.ended && o.child > 0, "the child reports that it waits");
    char path[64], link[256];
    unsigned open_files = 0, named = 0;
    for (int fd = 0; fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", o.child, fd);
        ssize_t n = readlink(path, link, sizeof link - 1);
        open_files += n >= 0;
        link[n < 0 ? 0 : n] = 0;
        named += strncmp(link, f.base, strlen(f.base)) == 0;
    }
    ok(open_files <= 5 && named == 0, "it holds nothing of the host but the fifo (%u descriptors)",
       open_files);
    snprintf(path, sizeof path, "/proc/%d/fd", o.child);
    struct stat st;
    ok(stat(path, &st) == 0 && st.st_uid == 0, "it is not dumpable while it waits");
    if (write(fifo, "", 1) != 1)
        abort();
    follow(&o, false);
    reap(&o);
    fixture_read(&f);
    exited(&o, 0, "a byte in the fifo lets the command run");
    ok(fixture_printed(&f, "pid 1 ppid 0 uid 1000 gid 1000") && !strstr(f.text, "fd 3"),
       "as its user, with nothing open");
    close(fifo);
    close_fifo();
}

/* Whoever could have started it has gone. */
static void test_fifo_end(void) {
    struct builder b = {0};
    int fifo = open_fifo();
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)0, NONE);
    add(&b, CHILD, PLAN_EXEC_FIFO, "");
    add_exec(&b, (const char *const[]){"/bin/touch", fixture_path(&f, "started"), NULL});
    struct outcome o = start(&b, &f.launch);
    follow(&o, true);
    ok(o.ready && !o.ended, "a child waits at the fifo");
    close(fifo);
    follow(&o, false);
    reap(&o);
    failed(&o, PLAN_EXEC_FIFO, ECONNRESET, "the fifo's end");
    ok(access(fixture_path(&f, "started"), F_OK) < 0, "and never becomes the command");
    close_fifo();
}

static void test_preserve(void) {
    struct builder b = {0};
    int passed = open("/etc/hostname", O_RDONLY | O_CLOEXEC), other = open("/etc", O_PATH | O_CLOEXEC);
    f.launch.slots[PLAN_SLOT_PASSED] = passed;
    f.launch.slots[PLAN_SLOT_PASSED + 1] = -1;
    f.launch.slots[PLAN_SLOT_PASSED + 2] = other;
    add_container(&b);
    add(&b, CHILD, PLAN_STDIO, "ww", 0u, 0u);
    add(&b, CHILD, PLAN_EXEC, "wTT", 3u, (const char *const[]){"/bin/probe", "fds", "", NULL}, NULL);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "a command with preserved descriptors");
    ok(fixture_printed(&f, "fd 3") && !fixture_printed(&f, "fd 4") && fixture_printed(&f, "fd 5") &&
           !strstr(f.text, "fd 6"),
       "passed descriptor i is 3 + i, and no other is open");
    f.launch.slots[PLAN_SLOT_PASSED] = f.launch.slots[PLAN_SLOT_PASSED + 2] = -1;
    close(passed);
    close(other);
}

static void test_pause(void) {
    struct builder b = {0};
    static const char *const options[] = {"size=64k", "mode=755", NULL};
    add(&b, PARENT, PLAN_CLONE, "qs", CLONE_NEWNS | ALL_NAMESPACES, NONE);
    add(&b, CHILD, PLAN_FS_MOUNT, "sttTq", 16u, "tmpfs", "tmpfs", options, (uint64_t)0);
    add(&b, CHILD, PLAN_PROPAGATION, "tq", "/", (uint64_t)(MS_REC | MS_SLAVE));
    add(&b, CHILD, PLAN_MOVE_MOUNT, "sstw", 16u, NONE, fixture_path(&f, "merged"), 0u);
    add(&b, CHILD, PLAN_PIVOT_ROOT, "sw", 16u, 0u);
    add(&b, CHILD, PLAN_PAUSE, "");
    fixture_streams(&f);
    struct outcome o = start(&b, &f.launch);
    follow(&o, false);
    ok(o.ready && o.error.type == 0, "pause reports that it is ready");
    show(&o);
    char path[64], text[4096] = "";
    snprintf(path, sizeof path, "/proc/%d/status", o.child);
    FILE *file = fopen(path, "re");
    size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[n] = 0;
    if (file)
        fclose(file);
    ok(strstr(text, "Name:\tpodwright-pause") != NULL, "it has its name");
    ok(strstr(text, "CapPrm:\t0000000000000000") && strstr(text, "CapBnd:\t0000000000000000") &&
           strstr(text, "NoNewPrivs:\t1"),
       "it has no capability and cannot get one");
    unsigned open_files = 0;
    for (int fd = 0; fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", o.child, fd);
        open_files += readlink(path, text, sizeof text) >= 0;
    }
    is(open_files, 0, "it has no descriptor");
    kill(o.child, SIGTERM);
    reap(&o);
    is(o.child_status, 0, "it ends on SIGTERM, as pid 1 too");
}

int main(void) {
    if (fixture_make(&f)) {
        test_whole();
        test_errors();
        test_death_together();
        test_exec_fifo();
        test_fifo_end();
        test_preserve();
        test_pause();
    }
    fixture_remove(&f);
    return tap_end();
}
