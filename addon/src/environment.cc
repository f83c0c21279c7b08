// SPDX-License-Identifier: Apache-2.0
#include "environment.h"

#include "poll.h"

namespace shunt {

Environment::Environment(napi_env env) : env_(env) {
  napi_get_uv_event_loop(env, &loop_);
  napi_async_init(env, nullptr, Napi::String::New(env, "SHUNT"), &context_);
  // Asynchronous, because a uv handle is only gone after its close callback; a synchronous hook would
  // let a worker's loop be freed with our handles still on it.
  napi_add_async_cleanup_hook(env, OnCleanup, this, &hook_);
}

Environment::~Environment() = default;

Environment& Environment::Of(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return *static_cast<Environment*>(data);
}

void Environment::Remove(Poll* poll) {
  polls_.erase(poll);
  if (ending_ && polls_.empty()) FinishCleanup();
}

void Environment::OnCleanup(napi_async_cleanup_hook_handle, void* self) {
  auto* environment = static_cast<Environment*>(self);
  environment->ending_ = true;
  if (environment->polls_.empty()) return environment->FinishCleanup();
  auto open = environment->polls_;
  for (Poll* poll : open) poll->CloseAtTeardown();
}

void Environment::FinishCleanup() {
  napi_async_destroy(env_, context_);
  // The hook keeps the environment, and with it this object, alive until here.
  napi_remove_async_cleanup_hook(hook_);
}

CallScope::CallScope(Environment& environment) : environment_(environment), handles_(environment.env_) {
  Napi::Object resource = Napi::Object::New(environment.env_);
  napi_open_callback_scope(environment.env_, resource, environment.context_, &scope_);
}

CallScope::~CallScope() {
  if (scope_ != nullptr) napi_close_callback_scope(environment_.env_, scope_);
}

void CallScope::Call(const Napi::FunctionReference& callee, std::initializer_list<napi_value> arguments) {
  napi_env env = environment_.env_;
  napi_value receiver = nullptr;
  napi_get_undefined(env, &receiver);
  napi_call_function(env, receiver, callee.Value(), arguments.size(), arguments.begin(), nullptr);
  // Not node-addon-api's rethrow: it aborts when the exception is not an object.
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) != napi_ok || !pending) return;
  napi_value exception = nullptr;
  if (napi_get_and_clear_last_exception(env, &exception) == napi_ok) napi_fatal_exception(env, exception);
}

}  // namespace shunt
