#include <atomic>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "work.h"

namespace podwright {
namespace {

enum class Kind { mkdir, write, replace, rmdir, unlink, rename, symlink };

// `text` is the content, the new name or the link's target; `lenient` is existOk or missingOk.
struct Operation {
    Kind kind;
    std::string path;
    std::string text;
    mode_t mode;
    bool lenient;
};

using Outcome = std::optional<Failure>;

Outcome checked(int result, const char *syscall, const std::string &path, int tolerated = 0) {
    if (result >= 0 || errno == tolerated)
        return std::nullopt;
    return Failure{syscall, errno, path};
}

bool is_directory(const std::string &path) {
    struct stat status;
    return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// Whether the umask takes bits of a mode away, or the kernel leaves out those above the permissions.
bool needs_chmod(mode_t mode) {
    return (mode & process_umask()) != 0 || (mode & ~0777U) != 0;
}

// The mode is what was asked for, whatever the umask.
Outcome make_directory(const Operation &operation) {
    const std::string &path = operation.path;
    if (mkdir(path.c_str(), operation.mode) == 0)
        return needs_chmod(operation.mode) ? checked(chmod(path.c_str(), operation.mode), "chmod", path)
                                           : std::nullopt;
    if (errno == EEXIST && operation.lenient && is_directory(path))
        return std::nullopt;
    return Failure{"mkdir", errno, path};
}

Outcome write_file(const Operation &operation) {
    const std::string &path = operation.path;
    UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!fd)
        return Failure{"open", errno, path};
    ssize_t written;
    do
        written = write(fd.get(), operation.text.data(), operation.text.size());
    while (written < 0 && errno == EINTR);
    if (written < 0)
        return Failure{"write", errno, path};
    if (static_cast<size_t>(written) != operation.text.size())
        return Failure{"write", EIO, path};
    return std::nullopt;
}

std::string temporary_name(const std::string &path) {
    static std::atomic<unsigned> counter{0};
    const size_t slash = path.rfind('/');
    const std::string directory = slash == std::string::npos ? "" : path.substr(0, slash + 1);
    return directory + ".podwright-" + std::to_string(getpid()) + "-" + std::to_string(counter++) + ".tmp";
}

Outcome fill(int fd, const Operation &operation, const std::string &temporary) {
    size_t done = 0;
    while (done < operation.text.size()) {
        ssize_t written = write(fd, operation.text.data() + done, operation.text.size() - done);
        if (written < 0 && errno != EINTR)
            return Failure{"write", errno, operation.path};
        done += written > 0 ? static_cast<size_t>(written) : 0;
    }
    if (needs_chmod(operation.mode) && fchmod(fd, operation.mode) < 0)
        return Failure{"fchmod", errno, operation.path};
    return checked(rename(temporary.c_str(), operation.path.c_str()), "rename", operation.path);
}

Outcome replace_file(const Operation &operation) {
    const std::string temporary = temporary_name(operation.path);
    UniqueFd fd(
        open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, operation.mode));
    if (!fd)
        return Failure{"open", errno, operation.path};
    Outcome outcome = fill(fd.get(), operation, temporary);
    if (outcome)
        unlink(temporary.c_str());
    return outcome;
}

Outcome carry_out(const Operation &operation) {
    const std::string &path = operation.path;
    const int tolerated = operation.lenient ? ENOENT : 0;
    switch (operation.kind) {
    case Kind::mkdir:
        return make_directory(operation);
    case Kind::write:
        return write_file(operation);
    case Kind::replace:
        return replace_file(operation);
    case Kind::rmdir:
        return checked(rmdir(path.c_str()), "rmdir", path, tolerated);
    case Kind::unlink:
        return checked(unlink(path.c_str()), "unlink", path, tolerated);
    case Kind::rename:
        return checked(rename(path.c_str(), operation.text.c_str()), "rename", path);
    case Kind::symlink:
        return checked(symlink(operation.text.c_str(), path.c_str()), "symlink", path);
    }
    return Failure{"fileBatch", EINVAL, path};
}

// Stops at the first failure, whose place is left in `index`.
Outcome carry_out_all(const std::vector<Operation> &operations, size_t &index) {
    for (index = 0; index < operations.size(); index++)
        if (Outcome outcome = carry_out(operations[index]))
            return outcome;
    return std::nullopt;
}

void add_index(Napi::Object error, size_t index) {
    error.Set("index", static_cast<double>(index));
}

class FileBatch : public Work {
  public:
    FileBatch(Napi::Env env, std::vector<Operation> operations)
        : Work(env), operations_(std::move(operations)) {}

  private:
    std::optional<Failure> run() override {
        return carry_out_all(operations_, index_);
    }
    void describe(Napi::Object error) override {
        add_index(error, index_);
    }

    std::vector<Operation> operations_;
    size_t index_ = 0;
};

// (kinds: number[], paths: string[], texts: (string | Uint8Array)[], modes: number[], lenient: number[]);
// nothing where an exception is pending.
std::optional<std::vector<Operation>> operations_of(const Napi::CallbackInfo &info) {
    Args args(info);
    std::vector<int64_t> kinds = args.integers(0);
    std::vector<std::string> paths = args.texts(1);
    std::vector<std::string> texts = args.contents(2);
    std::vector<int64_t> modes = args.integers(3);
    std::vector<int64_t> lenient = args.integers(4);
    if (!args.ok())
        return std::nullopt;
    std::vector<Operation> operations;
    operations.reserve(kinds.size());
    for (size_t i = 0; i < kinds.size(); i++) {
        const Kind kind = static_cast<Kind>(kinds.at(i));
        if ((kind == Kind::rename || kind == Kind::symlink) && texts.at(i).find('\0') != std::string::npos) {
            throw_failure(info.Env(), {"argument", EINVAL, paths.at(i)});
            return std::nullopt;
        }
        operations.push_back({kind, std::move(paths.at(i)), std::move(texts.at(i)),
                              static_cast<mode_t>(modes.at(i)), lenient.at(i) != 0});
    }
    return operations;
}

Napi::Value file_batch(const Napi::CallbackInfo &info) {
    std::optional<std::vector<Operation>> operations = operations_of(info);
    if (!operations)
        return info.Env().Undefined();
    return Work::start(new FileBatch(info.Env(), std::move(*operations)));
}

Napi::Value file_batch_sync(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    std::optional<std::vector<Operation>> operations = operations_of(info);
    if (!operations)
        return env.Undefined();
    size_t index = 0;
    if (Outcome failure = carry_out_all(*operations, index)) {
        Napi::Value error = to_error(env, *failure);
        add_index(error.As<Napi::Object>(), index);
        napi_throw(env, error);
    }
    return env.Undefined();
}

} // namespace

void define_file_batch(Napi::Object exports) {
    define<file_batch>(exports, "fileBatch");
    define<file_batch_sync>(exports, "fileBatchSync");
}

} // namespace podwright
