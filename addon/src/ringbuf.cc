// SPDX-License-Identifier: Apache-2.0
#include "ringbuf.h"

#include <bpf/libbpf.h>

#include <bit>
#include <cerrno>
#include <cstring>

#include "libbpf-log.h"
#include "map.h"
#include "watcher.h"

namespace shunt {
namespace {

/** Records delivered in one turn of the loop; a busy producer must not keep the loop from everything else. */
constexpr int kMaxPerTurn = 1024;

/** Waits for libbpf's epoll descriptor of a ring buffer and hands its records to a function. */
class RingBufferPoll : public Poll {
 public:
  RingBufferPoll(Environment& environment, Napi::Function callback)
      : Poll(environment), callback_(Napi::Persistent(callback)) {}

  /** 0 or −errno; the map's descriptor is not needed afterwards. */
  int Open(int map_fd) {
    LibbpfLog log;
    ring_ = ring_buffer__new(map_fd, OnSample, this, nullptr);
    return ring_ == nullptr ? -errno : 0;
  }
  int fd() const { return ring_buffer__epoll_fd(ring_); }
  void Discard() { delete this; }

 private:
  void OnReady(int) override {
    CallScope scope(environment());
    scope_ = &scope;
    delivered_ = 0;
    ring_buffer__consume(ring_);
    scope_ = nullptr;
    if (closing()) Free();
  }

  void OnClose() override {
    // Inside a callback libbpf still walks the ring; OnReady frees it then.
    if (scope_ == nullptr) Free();
    callback_.Reset();
    buffer_.Reset();
  }

  void Free() {
    if (ring_ != nullptr) ring_buffer__free(std::exchange(ring_, nullptr));
  }

  static int OnSample(void* self, void* data, size_t size) {
    return static_cast<RingBufferPoll*>(self)->Deliver(data, size);
  }

  int Deliver(const void* data, size_t size) {
    Napi::Env env = environment().env();
    Napi::HandleScope handles(env);
    // One buffer for all records: they are small, and the ring's own pages are read-only.
    if (size > capacity_) {
      capacity_ = std::bit_ceil(std::max<size_t>(size, 256));
      Napi::ArrayBuffer fresh = Napi::ArrayBuffer::New(env, capacity_);
      // Nothing is made in a thread that is being terminated.
      if (fresh.IsEmpty()) return -ECANCELED;
      buffer_ = Napi::Persistent(fresh);
    }
    Napi::ArrayBuffer buffer = buffer_.Value();
    // The callee may have detached it by a transfer.
    if (buffer.ByteLength() < size) {
      capacity_ = 0;
      return Deliver(data, size);
    }
    std::memcpy(buffer.Data(), data, size);
    Napi::Uint8Array view = Napi::Uint8Array::New(env, size, buffer, 0);
    if (view.IsEmpty()) return -ECANCELED;
    scope_->Call(callback_, {view});
    // A negative result stops libbpf after this record, which counts as consumed; the descriptor stays
    // readable while there are more.
    return closing() || ++delivered_ == kMaxPerTurn ? -ECANCELED : 0;
  }

  Napi::FunctionReference callback_;
  Napi::Reference<Napi::ArrayBuffer> buffer_;
  size_t capacity_ = 0;
  ring_buffer* ring_ = nullptr;
  CallScope* scope_ = nullptr;
  int delivered_ = 0;
};

Napi::Value OpenRingBuffer(const Napi::CallbackInfo& info) {
  Args args(info);
  Map* map = args.Native<Map>(0, "map");
  Napi::Function callback = args.Function(1, "onRecord");
  if (!args.ok()) return {};
  auto* poll = new RingBufferPoll(Environment::Of(info.Env()), callback);
  int status = poll->Open(map->fd());
  if (status < 0) {
    poll->Discard();
    return Status(info.Env(), status);
  }
  return Watcher::Start(info.Env(), poll, poll->fd());
}

}  // namespace

void DefineRingBufferFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("ringBuffer", Napi::Function::New<OpenRingBuffer>(env, "ringBuffer"));
}

}  // namespace shunt
