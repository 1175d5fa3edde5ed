#include "extract.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "directories.h"
#include "report.h"
#include "ring.h"
#include "tar.h"
#include "tree.h"
#include "xattrs.h"

static const char whiteout_prefix[] = ".wh.";
static const char whiteout_meta_prefix[] = ".wh..wh.";
static const char whiteout_opaque[] = ".wh..wh..opq";
static const char default_acl[] = "system.posix_acl_default";

enum { DISK_BLOCK = 4096 };

static struct extract_options options;
static struct extract_result result;
static struct tar_reader *reader;

static const uint8_t *next_piece(void *context, size_t *length) {
    (void)context;
    return ring_next(RING_CONTENT, length);
}

static _Noreturn void fail_archive(void) {
    report_entry(tar_error_path(reader));
    report_fail("read archive", EBADMSG, "%s", tar_error(reader));
}

static bool starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* ---- attributes ---- */

static void xattr_result(int code, const char *name) {
    if (code == 0)
        return;
    if (errno == ENOTSUP)
        result.ignored_xattrs++;
    else
        report_fail("setxattr", errno, "cannot set the extended attribute %s", name);
}

static void set_xattrs_of_open(int fd, const struct tar_entry *entry, struct directory *directory) {
    for (size_t i = 0; i < entry->xattr_count; i++) {
        struct tar_xattr xattr = entry->xattrs[i];
        if (xattr_is_overlay(xattr.name))
            result.ignored_xattrs++;
        else if (directory != NULL && strcmp(xattr.name, default_acl) == 0)
            directories_set_default_acl(directory, xattr.value, xattr.length);
        else
            xattr_result(fsetxattr(fd, xattr.name, xattr.value, xattr.length, 0), xattr.name);
    }
}

/* Links and special files cannot be opened; the name is reached from the parent as working directory. */
static void set_xattrs_of_name(const struct tree_place *place, const struct tar_entry *entry) {
    if (entry->xattr_count > 0 && fchdir(place->parent) != 0)
        report_fail("fchdir", errno, "cannot enter the parent directory");
    for (size_t i = 0; i < entry->xattr_count; i++) {
        struct tar_xattr xattr = entry->xattrs[i];
        if (xattr_is_overlay(xattr.name))
            result.ignored_xattrs++;
        else
            xattr_result(lsetxattr(place->name, xattr.name, xattr.value, xattr.length, 0), xattr.name);
    }
}

static void times_of(const struct tar_entry *entry, struct timespec *times) {
    times[0] = times[1] = entry->modified;
}

/* The order matters: a new owner clears set-id bits and file capabilities, and all of them come after the
 * data. What is right already is not set again: that took a fifth of the time of a small file. */
static void set_attributes_of_open(int fd, const struct tar_entry *entry, struct directory *directory) {
    struct stat made;
    if (fstat(fd, &made) != 0)
        report_fail("fstat", errno, "cannot read the attributes");
    bool owned = made.st_uid == entry->uid && made.st_gid == entry->gid;
    if (!owned && fchown(fd, entry->uid, entry->gid) != 0)
        report_fail("chown", errno, "cannot set the owner %u:%u", entry->uid, entry->gid);
    if ((!owned || (made.st_mode & 07777) != entry->mode) && fchmod(fd, entry->mode) != 0)
        report_fail("chmod", errno, "cannot set the mode %o", entry->mode);
    set_xattrs_of_open(fd, entry, directory);
}

static void set_attributes_of_name(const struct tree_place *place, const struct tar_entry *entry) {
    if (fchownat(place->parent, place->name, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) != 0)
        report_fail("chown", errno, "cannot set the owner %u:%u", entry->uid, entry->gid);
    if (entry->kind != TAR_SYMLINK && fchmodat(place->parent, place->name, entry->mode, 0) != 0)
        report_fail("chmod", errno, "cannot set the mode %o", entry->mode);
    set_xattrs_of_name(place, entry);
    struct timespec times[2];
    times_of(entry, times);
    if (utimensat(place->parent, place->name, times, AT_SYMLINK_NOFOLLOW) != 0)
        report_fail("utimensat", errno, "cannot set the time");
}

/* ---- kinds of entries ---- */

static void write_all(int fd, const uint8_t *data, size_t length, uint64_t offset) {
    while (length > 0) {
        ssize_t n = pwrite(fd, data, length, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            report_fail("write", errno, "cannot write the file");
        data += n;
        length -= (size_t)n;
        offset += (uint64_t)n;
    }
}

static void write_data(int fd, const struct tar_entry *entry) {
    const uint8_t *data;
    size_t length;
    uint64_t offset, end = 0, stored = 0;
    int status;
    while ((status = tar_data(reader, &data, &length, &offset)) > 0) {
        write_all(fd, data, length, offset);
        end = offset + length;
        stored += length;
    }
    result.disk_bytes += (stored + DISK_BLOCK - 1) / DISK_BLOCK * DISK_BLOCK;
    if (status < 0)
        fail_archive();
    if (end < entry->size && ftruncate(fd, (off_t)entry->size) != 0)
        report_fail("ftruncate", errno, "cannot give a sparse file its size");
}

static void make_file(const struct tree_place *place, const struct tar_entry *entry) {
    enum { HOW = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC };
    mode_t mode = entry->mode & 0777;
    int fd = openat(place->parent, place->name, HOW, mode);
    if (fd < 0 && errno == EEXIST) {
        tree_remove(place);
        fd = openat(place->parent, place->name, HOW, mode);
    }
    if (fd < 0)
        report_fail("create", errno, "cannot create the file");
    write_data(fd, entry);
    set_attributes_of_open(fd, entry, NULL);
    struct timespec times[2];
    times_of(entry, times);
    if (futimens(fd, times) != 0)
        report_fail("utimensat", errno, "cannot set the time");
    (void)close(fd);
}

static int make_node(const struct tree_place *place, const struct tar_entry *entry) {
    switch (entry->kind) {
    case TAR_SYMLINK:
        return symlinkat(entry->link, place->parent, place->name);
    case TAR_CHARACTER:
        return mknodat(place->parent, place->name, S_IFCHR | 0600, makedev(entry->major, entry->minor));
    case TAR_BLOCK:
        return mknodat(place->parent, place->name, S_IFBLK | 0600, makedev(entry->major, entry->minor));
    default:
        return mknodat(place->parent, place->name, S_IFIFO | 0600, 0);
    }
}

static void make_special(const struct tree_place *place, const struct tar_entry *entry) {
    int code = make_node(place, entry);
    if (code != 0 && errno == EEXIST) {
        tree_remove(place);
        code = make_node(place, entry);
    }
    if (code != 0)
        report_fail("create", errno, "cannot create the link or special file");
    set_attributes_of_name(place, entry);
}

static bool same_file(const struct tree_place *a, const struct tree_place *b) {
    struct stat one, other;
    return fstatat(a->parent, a->name, &one, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstatat(b->parent, b->name, &other, AT_SYMLINK_NOFOLLOW) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

/* The attributes are the target's; what the entry says about them is a copy. */
static void make_hard_link(const struct tree_place *place, const struct tar_entry *entry) {
    struct tree_place target;
    tree_resolve_existing(entry->link, &target);
    if (target.name == NULL)
        report_fail("link", EPERM, "hard link to the root directory");
    int code = linkat(target.parent, target.name, place->parent, place->name, 0);
    if (code != 0 && errno == EEXIST && !same_file(&target, place)) {
        tree_remove(place);
        code = linkat(target.parent, target.name, place->parent, place->name, 0);
    } else if (code != 0 && errno == EEXIST) {
        code = 0;
    }
    if (code != 0)
        report_fail("link", errno, "cannot link to %s", entry->link);
    (void)close(target.parent);
}

/* Makes the directory unless one is there. What stood there as a whiteout hides the directory of the layers
 * below. */
static void make_or_join_directory(const struct tree_place *place) {
    if (mkdirat(place->parent, place->name, 0700) == 0)
        return;
    struct stat status;
    if (errno != EEXIST || fstatat(place->parent, place->name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        report_fail("mkdir", errno, "cannot create the directory");
    if (S_ISDIR(status.st_mode))
        return;
    bool opaque = options.overlay && tree_is_whiteout(place->parent, place->name);
    tree_remove(place);
    if (mkdirat(place->parent, place->name, 0700) != 0)
        report_fail("mkdir", errno, "cannot create the directory");
    if (opaque)
        tree_make_opaque(place->parent, place->name);
}

static void make_directory(const struct tree_place *place, const struct tar_entry *entry) {
    const char *name = place->name != NULL ? place->name : ".";
    if (place->name != NULL)
        make_or_join_directory(place);
    int fd = openat(place->parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        report_fail("openat", errno, "cannot open the directory");
    struct directory *directory = directories_put(place->path, false);
    directory->modified = entry->modified;
    result.disk_bytes += DISK_BLOCK;
    if (place->name == NULL)
        result.root_xattrs = entry->xattr_count;
    set_attributes_of_open(fd, entry, directory);
    (void)close(fd);
}

/* ---- whiteouts ---- */

static void make_opaque_parent(const struct tree_place *place) {
    bool in_root = strchr(place->path, '/') == NULL;
    if (in_root)
        result.opaque_root = true; /* overlayfs has no such thing as an opaque root */
    else
        tree_make_opaque(place->parent, ".");
}

static void make_whiteout(const struct tree_place *marker) {
    struct tree_place place = *marker;
    size_t prefix = strlen(whiteout_prefix);
    char *name = place.path + (marker->name - marker->path);
    memmove(name, name + prefix, strlen(name + prefix) + 1);
    place.name = name;
    if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        report_fail("create whiteout", EBADMSG, "whiteout of no name");
    struct stat status;
    if (fstatat(place.parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
        if (S_ISDIR(status.st_mode))
            tree_make_opaque(place.parent, name);
        return;
    }
    if (errno != ENOENT || mknodat(place.parent, name, S_IFCHR, 0) != 0)
        report_fail("create whiteout", errno, "cannot create the whiteout");
}

/* Whether the entry was one of the names that stand for something else. */
static bool extract_marker(const struct tree_place *place) {
    if (!options.overlay || place->name == NULL || !starts_with(place->name, whiteout_prefix))
        return false;
    if (strcmp(place->name, whiteout_opaque) == 0)
        make_opaque_parent(place);
    else if (!starts_with(place->name, whiteout_meta_prefix)) /* others are aufs' own book-keeping */
        make_whiteout(place);
    return true;
}

static void extract_entry(const struct tar_entry *entry) {
    struct tree_place place;
    tree_resolve(entry->path, &place);
    tree_count();
    if (extract_marker(&place))
        return;
    if (place.name == NULL && entry->kind != TAR_DIRECTORY)
        report_fail("create", EISDIR, "the root can only be a directory");
    switch (entry->kind) {
    case TAR_FILE:
        make_file(&place, entry);
        break;
    case TAR_HARD_LINK:
        make_hard_link(&place, entry);
        break;
    case TAR_DIRECTORY:
        make_directory(&place, entry);
        break;
    default:
        make_special(&place, entry);
    }
}

/* ---- what waits for the end ---- */

/* Sets what waited; false if a later entry replaced the directory by something else. */
static bool finish_directory(const struct directory *directory) {
    int fd = tree_open_directory(directory->path);
    if (fd < 0)
        return false;
    if (directory->default_acl != NULL)
        xattr_result(fsetxattr(fd, default_acl, directory->default_acl, directory->default_acl_length, 0),
                     default_acl);
    struct timespec times[2] = {directory->modified, directory->modified};
    if (!directory->implied && futimens(fd, times) != 0)
        report_fail("utimensat", errno, "cannot set the time");
    (void)close(fd);
    return true;
}

static void finish_directories(void) {
    result.directories = directories_sorted(&result.directory_count);
    for (size_t i = 0; i < result.directory_count; i++) {
        struct directory *directory = &result.directories[i];
        report_entry(directory->path);
        if (!finish_directory(directory))
            directory->implied = false;
    }
    report_entry(NULL);
}

struct extract_result extract_run(struct extract_options given) {
    options = given;
    tree_open(options.root, options.overlay, options.entry_limit);
    (void)directories_put("", true);
    reader = tar_open((struct tar_source){.next = next_piece});
    if (reader == NULL)
        report_fail("malloc", ENOMEM, "no memory for the reader");
    struct tar_entry entry;
    int status;
    while ((status = tar_next(reader, &entry)) > 0) {
        report_entry(entry.path);
        extract_entry(&entry);
        report_entry(NULL);
    }
    if (status < 0)
        fail_archive();
    tar_drain(reader);
    tar_close(reader);
    finish_directories();
    result.entries = tree_counted();
    return result;
}
