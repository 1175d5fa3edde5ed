#include "poller.h"

namespace podwright {

uint32_t Poller::start(Poller *poller, int events, const char *syscall) {
    Napi::Env env = poller->env();
    int error = uv_poll_init(poller->addon_.loop(), &poller->handle_, poller->fd());
    if (error < 0) {
        throw_failure(env, {syscall, -error});
        delete poller;
        return 0;
    }
    poller->handle_.data = poller;
    poller->open_ = true;
    poller->id_ = poller->addon_.add(poller);
    error = poller->poll(events);
    if (error < 0) {
        throw_failure(env, {syscall, -error});
        poller->close();
        return 0;
    }
    return poller->id_;
}

int Poller::poll(int events) {
    return uv_poll_start(&handle_, events, on_poll);
}

void Poller::close() {
    if (!open_)
        return;
    open_ = false;
    addon_.closing(id_);
    uv_close(reinterpret_cast<uv_handle_t *>(&handle_), on_close);
    fd_ = UniqueFd();
}

void Poller::keep_alive(bool alive) {
    auto *handle = reinterpret_cast<uv_handle_t *>(&handle_);
    alive ? uv_ref(handle) : uv_unref(handle);
}

void Poller::call(const Napi::FunctionReference &callback, std::initializer_list<napi_value> arguments) {
    // Not through the wrapper: it cannot tell an exception from the end of a worker in the middle of the
    // callback.
    napi_env environment = env();
    napi_value error = nullptr;
    const napi_status status = napi_make_callback(environment, nullptr, env().Global(), callback.Value(),
                                                  arguments.size(), arguments.begin(), nullptr);
    if (status == napi_pending_exception &&
        napi_get_and_clear_last_exception(environment, &error) == napi_ok && addon_.may_call_javascript())
        napi_fatal_exception(environment, error);
}

void Poller::on_poll(uv_poll_t *handle, int status, int events) {
    auto *self = static_cast<Poller *>(handle->data);
    Napi::HandleScope scope(self->env());
    if (self->addon_.may_call_javascript())
        self->ready(status, events);
    else
        self->close();
}

void Poller::on_close(uv_handle_t *handle) {
    auto *self = static_cast<Poller *>(handle->data);
    Addon &addon = self->addon_;
    {
        Napi::HandleScope scope(self->env());
        delete self;
    }
    addon.closed();
}

} // namespace podwright
