#pragma once

#include <chrono>
#include <unordered_set>

#include "tree_walk.h"

namespace podwright {

using Deadline = std::chrono::steady_clock::time_point;

// Sums up one tree, in steps. What vanishes meanwhile does not count.
class UsageCount {
  public:
    UsageCount(std::string parent, std::string name) : parent_(std::move(parent)), name_(std::move(name)) {}

    // Goes on until the deadline; true when finished.
    bool step(Deadline deadline);
    // Gives up: closes every descriptor.
    void end() {
        walk_.end();
    }
    const std::optional<Failure> &failure() const {
        return failure_;
    }
    uint64_t bytes() const {
        return bytes_;
    }
    uint64_t inodes() const {
        return inodes_;
    }

  private:
    bool start();
    bool advance();
    void count(const char *name);
    bool fail(const char *syscall, int error, const std::string &path);

    std::string parent_;
    std::string name_;
    bool started_ = false;
    TreeWalk walk_;
    // Of files with several links only.
    std::unordered_set<uint64_t> seen_;
    uint64_t bytes_ = 0;
    uint64_t inodes_ = 0;
    std::optional<Failure> failure_;
};

} // namespace podwright
