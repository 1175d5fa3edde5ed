#include "disk_usage.h"
#include "remove_tree.h"
#include "work.h"

namespace podwright {
namespace {

// A walk over a big tree is many short works: between two of them others get the thread, and the caller may
// pause.
template <typename Walk> class Step : public Work {
  public:
    Step(Napi::Env env, std::shared_ptr<Walk> walk, int64_t budget_ms)
        : Work(env), walk_(std::move(walk)), budget_(budget_ms) {}

  private:
    std::optional<Failure> run() override {
        finished_ = walk_->step(std::chrono::steady_clock::now() + budget_);
        return finished_ ? walk_->failure() : std::nullopt;
    }
    Napi::Value result(Napi::Env env) override {
        return finished_ ? describe_result(env, *walk_) : env.Undefined();
    }
    static Napi::Value describe_result(Napi::Env env, const TreeRemoval &) {
        return Napi::Boolean::New(env, true);
    }
    static Napi::Value describe_result(Napi::Env env, const UsageCount &usage) {
        Napi::Object result = Napi::Object::New(env);
        result.Set("bytes", Napi::BigInt::New(env, usage.bytes()));
        result.Set("inodes", Napi::BigInt::New(env, usage.inodes()));
        return result;
    }

    std::shared_ptr<Walk> walk_;
    std::chrono::milliseconds budget_;
    bool finished_ = false;
};

template <typename Walk> using Held = Napi::External<std::shared_ptr<Walk>>;

// open(parent, name): a handle for step
template <typename Walk> Napi::Value open_walk(const Napi::CallbackInfo &info) {
    Args args(info);
    std::string parent = args.text(0);
    std::string name = args.text(1);
    if (!args.ok())
        return info.Env().Undefined();
    auto *walk = new std::shared_ptr<Walk>(std::make_shared<Walk>(std::move(parent), std::move(name)));
    return Held<Walk>::New(info.Env(), walk, [](Napi::Env, std::shared_ptr<Walk> *held) { delete held; });
}

// step(handle, budgetMs): undefined while there is more to do. One at a time for each handle.
template <typename Walk> Napi::Value step_walk(const Napi::CallbackInfo &info) {
    Args args(info);
    int64_t budget_ms = args.integer(1);
    if (!args.ok() || !info[0].IsExternal())
        return info.Env().Undefined();
    const std::shared_ptr<Walk> *held = info[0].As<Held<Walk>>().Data();
    if (!held)
        return info.Env().Undefined();
    return Work::start(new Step<Walk>(info.Env(), *held, budget_ms));
}

// end(handle): gives up the walk, between two steps.
template <typename Walk> Napi::Value end_walk(const Napi::CallbackInfo &info) {
    const std::shared_ptr<Walk> *held = info[0].IsExternal() ? info[0].As<Held<Walk>>().Data() : nullptr;
    if (held)
        (*held)->end();
    return info.Env().Undefined();
}

} // namespace

void define_tree(Napi::Object exports) {
    define<open_walk<TreeRemoval>>(exports, "openRemoval");
    define<step_walk<TreeRemoval>>(exports, "stepRemoval");
    define<open_walk<UsageCount>>(exports, "openUsage");
    define<step_walk<UsageCount>>(exports, "stepUsage");
    define<end_walk<UsageCount>>(exports, "endUsage");
}

} // namespace podwright
