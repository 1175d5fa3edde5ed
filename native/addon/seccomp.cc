#include "seccomp.h"

#include <algorithm>
#include <cerrno>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include "work.h"

namespace podwright {
namespace {

struct Compiled {
    std::string bpf;
    std::vector<std::string> unknown;
};

class Compilation {
  public:
    Compilation(const SeccompRequest &request, Compiled &compiled)
        : request_(request), compiled_(compiled), filter_(seccomp_init(request.default_action)) {}
    ~Compilation() {
        seccomp_release(filter_);
    }
    Compilation(const Compilation &) = delete;
    Compilation &operator=(const Compilation &) = delete;

    std::optional<Failure> run() {
        if (!filter_)
            return Failure{"seccomp_init", EINVAL};
        if (int error = seccomp_attr_set(filter_, SCMP_FLTATR_CTL_OPTIMIZE, 2))
            return Failure{"seccomp_attr_set", -error};
        if (auto failure = add_architectures())
            return failure;
        for (const SeccompRule &rule : request_.rules)
            for (const std::string &name : rule.names)
                if (auto failure = add_rule(rule, name))
                    return failure;
        return export_program();
    }

  private:
    std::optional<Failure> add_architectures() {
        architectures_.push_back(seccomp_arch_native());
        for (uint32_t architecture : request_.architectures) {
            const int error = seccomp_arch_add(filter_, architecture);
            if (error == -EEXIST)
                continue;
            if (error != 0)
                return Failure{"seccomp_arch_add", -error, std::to_string(architecture)};
            architectures_.push_back(architecture);
        }
        return std::nullopt;
    }

    std::optional<Failure> add_rule(const SeccompRule &rule, const std::string &name) {
        // libseccomp refuses a rule that says what the default says.
        if (rule.action == request_.default_action)
            return std::nullopt;
        const int number = seccomp_syscall_resolve_name(name.c_str());
        if (number == __NR_SCMP_ERROR) {
            add_recent(rule, name);
            return std::nullopt;
        }
        // Conditions on different arguments hold together. Several on the same argument are alternatives, as
        // runc and its users have them: libseccomp takes one per argument.
        if (!repeats_argument(rule.conditions))
            return add(rule.action, number, name, rule.conditions.data(), rule.conditions.size());
        for (const scmp_arg_cmp &condition : rule.conditions)
            if (auto failure = add(rule.action, number, name, &condition, 1))
                return failure;
        return std::nullopt;
    }

    std::optional<Failure> add(uint32_t action, int number, const std::string &name,
                               const scmp_arg_cmp *conditions, size_t count) {
        const int error =
            seccomp_rule_add_array(filter_, action, number, static_cast<unsigned>(count), conditions);
        // EEXIST: an earlier rule says the same.
        if (error == 0 || error == -EEXIST)
            return std::nullopt;
        return Failure{"seccomp_rule_add", -error, name};
    }

    static bool repeats_argument(const std::vector<scmp_arg_cmp> &conditions) {
        unsigned seen = 0;
        for (const scmp_arg_cmp &condition : conditions) {
            const unsigned bit = 1u << (condition.arg & 31);
            if (seen & bit)
                return true;
            seen |= bit;
        }
        return false;
    }

    void add_recent(const SeccompRule &rule, const std::string &name) {
        const int number = recent_call_number(name);
        if (number < 0 || !rule.conditions.empty())
            compiled_.unknown.push_back(name);
        else if (std::none_of(recent_.begin(), recent_.end(), [number](const RecentCall &call) {
                     return call.number == static_cast<uint32_t>(number);
                 }))
            recent_.push_back({static_cast<uint32_t>(number), rule.action});
    }

    // A default that lets calls through, or asks somebody who may, is good for new calls too.
    std::optional<uint32_t> answer_to_new_calls() const {
        switch (request_.default_action & SECCOMP_RET_ACTION_FULL) {
        case SCMP_ACT_ALLOW:
        case SCMP_ACT_LOG:
        case SCMP_ACT_TRACE(0):
        case SCMP_ACT_NOTIFY:
            return std::nullopt;
        default:
            return SCMP_ACT_ERRNO(ENOSYS);
        }
    }

    // libseccomp 2.5 writes programs to descriptors only.
    std::optional<Failure> export_program() {
        UniqueFd fd(memfd_create("seccomp", MFD_CLOEXEC));
        if (!fd)
            return Failure{"memfd_create", errno};
        if (int error = seccomp_export_bpf(filter_, fd.get()))
            return Failure{"seccomp_export_bpf", -error};
        const off_t length = lseek(fd.get(), 0, SEEK_END);
        std::string program(static_cast<size_t>(std::max<off_t>(length, 0)), '\0');
        if (length <= 0 || pread(fd.get(), program.data(), program.size(), 0) != length)
            return Failure{"pread", EIO};
        const auto prologue = recent_calls_prologue(architectures_, recent_, answer_to_new_calls());
        compiled_.bpf.assign(reinterpret_cast<const char *>(prologue.data()),
                             prologue.size() * sizeof(sock_filter));
        compiled_.bpf += program;
        if (compiled_.bpf.size() / sizeof(sock_filter) > BPF_MAXINSNS)
            return Failure{"seccomp_export_bpf", E2BIG};
        return std::nullopt;
    }

    const SeccompRequest &request_;
    Compiled &compiled_;
    scmp_filter_ctx filter_;
    std::vector<uint32_t> architectures_ = {};
    std::vector<RecentCall> recent_ = {};
};

class CompileSeccomp : public Work {
  public:
    CompileSeccomp(Napi::Env env, SeccompRequest request) : Work(env), request_(std::move(request)) {}

  private:
    std::optional<Failure> run() override {
        return Compilation(request_, compiled_).run();
    }
    Napi::Value result(Napi::Env env) override {
        Napi::Array unknown = Napi::Array::New(env, compiled_.unknown.size());
        for (uint32_t i = 0; i < compiled_.unknown.size(); i++)
            unknown.Set(i, compiled_.unknown[i]);
        Napi::Object result = Napi::Object::New(env);
        result.Set("bpf", Napi::Buffer<char>::Copy(env, compiled_.bpf.data(), compiled_.bpf.size()));
        result.Set("unknown", unknown);
        return result;
    }

    SeccompRequest request_;
    Compiled compiled_;
};

bool read_condition(Napi::Value value, scmp_arg_cmp &condition) {
    if (!value.IsObject())
        return false;
    auto object = value.As<Napi::Object>();
    const Napi::Value index = object.Get("index"), op = object.Get("op");
    const Napi::Value one = object.Get("value"), two = object.Get("valueTwo");
    if (!index.IsNumber() || !op.IsNumber() || !one.IsBigInt() || !two.IsBigInt())
        return false;
    bool lossless;
    condition.arg = index.As<Napi::Number>().Uint32Value();
    condition.op = static_cast<scmp_compare>(op.As<Napi::Number>().Int32Value());
    condition.datum_a = one.As<Napi::BigInt>().Uint64Value(&lossless);
    condition.datum_b = two.As<Napi::BigInt>().Uint64Value(&lossless);
    return condition.arg < 6;
}

bool read_rule(Napi::Value value, SeccompRule &rule) {
    if (!value.IsObject())
        return false;
    auto object = value.As<Napi::Object>();
    const Napi::Value action = object.Get("action");
    const Napi::Value names = object.Get("names"), conditions = object.Get("args");
    if (!action.IsNumber() || !names.IsArray() || !conditions.IsArray())
        return false;
    rule.action = action.As<Napi::Number>().Uint32Value();
    for (uint32_t i = 0; i < names.As<Napi::Array>().Length(); i++) {
        const Napi::Value name = names.As<Napi::Array>().Get(i);
        if (!name.IsString())
            return false;
        rule.names.push_back(name.As<Napi::String>().Utf8Value());
    }
    rule.conditions.resize(conditions.As<Napi::Array>().Length());
    for (uint32_t i = 0; i < rule.conditions.size(); i++)
        if (!read_condition(conditions.As<Napi::Array>().Get(i), rule.conditions[i]))
            return false;
    return true;
}

// compileSeccomp(defaultAction, architectures: number[], rules: SeccompRule[])
Napi::Value compile_seccomp(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    Args args(info);
    SeccompRequest request;
    request.default_action = static_cast<uint32_t>(args.integer(0));
    for (int64_t architecture : args.integers(1))
        request.architectures.push_back(static_cast<uint32_t>(architecture));
    if (!args.ok())
        return env.Undefined();
    if (!info[2].IsArray())
        return throw_failure(env, {"seccomp_rule_add", EINVAL});
    auto rules = info[2].As<Napi::Array>();
    for (uint32_t i = 0; i < rules.Length(); i++) {
        SeccompRule rule;
        if (!read_rule(rules.Get(i), rule))
            return throw_failure(env, {"seccomp_rule_add", EINVAL, "rule " + std::to_string(i)});
        request.rules.push_back(std::move(rule));
    }
    return Work::start(new CompileSeccomp(env, std::move(request)));
}

Napi::Value seccomp_version_(const Napi::CallbackInfo &info) {
    const scmp_version *version = seccomp_version();
    return Napi::String::New(info.Env(), std::to_string(version->major) + "." +
                                             std::to_string(version->minor) + "." +
                                             std::to_string(version->micro));
}

} // namespace

void define_seccomp(Napi::Object exports) {
    define<compile_seccomp>(exports, "compileSeccomp");
    define<seccomp_version_>(exports, "seccompVersion");
}

} // namespace podwright
