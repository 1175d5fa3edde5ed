#include "addon.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "poller.h"

namespace podwright {
namespace {

// posix_spawn's attributes and file actions, released by scope.
struct SpawnPlan {
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;

    SpawnPlan() {
        posix_spawnattr_init(&attributes);
        posix_spawn_file_actions_init(&actions);
    }
    ~SpawnPlan() {
        posix_spawn_file_actions_destroy(&actions);
        posix_spawnattr_destroy(&attributes);
    }
    SpawnPlan(const SpawnPlan &) = delete;
    SpawnPlan &operator=(const SpawnPlan &) = delete;
};

int plan_attributes(SpawnPlan &plan) {
    sigset_t set;
    // Not sigfillset(): it leaves out the two signals of the thread library, which the child would then
    // ignore.
    memset(&set, 0xff, sizeof set);
    int error = posix_spawnattr_setsigdefault(&plan.attributes, &set);
    sigemptyset(&set);
    if (error == 0)
        error = posix_spawnattr_setsigmask(&plan.attributes, &set);
    if (error == 0)
        error = posix_spawnattr_setflags(&plan.attributes,
                                         POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
    return error;
}

constexpr int NULL_DEVICE = -1;

// Sources below the number of targets are copied above it first (kept in `copies` until the spawn is over),
// so no dup2 can overwrite a later source, and none is onto itself, which would leave close-on-exec set.
int plan_descriptors(SpawnPlan &plan, std::vector<int> &fds, std::vector<UniqueFd> &copies, Addon &addon) {
    const int count = static_cast<int>(fds.size());
    for (int &fd : fds) {
        if (fd == NULL_DEVICE)
            fd = addon.null_device();
        if (fd < 0)
            return fd == -1 ? errno : EBADF;
        if (fd < count) {
            UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, count));
            if (!copy)
                return errno;
            fd = copy.get();
            copies.push_back(std::move(copy));
        }
    }
    int error = 0;
    for (int target = 0; target < count && error == 0; target++)
        error = posix_spawn_file_actions_adddup2(&plan.actions, fds[static_cast<size_t>(target)], target);
    return error == 0 ? posix_spawn_file_actions_addclosefrom_np(&plan.actions, count) : error;
}

std::vector<char *> pointers(std::vector<std::string> &texts) {
    std::vector<char *> result;
    result.reserve(texts.size() + 1);
    for (std::string &text : texts)
        result.push_back(text.data());
    result.push_back(nullptr);
    return result;
}

int open_pidfd(pid_t pid) {
    return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
}

// spawn(file: string | number, argv, env, fds (-1: /dev/null), cwd)
Napi::Value spawn(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    Addon &addon = Addon::of(env);
    Args args(info);
    // A program given as a descriptor is executed through our own /proc entry: the child's copy is closed by
    // then, and leaving it open would hand it on.
    std::string file =
        info[0].IsNumber() ? addon.own_descriptors() + std::to_string(args.fd(0)) : args.text(0);
    std::vector<std::string> argv = args.texts(1);
    std::vector<std::string> environment = args.texts(2);
    std::vector<int> fds = args.fds(3);
    std::string cwd = args.text(4);
    if (!args.ok())
        return env.Undefined();

    SpawnPlan plan;
    std::vector<UniqueFd> copies;
    pid_t pid = 0;
    int error = plan_attributes(plan);
    if (error == 0)
        error = posix_spawn_file_actions_addchdir_np(&plan.actions, cwd.c_str());
    if (error == 0)
        error = plan_descriptors(plan, fds, copies, addon);
    if (error == 0)
        error = posix_spawn(&pid, file.c_str(), &plan.actions, &plan.attributes, pointers(argv).data(),
                            pointers(environment).data());
    if (error != 0)
        return throw_failure(env, {"posix_spawn", error, file});

    // Nobody else reaps this child, so its pid cannot have been reused.
    UniqueFd pidfd(open_pidfd(pid));
    if (!pidfd) {
        error = errno;
        kill(pid, SIGKILL);
        waitpid(pid, nullptr, 0);
        return throw_failure(env, {"pidfd_open", error});
    }
    Napi::Object result = Napi::Object::New(env);
    result.Set("pid", pid);
    result.Set("pidfd", pidfd.release());
    return result;
}

class ExitPoller : public Poller {
  public:
    ExitPoller(Addon &addon, UniqueFd pidfd, Napi::Function callback)
        : Poller(addon, std::move(pidfd)), callback_(Napi::Persistent(callback)) {}

  private:
    void ready(int, int) override {
        siginfo_t status = {};
        int result;
        do
            result = waitid(P_PIDFD, static_cast<id_t>(fd()), &status, WEXITED | WNOHANG);
        while (result < 0 && errno == EINTR);
        // Not ended yet: nothing to report.
        if ((result == 0 && status.si_pid == 0) || (result < 0 && errno == EAGAIN))
            return;
        int error = result < 0 ? errno : 0;
        close();
        if (error == ECHILD)
            return call(callback_, {});
        if (error != 0)
            return call(callback_,
                        {env().Undefined(), env().Undefined(), to_error(env(), {"waitid", error})});
        bool exited = status.si_code == CLD_EXITED;
        call(callback_, {Napi::Number::New(env(), exited ? status.si_status : 128 + status.si_status),
                         Napi::Number::New(env(), exited ? 0 : status.si_status)});
    }

    Napi::FunctionReference callback_;
};

// waitPidfd(pidfd, callback: (code?, signal?, error?) => void)
Napi::Value wait_pidfd(const Napi::CallbackInfo &info) {
    Args args(info);
    int pidfd = args.fd(0);
    Napi::Function callback = args.function(1);
    if (args.ok())
        Poller::start(new ExitPoller(Addon::of(info.Env()), UniqueFd(pidfd), callback), UV_READABLE,
                      "waitid");
    return info.Env().Undefined();
}

Napi::Value pidfd_open_(const Napi::CallbackInfo &info) {
    Args args(info);
    int64_t pid = args.integer(0);
    if (!args.ok())
        return info.Env().Undefined();
    int pidfd = open_pidfd(static_cast<pid_t>(pid));
    if (pidfd < 0)
        return throw_errno(info.Env(), "pidfd_open");
    return Napi::Number::New(info.Env(), pidfd);
}

Napi::Value pidfd_send_signal_(const Napi::CallbackInfo &info) {
    Args args(info);
    int pidfd = args.fd(0);
    int64_t signal = args.integer(1);
    if (args.ok() && syscall(SYS_pidfd_send_signal, pidfd, static_cast<int>(signal), nullptr, 0) < 0)
        return throw_errno(info.Env(), "pidfd_send_signal");
    return info.Env().Undefined();
}

} // namespace

void define_process(Napi::Object exports) {
    define<spawn>(exports, "spawn");
    define<wait_pidfd>(exports, "waitPidfd");
    define<pidfd_open_>(exports, "pidfdOpen");
    define<pidfd_send_signal_>(exports, "pidfdSendSignal");
}

} // namespace podwright
