#include "disk_usage.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>

namespace podwright {

bool UsageCount::step(Deadline deadline) {
    bool more = started_ || start();
    while (more && std::chrono::steady_clock::now() < deadline)
        more = advance();
    if (!more)
        end();
    return !more;
}

bool UsageCount::start() {
    started_ = true;
    const int error = walk_.begin(parent_);
    if (error < 0)
        return fail("open", -error, parent_);
    struct stat status;
    if (fstatat(walk_.fd(), name_.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0)
        return fail("fstatat", errno, walk_.path(name_.c_str()));
    count(name_.c_str());
    return !failure_;
}

bool UsageCount::advance() {
    if (walk_.depth() == 0 || failure_)
        return false;
    TreeWalk::Entry entry;
    const int found = walk_.next(entry);
    if (found < 0)
        return fail("getdents64", -found, walk_.path());
    if (found == 1) {
        count(entry.name);
        return true;
    }
    const int error = walk_.leave();
    return error < 0 ? fail("openat2", -error, walk_.path()) : true;
}

void UsageCount::count(const char *name) {
    struct statx status;
    const unsigned wanted = STATX_TYPE | STATX_INO | STATX_NLINK | STATX_BLOCKS;
    if (statx(walk_.fd(), name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, wanted, &status) < 0) {
        if (errno != ENOENT)
            fail("statx", errno, walk_.path(name));
        return;
    }
    const bool directory = S_ISDIR(status.stx_mode);
    if (directory) {
        const int error = walk_.enter(name);
        // Gone, replaced, or a mount: not of this tree.
        if (error == -ENOENT || error == -ENOTDIR || error == -ELOOP || error == -EXDEV)
            return;
        if (error < 0) {
            fail("openat2", -error, walk_.path(name));
            return;
        }
    } else if (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) {
        return;
    } else if (status.stx_nlink > 1 && !seen_.insert(status.stx_ino).second) {
        return;
    }
    bytes_ += status.stx_blocks * 512;
    ++inodes_;
}

bool UsageCount::fail(const char *syscall, int error, const std::string &path) {
    failure_ = Failure{syscall, error, path};
    return false;
}

} // namespace podwright
