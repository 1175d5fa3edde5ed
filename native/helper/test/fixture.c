#include "fixture.h"
#include "../kernel.h"
#include "tap.h"
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

const char *fixture_path(const struct fixture *f, const char *format, ...) {
    static char buffers[4][512];
    static unsigned next;
    char *buffer = buffers[next++ % 4];
    int n = snprintf(buffer, sizeof buffers[0], "%s/", f->base);
    va_list args;
    va_start(args, format);
    vsnprintf(buffer + n, sizeof buffers[0] - (size_t)n, format, args);
    va_end(args);
    return buffer;
}

void fixture_mkdir(const struct fixture *f, const char *name) {
    if (mkdir(fixture_path(f, "%s", name), 0755) < 0 && errno != EEXIST)
        abort();
}

void fixture_write(const struct fixture *f, const char *name, const char *content) {
    int fd = open(fixture_path(f, "%s", name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, content, strlen(content)) < 0)
        abort();
    close(fd);
}

static void copy_program(const char *from, const char *to) {
    char buffer[65536];
    ssize_t n;
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    while ((n = read(in, buffer, sizeof buffer)) > 0)
        if (write(out, buffer, (size_t)n) != n)
            abort();
    if (in < 0 || out < 0 || n < 0)
        abort();
    close(in);
    close(out);
}

bool fixture_make(struct fixture *f) {
    const char *probe = getenv("PROBE");
    memset(f, 0, sizeof *f);
    f->output = -1;
    launch_init(&f->launch);
    if (geteuid() != 0 || !probe) {
        skip("launches", probe ? "needs root" : "PROBE names no program");
        return false;
    }
    const char *scratch = getenv("TMPDIR");
    snprintf(f->base, sizeof f->base, "%s/podwright-test-XXXXXX", scratch ? scratch : "/tmp");
    if (!mkdtemp(f->base) || chmod(f->base, 0755) < 0)
        abort();
    static const char *const dirs[] = {"layers",       "layers/0",     "layers/0/bin", "layers/0/etc",
                                       "layers/0/opt", "layers/0/tmp", "upper",        "work",
                                       "merged",       "host",         "layers/0/data"};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        fixture_mkdir(f, dirs[i]);
    copy_program(probe, fixture_path(f, "layers/0/bin/probe"));
    return true;
}

void fixture_remove(struct fixture *f) {
    if (f->base[0] == 0)
        return;
    if (getenv("KEEP")) {
        printf("# kept %s\n", f->base);
        return;
    }
    char command[128];
    snprintf(command, sizeof command, "rm -rf --one-file-system %s", f->base);
    if (system(command) != 0)
        printf("# %s is left\n", f->base);
}

void fixture_streams(struct fixture *f) {
    int ends[2];
    for (int i = 0; i < 3; i++)
        if (f->launch.slots[i] >= 0 && (i != 2 || f->launch.slots[2] != f->launch.slots[1]))
            close(f->launch.slots[i]);
    if (f->output >= 0)
        close(f->output);
    if (pipe2(ends, O_CLOEXEC) < 0)
        abort();
    f->output = ends[0];
    f->launch.slots[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
    f->launch.slots[1] = f->launch.slots[2] = ends[1];
}

void fixture_read(struct fixture *f) {
    size_t len = 0;
    close(f->launch.slots[1]);
    f->launch.slots[1] = f->launch.slots[2] = -1;
    while (len < sizeof f->text - 1) {
        ssize_t n = read(f->output, f->text + len, sizeof f->text - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    f->text[len] = 0;
}

bool fixture_printed(const struct fixture *f, const char *line) {
    size_t len = strlen(line);
    for (const char *at = f->text; *at; at += strcspn(at, "\n"), at += *at == '\n')
        if (strncmp(at, line, len) == 0 && (at[len] == '\n' || at[len] == 0))
            return true;
    return false;
}

void add_rootfs(struct builder *b, const struct fixture *f, uint64_t clone_flags) {
    const char *const lower[] = {"0", NULL}, *const options[] = {"index=off", "metacopy=off", NULL};
    add(b, PARENT, PLAN_OVERLAY, "stTttTq", ROOT_SLOT, fixture_path(f, "layers"), lower,
        fixture_path(f, "upper"), fixture_path(f, "work"), options, (uint64_t)0);
    add(b, PARENT, PLAN_CLONE, "qs", CLONE_NEWNS | clone_flags, NONE);
    add(b, CHILD, PLAN_PROPAGATION, "tq", "/", (uint64_t)(MS_REC | MS_SLAVE));
    add(b, CHILD, PLAN_MOVE_MOUNT, "sstw", ROOT_SLOT, NONE, fixture_path(f, "merged"), 0u);
}

void add_file_system(struct builder *b, const char *type, const char *path, const char *const *options,
                     uint64_t attributes) {
    add(b, CHILD, PLAN_FS_MOUNT, "sttTq", SCRATCH_SLOT, type, type, options, attributes);
    add(b, CHILD, PLAN_MOVE_MOUNT, "sstw", SCRATCH_SLOT, ROOT_SLOT, path, 1u);
}

static void add_devices(struct builder *b) {
    static const struct {
        const char *path;
        unsigned minor;
    } devices[] = {
        {"/dev/null", 3}, {"/dev/zero", 5}, {"/dev/full", 7}, {"/dev/random", 8}, {"/dev/urandom", 9}};
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        add(b, CHILD, PLAN_MAKE_DEVICE, "stwwwww", ROOT_SLOT, devices[i].path, S_IFCHR | 0666u, 1u,
            devices[i].minor, 0u, 0u);
    add(b, CHILD, PLAN_MAKE_DEVICE, "stwwwww", ROOT_SLOT, "/dev/tty", S_IFCHR | 0666u, 5u, 0u, 0u, 5u);
    static const char *const links[][2] = {{"/dev/fd", "/proc/self/fd"},
                                           {"/dev/stdin", "/proc/self/fd/0"},
                                           {"/dev/stdout", "/proc/self/fd/1"},
                                           {"/dev/stderr", "/proc/self/fd/2"},
                                           {"/dev/ptmx", "pts/ptmx"}};
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        add(b, CHILD, PLAN_SYMLINK, "stt", ROOT_SLOT, links[i][0], links[i][1]);
}

void add_mounts(struct builder *b) {
    const uint64_t safe = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    static const char *const dev[] = {"mode=755", "size=65536k", NULL};
    static const char *const pts[] = {"newinstance", "ptmxmode=0666", "mode=0620", "gid=5", NULL};
    static const char *const shm[] = {"mode=1777", "size=65536k", NULL};
    add_file_system(b, "proc", "/proc", NULL, safe);
    add_file_system(b, "tmpfs", "/dev", dev, MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME);
    add_devices(b);
    add_file_system(b, "devpts", "/dev/pts", pts, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    add_file_system(b, "mqueue", "/dev/mqueue", NULL, safe);
    add_file_system(b, "tmpfs", "/dev/shm", shm, safe);
    add_file_system(b, "sysfs", "/sys", NULL, safe | MOUNT_ATTR_RDONLY);
}

void add_pivot(struct builder *b) {
    add(b, CHILD, PLAN_PIVOT_ROOT, "sw", ROOT_SLOT, 0u);
}

void add_exec(struct builder *b, const char *const *argv) {
    static const char *const environment[] = {"PATH=/usr/bin:/bin", "NAME=value", NULL};
    add(b, CHILD, PLAN_EXEC, "wTT", 0u, argv, environment);
}

void add_probe(struct builder *b, ...) {
    const char *argv[32] = {"probe"};
    va_list args;
    va_start(args, b);
    for (int i = 1; i < 31 && (argv[i] = va_arg(args, const char *)); i++)
        ;
    va_end(args);
    add(b, CHILD, PLAN_STDIO, "ww", 0u, 0u);
    add_exec(b, argv);
}

struct outcome fixture_run(struct fixture *f, struct builder *b) {
    fixture_streams(f);
    struct outcome o = run(b, &f->launch);
    fixture_read(f);
    return o;
}

bool exited(const struct outcome *o, int code, const char *name) {
    bool passed = ok(o->started > 0 && o->error.type == 0 && o->launcher_status == 0 &&
                         WIFEXITED(o->child_status) && WEXITSTATUS(o->child_status) == code,
                     "%s", name);
    if (!passed) {
        printf("#   started %d, launcher %#x, child %#x\n", o->started, o->launcher_status, o->child_status);
        show(o);
    }
    return passed;
}

bool failed(const struct outcome *o, uint32_t kind, int errnum, const char *name) {
    bool dead = o->child == 0 || o->child_status != 0;
    bool passed =
        ok(o->error.type == REPORT_ERROR && o->error.kind == kind && (int)o->error.errnum == errnum && dead,
           "%s", name);
    if (!passed) {
        printf("#   want %s: %s; child %#x\n", plan_kind_name(kind), strerror(errnum), o->child_status);
        show(o);
    }
    return passed;
}
