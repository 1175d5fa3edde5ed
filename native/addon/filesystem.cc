#include <cerrno>
#include <fcntl.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "work.h"

namespace podwright {
namespace {

class SyncFilesystem : public Work {
  public:
    SyncFilesystem(Napi::Env env, std::string path) : Work(env), path_(std::move(path)) {}

  private:
    std::optional<Failure> run() override {
        UniqueFd fd(open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
        if (!fd)
            return Failure{"open", errno, path_};
        if (syncfs(fd.get()) < 0)
            return Failure{"syncfs", errno, path_};
        return std::nullopt;
    }

    std::string path_;
};

Napi::Value sync_filesystem(const Napi::CallbackInfo &info) {
    Args args(info);
    std::string path = args.text(0);
    if (!args.ok())
        return info.Env().Undefined();
    return Work::start(new SyncFilesystem(info.Env(), std::move(path)));
}

Napi::Value stat_filesystem(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    Args args(info);
    std::string path = args.text(0);
    if (!args.ok())
        return env.Undefined();
    struct statfs status;
    if (statfs(path.c_str(), &status) < 0)
        return throw_errno(env, "statfs", path);
    Napi::Object result = Napi::Object::New(env);
    result.Set("type", static_cast<double>(status.f_type));
    result.Set("blockSize", static_cast<double>(status.f_bsize));
    result.Set("blocks", Napi::BigInt::New(env, static_cast<uint64_t>(status.f_blocks)));
    result.Set("blocksFree", Napi::BigInt::New(env, static_cast<uint64_t>(status.f_bfree)));
    result.Set("files", Napi::BigInt::New(env, static_cast<uint64_t>(status.f_files)));
    result.Set("filesFree", Napi::BigInt::New(env, static_cast<uint64_t>(status.f_ffree)));
    return result;
}

} // namespace

void define_filesystem(Napi::Object exports) {
    define<sync_filesystem>(exports, "syncFilesystem");
    define<stat_filesystem>(exports, "statFilesystem");
}

} // namespace podwright
