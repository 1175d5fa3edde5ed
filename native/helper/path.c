#include "path.h"
#include "kernel.h"

#define LINKS_MAX 40
#define RETRIES 128

/* A name without any link, in a directory we hold. */
#define STRICT (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)

int path_open(int root, const char *path, int flags, uint64_t resolve) {
    if (path[0] == 0)
        path = "/";
    for (int i = 0;; i++) {
        int fd = kernel_openat2(root, path, (uint64_t)(unsigned)(flags | O_CLOEXEC), 0,
                                RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve);
        if (fd >= 0)
            return fd;
        if (errno != EAGAIN || i == RETRIES) /* a rename beside the walk */
            return -errno;
    }
}

/* A path without links: what path leads to inside root, missing components and the targets of dangling links
 * too. */
struct expansion {
    char done[PATH_MAX], rest[PATH_MAX];
};

/* The next component of the rest; false at its end. */
static bool next_component(struct expansion *e, char name[NAME_MAX + 1], int *error) {
    char *from = e->rest + strspn(e->rest, "/");
    size_t len = strcspn(from, "/");
    *error = len > NAME_MAX ? -ENAMETOOLONG : 0;
    if (len == 0 || *error < 0)
        return false;
    memcpy(name, from, len);
    name[len] = 0;
    memmove(e->rest, from + len, strlen(from + len) + 1);
    return true;
}

static int append(char path[PATH_MAX], const char *name) {
    size_t at = strlen(path), len = strlen(name);
    if (at + len + 2 > PATH_MAX)
        return -ENAMETOOLONG;
    path[at] = '/';
    memcpy(path + at + 1, name, len + 1);
    return 0;
}

/* The link at root + e->done + name takes the place of name. */
static int follow(struct expansion *e, int link) {
    char target[PATH_MAX];
    ssize_t n = readlinkat(link, "", target, sizeof target - 1);
    if (n < 0)
        return -errno;
    target[n] = 0;
    if (target[0] == '/')
        e->done[0] = 0;
    int error = append(target, e->rest);
    if (error == 0)
        memcpy(e->rest, target, strlen(target) + 1);
    return error;
}

static int expand_component(struct expansion *e, int root, const char *name, int *links) {
    if (strcmp(name, ".") == 0)
        return 0;
    if (strcmp(name, "..") == 0) {
        char *slash = strrchr(e->done, '/');
        if (slash)
            *slash = 0;
        return 0;
    }
    char here[PATH_MAX];
    memcpy(here, e->done, strlen(e->done) + 1);
    int error = append(here, name);
    if (error < 0)
        return error;
    cleanup_close int fd = path_open(root, here, O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
    struct stat st;
    if (fd < 0 && fd != -ENOENT)
        return fd;
    if (fd >= 0 && fstat(fd, &st) < 0)
        return -errno;
    if (fd >= 0 && S_ISLNK(st.st_mode))
        return ++*links > LINKS_MAX ? -ELOOP : follow(e, fd);
    memcpy(e->done, here, strlen(here) + 1);
    return 0;
}

static int expand(struct expansion *e, int root, const char *path) {
    char name[NAME_MAX + 1];
    int links = 0, error = 0;
    e->done[0] = 0;
    if (strlen(path) >= sizeof e->rest)
        return -ENAMETOOLONG;
    memcpy(e->rest, path, strlen(path) + 1);
    while (error == 0 && next_component(e, name, &error))
        error = expand_component(e, root, name, &links);
    return error;
}

/* A directory that is missing in one that we hold; whoever made one meanwhile is as good. */
static int make_entry(int dir, const char *name, const struct path_owner *owner) {
    bool made = mkdirat(dir, name, owner->mode) == 0;
    if (!made && errno != EEXIST)
        return -errno;
    int fd = kernel_openat2(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, STRICT);
    if (fd < 0)
        return -errno;
    if (made && (owner->uid != 0 || owner->gid != 0) &&
        fchownat(fd, "", owner->uid, owner->gid, AT_EMPTY_PATH) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

/* One component below a directory that we hold. */
static int enter(int dir, const char *name, const struct path_owner *owner) {
    int fd = kernel_openat2(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, STRICT);
    if (fd >= 0 || errno != ENOENT)
        return fd < 0 ? -errno : fd;
    return make_entry(dir, name, owner);
}

static const struct path_owner parent_owner = {.mode = 0755};

/* Every missing component, those that links lead to as well. */
static int make_all(int root, const char *path, const struct path_owner *owner) {
    struct expansion e;
    int error = expand(&e, root, path);
    if (error < 0)
        return error;
    int dir = path_open(root, "/", O_PATH | O_DIRECTORY, 0);
    memcpy(e.rest, e.done, strlen(e.done) + 1);
    char name[NAME_MAX + 1];
    while (dir >= 0 && next_component(&e, name, &error)) {
        bool last = e.rest[strspn(e.rest, "/")] == 0;
        int next = enter(dir, name, last ? owner : &parent_owner);
        close(dir);
        dir = next;
    }
    return dir;
}

/* Nothing was found there. Mostly the last component alone is missing, and is no link to what is missing. */
static int make_dir(int root, const char *path, const struct path_owner *owner) {
    char name[NAME_MAX + 1];
    cleanup_close int own = -1;
    int dir = path_parent(root, path, false, name, &own);
    int fd = dir < 0 ? dir : make_entry(dir, name, owner);
    return fd < 0 ? make_all(root, path, owner) : fd;
}

int path_make_dir(int root, const char *path, const struct path_owner *owner) {
    int fd = path_open(root, path, O_PATH | O_DIRECTORY, 0);
    return fd == -ENOENT ? make_dir(root, path, owner) : fd;
}

int path_parent(int root, const char *path, bool create, char name[NAME_MAX + 1], int *own) {
    char parent[PATH_MAX];
    size_t len = strlen(path);
    while (len > 0 && path[len - 1] == '/')
        len--;
    size_t start = len;
    while (start > 0 && path[start - 1] != '/')
        start--;
    if (len - start > NAME_MAX || start >= sizeof parent)
        return -ENAMETOOLONG;
    memcpy(name, path + start, len - start);
    name[len - start] = 0;
    if (len == start || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return -EISDIR;
    memcpy(parent, path, start);
    parent[start] = 0;
    if (parent[strspn(parent, "/")] == 0)
        return root;
    return *own = create ? path_make_dir(root, parent, &parent_owner)
                         : path_open(root, parent, O_PATH | O_DIRECTORY, 0);
}

/* An empty file, or what somebody has put there meanwhile, unless it is a link. */
static int make_file_entry(int dir, const char *name) {
    cleanup_close int made = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (made < 0 && errno != EEXIST)
        return -errno;
    int fd = kernel_openat2(dir, name, O_PATH | O_CLOEXEC, 0, STRICT);
    return fd < 0 ? -errno : fd;
}

/* Nothing was found there: as make_dir and make_all. */
static int make_file(int root, const char *path) {
    char name[NAME_MAX + 1];
    cleanup_close int own = -1, own_made = -1;
    int dir = path_parent(root, path, false, name, &own);
    int fd = dir < 0 ? dir : make_file_entry(dir, name);
    if (fd >= 0)
        return fd;
    struct expansion e;
    int error = expand(&e, root, path);
    if (error < 0)
        return error;
    dir = path_parent(root, e.done, true, name, &own_made);
    return dir < 0 ? dir : make_file_entry(dir, name);
}

int path_target(int root, const char *path, enum path_create create, uint64_t resolve) {
    int directory = create == PATH_CREATE_DIRECTORY ? O_DIRECTORY : 0;
    int fd = path_open(root, path, O_PATH | directory, resolve);
    if (fd != -ENOENT || create == PATH_CREATE_NO)
        return fd;
    return create == PATH_CREATE_FILE ? make_file(root, path) : make_dir(root, path, &parent_owner);
}

int path_attach(int mount, int root, const char *path, int target, uint64_t resolve) {
    if (kernel_move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
        return -errno;
    if (path[strspn(path, "/.")] == 0)
        return 0; /* the root itself: the descriptor lies below what was mounted on it */
    cleanup_close int there = path_open(root, path, O_PATH, resolve);
    if (there < 0)
        return there;
    int64_t want = kernel_mount_id(mount), have = kernel_mount_id(there);
    return want < 0 ? (int)want : want == have ? 0 : -EXDEV;
}
