#include "addon.h"

#include <cerrno>
#include <cstring>

namespace podwright {

Napi::Value to_error(Napi::Env env, const Failure &failure) {
    const char *code = strerrorname_np(failure.error);
    Napi::Object fields = Napi::Object::New(env);
    fields.Set("syscall", failure.syscall);
    fields.Set("errno", failure.error);
    fields.Set("code", code ? std::string(code) : "E" + std::to_string(failure.error));
    if (!failure.path.empty())
        fields.Set("path", failure.path);
    return Addon::of(env).system_error.New({fields});
}

Napi::Value throw_failure(Napi::Env env, const Failure &failure) {
    Napi::Value error = to_error(env, failure);
    if (!env.IsExceptionPending())
        napi_throw(env, error);
    return env.Undefined();
}

Napi::Value throw_errno(Napi::Env env, const char *syscall, const std::string &path) {
    return throw_failure(env, {syscall, errno, path});
}

} // namespace podwright
