#include "remove_tree.h"

#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

namespace podwright {

namespace {

// Somebody who keeps on adding files must not keep us here for ever.
constexpr unsigned MAX_REPEATS = 1 << 16;

} // namespace

bool TreeRemoval::step(Deadline deadline) {
    bool more = started_ || start();
    while (more && std::chrono::steady_clock::now() < deadline)
        more = advance();
    if (!more)
        end();
    return !more;
}

bool TreeRemoval::start() {
    started_ = true;
    const int error = walk_.begin(parent_);
    if (error < 0) {
        if (error != -ENOENT)
            failure_ = Failure{"open", -error, parent_};
        return false;
    }
    tallies_.emplace_back();
    remove_entry(name_.c_str(), true);
    return true;
}

// One entry, or the end of one directory. False at the end of everything.
bool TreeRemoval::advance() {
    if (walk_.depth() == 0)
        return false;
    TreeWalk::Entry entry;
    const int found = walk_.next(entry);
    if (found == 1) {
        remove_entry(entry.name, entry.type == DT_DIR || entry.type == DT_UNKNOWN);
        return true;
    }
    if (found < 0)
        fail("getdents64", -found, walk_.path());
    remove_directory();
    return !failure_ || failure_->error != ESTALE;
}

void TreeRemoval::remove_entry(const char *name, bool directory) {
    if (directory) {
        const int error = walk_.enter(name);
        if (error == 0) {
            tallies_.emplace_back();
            return;
        }
        if (error == -ENOENT)
            return;
        if (error != -ENOTDIR && error != -ELOOP)
            return fail("openat2", -error, walk_.path(name));
    }
    if (unlinkat(walk_.fd(), name, 0) == 0)
        tallies_.back().progress = true;
    else if (errno == EISDIR && !directory)
        remove_entry(name, true);
    else if (errno != ENOENT)
        fail("unlinkat", errno, walk_.path(name));
}

// The current directory has been read to its end. Deleting while reading may skip entries, and processes may
// add some: as long as a pass got anything done there is another one.
void TreeRemoval::remove_directory() {
    const std::string name = walk_.name();
    const Tally tally = tallies_.back();
    tallies_.pop_back();
    const int error = walk_.leave();
    if (error < 0)
        return fail("openat2", -error, walk_.path(name.c_str()));
    if (tally.failed)
        tallies_.back().failed = true;
    else if (unlinkat(walk_.fd(), name.c_str(), AT_REMOVEDIR) == 0)
        tallies_.back().progress = true;
    else if (errno == ENOTEMPTY && tally.progress && ++repeats_ < MAX_REPEATS)
        remove_entry(name.c_str(), true);
    else if (errno != ENOENT)
        fail("unlinkat", errno, walk_.path(name.c_str()));
}

void TreeRemoval::fail(const char *syscall, int error, const std::string &path) {
    tallies_.back().failed = true;
    if (!failure_ || error == ESTALE)
        failure_ = Failure{syscall, error, path};
}

} // namespace podwright
