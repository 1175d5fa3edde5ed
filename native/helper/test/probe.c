/* The program that runs inside test containers: prints what it sees of itself, one fact per line. Static. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static void print_fds(void) {
    for (int fd = 0; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf("fd %d\n", fd);
}

static void print_file(const char *path) {
    FILE *file = fopen(path, "re");
    char line[4096];
    if (!file)
        printf("%s: %s\n", path, strerror(errno));
    while (file && fgets(line, sizeof line, file))
        fputs(line, stdout);
    if (file)
        fclose(file);
}

static void print_stat(const char *path) {
    struct stat st;
    if (lstat(path, &st) < 0)
        printf("%s: %s\n", path, strerror(errno));
    else
        printf("%s: %o %u:%u dev %u:%u size %lld\n", path, st.st_mode, st.st_uid, st.st_gid,
               major(st.st_rdev), minor(st.st_rdev), (long long)st.st_size);
}

static void print_list(const char *path) {
    DIR *dir = opendir(path);
    struct dirent *entry;
    unsigned count = 0;
    while (dir && (entry = readdir(dir)))
        count += entry->d_name[0] != '.';
    printf("%s: %u entries\n", path, count);
}

static void print_write(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    printf("write %s: %s\n", path, fd < 0 ? strerror(errno) : "yes");
}

static void print_process(void) {
    char cwd[PATH_MAX] = "";
    gid_t groups[64];
    int count = getgroups(64, groups);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    mode_t mask = umask(0);
    printf("pid %d ppid %d uid %d gid %d\n", getpid(), getppid(), getuid(), getgid());
    printf("sid %d\n", getsid(0));
    printf("groups");
    for (int i = 0; i < count; i++)
        printf(" %d", groups[i]);
    printf("\numask %03o\n", mask);
    printf("cwd %s\n", getcwd(cwd, sizeof cwd) ? cwd : strerror(errno));
    printf("nofile %llu %llu\n", (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
    printf("dumpable %d\n", prctl(PR_GET_DUMPABLE));
}

static void print_tty(void) {
    struct winsize size = {0};
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
    ioctl(0, TIOCGWINSZ, &size);
    printf("tty %s %dx%d controlling %s\n", isatty(0) ? ttyname(0) : "none", size.ws_col, size.ws_row,
           fd < 0 ? strerror(errno) : "yes");
    if (fd >= 0)
        close(fd);
}

/* A grandchild whose parent is gone when it ends. */
static void leave_orphan(void) {
    int ends[2];
    if (pipe(ends) < 0)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            char byte;
            close(ends[1]);
            while (read(ends[0], &byte, 1) > 0) /* until our parent and its parent are gone */
                ;
        }
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

/* Pairs of a question and its subject. */
int main(int argc, char **argv) {
    int code = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *what = argv[i], *subject = argv[i + 1];
        if (strcmp(what, "fds") == 0)
            print_fds();
        else if (strcmp(what, "cat") == 0)
            print_file(subject);
        else if (strcmp(what, "stat") == 0)
            print_stat(subject);
        else if (strcmp(what, "list") == 0)
            print_list(subject);
        else if (strcmp(what, "write") == 0)
            print_write(subject);
        else if (strcmp(what, "process") == 0)
            print_process();
        else if (strcmp(what, "tty") == 0)
            print_tty();
        else if (strcmp(what, "orphan") == 0)
            leave_orphan();
        else if (strcmp(what, "env") == 0)
            printf("%s=%s\n", subject, getenv(subject) ? getenv(subject) : "");
        else if (strcmp(what, "exit") == 0)
            code = atoi(subject);
        else if (strcmp(what, "wait") == 0)
            fflush(stdout), pause();
    }
    return code;
}
