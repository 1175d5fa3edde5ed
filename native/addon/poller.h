#pragma once

#include "addon.h"

namespace podwright {

// A descriptor on the event loop: owns it, and lives until libuv has let go of the handle. JavaScript knows
// it by its id only, so a call that comes after the end finds nothing instead of freed memory.
class Poller {
  public:
    Poller(Addon &addon, UniqueFd fd) : addon_(addon), fd_(std::move(fd)) {}
    virtual ~Poller() = default;
    Poller(const Poller &) = delete;
    Poller &operator=(const Poller &) = delete;

    // Starts polling and gives up ownership of `poller` to the loop. On failure throws, deletes and returns
    // 0.
    static uint32_t start(Poller *poller, int events, const char *syscall);

    // Stops at once, closes the descriptor, calls nothing back. Safe inside a callback and more than once.
    void close();
    void keep_alive(bool alive);
    uint32_t id() const {
        return id_;
    }

  protected:
    // libuv stops the handle before it reports a negative status.
    virtual void ready(int status, int events) = 0;

    int fd() const {
        return fd_.get();
    }
    bool open() const {
        return open_;
    }
    Addon &addon() const {
        return addon_;
    }
    Napi::Env env() const {
        return addon_.env();
    }
    int poll(int events);
    // Calls JavaScript from the loop, with microtasks afterwards; what it throws is an uncaught exception,
    // not ours.
    void call(const Napi::FunctionReference &callback, std::initializer_list<napi_value> arguments);

  private:
    static void on_poll(uv_poll_t *handle, int status, int events);
    static void on_close(uv_handle_t *handle);

    Addon &addon_;
    UniqueFd fd_;
    uv_poll_t handle_ = {};
    uint32_t id_ = 0;
    bool open_ = false;
};

} // namespace podwright
