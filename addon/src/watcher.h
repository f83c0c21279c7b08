// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_WATCHER_H_
#define SHUNT_WATCHER_H_

#include <vector>

#include "handle.h"
#include "poll.h"

namespace shunt {

/**
 * The JavaScript face of a Poll that runs until closed. While open it is kept from the garbage
 * collector, like any server or timer of Node: events must not stop because nobody kept the object.
 */
class Watcher {
 public:
  static constexpr Class kClass = Class::kWatcher;
  static constexpr const char* kName = "Watcher";
  static std::vector<napi_property_descriptor> Properties();

  /** Starts `poll` and wraps it; −errno (the poll is gone then) when libuv refuses the descriptor. */
  static Napi::Value Start(Napi::Env env, Poll* poll, int fd);

  ~Watcher() { Close(); }
  bool closed() const { return poll_ == nullptr; }
  void Close() {
    if (poll_ != nullptr) poll_->Close();
  }

 private:
  explicit Watcher(Poll* poll) : poll_(poll) { poll_->SetSlot(&poll_); }

  Napi::Value Ref(const Napi::CallbackInfo& info);
  Napi::Value Unref(const Napi::CallbackInfo& info);

  Poll* poll_;
};

}  // namespace shunt
#endif  // SHUNT_WATCHER_H_
