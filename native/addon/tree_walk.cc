#include "tree_walk.h"

#include <cerrno>
#include <climits>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace podwright {

namespace {

constexpr size_t OPEN_LEVELS = 64;
constexpr size_t BUFFER_BYTES = 8192;

int open_directory(int parent, const char *name, uint64_t resolve) {
    open_how how = {};
    how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    how.resolve = resolve;
    long fd;
    do
        fd = syscall(SYS_openat2, parent, name, &how, sizeof how);
    while (fd < 0 && errno == EINTR);
    return static_cast<int>(fd < 0 ? -errno : fd);
}

} // namespace

int TreeWalk::begin(const std::string &path) {
    const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    levels_.push_back({UniqueFd(fd), path == "/" ? "" : path});
    return 0;
}

int TreeWalk::next(Entry &entry) {
    Level &level = levels_.back();
    if (!level.buffer)
        level.buffer = std::make_unique_for_overwrite<char[]>(BUFFER_BYTES);
    for (;;) {
        if (level.position == level.filled) {
            long count = syscall(SYS_getdents64, level.fd.get(), level.buffer.get(), BUFFER_BYTES);
            // ENOENT: the directory itself has been removed.
            if (count < 0)
                return errno == ENOENT ? 0 : -errno;
            if (count == 0)
                return 0;
            level.position = 0;
            level.filled = static_cast<size_t>(count);
        }
        const auto *found = reinterpret_cast<const dirent64 *>(level.buffer.get() + level.position);
        level.position += found->d_reclen;
        level.resume = found->d_off;
        if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0)
            continue;
        entry = {found->d_name, found->d_type};
        return 1;
    }
}

int TreeWalk::enter(const char *name) {
    const int fd = open_directory(this->fd(), name, RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);
    if (fd < 0)
        return fd;
    UniqueFd directory(fd);
    // The top's parent stays open: its ".." may not be asked for, the path was the caller's.
    if (levels_.size() > OPEN_LEVELS) {
        const int error = release(levels_[levels_.size() - OPEN_LEVELS]);
        if (error < 0)
            return error;
    }
    levels_.push_back({std::move(directory), name});
    return 0;
}

int TreeWalk::leave() {
    Level child = std::move(levels_.back());
    levels_.pop_back();
    Level &parent = levels_.back();
    return parent.fd ? 0 : reopen(parent, child.fd.get());
}

int TreeWalk::release(Level &level) {
    struct stat status;
    if (!level.fd)
        return 0;
    if (fstat(level.fd.get(), &status) < 0)
        return -errno;
    level.device = status.st_dev;
    level.inode = status.st_ino;
    level.fd = UniqueFd();
    level.buffer.reset();
    level.position = level.filled = 0;
    return 0;
}

int TreeWalk::reopen(Level &level, int child) {
    const int opened = open_directory(child, "..", RESOLVE_NO_XDEV);
    if (opened < 0)
        return opened;
    UniqueFd fd(opened);
    struct stat status;
    if (fstat(opened, &status) < 0)
        return -errno;
    if (status.st_dev != level.device || status.st_ino != level.inode)
        return -ESTALE;
    // A directory that was removed meanwhile takes no position (EINVAL on ext4); it is empty, too.
    if (lseek(opened, level.resume, SEEK_SET) < 0 && errno != EINVAL)
        return -errno;
    level.fd = std::move(fd);
    return 0;
}

std::string TreeWalk::path(const char *entry) const {
    std::string result;
    for (const Level &level : levels_) {
        result += (&level == &levels_.front() ? "" : "/") + level.name;
        if (result.size() > PATH_MAX)
            return result + "/...";
    }
    return entry ? result + "/" + entry : result;
}

} // namespace podwright
