#include "addon.h"

#include <cerrno>
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// Newer than the headers of Debian 12.
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#define MFD_EXEC 0x0010U
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020
#endif

namespace podwright {
namespace {

Napi::Value pipe(const Napi::CallbackInfo &info) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return throw_errno(info.Env(), "pipe2");
    Napi::Array result = Napi::Array::New(info.Env(), 2);
    result.Set(0u, fds[0]);
    result.Set(1u, fds[1]);
    return result;
}

Napi::Value close_fd(const Napi::CallbackInfo &info) {
    Args args(info);
    int fd = args.fd(0);
    // EINTR: the descriptor is gone all the same.
    if (args.ok() && close(fd) < 0 && errno != EINTR)
        return throw_errno(info.Env(), "close");
    return info.Env().Undefined();
}

Napi::Value dup_fd(const Napi::CallbackInfo &info) {
    Args args(info);
    int fd = args.fd(0);
    if (!args.ok())
        return info.Env().Undefined();
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return throw_errno(info.Env(), "fcntl");
    return Napi::Number::New(info.Env(), copy);
}

Napi::Value set_non_blocking(const Napi::CallbackInfo &info) {
    Args args(info);
    int fd = args.fd(0);
    if (!args.ok())
        return info.Env().Undefined();
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return throw_errno(info.Env(), "fcntl");
    return info.Env().Undefined();
}

// MFD_EXEC and MFD_NOEXEC_SEAL came with Linux 6.3; before that every memfd is executable.
int create_memfd(const std::string &name, bool executable) {
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = memfd_create(name.c_str(), flags | (executable ? MFD_EXEC : MFD_NOEXEC_SEAL));
    return fd < 0 && errno == EINVAL ? memfd_create(name.c_str(), flags) : fd;
}

bool write_all(int fd, const std::string &content) {
    size_t done = 0;
    while (done < content.size()) {
        ssize_t written = write(fd, content.data() + done, content.size() - done);
        if (written < 0 && errno != EINTR)
            return false;
        done += written > 0 ? static_cast<size_t>(written) : 0;
    }
    return true;
}

// F_SEAL_EXEC too, where it exists: a process that reaches the file through /proc/PID/exe could otherwise
// take the execute bits away from everybody who shares it.
int seal(int fd) {
    const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    int result = fcntl(fd, F_ADD_SEALS, seals | F_SEAL_EXEC);
    return result < 0 && errno == EINVAL ? fcntl(fd, F_ADD_SEALS, seals) : result;
}

Napi::Value sealed_memfd(const Napi::CallbackInfo &info) {
    Args args(info);
    std::string name = args.text(0);
    std::string content = args.bytes(1);
    bool executable = args.boolean(2);
    if (!args.ok())
        return info.Env().Undefined();
    UniqueFd fd(create_memfd(name, executable));
    if (!fd)
        return throw_errno(info.Env(), "memfd_create", name);
    if (!write_all(fd.get(), content))
        return throw_errno(info.Env(), "write", name);
    if (fchmod(fd.get(), executable ? 0755 : 0644) < 0)
        return throw_errno(info.Env(), "fchmod", name);
    if (seal(fd.get()) < 0)
        return throw_errno(info.Env(), "fcntl", name);
    // Whoever inherits it reads it from the beginning.
    if (lseek(fd.get(), 0, SEEK_SET) < 0)
        return throw_errno(info.Env(), "lseek", name);
    return Napi::Number::New(info.Env(), fd.release());
}

// openat2(dirFd, path, flags, mode, resolve)
Napi::Value openat2_(const Napi::CallbackInfo &info) {
    Args args(info);
    int directory = args.fd(0);
    std::string path = args.text(1);
    open_how how = {};
    how.flags = static_cast<uint64_t>(args.integer(2)) | O_CLOEXEC;
    how.mode = static_cast<uint64_t>(args.integer(3));
    how.resolve = static_cast<uint64_t>(args.integer(4));
    if (!args.ok())
        return info.Env().Undefined();
    // EAGAIN: something below the root was renamed while ".." was being resolved, so the answer could not be
    // vouched for. A hostile container can keep that up for ever.
    long fd;
    int attempts = 64;
    do
        fd = syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how);
    while (fd < 0 && (errno == EAGAIN || errno == EINTR) && --attempts > 0);
    if (fd < 0)
        return throw_errno(info.Env(), "openat2", path);
    return Napi::Number::New(info.Env(), static_cast<double>(fd));
}

Napi::Value set_window_size(const Napi::CallbackInfo &info) {
    Args args(info);
    int fd = args.fd(0);
    winsize size = {};
    size.ws_col = static_cast<unsigned short>(args.integer(1));
    size.ws_row = static_cast<unsigned short>(args.integer(2));
    if (args.ok() && ioctl(fd, TIOCSWINSZ, &size) < 0)
        return throw_errno(info.Env(), "ioctl");
    return info.Env().Undefined();
}

Napi::Value try_flock(const Napi::CallbackInfo &info) {
    Args args(info);
    int fd = args.fd(0);
    if (!args.ok())
        return info.Env().Undefined();
    int result = flock(fd, LOCK_EX | LOCK_NB);
    if (result < 0 && errno != EWOULDBLOCK)
        return throw_errno(info.Env(), "flock");
    return Napi::Boolean::New(info.Env(), result == 0);
}

} // namespace

void define_descriptor(Napi::Object exports) {
    define<pipe>(exports, "pipe");
    define<close_fd>(exports, "closeFd");
    define<dup_fd>(exports, "dupFd");
    define<set_non_blocking>(exports, "setNonBlocking");
    define<sealed_memfd>(exports, "sealedMemfd");
    define<openat2_>(exports, "openat2");
    define<set_window_size>(exports, "setWindowSize");
    define<try_flock>(exports, "tryFlock");
}

} // namespace podwright
