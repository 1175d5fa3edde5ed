#include "addon.h"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <dirent.h>
#include <malloc.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace podwright {
namespace {

constexpr unsigned UNKNOWN = ~0U;
std::atomic<unsigned> umask_now{UNKNOWN};

// umask(2) cannot be read without being set, which other threads would see.
unsigned read_umask() {
    unsigned mask = 0777;
    FILE *status = fopen("/proc/self/status", "re");
    if (status == nullptr)
        return mask;
    char line[256];
    while (fgets(line, sizeof line, status) != nullptr)
        if (sscanf(line, "Umask: %o", &mask) == 1)
            break;
    fclose(status);
    return mask;
}

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
    umask_now = mask;
    return Napi::Number::New(info.Env(), umask(mask));
}

Napi::Value set_child_subreaper(const Napi::CallbackInfo &info) {
    Args args(info);
    bool on = args.boolean(0);
    if (args.ok() && prctl(PR_SET_CHILD_SUBREAPER, on ? 1 : 0, 0, 0, 0) < 0)
        return throw_errno(info.Env(), "prctl");
    return info.Env().Undefined();
}

Napi::Value set_workers_aside(const Napi::CallbackInfo &info) {
    DIR *threads = opendir("/proc/self/task");
    if (threads == nullptr)
        return throw_errno(info.Env(), "opendir", "/proc/self/task");
    int error = 0;
    while (const dirent *entry = readdir(threads)) {
        const pid_t thread = static_cast<pid_t>(std::atoi(entry->d_name));
        const sched_param none{};
        // One whose policy the administrator chose keeps it.
        if (thread == 0 || thread == getpid() || sched_getscheduler(thread) != SCHED_OTHER)
            continue;
        // It may have ended meanwhile.
        if (sched_setscheduler(thread, SCHED_BATCH, &none) < 0 && errno != ESRCH)
            error = errno;
    }
    closedir(threads);
    if (error != 0)
        return throw_failure(info.Env(), {"sched_setscheduler", error, ""});
    return info.Env().Undefined();
}

// glibc keeps what was freed at the top and in the middle of its arenas until it is asked.
Napi::Value trim_memory(const Napi::CallbackInfo &info) {
    malloc_trim(0);
    return info.Env().Undefined();
}

} // namespace

mode_t process_umask() {
    if (umask_now == UNKNOWN)
        umask_now = read_umask();
    return umask_now;
}

void define_limits(Napi::Object exports) {
    define<raise_file_limit>(exports, "raiseFileLimit");
    define<set_umask>(exports, "setUmask");
    define<set_child_subreaper>(exports, "setChildSubreaper");
    define<set_workers_aside>(exports, "setWorkersAside");
    define<trim_memory>(exports, "trimMemory");
}

} // namespace podwright
