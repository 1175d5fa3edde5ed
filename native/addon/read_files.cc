#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

#include "work.h"

namespace podwright {
namespace {

constexpr size_t MAX_FILE_BYTES = 1 << 20;
// On the stack; most files of the kernel fit.
constexpr size_t BUFFER_BYTES = 16 << 10;

struct FileContent {
    std::string content;
    std::optional<Failure> failure;
};

// O_NONBLOCK: a fifo under the name must not hold the thread.
FileContent read_file(const std::string &path) {
    UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!fd)
        return {{}, Failure{"open", errno, path}};
    std::string content;
    char buffer[BUFFER_BYTES];
    while (content.size() <= MAX_FILE_BYTES) {
        ssize_t count = read(fd.get(), buffer, std::min(BUFFER_BYTES, MAX_FILE_BYTES + 1 - content.size()));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return {{}, Failure{"read", errno, path}};
        if (count == 0)
            return {std::move(content), std::nullopt};
        content.append(buffer, static_cast<size_t>(count));
    }
    return {{}, Failure{"read", EFBIG, path}};
}

std::vector<FileContent> read_all(const std::vector<std::string> &paths) {
    std::vector<FileContent> contents;
    contents.reserve(paths.size());
    for (const std::string &path : paths)
        contents.push_back(read_file(path));
    return contents;
}

Napi::Value to_array(Napi::Env env, const std::vector<FileContent> &contents) {
    Napi::Array result = Napi::Array::New(env, contents.size());
    for (uint32_t i = 0; i < contents.size(); i++) {
        const FileContent &file = contents[i];
        if (file.failure) {
            result.Set(i, to_error(env, *file.failure));
            continue;
        }
        napi_value text;
        napi_create_string_latin1(env, file.content.data(), file.content.size(), &text);
        result.Set(i, text);
    }
    return result;
}

class ReadFiles : public Work {
  public:
    ReadFiles(Napi::Env env, std::vector<std::string> paths) : Work(env), paths_(std::move(paths)) {}

  private:
    std::optional<Failure> run() override {
        contents_ = read_all(paths_);
        return std::nullopt;
    }
    Napi::Value result(Napi::Env env) override {
        return to_array(env, contents_);
    }

    std::vector<std::string> paths_;
    std::vector<FileContent> contents_;
};

Napi::Value read_files(const Napi::CallbackInfo &info) {
    Args args(info);
    std::vector<std::string> paths = args.texts(0);
    if (!args.ok())
        return info.Env().Undefined();
    return Work::start(new ReadFiles(info.Env(), std::move(paths)));
}

Napi::Value read_files_sync(const Napi::CallbackInfo &info) {
    Args args(info);
    std::vector<std::string> paths = args.texts(0);
    if (!args.ok())
        return info.Env().Undefined();
    return to_array(info.Env(), read_all(paths));
}

} // namespace

void define_read_files(Napi::Object exports) {
    define<read_files>(exports, "readFiles");
    define<read_files_sync>(exports, "readFilesSync");
}

} // namespace podwright
