// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_POLL_H_
#define SHUNT_POLL_H_

#include "environment.h"

namespace shunt {

/**
 * Waits for a descriptor in libuv's loop. Lives on the heap: made with `new`, deletes itself after
 * Close() or when Start() fails. Closing is safe inside OnReady and more than once.
 */
class Poll {
 public:
  explicit Poll(Environment& environment) : environment_(environment) {}
  Poll(const Poll&) = delete;

  /** 0, or −errno: then this object no longer exists. */
  int Start(int fd, int events);
  void Close();
  /** Close() because the environment ends, and nobody is left who could look after the descriptor. */
  void CloseAtTeardown();
  void SetReferenced(bool referenced);
  /** `*slot` points to this object and is set to null when it closes for whatever reason. */
  void SetSlot(Poll** slot) { slot_ = slot; }
  /** Keeps a JavaScript object from the garbage collector until this closes. */
  void KeepAlive(Napi::Object object) { kept_ = Napi::Persistent(object); }

 protected:
  virtual ~Poll() = default;
  virtual void OnReady(int status) = 0;
  /** Called once, before the object goes: release descriptors and references here. */
  virtual void OnClose() = 0;
  /** Called after OnClose when the environment ended first: release what a script would have released. */
  virtual void OnTeardown() {}

  /** Starts again after libuv stopped the handle because of POLLERR. */
  void Restart();
  bool closing() const { return closing_; }
  Environment& environment() const { return environment_; }

 private:
  Environment& environment_;
  uv_poll_t handle_{};
  Poll** slot_ = nullptr;
  Napi::ObjectReference kept_;
  int events_ = 0;
  bool closing_ = false;

  static void OnPoll(uv_poll_t* handle, int status, int events);
};

}  // namespace shunt
#endif  // SHUNT_POLL_H_
