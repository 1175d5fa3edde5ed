#pragma once

#include <deque>
#include <memory>
#include <string>

#include <sys/stat.h>

#include "addon.h"

namespace podwright {

// Walks a directory tree by descriptors: never follows a symlink, never enters a mount, whatever a process
// that lives in the tree renames meanwhile. Depth costs memory per level but only a fixed number of
// descriptors: those of the levels far above are closed and opened again through "..", and must then be the
// directories they were.
class TreeWalk {
  public:
    // The directory that holds the top of the tree; not itself walked.
    int begin(const std::string &path);
    // Closes everything.
    void end() {
        levels_.clear();
    }

    struct Entry {
        const char *name;
        unsigned char type; // DT_*, DT_UNKNOWN where the file system does not say
    };
    // 1: an entry (valid until the next call), 0: the directory has no more, else -errno.
    int next(Entry &entry);
    // Makes a child of the current directory the current one. -EXDEV: a mount. -ENOTDIR, -ELOOP: not a
    // directory.
    int enter(const char *name);
    // Back to the parent.
    int leave();

    int fd() const {
        return levels_.back().fd.get();
    }
    // 0 in the directory that holds the top.
    size_t depth() const {
        return levels_.empty() ? 0 : levels_.size() - 1;
    }
    const std::string &name() const {
        return levels_.back().name;
    }
    // For messages: of the current directory, or of an entry of it.
    std::string path(const char *entry = nullptr) const;

  private:
    struct Level {
        UniqueFd fd;
        std::string name;
        std::unique_ptr<char[]> buffer = {};
        size_t position = 0;
        size_t filled = 0;
        // Where reading goes on when the descriptor had to be opened again.
        int64_t resume = 0;
        // Identity, known once the descriptor was given up.
        dev_t device = 0;
        ino_t inode = 0;
    };

    int release(Level &level);
    int reopen(Level &level, int child);

    std::deque<Level> levels_;
};

} // namespace podwright
