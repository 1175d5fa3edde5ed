#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

#include "work.h"

namespace podwright {
namespace {

constexpr size_t MAX_FILE_BYTES = 1 << 20;

struct FileContent {
    std::string content;
    std::optional<Failure> failure;
};

class ReadFiles : public Work {
  public:
    ReadFiles(Napi::Env env, std::vector<std::string> paths) : Work(env), paths_(std::move(paths)) {}

  private:
    std::optional<Failure> run() override {
        auto buffer = std::make_unique_for_overwrite<char[]>(MAX_FILE_BYTES + 1);
        contents_.reserve(paths_.size());
        for (const std::string &path : paths_)
            contents_.push_back(read_file(path, buffer.get()));
        return std::nullopt;
    }

    // O_NONBLOCK: a fifo under the name must not hold the thread.
    static FileContent read_file(const std::string &path, char *buffer) {
        UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
        if (!fd)
            return {{}, Failure{"open", errno, path}};
        size_t length = 0;
        while (length <= MAX_FILE_BYTES) {
            ssize_t count = read(fd.get(), buffer + length, MAX_FILE_BYTES + 1 - length);
            if (count < 0 && errno == EINTR)
                continue;
            if (count < 0)
                return {{}, Failure{"read", errno, path}};
            if (count == 0)
                return {std::string(buffer, length), std::nullopt};
            length += static_cast<size_t>(count);
        }
        return {{}, Failure{"read", EFBIG, path}};
    }

    Napi::Value result(Napi::Env env) override {
        Napi::Array result = Napi::Array::New(env, contents_.size());
        for (uint32_t i = 0; i < contents_.size(); i++) {
            const FileContent &file = contents_[i];
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

} // namespace

void define_read_files(Napi::Object exports) {
    define<read_files>(exports, "readFiles");
}

} // namespace podwright
