#include "pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "hardlinks.h"
#include "report.h"
#include "ring.h"
#include "tar.h"
#include "tar_write.h"
#include "xattrs.h"

static int pack_root;
static bool pack_overlay;
static struct pack_result result;

/* ---- paths ---- */

static char current[TAR_PATH_LIMIT]; /* without leading slash; "" is the root */

/* Goes to a name in the current directory; returns what path_leave needs. */
static size_t path_enter(const char *name) {
    size_t before = strlen(current), length = strlen(name);
    if (before + length + 3 > sizeof current) /* a slash between, one at the end, and NUL */
        report_fail("pack", ENAMETOOLONG, "path too long");
    size_t at = before;
    if (at > 0)
        current[at++] = '/';
    memcpy(current + at, name, length + 1);
    return before;
}

static void path_leave(size_t before) {
    current[before] = '\0';
}

static int open_current(uint64_t flags) {
    struct open_how how = {.flags = flags | O_NOFOLLOW | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, pack_root, current[0] == '\0' ? "." : current, &how, sizeof how);
    if (fd < 0)
        report_fail("openat2", errno, "cannot open");
    return fd;
}

/* ---- attributes ---- */

static void attributes_of(const struct stat *status, struct tar_entry *entry) {
    entry->mode = status->st_mode & 07777;
    entry->uid = status->st_uid;
    entry->gid = status->st_gid;
    entry->modified = status->st_mtim;
}

struct attributes {
    struct tar_xattr *list;
    size_t count;
    bool opaque;
    char *names;
};

static void attributes_free(struct attributes *attributes) {
    for (size_t i = 0; i < attributes->count; i++)
        free((void *)(uintptr_t)attributes->list[i].value);
    free(attributes->list);
    free(attributes->names);
}

static void attribute_add(struct attributes *attributes, const char *name, struct xattr_value value) {
    struct tar_xattr *grown = realloc(attributes->list, (attributes->count + 1) * sizeof *grown);
    if (grown == NULL)
        report_fail("malloc", ENOMEM, "no memory for extended attributes");
    attributes->list = grown;
    attributes->list[attributes->count++] =
        (struct tar_xattr){.name = name, .value = value.bytes, .length = value.length};
}

/* What overlayfs wrote down about a directory or file in a writable layer. */
static void overlay_attribute(struct attributes *attributes, const char *name, struct xattr_value value) {
    if (strcmp(name, "trusted.overlay.opaque") == 0 && value.length == 1 && value.bytes[0] == 'y')
        attributes->opaque = true;
    if (pack_overlay &&
        (strcmp(name, "trusted.overlay.redirect") == 0 || strcmp(name, "trusted.overlay.metacopy") == 0))
        report_fail("pack", EOPNOTSUPP,
                    "the overlay was mounted with redirect_dir or metacopy, which a layer cannot express");
    free(value.bytes);
}

/* `name` in the working directory where there is no descriptor. */
static struct attributes attributes_read(int fd, const char *name) {
    struct xattr_list list = fd >= 0 ? xattrs_of_open(fd) : xattrs_of_name(name);
    struct attributes attributes = {.names = list.names};
    for (const char *xattr = NULL; (xattr = xattrs_next(&list, xattr)) != NULL;) {
        struct xattr_value value = fd >= 0 ? xattr_of_open(fd, xattr) : xattr_of_name(name, xattr);
        if (xattr_is_overlay(xattr))
            overlay_attribute(&attributes, xattr, value);
        else
            attribute_add(&attributes, xattr, value);
    }
    return attributes;
}

static void write_entry(struct tar_entry *entry, const struct attributes *attributes,
                        const struct tar_segment *segments, size_t count) {
    if (entry->link == NULL)
        entry->link = "";
    entry->xattrs = attributes->list;
    entry->xattr_count = attributes->count;
    result.entries++;
    tar_write_header(entry, segments, count);
}

/* ---- regular files ---- */

struct segments {
    struct tar_segment *list;
    size_t count, room;
};

static void segment_add(struct segments *segments, uint64_t offset, uint64_t length) {
    if (segments->count == TAR_SEGMENT_LIMIT)
        report_fail("pack", EOVERFLOW, "sparse file in too many pieces");
    if (segments->count == segments->room) {
        segments->room = segments->room == 0 ? 16 : segments->room * 2;
        segments->list = realloc(segments->list, segments->room * sizeof *segments->list);
        if (segments->list == NULL)
            report_fail("malloc", ENOMEM, "no memory for a sparse map");
    }
    segments->list[segments->count++] = (struct tar_segment){.offset = offset, .length = length};
}

/* The data of a file with holes; none at all (list NULL) if it has no hole. */
static struct segments segments_of(int fd, const struct stat *status) {
    struct segments segments = {.list = NULL};
    uint64_t size = (uint64_t)status->st_size;
    if ((uint64_t)status->st_blocks * 512 >= size)
        return segments;
    for (uint64_t at = 0; at < size;) {
        off_t data = lseek(fd, (off_t)at, SEEK_DATA);
        if (data < 0 || (uint64_t)data >= size)
            break;
        off_t hole = lseek(fd, data, SEEK_HOLE);
        uint64_t end = hole < 0 || (uint64_t)hole > size ? size : (uint64_t)hole;
        segment_add(&segments, (uint64_t)data, end - (uint64_t)data);
        at = end;
    }
    bool whole = segments.count == 1 && segments.list[0].length == size;
    if (whole)
        segments.count = 0;
    else if (segments.count == 0 ||
             segments.list[segments.count - 1].offset + segments.list[segments.count - 1].length < size)
        segment_add(&segments, size, 0); /* tells where the file ends */
    if (whole) {
        free(segments.list);
        segments.list = NULL;
    }
    return segments;
}

/* A file that became shorter meanwhile is filled up: its header is written. */
static void write_data(int fd, uint64_t offset, uint64_t length) {
    while (length > 0) {
        size_t size;
        uint8_t *room = ring_room(&size);
        size_t wanted = length < size ? (size_t)length : size;
        ssize_t n = pread(fd, room, wanted, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            report_fail("read", errno, "cannot read the file");
        if (n == 0) {
            memset(room, 0, wanted);
            n = (ssize_t)wanted;
        }
        ring_add((size_t)n);
        offset += (uint64_t)n;
        length -= (uint64_t)n;
    }
}

static void pack_file(void) {
    int fd = open_current(O_RDONLY | O_NONBLOCK);
    struct stat status;
    if (fstat(fd, &status) != 0)
        report_fail("fstat", errno, "cannot read the file");
    if (!S_ISREG(status.st_mode))
        report_fail("pack", EAGAIN, "the file was replaced while it was read");
    struct tar_entry entry = {.kind = TAR_FILE, .path = current, .size = (uint64_t)status.st_size};
    attributes_of(&status, &entry);
    struct attributes attributes = attributes_read(fd, NULL);
    struct segments segments = segments_of(fd, &status);
    write_entry(&entry, &attributes, segments.list, segments.count);
    uint64_t stored = 0;
    for (size_t i = 0; i < segments.count; i++) {
        write_data(fd, segments.list[i].offset, segments.list[i].length);
        stored += segments.list[i].length;
    }
    if (segments.list == NULL) {
        write_data(fd, 0, entry.size);
        stored = entry.size;
    }
    tar_write_padding(stored);
    free(segments.list);
    attributes_free(&attributes);
    (void)close(fd);
}

/* ---- other kinds ---- */

/* Without a time: when something was removed is no part of the layer. */
static void pack_marker(const char *name) {
    struct tar_entry entry = {.kind = TAR_FILE, .path = current};
    struct attributes none = {.count = 0};
    size_t before = path_enter(name);
    write_entry(&entry, &none, NULL, 0);
    path_leave(before);
}

static void pack_whiteout(const char *name) {
    char marker[NAME_MAX + 8] = ".wh.";
    strncat(marker, name, NAME_MAX);
    pack_marker(marker);
}

static void pack_special(int parent, const char *name, const struct stat *status) {
    char target[TAR_PATH_LIMIT];
    struct tar_entry entry = {
        .path = current, .major = major(status->st_rdev), .minor = minor(status->st_rdev)};
    switch (status->st_mode & S_IFMT) {
    case S_IFLNK: {
        ssize_t length = readlinkat(parent, name, target, sizeof target);
        if (length < 0 || (size_t)length == sizeof target)
            report_fail("readlink", length < 0 ? errno : ENAMETOOLONG, "cannot read the symbolic link");
        target[length] = '\0';
        entry.kind = TAR_SYMLINK;
        entry.link = target;
        break;
    }
    case S_IFCHR:
        entry.kind = TAR_CHARACTER;
        break;
    case S_IFBLK:
        entry.kind = TAR_BLOCK;
        break;
    default:
        entry.kind = TAR_FIFO;
    }
    if (entry.kind == TAR_SYMLINK || entry.kind == TAR_FIFO)
        entry.major = entry.minor = 0;
    attributes_of(status, &entry);
    if (fchdir(parent) != 0)
        report_fail("fchdir", errno, "cannot enter the parent directory");
    struct attributes attributes = attributes_read(-1, name);
    write_entry(&entry, &attributes, NULL, 0);
    attributes_free(&attributes);
}

static bool pack_hard_link(const struct stat *status) {
    if (status->st_nlink < 2)
        return false;
    const char *first = hardlinks_first(status->st_dev, status->st_ino, current);
    if (first == NULL)
        return false;
    struct tar_entry entry = {.kind = TAR_HARD_LINK, .path = current, .link = first};
    struct attributes none = {.count = 0};
    attributes_of(status, &entry);
    write_entry(&entry, &none, NULL, 0);
    return true;
}

static bool is_whiteout(const struct stat *status) {
    return S_ISCHR(status->st_mode) && status->st_rdev == 0;
}

static void pack_entry(int parent, const char *name, const struct stat *status) {
    if (is_whiteout(status)) {
        if (pack_overlay)
            pack_whiteout(name);
        return;
    }
    if (S_ISSOCK(status->st_mode) || (pack_overlay && strncmp(name, ".wh.", 4) == 0)) {
        result.left_out++;
        return;
    }
    size_t before = path_enter(name);
    report_entry(current);
    if (!pack_hard_link(status)) {
        if (S_ISREG(status->st_mode))
            pack_file();
        else
            pack_special(parent, name, status);
    }
    report_entry(NULL);
    path_leave(before);
}

/* ---- directories ---- */

struct names {
    char **list;
    size_t count, room;
};

static void name_add(struct names *names, const char *name) {
    if (names->count == names->room) {
        names->room = names->room == 0 ? 32 : names->room * 2;
        names->list = realloc(names->list, names->room * sizeof *names->list);
    }
    char *copy = strdup(name);
    if (names->list == NULL || copy == NULL)
        report_fail("malloc", ENOMEM, "no memory for the names of a directory");
    names->list[names->count++] = copy;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static struct names names_of(int directory) {
    int again = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = again < 0 ? NULL : fdopendir(again);
    if (stream == NULL)
        report_fail("openat", errno, "cannot read the directory");
    struct names names = {.count = 0};
    for (struct dirent *item; (item = readdir(stream)) != NULL;)
        if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0)
            name_add(&names, item->d_name);
    (void)closedir(stream);
    if (names.count > 0)
        qsort(names.list, names.count, sizeof *names.list, by_name);
    return names;
}

static void write_directory(int fd) {
    struct stat status;
    if (fstat(fd, &status) != 0)
        report_fail("fstat", errno, "cannot read the directory");
    char path[TAR_PATH_LIMIT + 2];
    size_t length = strlen(current);
    memcpy(path, length == 0 ? "." : current, length == 0 ? 1 : length);
    memcpy(path + (length == 0 ? 1 : length), "/", 2);
    struct tar_entry entry = {.kind = TAR_DIRECTORY, .path = path};
    attributes_of(&status, &entry);
    struct attributes attributes = attributes_read(fd, NULL);
    write_entry(&entry, &attributes, NULL, 0);
    if (attributes.opaque && pack_overlay)
        pack_marker(".wh..wh..opq");
    attributes_free(&attributes);
}

/* Everything but directories, which stay in the list; the others' names are taken out of it. */
static void pack_files(int fd, struct names *names) {
    size_t kept = 0;
    for (size_t i = 0; i < names->count; i++) {
        struct stat status;
        if (fstatat(fd, names->list[i], &status, AT_SYMLINK_NOFOLLOW) != 0)
            report_fail("fstat", errno, "cannot read %s", names->list[i]);
        if (S_ISDIR(status.st_mode)) {
            names->list[kept++] = names->list[i];
            continue;
        }
        pack_entry(fd, names->list[i], &status);
        free(names->list[i]);
    }
    names->count = kept;
}

/* Only one directory is open at a time, however deep; the path's length bounds the depth. */
static void pack_directory(void) {
    report_entry(current);
    int fd = open_current(O_RDONLY | O_DIRECTORY);
    write_directory(fd);
    struct names names = names_of(fd);
    pack_files(fd, &names);
    (void)close(fd);
    for (size_t i = 0; i < names.count; i++) {
        size_t before = path_enter(names.list[i]);
        pack_directory();
        path_leave(before);
        free(names.list[i]);
    }
    free(names.list);
}

struct pack_result pack_run(int root, bool overlay) {
    pack_root = root;
    pack_overlay = overlay;
    pack_directory();
    report_entry(NULL);
    tar_write_end();
    ring_end();
    return result;
}
