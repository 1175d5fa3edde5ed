/* Namespaces: new, joined, shared, pinned; user namespaces and their maps. */
#include "../kernel.h"
#include "fixture.h"
#include "tap.h"
#include <poll.h>
#include <sched.h>
#include <sys/wait.h>

static struct fixture f;

/* A process in new namespaces that waits for SIGTERM: pause with an empty root. */
static struct outcome start_pause(uint64_t flags) {
    struct builder b = {0};
    static const char *const options[] = {"size=64k", "mode=755", NULL};
    add(&b, PARENT, PLAN_CLONE, "qs", CLONE_NEWNS | flags, NONE);
    add(&b, CHILD, PLAN_HOSTNAME, "t", "shared-host");
    add(&b, CHILD, PLAN_FS_MOUNT, "sttTq", 16u, "tmpfs", "tmpfs", options, (uint64_t)0);
    add(&b, CHILD, PLAN_FS_MOUNT, "sttTq", 17u, "tmpfs", "shm", options, (uint64_t)0);
    add(&b, CHILD, PLAN_PROPAGATION, "tq", "/", (uint64_t)(MS_REC | MS_SLAVE));
    add(&b, CHILD, PLAN_MOVE_MOUNT, "sstw", 16u, NONE, fixture_path(&f, "merged"), 0u);
    add(&b, CHILD, PLAN_MOVE_MOUNT, "sstw", 17u, 16u, "/dev/shm", 1u);
    add(&b, CHILD, PLAN_FILE, "stwwwb", 16u, "/dev/shm/mark", 0644u, 0u, 0u, "shared", (size_t)6);
    add(&b, CHILD, PLAN_PIVOT_ROOT, "sw", 16u, 0u);
    add(&b, CHILD, PLAN_PAUSE, "");
    fixture_streams(&f);
    struct outcome o = start(&b, &f.launch);
    follow(&o, false);
    if (!o.ready)
        show(&o);
    return o;
}

static void stop_pause(struct outcome *o) {
    kill(o->child, SIGTERM);
    reap(o);
}

static void add_host_command(struct builder *b, const char *const *argv) {
    add(b, CHILD, PLAN_STDIO, "ww", 0u, 0u);
    add_exec(b, argv);
}

/* Waits for it, at most ten seconds. */
static bool has_no_children(pid_t pid) {
    char path[64], text[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    for (int i = 0; i < 1000; i++) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = read(fd, text, sizeof text);
        close(fd);
        if (n <= 0)
            return n == 0;
        poll(NULL, 0, 10);
    }
    return false;
}

static void test_shared_pid(void) {
    struct outcome pause = start_pause(CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWIPC);
    struct builder b = {0};
    add(&b, PARENT, PLAN_OPEN_PID, "swq", 20u, (unsigned)pause.child, (uint64_t)0);
    add(&b, PARENT, PLAN_OPEN_TREE_IN, "sst", 21u, 20u, "/dev/shm");
    add_rootfs(&b, &f, 0);
    add(&b, CHILD, PLAN_JOIN, "sq", 20u, (uint64_t)(CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWIPC));
    add(&b, CHILD, PLAN_MOVE_MOUNT, "sstw", 21u, ROOT_SLOT, "/dev/shm", 1u);
    add_pivot(&b);
    add(&b, CHILD, PLAN_JOIN_PID, "s", 20u);
    add(&b, CHILD, PLAN_OPEN, "sstqqq", ROOT_SLOT, NONE, "/", (uint64_t)(O_PATH | O_DIRECTORY), (uint64_t)0,
        (uint64_t)0);
    add_file_system(&b, "proc", "/proc", NULL, 0);
    add(&b, CHILD, PLAN_CAP_BOUNDING, "q", (uint64_t)0);
    add_probe(&b, "process", "", "fds", "", "cat", "/proc/1/comm", "cat", "/proc/sys/kernel/hostname", "list",
              "/proc/1/root", "list", "/proc/1/fd", "cat", "/dev/shm/mark", "orphan", "", NULL);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "a container in a shared pid namespace");
    ok(fixture_printed(&f, "podwright-pause"), "pause is its pid 1");
    ok(strstr(f.text, "pid 1 ") == NULL && strstr(f.text, "ppid 0") != NULL,
       "it is another one, and ours outside");
    ok(fixture_printed(&f, "shared-host"), "it has the sandbox' host name");
    ok(fixture_printed(&f, "shared"), "a mount out of another mount namespace");
    ok(fixture_printed(&f, "fd 2") && strstr(f.text, "fd 3") == NULL, "nothing else is open");
    ok(has_no_children(pause.child), "pause reaps what the container leaves");
    stop_pause(&pause);
    is(pause.child_status, 0, "pause outlives the container and ends on SIGTERM");
}

static void test_exec(void) {
    struct builder b = {0};
    add_rootfs(&b, &f, CLONE_NEWPID | CLONE_NEWUTS);
    add_mounts(&b);
    add(&b, CHILD, PLAN_HOSTNAME, "t", "first");
    add_pivot(&b);
    add_probe(&b, "fds", "", "wait", "", NULL);
    fixture_streams(&f);
    struct outcome first = start(&b, &f.launch);
    follow(&first, false);
    show(&first);
    struct launch keep = f.launch;
    int output = f.output;
    f.output = -1;
    launch_init(&f.launch);

    add(&b, PARENT, PLAN_OPEN_PID, "swq", 20u, (unsigned)first.child, (uint64_t)0);
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)0, NONE);
    add(&b, CHILD, PLAN_JOIN, "sq", 20u, (uint64_t)(CLONE_NEWNS | CLONE_NEWUTS));
    add(&b, CHILD, PLAN_JOIN_PID, "s", 20u);
    add(&b, CHILD, PLAN_CHDIR, "tw", "/opt", 0u);
    add_probe(&b, "process", "", "fds", "", "cat", "/proc/1/comm", "cat", "/proc/sys/kernel/hostname", "exit",
              "3", NULL);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 3, "an exec ends with its own code");
    ok(fixture_printed(&f, "probe") && fixture_printed(&f, "first") && fixture_printed(&f, "cwd /opt"),
       "it is in the container's namespaces and root");
    ok(strstr(f.text, "fd 3") == NULL, "with nothing of the host open");
    f.launch = keep;
    f.output = output;
    kill(first.child, SIGKILL);
    reap(&first);
    close(f.launch.slots[1]);
}

static void test_user_namespace(void) {
    struct builder b = {0};
    static const char *const options[] = {"mode=755", NULL};
    add(&b, PARENT, PLAN_USER_NAMESPACE, "stt", 22u, "0 100000 65536\n", "0 200000 65536\n");
    add(&b, PARENT, PLAN_OPEN_TREE, "sstw", ROOT_SLOT, NONE, fixture_path(&f, "layers/0"), 0u);
    add(&b, PARENT, PLAN_MOUNT_SETATTR, "swqqqs", ROOT_SLOT, 0u, (uint64_t)0, (uint64_t)0,
        (uint64_t)MS_PRIVATE, 22u);
    add(&b, PARENT, PLAN_CLONE, "qs",
        (uint64_t)(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS),
        NONE);
    add(&b, PARENT, PLAN_ID_MAP, "ttw", "0 100000 65536\n", "0 200000 65536\n", 0u);
    add(&b, PARENT, PLAN_SYNC, "w", 1u);
    add(&b, CHILD, PLAN_SYNC, "w", 1u);
    add(&b, CHILD, PLAN_MOVE_MOUNT, "sstw", ROOT_SLOT, NONE, fixture_path(&f, "merged"), 0u);
    add_file_system(&b, "proc", "/proc", NULL, 0);
    add_file_system(&b, "tmpfs", "/dev", options, 0);
    add_file_system(&b, "sysfs", "/sys", NULL, 0);
    add(&b, CHILD, PLAN_FILE, "stwwwb", ROOT_SLOT, "/dev/file", 0600u, 7u, 8u, "x", (size_t)1);
    add(&b, CHILD, PLAN_MASK, "st", ROOT_SLOT, "/proc/version");
    add(&b, CHILD, PLAN_MASK, "st", ROOT_SLOT, "/proc/acpi");
    add(&b, CHILD, PLAN_SYSCTL, "tt", "kernel.msgmax", "4096");
    add_pivot(&b);
    add(&b, CHILD, PLAN_USER, "wwwg", 1000u, 1000u, 027u, 1u, &(uint32_t){2000});
    add(&b, CHILD, PLAN_CAPABILITIES, "qqqq", (uint64_t)0, (uint64_t)0, (uint64_t)0, (uint64_t)0);
    add_probe(&b, "process", "", "cat", "/proc/self/uid_map", "stat", "/bin/probe", "stat", "/dev/file",
              "stat", "/proc/version", "cat", "/proc/sys/kernel/msgmax", "list", "/proc/acpi", NULL);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "a container with a user namespace");
    ok(strstr(f.text, "uid 1000 gid 1000") && fixture_printed(&f, "groups 2000") &&
           fixture_printed(&f, "umask 027"),
       "its user, groups and umask");
    ok(strstr(f.text, "100000") != NULL, "its map");
    ok(strstr(f.text, "/bin/probe: 100755 0:0 ") != NULL, "the idmapped rootfs belongs to its root");
    ok(strstr(f.text, "/dev/file: 100600 7:8 ") != NULL, "a file with an owner");
    ok(strstr(f.text, "/proc/version: 20666 ") != NULL, "a masked file is the host's null device");
    ok(fixture_printed(&f, "4096"), "a sysctl of its ipc namespace");
    if (tap_failed)
        printf("# %s\n", f.text);
}

/* What it writes lies on the host with the ids that it has there; what it reads has its own. */
static void test_idmapped_overlay(void) {
    struct builder b = {0};
    static const char map[] = "0 100000 65536\n";
    const char *const lower[] = {"0", NULL}, *const options[] = {"index=off", "metacopy=off", NULL};
    add(&b, PARENT, PLAN_USER_NAMESPACE, "stt", 22u, map, map);
    add(&b, PARENT, PLAN_IDMAPPED_OVERLAY, "stTttTqs", ROOT_SLOT, fixture_path(&f, "layers"), lower,
        fixture_path(&f, "upper"), fixture_path(&f, "work"), options, (uint64_t)0, 22u);
    add(&b, PARENT, PLAN_STDIO_OWNER, "ww", 101000u, 101000u);
    add(&b, PARENT, PLAN_CHOWN, "tww", fixture_path(&f, "merged"), 100000u, 100000u);
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID), NONE);
    add(&b, PARENT, PLAN_ID_MAP, "ttw", map, map, 0u);
    add(&b, PARENT, PLAN_SYNC, "w", 1u);
    add(&b, CHILD, PLAN_SYNC, "w", 1u);
    add(&b, CHILD, PLAN_MOVE_MOUNT, "sstw", ROOT_SLOT, NONE, fixture_path(&f, "merged"), 0u);
    add_file_system(&b, "proc", "/proc", NULL, 0);
    add_pivot(&b);
    add(&b, CHILD, PLAN_STDIO, "ww", 1000u, 1000u);
    add_exec(&b,
             (const char *const[]){"probe", "stat", "/bin/probe", "write", "/made", "stat", "/made", NULL});
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "a container over idmapped layers");
    ok(strstr(f.text, "/bin/probe: 100755 0:0 ") != NULL, "the layers belong to its root");
    ok(fixture_printed(&f, "write /made: yes") && strstr(f.text, "/made: 100600 0:0 "), "and what it makes");
    struct stat made, upper, layer, output, given;
    ok(stat(fixture_path(&f, "merged"), &given) == 0 && given.st_uid == 100000,
       "a directory that is given away");
    ok(fstat(f.output, &output) == 0 && output.st_uid == 101000, "its output is the user's that was named");
    ok(stat(fixture_path(&f, "upper/made"), &made) == 0 && made.st_uid == 100000 && made.st_gid == 100000,
       "on the host it is the mapped user's");
    ok(stat(fixture_path(&f, "upper"), &upper) == 0 && upper.st_uid == 100000, "as the root is");
    ok(stat(fixture_path(&f, "layers/0"), &layer) == 0 && layer.st_uid == 0, "the layers are as they were");
    if (tap_failed)
        printf("# %s\n", f.text);
}

/* The files of a process that is not dumpable belong to the host's root, whom nobody in there can become. */
static void test_fifo_in_user_namespace(void) {
    struct builder b = {0};
    int fifo[2];
    if (pipe2(fifo, O_CLOEXEC) < 0 || write(fifo[1], "", 1) != 1)
        abort();
    f.launch.slots[PLAN_SLOT_EXEC_FIFO] = fifo[0];
    add(&b, PARENT, PLAN_OPEN_TREE, "sstw", ROOT_SLOT, NONE, fixture_path(&f, "layers/0"), 0u);
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID), NONE);
    add(&b, PARENT, PLAN_ID_MAP, "ttw", "0 100000 65536\n", "0 100000 65536\n", 0u);
    add(&b, PARENT, PLAN_SYNC, "w", 1u);
    add(&b, CHILD, PLAN_SYNC, "w", 1u);
    add(&b, CHILD, PLAN_MOVE_MOUNT, "sstw", ROOT_SLOT, NONE, fixture_path(&f, "merged"), 0u);
    add_pivot(&b);
    add(&b, CHILD, PLAN_STDIO, "ww", 0u, 0u);
    add(&b, CHILD, PLAN_USER, "wwwg", 1000u, 1000u, NONE, 0u, NULL);
    add(&b, CHILD, PLAN_CAPABILITIES, "qqqq", (uint64_t)0, (uint64_t)0, (uint64_t)0, (uint64_t)0);
    add(&b, CHILD, PLAN_EXEC_FIFO, "");
    add_exec(&b, (const char *const[]){"probe", "fds", "", "process", "", NULL});
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "a user of a user namespace waits on the fifo");
    ok(o.ready && strstr(f.text, "uid 1000 gid 1000") && !strstr(f.text, "fd 3"), "and becomes its command");
    close(fifo[0]);
    close(fifo[1]);
    f.launch.slots[PLAN_SLOT_EXEC_FIFO] = -1;
}

/* A second container of a pod with a user namespace: joins it, makes its own pid namespace in it. */
static void test_join_user(void) {
    struct builder b = {0};
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET), NONE);
    add(&b, PARENT, PLAN_ID_MAP, "ttw", "0 100000 65536\n", "0 100000 65536\n", 0u);
    add(&b, PARENT, PLAN_SYNC, "w", 1u);
    add(&b, CHILD, PLAN_SYNC, "w", 1u);
    add(&b, CHILD, PLAN_PAUSE, "");
    fixture_streams(&f);
    struct outcome pause = start(&b, &f.launch);
    follow(&pause, false);
    ok(pause.ready, "pause in a user namespace");
    show(&pause);
    add(&b, PARENT, PLAN_OPEN_PID, "swq", 20u, (unsigned)pause.child, (uint64_t)0);
    add(&b, PARENT, PLAN_OPEN, "sstqqq", 23u, NONE, "/proc/self/ns/user", (uint64_t)O_RDONLY, (uint64_t)0,
        (uint64_t)0);
    add(&b, PARENT, PLAN_USER_NAMESPACE, "stt", 22u, "0 100000 65536\n", "0 100000 65536\n");
    add(&b, PARENT, PLAN_OPEN_TREE, "sstw", ROOT_SLOT, NONE, fixture_path(&f, "layers/0"), 0u);
    add(&b, PARENT, PLAN_MOUNT_SETATTR, "swqqqs", ROOT_SLOT, 0u, (uint64_t)0, (uint64_t)0,
        (uint64_t)MS_PRIVATE, 22u);
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)0, NONE);
    add(&b, CHILD, PLAN_JOIN, "sq", 20u, (uint64_t)(CLONE_NEWUSER | CLONE_NEWNET));
    add(&b, CHILD, PLAN_UNSHARE, "q", (uint64_t)(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC));
    add(&b, CHILD, PLAN_MOVE_MOUNT, "sstw", ROOT_SLOT, NONE, fixture_path(&f, "merged"), 0u);
    add_file_system(&b, "proc", "/proc", NULL, 0);
    add_pivot(&b);
    add_probe(&b, "process", "", "cat", "/proc/self/uid_map", "fds", "", NULL);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "a container in the sandbox' user namespace with its own pid namespace");
    ok(fixture_printed(&f, "pid 1 ppid 0 uid 0 gid 0"), "it is pid 1 there, and root");
    ok(strstr(f.text, "fd 3") == NULL, "nothing is open");
    stop_pause(&pause);
}

static void test_pin(void) {
    struct builder b = {0};
    const char *path = fixture_path(&f, "netns");
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)CLONE_NEWNET, NONE);
    add(&b, PARENT, PLAN_PIN_NAMESPACE, "tt", "net", path);
    add_host_command(&b, (const char *const[]){"/bin/true", NULL});
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "a pinned network namespace");
    struct stat pinned, own;
    ok(stat(path, &pinned) == 0 && stat("/proc/self/ns/net", &own) == 0 && pinned.st_dev == own.st_dev &&
           pinned.st_ino != own.st_ino,
       "the file is another network namespace than ours");
    add(&b, PARENT, PLAN_OPEN, "sstqqq", 20u, NONE, path, (uint64_t)O_RDONLY, (uint64_t)0, (uint64_t)0);
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)0, NONE);
    add(&b, CHILD, PLAN_JOIN, "sq", 20u, (uint64_t)CLONE_NEWNET);
    add_host_command(&b, (const char *const[]){"/bin/cat", "/proc/net/dev", NULL});
    o = fixture_run(&f, &b);
    exited(&o, 0, "joined by its file");
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)CLONE_NEWNET, NONE);
    add(&b, PARENT, PLAN_PIN_NAMESPACE, "tt", "net", path);
    add(&b, CHILD, PLAN_PAUSE, "");
    o = fixture_run(&f, &b);
    failed(&o, PLAN_PIN_NAMESPACE, EEXIST, "a pin that exists is an error");
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)CLONE_NEWNET, NONE);
    add(&b, PARENT, PLAN_PIN_NAMESPACE, "tt", "../../self/mem", fixture_path(&f, "x"));
    add(&b, CHILD, PLAN_PAUSE, "");
    o = fixture_run(&f, &b);
    failed(&o, PLAN_PIN_NAMESPACE, EINVAL, "a pin of what is no namespace");
    add(&b, PARENT, PLAN_UNMOUNT, "stw", NONE, path, (unsigned)MNT_DETACH);
    o = fixture_run(&f, &b);
    ok(o.launcher_status == 0 && unlink(path) == 0, "unmounted by a plan of the launcher alone");
}

static void test_oom(void) {
    struct builder b = {0};
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)0, NONE);
    add(&b, PARENT, PLAN_OOM_SCORE_ADJ, "w", 500u);
    add(&b, PARENT, PLAN_SYNC, "w", 1u);
    add(&b, CHILD, PLAN_SYNC, "w", 1u);
    add_host_command(&b, (const char *const[]){"/bin/cat", "/proc/self/oom_score_adj", NULL});
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "oom_score_adj");
    ok(fixture_printed(&f, "500"), "is set");
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)0, NONE);
    add(&b, PARENT, PLAN_OOM_SCORE_ADJ, "w", (unsigned)-999);
    add_host_command(&b, (const char *const[]){"/bin/true", NULL});
    o = fixture_run(&f, &b);
    exited(&o, 0, "lowering it is no reason to fail");
    ok(o.logs[0] != 0 || geteuid() == 0, "where it is refused, that is logged");
}

static void test_adopted(void) {
    struct builder b = {0};
    add(&b, PARENT, PLAN_OPEN_PID, "swq", 20u, 0x3ffffffu, (uint64_t)0);
    struct outcome o = fixture_run(&f, &b);
    ok(o.error.kind == PLAN_OPEN_PID, "a pid nobody has");
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)0, NONE);
    add(&b, CHILD, PLAN_CHDIR, "tw", "/", 0u);
    o = fixture_run(&f, &b);
    exited(&o, 0, "a child list may end without a command");
}

int main(void) {
    if (fixture_make(&f)) {
        test_shared_pid();
        test_exec();
        test_user_namespace();
        test_idmapped_overlay();
        test_fifo_in_user_namespace();
        test_join_user();
        test_pin();
        test_oom();
        test_adopted();
    }
    fixture_remove(&f);
    return tap_end();
}
