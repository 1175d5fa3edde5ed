#include "addon.h"

#include <cerrno>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "poller.h"

namespace podwright {

Addon::Addon(Napi::Env env) : env_(env) {
    napi_get_uv_event_loop(env, &loop_);
    napi_add_async_cleanup_hook(env, on_cleanup, this, &cleanup_);
    // Asked of /proc itself: it may be mounted for another pid namespace than getpid() counts in.
    char self[32];
    ssize_t length = readlink("/proc/self", self, sizeof self);
    own_descriptors_ =
        "/proc/" + (length > 0 ? std::string(self, static_cast<size_t>(length)) : "self") + "/fd/";
}

Addon::~Addon() {
    if (null_device_ >= 0)
        close(null_device_);
}

Addon &Addon::of(Napi::Env env) {
    return *env.GetInstanceData<Addon>();
}

int Addon::null_device() {
    if (null_device_ < 0)
        null_device_ = open("/dev/null", O_RDWR | O_CLOEXEC);
    return null_device_;
}

bool Addon::may_call_javascript() const {
    napi_value global;
    bool found;
    // Any call that may run JavaScript tells; this one is cheap and has no effect.
    return napi_get_global(env_, &global) == napi_ok && napi_has_element(env_, global, 0, &found) == napi_ok;
}

uint32_t Addon::add(Poller *poller) {
    pollers_.emplace(next_id_, poller);
    return next_id_++;
}

Poller *Addon::find(uint32_t id) const {
    auto found = pollers_.find(id);
    return found == pollers_.end() ? nullptr : found->second;
}

void Addon::closing(uint32_t id) {
    if (pollers_.erase(id) > 0)
        ++closing_;
}

void Addon::closed() {
    if (--closing_ == 0 && ending_)
        napi_remove_async_cleanup_hook(cleanup_);
}

// A worker's loop may only be torn down when every handle on it has been closed.
void Addon::on_cleanup(napi_async_cleanup_hook_handle handle, void *data) {
    auto *self = static_cast<Addon *>(data);
    self->ending_ = true;
    while (!self->pollers_.empty())
        self->pollers_.begin()->second->close();
    if (self->closing_ == 0)
        napi_remove_async_cleanup_hook(handle);
}

namespace {

Napi::Value set_error_class(const Napi::CallbackInfo &info) {
    Args args(info);
    Napi::Function constructor = args.function(0);
    if (args.ok())
        Addon::of(info.Env()).system_error = Napi::Persistent(constructor);
    return info.Env().Undefined();
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
    env.SetInstanceData(new Addon(env));
    define<set_error_class>(exports, "setErrorClass");
    define_process(exports);
    define_socket(exports);
    define_descriptor(exports);
    define_mount(exports);
    define_bpf(exports);
    define_seccomp(exports);
    define_watch(exports);
    define_inotify(exports);
    define_read_files(exports);
    define_file_batch(exports);
    define_tree(exports);
    define_filesystem(exports);
    define_limits(exports);
    define_process_counts(exports);
    return exports;
}

NODE_API_MODULE(podwright, initialize)

} // namespace
} // namespace podwright
