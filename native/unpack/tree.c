#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "directories.h"
#include "report.h"

enum { LINK_LIMIT = 40 };

static int tree_root;
static bool tree_overlay;
static uint64_t tree_limit, tree_used;

/* The parent directory of the last entry, since most entries follow in the same one. */
static char cached_parent[TAR_PATH_LIMIT]; /* as the entry wrote it, cleaned */
static char cached_path[TAR_PATH_LIMIT];   /* links resolved */
static int cached_fd = -1;

void tree_open(int root, bool overlay, uint64_t entries) {
    tree_root = root;
    tree_overlay = overlay;
    tree_limit = entries;
}

void tree_count(void) {
    tree_used++;
    if (tree_limit != 0 && tree_used > tree_limit)
        report_fail("create", EOVERFLOW, "the layer has more than %llu entries",
                    (unsigned long long)tree_limit);
}

uint64_t tree_counted(void) {
    return tree_used;
}

static void close_unless_root(int fd) {
    if (fd >= 0 && fd != tree_root)
        (void)close(fd);
}

static void forget_cached(void) {
    close_unless_root(cached_fd);
    cached_fd = -1;
}

/* ---- names ---- */

/* Takes `.`, `..` and empty components out of a name; a leading slash means the root. */
static void clean(const char *path, char *cleaned) {
    size_t used = 0;
    if (strlen(path) >= TAR_PATH_LIMIT)
        report_fail("resolve", ENAMETOOLONG, "path too long");
    while (*path != '\0') {
        const char *slash = strchrnul(path, '/');
        size_t length = (size_t)(slash - path);
        if (length == 2 && path[0] == '.' && path[1] == '.') {
            if (used == 0)
                report_fail("resolve", EXDEV, "path leaves the root directory");
            while (used > 0 && cleaned[--used] != '/')
                continue;
        } else if (length > 0 && !(length == 1 && path[0] == '.')) {
            if (used > 0)
                cleaned[used++] = '/';
            memcpy(cleaned + used, path, length);
            used += length;
        }
        path = *slash == '/' ? slash + 1 : slash;
    }
    cleaned[used] = '\0';
}

static int open_without_links(const char *path, uint64_t flags) {
    struct open_how how = {.flags = flags | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, tree_root, path, &how, sizeof how);
}

static int open_directory(const char *path) {
    return *path == '\0' ? tree_root : open_without_links(path, O_PATH);
}

int tree_open_directory(const char *path) {
    return open_without_links(*path == '\0' ? "." : path, O_RDONLY);
}

/* ---- the careful walk ---- */

struct walk {
    int fd;
    char path[TAR_PATH_LIMIT];
    size_t length;
    unsigned links;
    bool create;
};

static void walk_to(struct walk *walk, int fd) {
    close_unless_root(walk->fd);
    walk->fd = fd;
}

static void walk_up(struct walk *walk) {
    if (walk->length == 0)
        report_fail("resolve", EXDEV, "a symbolic link on the way leaves the root directory");
    while (walk->length > 0 && walk->path[--walk->length] != '/')
        continue;
    walk->path[walk->length] = '\0';
    int fd = open_directory(walk->path);
    if (fd < 0)
        report_fail("openat2", errno, "cannot open the directory %s", walk->path);
    walk_to(walk, fd);
}

static void walk_append(struct walk *walk, const char *name) {
    size_t length = strlen(name);
    if (walk->length + length + 2 > sizeof walk->path)
        report_fail("resolve", ENAMETOOLONG, "path too long once its links are resolved");
    if (walk->length > 0)
        walk->path[walk->length++] = '/';
    memcpy(walk->path + walk->length, name, length + 1);
    walk->length += length;
}

static void walk_make(struct walk *walk, const char *name) {
    bool opaque = tree_overlay && tree_is_whiteout(walk->fd, name);
    if (opaque && unlinkat(walk->fd, name, 0) != 0)
        report_fail("unlink", errno, "cannot replace a whiteout");
    if (mkdirat(walk->fd, name, 0755) != 0)
        report_fail("mkdir", errno, "cannot make the parent directory %s", walk->path);
    /* A set-group-id parent hands its group and bit down. */
    if (fchownat(walk->fd, name, 0, 0, AT_SYMLINK_NOFOLLOW) != 0 || fchmodat(walk->fd, name, 0755, 0) != 0)
        report_fail("chown", errno, "cannot set the owner of the parent directory %s", walk->path);
    if (opaque)
        tree_make_opaque(walk->fd, name);
    (void)directories_put(walk->path, true);
    tree_count();
}

static void walk_along(struct walk *walk, const char *path, bool in_link);

static void walk_link(struct walk *walk, const char *name) {
    char target[TAR_PATH_LIMIT];
    if (++walk->links > LINK_LIMIT)
        report_fail("resolve", ELOOP, "too many symbolic links on the way");
    ssize_t length = readlinkat(walk->fd, name, target, sizeof target);
    if (length < 0)
        report_fail("resolve", ENOTDIR, "a parent is no directory");
    if ((size_t)length >= sizeof target)
        report_fail("resolve", ENAMETOOLONG, "symbolic link on the way too long");
    target[length] = '\0';
    if (target[0] == '/') {
        walk_to(walk, tree_root);
        walk->length = 0;
        walk->path[0] = '\0';
    }
    walk_along(walk, target, true);
}

static void walk_component(struct walk *walk, const char *name, bool in_link) {
    enum { HOW = O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC };
    int fd = openat(walk->fd, name, HOW);
    bool whiteout = fd < 0 && errno == ENOTDIR && tree_overlay && tree_is_whiteout(walk->fd, name);
    if (fd < 0 && errno == ENOTDIR && !whiteout) {
        walk_link(walk, name);
        return;
    }
    if (fd < 0 && errno != ENOENT && !whiteout)
        report_fail("resolve", errno, "cannot open a parent directory");
    if (fd < 0 && in_link)
        report_fail("resolve", EXDEV, "a symbolic link on the way leads to nothing in this layer");
    if (fd < 0 && !walk->create)
        report_fail("resolve", ENOENT, "no such directory in this layer");
    size_t before = walk->length;
    walk_append(walk, name);
    if (fd < 0) {
        walk_make(walk, name);
        fd = openat(walk->fd, name, HOW);
        if (fd < 0)
            report_fail("openat", errno, "cannot open the parent directory %s", walk->path + before);
    }
    walk_to(walk, fd);
}

static void walk_along(struct walk *walk, const char *path, bool in_link) {
    char name[TAR_PATH_LIMIT];
    while (*path != '\0') {
        const char *slash = strchrnul(path, '/');
        size_t length = (size_t)(slash - path);
        memcpy(name, path, length);
        name[length] = '\0';
        if (strcmp(name, "..") == 0)
            walk_up(walk);
        else if (length > 0 && strcmp(name, ".") != 0)
            walk_component(walk, name, in_link);
        path = *slash == '/' ? slash + 1 : slash;
    }
}

/* Opens the directory `path` (cleaned); `resolved` receives where that is. */
static int walk_open(const char *path, bool create, char *resolved) {
    int fd = open_directory(path);
    if (fd >= 0) {
        memcpy(resolved, path, strlen(path) + 1);
        return fd;
    }
    struct walk walk = {.fd = tree_root, .create = create};
    walk_along(&walk, path, false);
    memcpy(resolved, walk.path, walk.length + 1);
    return walk.fd;
}

/* ---- places ---- */

/* Splits a cleaned path at its last slash; the name points into `cleaned`. */
static const char *split(char *cleaned, char *parent) {
    char *slash = strrchr(cleaned, '/');
    if (slash == NULL) {
        parent[0] = '\0';
        return cleaned;
    }
    size_t length = (size_t)(slash - cleaned);
    memcpy(parent, cleaned, length);
    parent[length] = '\0';
    return slash + 1;
}

static void place_name(struct tree_place *place, const char *directory, const char *name) {
    size_t before = strlen(directory), length = strlen(name);
    if (before + length + 2 > sizeof place->path)
        report_fail("resolve", ENAMETOOLONG, "path too long once its links are resolved");
    memcpy(place->path, directory, before);
    if (before > 0)
        place->path[before++] = '/';
    memcpy(place->path + before, name, length + 1);
    place->name = place->path + before;
}

static void resolve(const char *path, struct tree_place *place, bool existing) {
    char cleaned[TAR_PATH_LIMIT], parent[TAR_PATH_LIMIT], directory[TAR_PATH_LIMIT];
    clean(path, cleaned);
    if (cleaned[0] == '\0') {
        *place = (struct tree_place){.parent = tree_root, .name = NULL};
        return;
    }
    const char *name = split(cleaned, parent);
    if (existing) {
        place->parent = walk_open(parent, false, directory);
        place_name(place, directory, name);
        return;
    }
    if (cached_fd < 0 || strcmp(parent, cached_parent) != 0) {
        int fd = walk_open(parent, true, directory);
        forget_cached();
        cached_fd = fd;
        memcpy(cached_parent, parent, strlen(parent) + 1);
        memcpy(cached_path, directory, strlen(directory) + 1);
    }
    place->parent = cached_fd;
    place_name(place, cached_path, name);
}

void tree_resolve(const char *path, struct tree_place *place) {
    resolve(path, place, false);
}

void tree_resolve_existing(const char *path, struct tree_place *place) {
    resolve(path, place, true);
    if (place->parent == tree_root) {
        place->parent = fcntl(tree_root, F_DUPFD_CLOEXEC, 0);
        if (place->parent < 0)
            report_fail("fcntl", errno, "cannot duplicate a descriptor");
    }
}

/* ---- removal ---- */

/* Removes what can be removed from an open directory; returns a subdirectory that is in the way, or -1 when
 * empty. */
static int remove_content(int directory) {
    int again = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = again < 0 ? NULL : fdopendir(again);
    if (stream == NULL)
        report_fail("openat", errno, "cannot read a directory that is replaced");
    int deeper = -1;
    struct dirent *item;
    while (deeper < 0 && (item = readdir(stream)) != NULL) {
        const char *name = item->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || unlinkat(directory, name, 0) == 0)
            continue;
        if (errno != EISDIR && errno != EPERM)
            report_fail("unlink", errno, "cannot remove what is replaced");
        if (unlinkat(directory, name, AT_REMOVEDIR) == 0)
            continue;
        if (errno != ENOTEMPTY)
            report_fail("rmdir", errno, "cannot remove a directory that is replaced");
        deeper = openat(directory, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (deeper < 0)
            report_fail("openat", errno, "cannot open a directory that is replaced");
    }
    (void)closedir(stream);
    return deeper;
}

/* Walks down and up by descriptor, so that neither depth nor path length matters. Nothing else changes the
 * tree. */
static void remove_directory(int parent, const char *name) {
    int fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        report_fail("openat", errno, "cannot open the directory that is replaced");
    for (uint64_t depth = 0;;) {
        int next = remove_content(fd);
        if (next >= 0) {
            depth++;
        } else {
            if (depth == 0)
                break;
            depth--;
            next = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
            if (next < 0)
                report_fail("openat", errno, "cannot go up from a directory that is replaced");
        }
        (void)close(fd);
        fd = next;
    }
    (void)close(fd);
    if (unlinkat(parent, name, AT_REMOVEDIR) != 0)
        report_fail("rmdir", errno, "cannot remove the directory that is replaced");
}

void tree_remove(const struct tree_place *place) {
    if (unlinkat(place->parent, place->name, 0) != 0) {
        if (errno != EISDIR && errno != EPERM)
            report_fail("unlink", errno, "cannot replace what an earlier entry made");
        remove_directory(place->parent, place->name);
    }
    /* What was removed may have been on the way of the cached name, which no cleaned path equals now. */
    memcpy(cached_parent, "/", 2);
}

/* ---- overlayfs ---- */

bool tree_is_whiteout(int parent, const char *name) {
    struct stat status;
    return fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(status.st_mode) &&
           status.st_rdev == 0;
}

void tree_make_opaque(int parent, const char *name) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) != 0)
        report_fail("setxattr", errno, "cannot make a directory opaque");
    (void)close(fd);
}
