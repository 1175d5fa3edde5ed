#include "addon.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "poller.h"

namespace podwright {
namespace {

// POLLPRI on a file of cgroupfs or /proc/pressure.
class PriorityPoller : public Poller {
  public:
    PriorityPoller(Addon &addon, UniqueFd fd, Napi::Function on_event, Napi::Function on_end)
        : Poller(addon, std::move(fd)), on_event_(Napi::Persistent(on_event)),
          on_end_(Napi::Persistent(on_end)) {}

  private:
    // These files report POLLERR with every event, upon which libuv may have stopped the handle. Only a read
    // makes a cgroup file quiet again, and it must come before the callback: what changes later is a new
    // event. A file whose cgroup was removed is readable no more and would report events without end.
    void ready(int status, int) override {
        char content[4096];
        const bool gone = pread(fd(), content, sizeof content, 0) < 0;
        if (gone || (status < 0 && poll(UV_PRIORITIZED) < 0)) {
            close();
            return call(on_end_, {});
        }
        call(on_event_, {});
    }

    Napi::FunctionReference on_event_;
    Napi::FunctionReference on_end_;
};

// watchPriority(fd, onEvent(), onEnd()): id. Polls a copy of the descriptor.
Napi::Value watch_priority(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    Args args(info);
    int fd = args.fd(0);
    Napi::Function on_event = args.function(1);
    Napi::Function on_end = args.function(2);
    if (!args.ok())
        return env.Undefined();
    UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!copy)
        return throw_errno(env, "fcntl");
    auto *poller = new PriorityPoller(Addon::of(env), std::move(copy), on_event, on_end);
    return Napi::Number::New(env, Poller::start(poller, UV_PRIORITIZED, "poll"));
}

class EventPoller : public Poller {
  public:
    EventPoller(Addon &addon, UniqueFd fd, Napi::Function on_event)
        : Poller(addon, std::move(fd)), on_event_(Napi::Persistent(on_event)) {}

  private:
    void ready(int, int) override {
        eventfd_t count = 0;
        if (eventfd_read(fd(), &count) == 0)
            call(on_event_, {Napi::BigInt::New(env(), static_cast<uint64_t>(count))});
    }

    Napi::FunctionReference on_event_;
};

bool write_line(const std::string &path, const std::string &line) {
    UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK));
    return fd && write(fd.get(), line.data(), line.size()) == static_cast<ssize_t>(line.size());
}

// watchCgroupEvent(eventControlPath, controlFd, args, onEvent(count)): id
Napi::Value watch_cgroup_event(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    Args args(info);
    std::string path = args.text(0);
    int control = args.fd(1);
    std::string arguments = args.text(2);
    Napi::Function on_event = args.function(3);
    if (!args.ok())
        return env.Undefined();
    UniqueFd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!event)
        return throw_errno(env, "eventfd");
    std::string line = std::to_string(event.get()) + " " + std::to_string(control);
    if (!arguments.empty())
        line += " " + arguments;
    if (!write_line(path, line))
        return throw_errno(env, "write", path);
    auto *poller = new EventPoller(Addon::of(env), std::move(event), on_event);
    return Napi::Number::New(env, Poller::start(poller, UV_READABLE, "poll"));
}

} // namespace

void define_watch(Napi::Object exports) {
    define<watch_priority>(exports, "watchPriority");
    define<watch_cgroup_event>(exports, "watchCgroupEvent");
}

} // namespace podwright
