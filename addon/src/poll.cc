// SPDX-License-Identifier: Apache-2.0
#include "poll.h"

namespace shunt {

// libuv's error numbers are negative errno values on Linux.
int Poll::Start(int fd, int events) {
  events_ = events;
  int status = uv_poll_init(environment_.loop(), &handle_, fd);
  if (status < 0) {
    OnClose();
    delete this;
    return status;
  }
  handle_.data = this;
  environment_.Add(this);
  status = uv_poll_start(&handle_, events, OnPoll);
  if (status < 0) Close();
  return status;
}

void Poll::Restart() { uv_poll_start(&handle_, events_, OnPoll); }

void Poll::SetReferenced(bool referenced) {
  auto* handle = reinterpret_cast<uv_handle_t*>(&handle_);
  referenced ? uv_ref(handle) : uv_unref(handle);
}

void Poll::Close() {
  if (closing_) return;
  closing_ = true;
  if (slot_ != nullptr) *slot_ = nullptr;
  // Takes the descriptor out of the loop at once: it may be adopted or closed before the close callback.
  uv_poll_stop(&handle_);
  OnClose();
  kept_.Reset();
  uv_close(reinterpret_cast<uv_handle_t*>(&handle_), [](uv_handle_t* handle) {
    auto* poll = static_cast<Poll*>(handle->data);
    Environment& environment = poll->environment_;
    delete poll;
    environment.Remove(poll);
  });
}

void Poll::CloseAtTeardown() {
  // Closed before by a script, which then has had the descriptor back.
  if (closing_) return;
  Close();
  OnTeardown();
}

void Poll::OnPoll(uv_poll_t* handle, int status, int) { static_cast<Poll*>(handle->data)->OnReady(status); }

}  // namespace shunt
