#include <cerrno>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
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

// addInodeFlags(path, flags): as they are, and these.
Napi::Value add_inode_flags(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    Args args(info);
    std::string path = args.text(0);
    const int64_t added = args.integer(1);
    if (!args.ok())
        return env.Undefined();
    UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!fd)
        return throw_errno(env, "open", path);
    int flags = 0;
    if (ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) < 0)
        return throw_errno(env, "ioctl FS_IOC_GETFLAGS", path);
    flags |= static_cast<int>(added);
    if (ioctl(fd.get(), FS_IOC_SETFLAGS, &flags) < 0)
        return throw_errno(env, "ioctl FS_IOC_SETFLAGS", path);
    return env.Undefined();
}

} // namespace

void define_filesystem(Napi::Object exports) {
    define<sync_filesystem>(exports, "syncFilesystem");
    define<stat_filesystem>(exports, "statFilesystem");
    define<add_inode_flags>(exports, "addInodeFlags");
}

} // namespace podwright
