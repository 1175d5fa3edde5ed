#include "addon.h"

#include <cerrno>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

namespace podwright {
namespace {

Napi::Value raise_file_limit(const Napi::CallbackInfo &info) {
    rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return throw_errno(info.Env(), "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return throw_errno(info.Env(), "setrlimit");
    return Napi::Number::New(info.Env(), static_cast<double>(limit.rlim_cur));
}

Napi::Value set_umask(const Napi::CallbackInfo &info) {
    Args args(info);
    mode_t mask = static_cast<mode_t>(args.integer(0));
    if (!args.ok())
        return info.Env().Undefined();
    return Napi::Number::New(info.Env(), umask(mask));
}

Napi::Value set_child_subreaper(const Napi::CallbackInfo &info) {
    Args args(info);
    bool on = args.boolean(0);
    if (args.ok() && prctl(PR_SET_CHILD_SUBREAPER, on ? 1 : 0, 0, 0, 0) < 0)
        return throw_errno(info.Env(), "prctl");
    return info.Env().Undefined();
}

// glibc keeps what was freed at the top and in the middle of its arenas until it is asked.
Napi::Value trim_memory(const Napi::CallbackInfo &info) {
    malloc_trim(0);
    return info.Env().Undefined();
}

} // namespace

void define_limits(Napi::Object exports) {
    define<raise_file_limit>(exports, "raiseFileLimit");
    define<set_umask>(exports, "setUmask");
    define<set_child_subreaper>(exports, "setChildSubreaper");
    define<trim_memory>(exports, "trimMemory");
}

} // namespace podwright
