#pragma once

#include <chrono>

#include "tree_walk.h"

namespace podwright {

using Deadline = std::chrono::steady_clock::time_point;

// Removes one tree, in steps. What cannot be removed is passed over, so that the rest goes; the first such
// failure is the outcome.
class TreeRemoval {
  public:
    // `parent` and `name`: the tree is the entry of that name.
    TreeRemoval(std::string parent, std::string name) : parent_(std::move(parent)), name_(std::move(name)) {}

    // Goes on until the deadline; true when finished.
    bool step(Deadline deadline);
    // Gives up: closes every descriptor.
    void end() {
        walk_.end();
    }
    const std::optional<Failure> &failure() const {
        return failure_;
    }

  private:
    // What happened in one directory on the way down to the current one.
    struct Tally {
        bool progress = false;
        bool failed = false;
    };

    bool start();
    bool advance();
    void remove_entry(const char *name, bool directory);
    void remove_directory();
    void fail(const char *syscall, int error, const std::string &path);

    std::string parent_;
    std::string name_;
    bool started_ = false;
    TreeWalk walk_;
    std::deque<Tally> tallies_ = {};
    unsigned repeats_ = 0;
    std::optional<Failure> failure_;
};

} // namespace podwright
