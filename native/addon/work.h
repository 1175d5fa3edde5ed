#pragma once

#include <memory>

#include "addon.h"

namespace podwright {

// Bounded work on libuv's thread pool behind a promise. `run` may not touch JavaScript.
class Work : public Napi::AsyncWorker {
  public:
    explicit Work(Napi::Env env) : Napi::AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)) {}

    // Queues the work, which deletes itself at its end.
    static Napi::Value start(Work *work) {
        Napi::Promise promise = work->deferred_.Promise();
        work->Queue();
        return promise;
    }

  protected:
    virtual std::optional<Failure> run() = 0;
    virtual Napi::Value result(Napi::Env env) {
        return env.Undefined();
    }
    // Called with the error before it is thrown, to add to it.
    virtual void describe(Napi::Object) {}

  private:
    void Execute() final {
        failure_ = run();
    }
    void OnOK() final {
        Napi::Env env = Env();
        if (!Addon::of(env).may_call_javascript())
            return;
        if (!failure_) {
            deferred_.Resolve(result(env));
            return;
        }
        Napi::Value error = to_error(env, *failure_);
        describe(error.As<Napi::Object>());
        deferred_.Reject(error);
    }

    Napi::Promise::Deferred deferred_;
    std::optional<Failure> failure_;
};

} // namespace podwright
