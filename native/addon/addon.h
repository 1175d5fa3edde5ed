#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <napi.h>
#include <uv.h>

namespace podwright {

class Poller;

// What hangs on one Node environment. Nothing in this addon is global, so worker threads and reloads work.
class Addon {
  public:
    static Addon &of(Napi::Env env);

    explicit Addon(Napi::Env env);
    ~Addon();
    Addon(const Addon &) = delete;
    Addon &operator=(const Addon &) = delete;

    Napi::Env env() const {
        return env_;
    }
    uv_loop_t *loop() const {
        return loop_;
    }
    // /dev/null, close-on-exec, opened on first use. -1 with errno set if that fails.
    int null_device();
    // "/proc/PID/fd/": how a child that has already closed everything reaches a descriptor of ours.
    const std::string &own_descriptors() const {
        return own_descriptors_;
    }

    uint32_t add(Poller *poller);
    Poller *find(uint32_t id) const;
    void closing(uint32_t id);
    void closed();

    // False while the environment is being torn down: libuv still calls back then, but touching JavaScript is
    // fatal.
    bool may_call_javascript() const;

    // The SystemError class of system-error.ts, set by the loader.
    Napi::FunctionReference system_error;

  private:
    static void on_cleanup(napi_async_cleanup_hook_handle handle, void *self);

    Napi::Env env_;
    uv_loop_t *loop_ = nullptr;
    int null_device_ = -1;
    std::string own_descriptors_;
    uint32_t next_id_ = 1;
    std::map<uint32_t, Poller *> pollers_;
    size_t closing_ = 0;
    napi_async_cleanup_hook_handle cleanup_ = nullptr;
    bool ending_ = false;
};

// A call that failed, as it travels from a worker thread to the SystemError it becomes.
struct Failure {
    const char *syscall;
    int error;
    std::string path = {};
};

Napi::Value to_error(Napi::Env env, const Failure &failure);
// Every failure leaves through one of these two; both return undefined, to be returned to JavaScript.
Napi::Value throw_failure(Napi::Env env, const Failure &failure);
// What the kernel takes away from the mode of what this process creates. Not known if somebody else calls
// umask(2).
mode_t process_umask();

Napi::Value throw_errno(Napi::Env env, const char *syscall, const std::string &path = {});

// The arguments of one call. A wrong one leaves a TypeError (or SystemError EINVAL for a NUL byte) pending
// and makes `ok` false; the values read after that are harmless defaults.
class Args {
  public:
    explicit Args(const Napi::CallbackInfo &info) : info_(info) {}

    bool ok() const {
        return ok_;
    }
    bool missing(size_t index) const;
    int64_t integer(size_t index);
    uint32_t id(size_t index);
    // Any integer that fits an int; the kernel judges whether it is an open descriptor.
    int fd(size_t index);
    bool boolean(size_t index);
    std::string text(size_t index);
    std::optional<std::string> optional_text(size_t index);
    std::string bytes(size_t index);
    std::vector<std::string> texts(size_t index);
    // Strings (as UTF-8, NUL bytes allowed) or Uint8Arrays.
    std::vector<std::string> contents(size_t index);
    std::vector<int64_t> integers(size_t index);
    std::vector<int> fds(size_t index);
    Napi::Function function(size_t index);

  private:
    void reject(size_t index, const char *wanted);
    std::string without_nul(size_t index, Napi::Value value);
    std::string content(size_t index, Napi::Value value);

    const Napi::CallbackInfo &info_;
    bool ok_ = true;
};

class UniqueFd {
  public:
    explicit UniqueFd(int fd = -1) : fd_(fd) {}
    ~UniqueFd();
    UniqueFd(UniqueFd &&other) noexcept : fd_(other.release()) {}
    UniqueFd &operator=(UniqueFd &&other) noexcept;
    UniqueFd(const UniqueFd &) = delete;
    UniqueFd &operator=(const UniqueFd &) = delete;

    int get() const {
        return fd_;
    }
    int release() {
        int fd = fd_;
        fd_ = -1;
        return fd;
    }
    explicit operator bool() const {
        return fd_ >= 0;
    }

  private:
    int fd_;
};

using Method = Napi::Value (*)(const Napi::CallbackInfo &);

template <Method method> void define(Napi::Object exports, const char *name) {
    exports.Set(name, Napi::Function::New<method>(exports.Env(), name));
}

// One per family of calls: adds its functions to the module.
void define_process(Napi::Object exports);
void define_socket(Napi::Object exports);
void define_descriptor(Napi::Object exports);
void define_mount(Napi::Object exports);
void define_bpf(Napi::Object exports);
void define_seccomp(Napi::Object exports);
void define_watch(Napi::Object exports);
void define_inotify(Napi::Object exports);
void define_read_files(Napi::Object exports);
void define_file_batch(Napi::Object exports);
void define_tree(Napi::Object exports);
void define_filesystem(Napi::Object exports);
void define_limits(Napi::Object exports);
void define_process_counts(Napi::Object exports);

} // namespace podwright
