#include "addon.h"

#include <cerrno>
#include <sys/inotify.h>
#include <unistd.h>

#include "poller.h"

namespace podwright {
namespace {

class InotifyPoller : public Poller {
  public:
    InotifyPoller(Addon &addon, UniqueFd fd, Napi::Function on_event)
        : Poller(addon, std::move(fd)), on_event_(Napi::Persistent(on_event)) {}

    int add(const std::string &path, uint32_t mask) {
        return inotify_add_watch(fd(), path.c_str(), mask);
    }
    int remove(int watch) {
        return inotify_rm_watch(fd(), watch);
    }

  private:
    // One buffer per turn: the rest is reported in the next one, so other handles are not starved.
    void ready(int, int) override {
        alignas(inotify_event) char buffer[16384];
        ssize_t length = read(fd(), buffer, sizeof buffer);
        for (ssize_t at = 0; at < length && open();) {
            const auto *event = reinterpret_cast<const inotify_event *>(buffer + at);
            Napi::HandleScope scope(env());
            const std::string name(event->len > 0 ? event->name : "");
            call(on_event_, {Napi::Number::New(env(), event->wd), Napi::Number::New(env(), event->mask),
                             Napi::String::New(env(), name)});
            at += static_cast<ssize_t>(sizeof *event + event->len);
        }
    }

    Napi::FunctionReference on_event_;
};

// openInotify(onEvent(watch, mask, name)): id
Napi::Value open_inotify(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    Args args(info);
    Napi::Function on_event = args.function(0);
    if (!args.ok())
        return env.Undefined();
    UniqueFd fd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!fd)
        return throw_errno(env, "inotify_init1");
    auto *poller = new InotifyPoller(Addon::of(env), std::move(fd), on_event);
    return Napi::Number::New(env, Poller::start(poller, UV_READABLE, "poll"));
}

InotifyPoller *find(const Napi::CallbackInfo &info, Args &args) {
    return dynamic_cast<InotifyPoller *>(Addon::of(info.Env()).find(args.id(0)));
}

// inotifyAdd(id, path, mask): watch
Napi::Value inotify_add(const Napi::CallbackInfo &info) {
    Args args(info);
    InotifyPoller *poller = find(info, args);
    std::string path = args.text(1);
    uint32_t mask = static_cast<uint32_t>(args.integer(2));
    if (!args.ok())
        return info.Env().Undefined();
    if (!poller)
        return throw_failure(info.Env(), {"inotify_add_watch", EBADF, path});
    int watch = poller->add(path, mask);
    if (watch < 0)
        return throw_errno(info.Env(), "inotify_add_watch", path);
    return Napi::Number::New(info.Env(), watch);
}

// inotifyRemove(id, watch). A watch whose file is gone has been removed by the kernel already (EINVAL).
Napi::Value inotify_remove(const Napi::CallbackInfo &info) {
    Args args(info);
    InotifyPoller *poller = find(info, args);
    int watch = static_cast<int>(args.integer(1));
    if (args.ok() && poller && poller->remove(watch) < 0 && errno != EINVAL)
        return throw_errno(info.Env(), "inotify_rm_watch");
    return info.Env().Undefined();
}

} // namespace

void define_inotify(Napi::Object exports) {
    define<open_inotify>(exports, "openInotify");
    define<inotify_add>(exports, "inotifyAdd");
    define<inotify_remove>(exports, "inotifyRemove");
}

} // namespace podwright
