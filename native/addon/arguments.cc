#include "addon.h"

#include <cerrno>
#include <climits>
#include <cmath>
#include <unistd.h>

namespace podwright {

namespace {

bool is_integer(Napi::Value value, double low, double high) {
    if (!value.IsNumber())
        return false;
    double number = value.As<Napi::Number>().DoubleValue();
    return std::floor(number) == number && number >= low && number <= high;
}

constexpr double SAFE_INTEGER = 9007199254740991.0;

} // namespace

void Args::reject(size_t index, const char *wanted) {
    if (ok_)
        Napi::TypeError::New(info_.Env(), "argument " + std::to_string(index) + " must be " + wanted)
            .ThrowAsJavaScriptException();
    ok_ = false;
}

bool Args::missing(size_t index) const {
    return info_[index].IsUndefined() || info_[index].IsNull();
}

int64_t Args::integer(size_t index) {
    if (is_integer(info_[index], -SAFE_INTEGER, SAFE_INTEGER))
        return info_[index].As<Napi::Number>().Int64Value();
    reject(index, "an integer");
    return 0;
}

uint32_t Args::id(size_t index) {
    return static_cast<uint32_t>(integer(index));
}

int Args::fd(size_t index) {
    if (is_integer(info_[index], INT_MIN, INT_MAX))
        return info_[index].As<Napi::Number>().Int32Value();
    reject(index, "a descriptor");
    return -1;
}

bool Args::boolean(size_t index) {
    if (info_[index].IsBoolean())
        return info_[index].As<Napi::Boolean>().Value();
    reject(index, "a boolean");
    return false;
}

// A NUL byte would silently cut the path that the kernel sees.
std::string Args::without_nul(size_t index, Napi::Value value) {
    if (!value.IsString()) {
        reject(index, "a string");
        return {};
    }
    std::string text = value.As<Napi::String>().Utf8Value();
    if (text.find('\0') == std::string::npos)
        return text;
    if (ok_)
        throw_failure(info_.Env(), {"argument", EINVAL, text.substr(0, text.find('\0'))});
    ok_ = false;
    return {};
}

std::string Args::text(size_t index) {
    return without_nul(index, info_[index]);
}

std::optional<std::string> Args::optional_text(size_t index) {
    if (missing(index))
        return std::nullopt;
    return text(index);
}

std::string Args::content(size_t index, Napi::Value value) {
    if (value.IsString())
        return value.As<Napi::String>().Utf8Value();
    if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array) {
        auto view = value.As<Napi::Uint8Array>();
        return std::string(reinterpret_cast<const char *>(view.Data()), view.ByteLength());
    }
    reject(index, "a Uint8Array");
    return {};
}

std::string Args::bytes(size_t index) {
    return content(index, info_[index]);
}

std::vector<std::string> Args::contents(size_t index) {
    std::vector<std::string> result;
    if (!info_[index].IsArray()) {
        reject(index, "an array of contents");
        return result;
    }
    auto array = info_[index].As<Napi::Array>();
    result.reserve(array.Length());
    for (uint32_t i = 0; i < array.Length() && ok_; i++)
        result.push_back(content(index, array.Get(i)));
    return result;
}

std::vector<std::string> Args::texts(size_t index) {
    std::vector<std::string> result;
    if (!info_[index].IsArray()) {
        reject(index, "an array of strings");
        return result;
    }
    auto array = info_[index].As<Napi::Array>();
    result.reserve(array.Length());
    for (uint32_t i = 0; i < array.Length() && ok_; i++)
        result.push_back(without_nul(index, array.Get(i)));
    return result;
}

std::vector<int64_t> Args::integers(size_t index) {
    std::vector<int64_t> result;
    if (!info_[index].IsArray()) {
        reject(index, "an array of integers");
        return result;
    }
    auto array = info_[index].As<Napi::Array>();
    for (uint32_t i = 0; i < array.Length() && ok_; i++) {
        Napi::Value value = array.Get(i);
        if (!is_integer(value, -SAFE_INTEGER, SAFE_INTEGER))
            reject(index, "an array of integers");
        else
            result.push_back(value.As<Napi::Number>().Int64Value());
    }
    return result;
}

std::vector<int> Args::fds(size_t index) {
    std::vector<int> result;
    for (int64_t value : integers(index)) {
        if (value < INT_MIN || value > INT_MAX)
            reject(index, "an array of descriptors");
        result.push_back(static_cast<int>(value));
    }
    return result;
}

Napi::Function Args::function(size_t index) {
    if (!info_[index].IsFunction())
        reject(index, "a function");
    return info_[index].As<Napi::Function>();
}

UniqueFd::~UniqueFd() {
    if (fd_ >= 0)
        close(fd_);
}

UniqueFd &UniqueFd::operator=(UniqueFd &&other) noexcept {
    if (this != &other) {
        if (fd_ >= 0)
            close(fd_);
        fd_ = other.release();
    }
    return *this;
}

} // namespace podwright
