// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_ENVIRONMENT_H_
#define SHUNT_ENVIRONMENT_H_

#include <napi.h>
#include <uv.h>

#include <array>
#include <initializer_list>
#include <unordered_set>

namespace shunt {

class Poll;

/** The JavaScript classes of this addon; the index of their constructors in an Environment. */
enum class Class { kObject, kMap, kProgram, kLink, kWatcher, kConnect, kCarrier, kCount };

/**
 * Everything that belongs to one environment (the main thread, one worker, or one of two copies loaded):
 * kept as Node-API instance data, freed with it. There is no other state in this addon but libbpf's log.
 */
class Environment {
 public:
  explicit Environment(napi_env env);
  ~Environment();
  static Environment& Of(napi_env env);

  napi_env env() const { return env_; }
  uv_loop_t* loop() const { return loop_; }
  Napi::FunctionReference& constructor(Class c) { return constructors_[static_cast<size_t>(c)]; }

  void Add(Poll* poll) { polls_.insert(poll); }
  void Remove(Poll* poll);

  /** The native object that Handle::Wrap() is making a JavaScript object for. */
  void* constructing = nullptr;

 private:
  static void OnCleanup(napi_async_cleanup_hook_handle handle, void* self);
  void FinishCleanup();

  friend class CallScope;

  napi_env env_;
  uv_loop_t* loop_ = nullptr;
  napi_async_context context_ = nullptr;
  napi_async_cleanup_hook_handle hook_ = nullptr;
  bool ending_ = false;
  std::array<Napi::FunctionReference, static_cast<size_t>(Class::kCount)> constructors_;
  std::unordered_set<Poll*> polls_;
};

/** Calls from libuv's loop into JavaScript; ticks and microtasks run when the scope ends. */
class CallScope {
 public:
  explicit CallScope(Environment& environment);
  ~CallScope();
  CallScope(const CallScope&) = delete;
  /** An exception of the callee becomes 'uncaughtException', as for every callback of Node. */
  void Call(const Napi::FunctionReference& callee, std::initializer_list<napi_value> arguments);

 private:
  Environment& environment_;
  Napi::HandleScope handles_;
  napi_callback_scope scope_ = nullptr;
};

}  // namespace shunt
#endif  // SHUNT_ENVIRONMENT_H_
