/* Mounts and paths inside a rootfs that does not want them where they belong. */
#include "../kernel.h"
#include "../step_overlay.h"
#include "fixture.h"
#include "tap.h"
#include <sched.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

static struct fixture f;

static void add_rest(struct builder *b) {
    add_pivot(b);
}

/* A new image: what the last test put into the layer is gone. */
static void reset_layer(void) {
    char command[512];
    snprintf(
        command, sizeof command,
        "cd %s && rm -rf upper work && mkdir upper work && find layers/0 -mindepth 1 -maxdepth 1 ! -name bin "
        "-exec rm -rf {} + && mkdir layers/0/etc layers/0/opt",
        f.base);
    if (system(command) != 0)
        abort();
}

static void link_in_layer(const char *target, const char *name) {
    if (symlink(target, fixture_path(&f, "layers/0/%s", name)) < 0)
        abort();
}

static void test_bind(void) {
    struct builder b = {0};
    reset_layer();
    fixture_mkdir(&f, "host/dir");
    fixture_write(&f, "host/dir/inside", "from the host\n");
    fixture_write(&f, "host/file", "one file\n");
    if (symlink("dir", fixture_path(&f, "host/link")) < 0 && errno != EEXIST)
        abort();
    add(&b, PARENT, PLAN_OPEN_TREE, "sstw", 20u, NONE, fixture_path(&f, "host/link"), 1u);
    add(&b, PARENT, PLAN_MOUNT_SETATTR, "swqqqs", 20u, 1u, (uint64_t)MOUNT_ATTR_RDONLY, (uint64_t)0,
        (uint64_t)MS_PRIVATE, NONE);
    add(&b, PARENT, PLAN_OPEN_TREE, "sstw", 21u, NONE, fixture_path(&f, "host/file"), 0u);
    add_rootfs(&b, &f, 0);
    add(&b, CHILD, PLAN_MOVE_MOUNT, "sstw", 20u, ROOT_SLOT, "/new//./dir/", 3u);
    add(&b, CHILD, PLAN_MOVE_MOUNT, "sstw", 21u, ROOT_SLOT, "/etc/new/file", 3u);
    add_rest(&b);
    add_probe(&b, "cat", "/new/dir/inside", "cat", "/etc/new/file", "write", "/new/dir/x", "write",
              "/etc/new/file", "stat", "/new", NULL);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "binds of a linked directory and of a file");
    ok(fixture_printed(&f, "from the host") && fixture_printed(&f, "one file"), "are seen inside");
    ok(fixture_printed(&f, "write /new/dir/x: Read-only file system"), "a read-only bind");
    ok(fixture_printed(&f, "write /etc/new/file: yes"), "a writable bind");
    ok(strstr(f.text, "/new: 40755 0:0") != NULL, "missing directories are made 0755");
}

/* A directory of a mount that is attached nowhere. */
static void test_sub_tree(void) {
    struct builder b = {0};
    reset_layer();
    fixture_mkdir(&f, "host/tree");
    fixture_mkdir(&f, "host/tree/a");
    fixture_write(&f, "host/tree/a/inside", "part of a tree\n");
    if (symlink("/../../a", fixture_path(&f, "host/tree/link")) < 0 && errno != EEXIST)
        abort();
    add(&b, PARENT, PLAN_OPEN_TREE, "sstw", 20u, NONE, fixture_path(&f, "host/tree"), 0u);
    add(&b, PARENT, PLAN_SUB_TREE, "st", 20u, "/link/.");
    add_rootfs(&b, &f, 0);
    add(&b, CHILD, PLAN_MOVE_MOUNT, "sstw", 20u, ROOT_SLOT, "/part", 1u);
    add_rest(&b);
    add_probe(&b, "cat", "/part/inside", NULL);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "a directory of a detached mount");
    ok(fixture_printed(&f, "part of a tree"), "is found through a link that stays inside");
    static const struct {
        const char *path;
        int error;
    } wrong[] = {{"none", ENOENT}, {"a/inside", ENOTDIR}, {"/etc", ENOENT}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct builder w = {0};
        add(&w, PARENT, PLAN_OPEN_TREE, "sstw", 20u, NONE, fixture_path(&f, "host/tree"), 0u);
        add(&w, PARENT, PLAN_SUB_TREE, "st", 20u, wrong[i].path);
        o = fixture_run(&f, &w);
        failed(&o, PLAN_SUB_TREE, wrong[i].error, wrong[i].path);
    }
}

/* Everything a hostile image can do about the places of mounts, devices and files. */
static void test_links(void) {
    struct builder b = {0};
    reset_layer();
    link_in_layer("/", "slash");
    link_in_layer("../../../../../..", "up");
    link_in_layer("/run/nowhere", "dangling");
    link_in_layer("loop", "loop");
    link_in_layer(fixture_path(&f, "host"), "absolute");
    static const char *const options[] = {"mode=755", NULL};
    add_rootfs(&b, &f, 0);
    add_file_system(&b, "tmpfs", "/up/up/mnt1", options, 0);
    add_file_system(&b, "tmpfs", "/slash/slash/mnt2", options, 0);
    add_file_system(&b, "tmpfs", "/dangling/mnt3", options, 0);
    add_file_system(&b, "tmpfs", "/absolute/mnt4", options, 0);
    add(&b, CHILD, PLAN_MKDIR, "stwww", ROOT_SLOT, "/up/../../made", 01777u, 3u, 4u);
    add(&b, CHILD, PLAN_FILE, "stwwwb", ROOT_SLOT, "/absolute/made", 04755u, 5u, 6u, "text", (size_t)4);
    add(&b, CHILD, PLAN_SYMLINK, "stt", ROOT_SLOT, "/absolute/link", "/elsewhere");
    add(&b, CHILD, PLAN_MAKE_DEVICE, "stwwwww", ROOT_SLOT, "/absolute/null", S_IFCHR | 0666u, 1u, 3u, 7u, 8u);
    add_rest(&b);
    char inside[128];
    snprintf(inside, sizeof inside, "%s/made", fixture_path(&f, "host"));
    add_probe(&b, "stat", "/mnt1", "stat", "/mnt2", "stat", "/run/nowhere/mnt3", "stat", "/made", "stat",
              inside, "stat", "/absolute/link", "stat", "/absolute/null", "stat", "/absolute/mnt4", NULL);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "links of the image are followed inside it");
    ok(strstr(f.text, "/mnt1: 40755") && strstr(f.text, "/mnt2: 40755") &&
           strstr(f.text, "/run/nowhere/mnt3: 40755"),
       "upwards, absolute and dangling ones");
    ok(strstr(f.text, "/made: 41777 3:4"), "a directory with mode and owner");
    ok(strstr(f.text, "host/made: 104755 5:6"), "a file with mode and owner");
    ok(strstr(f.text, "/absolute/link: 120777") && strstr(f.text, "/absolute/null: 20666 7:8 dev 1:3"),
       "a link and a device");
    ok(access(fixture_path(&f, "host/made"), F_OK) < 0 && access(fixture_path(&f, "host/mnt4"), F_OK) < 0 &&
           access("/run/nowhere", F_OK) < 0,
       "nothing was made on the host");
    if (tap_failed)
        printf("# %s\n", f.text);
    add_rootfs(&b, &f, 0);
    add_file_system(&b, "tmpfs", "/loop/mnt", options, 0);
    add_rest(&b), add_probe(&b, NULL);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_MOVE_MOUNT, ELOOP, "a loop of links");
}

static void test_last_link(void) {
    struct builder b = {0};
    reset_layer();
    char *victim = strdup(fixture_path(&f, "host/victim"));
    fixture_write(&f, "host/victim", "untouched");
    link_in_layer(victim, "etc/file");
    link_in_layer(victim, "etc/device");
    link_in_layer(victim, "etc/link");
    fixture_write(&f, "layers/0/etc/plain", "old");
    if (mkfifo(fixture_path(&f, "layers/0/etc/fifo"), 0600) < 0)
        abort();
    add_rootfs(&b, &f, 0);
    add(&b, CHILD, PLAN_FILE, "stwwwb", ROOT_SLOT, "/etc/file", 0644u, 0u, 0u, "new", (size_t)3);
    add(&b, CHILD, PLAN_MAKE_DEVICE, "stwwwww", ROOT_SLOT, "/etc/device", S_IFCHR | 0600u, 1u, 5u, 0u, 0u);
    add(&b, CHILD, PLAN_SYMLINK, "stt", ROOT_SLOT, "/etc/link", "target");
    add(&b, CHILD, PLAN_SYMLINK, "stt", ROOT_SLOT, "/etc/plain", "target");
    add(&b, CHILD, PLAN_FILE, "stwwwb", ROOT_SLOT, "/etc/fifo", 0644u, 0u, 0u, "new", (size_t)3);
    add_rest(&b);
    add_probe(&b, "stat", "/etc/file", "stat", "/etc/device", "stat", "/etc/link", "stat", "/etc/plain",
              "stat", "/etc/fifo", NULL);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "a link, a file and a fifo in the place of what is made");
    ok(strstr(f.text, "/etc/file: 100644") && strstr(f.text, "/etc/device: 20600 0:0 dev 1:5") &&
           strstr(f.text, "/etc/link: 120777") && strstr(f.text, "/etc/plain: 120777") &&
           strstr(f.text, "/etc/fifo: 100644"),
       "are replaced");
    struct stat st;
    ok(stat(victim, &st) == 0 && st.st_size == 9, "and what the links pointed to is untouched");
    free(victim);
}

static void test_kernel_mounts(void) {
    struct builder b = {0};
    struct outcome o;
    reset_layer();
    fixture_mkdir(&f, "layers/0/real");
    link_in_layer("/real", "proc");
    add_rootfs(&b, &f, 0), add_file_system(&b, "proc", "/proc", NULL, 0);
    add_rest(&b), add_probe(&b, NULL);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_MOVE_MOUNT, ELOOP, "procfs on a link");
    link_in_layer("real", "sys");
    add_rootfs(&b, &f, CLONE_NEWNET), add_file_system(&b, "sysfs", "/sys", NULL, 0);
    add_rest(&b), add_probe(&b, NULL);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_MOVE_MOUNT, ELOOP, "sysfs on a link");
    add_rootfs(&b, &f, 0);
    add(&b, CHILD, PLAN_FS_MOUNT, "sttTq", SCRATCH_SLOT, "tmpfs", "x", (const char *const[]){"bogus=1", NULL},
        (uint64_t)0);
    add_rest(&b), add_probe(&b, NULL);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_FS_MOUNT, EINVAL, "an option the kernel does not know");
    ok(strcmp(o.error.text, "bogus=1") == 0 && strstr(o.logs, "bogus"),
       "is named, with the kernel's own words in the log");
    add_rootfs(&b, &f, 0);
    add(&b, CHILD, PLAN_FS_MOUNT, "sttTq", SCRATCH_SLOT, "nofs", "x", NULL, (uint64_t)0);
    add_rest(&b), add_probe(&b, NULL);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_FS_MOUNT, ENODEV, "an unknown file system");
}

static void test_mask(void) {
    struct builder b = {0};
    reset_layer();
    fixture_mkdir(&f, "layers/0/secret");
    fixture_write(&f, "layers/0/secret/key", "secret");
    fixture_mkdir(&f, "layers/0/secret2");
    fixture_write(&f, "layers/0/secret2/key", "secret");
    fixture_write(&f, "layers/0/etc/shadow", "secret");
    fixture_write(&f, "layers/0/etc/gshadow", "secret");
    fixture_mkdir(&f, "layers/0/dev");
    link_in_layer("/etc/shadow", "dev/null");
    add_rootfs(&b, &f, CLONE_NEWPID);
    add_file_system(&b, "proc", "/proc", NULL, 0);
    add(&b, CHILD, PLAN_MASK, "st", ROOT_SLOT, "/secret");
    add(&b, CHILD, PLAN_MASK, "st", ROOT_SLOT, "/secret2");
    add(&b, CHILD, PLAN_MASK, "st", ROOT_SLOT, "/etc/shadow");
    add(&b, CHILD, PLAN_MASK, "st", ROOT_SLOT, "/etc/gshadow");
    add(&b, CHILD, PLAN_MASK, "st", ROOT_SLOT, "/nothing/here");
    add(&b, CHILD, PLAN_MASK, "st", ROOT_SLOT, "/etc/shadow/below");
    add(&b, CHILD, PLAN_READ_ONLY, "st", ROOT_SLOT, "/proc/sys");
    add(&b, CHILD, PLAN_READ_ONLY, "st", ROOT_SLOT, "/opt");
    add(&b, CHILD, PLAN_READ_ONLY, "st", ROOT_SLOT, "/nothing");
    add_rest(&b);
    add_probe(&b, "list", "/secret", "list", "/secret2", "write", "/secret/x", "stat", "/etc/shadow", "stat",
              "/etc/gshadow", "cat", "/etc/gshadow", "write", "/proc/sys/kernel/hostname", "write", "/opt/x",
              NULL);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "masked and read-only paths");
    ok(fixture_printed(&f, "/secret: 0 entries") && fixture_printed(&f, "/secret2: 0 entries"),
       "masked directories");
    ok(fixture_printed(&f, "write /secret/x: Read-only file system"), "stay empty");
    ok(strstr(f.text, "/etc/shadow: 20666 0:0 dev 1:3") && strstr(f.text, "/etc/gshadow: 20666 0:0 dev 1:3"),
       "masked files are the host's null device, whatever the image's /dev/null is");
    ok(strstr(f.text, "secret\n") == NULL, "and show nothing");
    ok(fixture_printed(&f, "write /proc/sys/kernel/hostname: Read-only file system") &&
           fixture_printed(&f, "write /opt/x: Read-only file system"),
       "read-only paths");
    if (tap_failed)
        printf("# %s\n", f.text);
}

static void test_copy_up(void) {
    struct builder b = {0};
    reset_layer();
    fixture_mkdir(&f, "layers/0/var");
    fixture_mkdir(&f, "layers/0/var/deep");
    fixture_write(&f, "layers/0/var/deep/file", "content\n");
    link_in_layer("deep/file", "var/link");
    if (chown(fixture_path(&f, "layers/0/var/deep/file"), 11, 12) < 0 ||
        chmod(fixture_path(&f, "layers/0/var"), 0750) < 0 ||
        mkfifo(fixture_path(&f, "layers/0/var/fifo"), 0600) < 0)
        abort();
    add_rootfs(&b, &f, 0);
    add(&b, CHILD, PLAN_FS_MOUNT, "sttTq", SCRATCH_SLOT, "tmpfs", "tmpfs", NULL, (uint64_t)0);
    add(&b, CHILD, PLAN_COPY_UP, "sst", SCRATCH_SLOT, ROOT_SLOT, "/var");
    add(&b, CHILD, PLAN_MOVE_MOUNT, "sstw", SCRATCH_SLOT, ROOT_SLOT, "/var", 1u);
    add_rest(&b);
    add_probe(&b, "cat", "/var/link", "stat", "/var/deep/file", "stat", "/var", "stat", "/var/fifo", NULL);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "a tmpfs with what the image has there");
    ok(fixture_printed(&f, "content") && strstr(f.text, "/var/deep/file: 100644 11:12") &&
           strstr(f.text, "/var: 40750") && strstr(f.text, "/var/fifo: 10600"),
       "files, links, owners and modes");
    add_rootfs(&b, &f, 0);
    add(&b, CHILD, PLAN_FS_MOUNT, "sttTq", SCRATCH_SLOT, "tmpfs", "tmpfs",
        (const char *const[]){"size=4k", NULL}, (uint64_t)0);
    add(&b, CHILD, PLAN_COPY_UP, "sst", SCRATCH_SLOT, ROOT_SLOT, "/bin");
    add_rest(&b), add_probe(&b, NULL);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_COPY_UP, ENOSPC, "more than the tmpfs holds");
}

static void test_move_root(void) {
    struct builder b = {0};
    reset_layer();
    add_rootfs(&b, &f, CLONE_NEWPID);
    add_file_system(&b, "proc", "/proc", NULL, 0);
    add(&b, CHILD, PLAN_PIVOT_ROOT, "sw", ROOT_SLOT, 1u);
    add_probe(&b, "stat", "/bin/probe", "process", "", "cat", "/proc/1/comm", NULL);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "a root that is moved instead of pivoted");
    ok(strstr(f.text, "/bin/probe: 100755") && fixture_printed(&f, "cwd /") && fixture_printed(&f, "probe"),
       "is the root");
}

/* 128 layers, the top one with a mark; the older way too, which kernels before 6.7 need. */
static void test_many_layers(void) {
    struct builder b = {0};
    const char *names[129] = {NULL};
    static char text[128][8];
    reset_layer();
    for (int i = 1; i < 128; i++) {
        snprintf(text[i], sizeof text[i], "%d", 128 - i);
        names[i - 1] = text[i];
        fixture_mkdir(&f, "layers");
        char dir[32], file[32];
        snprintf(dir, sizeof dir, "layers/%d", i);
        snprintf(file, sizeof file, "layers/%d/layer", i);
        fixture_mkdir(&f, dir);
        fixture_write(&f, file, i == 127 ? "top\n" : "below\n");
    }
    names[127] = "0";
    const char *const options[] = {"index=off", NULL};
    add(&b, PARENT, PLAN_OVERLAY, "stTttTq", ROOT_SLOT, fixture_path(&f, "layers"), names,
        fixture_path(&f, "upper"), fixture_path(&f, "work"), options, (uint64_t)MOUNT_ATTR_NODEV);
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)CLONE_NEWNS, NONE);
    add(&b, CHILD, PLAN_MOVE_MOUNT, "sstw", ROOT_SLOT, NONE, fixture_path(&f, "merged"), 0u);
    add_rest(&b);
    add_probe(&b, "cat", "/layer", "write", "/new", NULL);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "an overlay of 128 layers");
    ok(fixture_printed(&f, "top") && fixture_printed(&f, "write /new: yes"),
       "the first name is the top layer");

    unsigned char values[4096];
    size_t at = 4;
    memcpy(values, &(uint32_t){128}, 4);
    for (int i = 0; i < 128; i++) {
        uint32_t len = (uint32_t)strlen(names[i]) + 1;
        memcpy(values + at, &len, 4);
        memset(values + at + 4, 0, 8);
        memcpy(values + at + 4, names[i], len);
        at += 4 + ((len + 3u) & ~3u);
    }
    static const unsigned char none[4];
    char *layers = strdup(fixture_path(&f, "layers"));
    struct overlay overlay = {.layers = layers,
                              .upper = "",
                              .work = "",
                              .lower = {values},
                              .options = {none},
                              .attributes = MOUNT_ATTR_NOSUID};
    pid_t pid = fork();
    if (pid == 0) {
        const char *call = "";
        int fd = chdir(layers) < 0 ? -errno : overlay_mount(&overlay, &call);
        char content[8] = "";
        int file = fd < 0 ? -1 : openat(fd, "layer", O_RDONLY);
        ssize_t n = read(file, content, sizeof content);
        if (fd < 0)
            printf("# %s: %s\n", call, strerror(-fd));
        _exit(n == 4 && strcmp(content, "top\n") == 0 && access("0/bin/probe", F_OK) == 0 ? 0 : 1);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    is(status, 0, "the same by mount(2) in a private mount namespace");
    free(layers);
    names[0] = "nowhere";
    add(&b, PARENT, PLAN_OVERLAY, "stTttTq", ROOT_SLOT, fixture_path(&f, "layers"), names, "", "", NULL,
        (uint64_t)0);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_OVERLAY, ENOENT, "a layer that is missing");
}

/* Swaps a directory of a shared volume for a link to the host, for ever. */
static pid_t start_swapper(void) {
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    char *one = strdup(fixture_path(&f, "host/volume/dir")),
         *other = strdup(fixture_path(&f, "host/volume/link"));
    for (;;)
        syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, other, 2u /* RENAME_EXCHANGE */);
}

/* Whatever a neighbour does to a volume while a container starts, nothing happens outside it. RACES=N for
 * more. */
static void test_race(void) {
    static const char *const options[] = {"mode=755", NULL};
    unsigned races = getenv("RACES") ? (unsigned)atoi(getenv("RACES")) : 150, started = 0;
    reset_layer();
    fixture_mkdir(&f, "canary");
    fixture_mkdir(&f, "host/volume");
    fixture_mkdir(&f, "host/volume/dir");
    if (symlink(fixture_path(&f, "canary"), fixture_path(&f, "host/volume/link")) < 0)
        abort();
    pid_t swapper = start_swapper();
    for (unsigned i = 0; i < races; i++) {
        struct builder b = {0};
        char dir[64], file[64], mount[64];
        snprintf(dir, sizeof dir, "/volume/dir/made%u/below", i);
        snprintf(file, sizeof file, "/volume/dir/file%u", i);
        snprintf(mount, sizeof mount, "/volume/dir/mount%u/deep", i);
        add(&b, PARENT, PLAN_OPEN_TREE, "sstw", 20u, NONE, fixture_path(&f, "host/volume"), 0u);
        add_rootfs(&b, &f, 0);
        add(&b, CHILD, PLAN_MOVE_MOUNT, "sstw", 20u, ROOT_SLOT, "/volume", 1u);
        add(&b, CHILD, PLAN_MKDIR, "stwww", ROOT_SLOT, dir, 0755u, 0u, 0u);
        add(&b, CHILD, PLAN_FILE, "stwwwb", ROOT_SLOT, file, 0644u, 0u, 0u, "x", (size_t)1);
        add(&b, CHILD, PLAN_MAKE_DEVICE, "stwwwww", ROOT_SLOT, file, S_IFCHR | 0666u, 1u, 3u, 0u, 0u);
        add_file_system(&b, "tmpfs", mount, options, 0);
        add(&b, CHILD, PLAN_MASK, "st", ROOT_SLOT, "/volume/dir");
        add_rest(&b), add_probe(&b, NULL);
        struct outcome o = fixture_run(&f, &b);
        started += o.error.type == 0;
    }
    kill(swapper, SIGKILL);
    waitpid(swapper, NULL, 0);
    char command[256];
    snprintf(command, sizeof command, "test -z \"$(ls -A %s/canary)\"", f.base);
    ok(system(command) == 0, "a volume that changes under %u launches lets nothing out (%u of them started)",
       races, started);
}

static void test_host_untouched(void) {
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    char line[4096];
    unsigned ours = 0;
    while (mounts && fgets(line, sizeof line, mounts))
        ours += strstr(line, f.base) != NULL;
    if (mounts)
        fclose(mounts);
    is(ours, 0, "the host's mount table holds nothing of all this");
}

int main(void) {
    if (fixture_make(&f)) {
        test_bind();
        test_sub_tree();
        test_links();
        test_last_link();
        test_kernel_mounts();
        test_mask();
        test_copy_up();
        test_move_root();
        test_many_layers();
        test_race();
        test_host_untouched();
    }
    fixture_remove(&f);
    return tap_end();
}
