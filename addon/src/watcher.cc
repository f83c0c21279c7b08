// SPDX-License-Identifier: Apache-2.0
#include "watcher.h"

namespace shunt {

Napi::Value Watcher::Start(Napi::Env env, Poll* poll, int fd) {
  int status = poll->Start(fd, UV_READABLE);
  if (status < 0) return Status(env, status);
  Napi::Value object = Handle<Watcher>::Wrap(env, std::unique_ptr<Watcher>(new Watcher(poll)));
  if (!object.IsEmpty()) poll->KeepAlive(object.As<Napi::Object>());
  return object;
}

std::vector<napi_property_descriptor> Watcher::Properties() {
  using H = Handle<Watcher>;
  return {H::Method<&Watcher::Ref>("ref"), H::Method<&Watcher::Unref>("unref")};
}

Napi::Value Watcher::Ref(const Napi::CallbackInfo& info) {
  poll_->SetReferenced(true);
  return info.Env().Undefined();
}

Napi::Value Watcher::Unref(const Napi::CallbackInfo& info) {
  poll_->SetReferenced(false);
  return info.Env().Undefined();
}

}  // namespace shunt
