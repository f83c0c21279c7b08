// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_MAP_H_
#define SHUNT_MAP_H_

#include <linux/bpf.h>

#include <memory>
#include <vector>

#include "handle.h"
#include "owned-fd.h"

namespace shunt {

/** One BPF map by its descriptor. Keys and values are bytes; for per-CPU maps a value is all CPUs' values. */
class Map {
 public:
  static constexpr Class kClass = Class::kMap;
  static constexpr const char* kName = "Map";
  static std::vector<napi_property_descriptor> Properties();

  /** Takes `fd`; a JavaScript Map, or −errno when it is none. Negative `fd` is passed on as the status. */
  static Napi::Value FromFd(Napi::Env env, int fd);

  bool closed() const { return !fd_.valid(); }
  void Close() { fd_.Reset(); }
  int fd() const { return fd_.get(); }

 private:
  Map(OwnedFd fd, const bpf_map_info& info);

  Napi::Value GetFd(const Napi::CallbackInfo& info);
  Napi::Value Info(const Napi::CallbackInfo& info);
  Napi::Value Lookup(const Napi::CallbackInfo& info);
  Napi::Value Update(const Napi::CallbackInfo& info);
  Napi::Value Delete(const Napi::CallbackInfo& info);
  Napi::Value LookupAndDelete(const Napi::CallbackInfo& info);
  Napi::Value NextKey(const Napi::CallbackInfo& info);
  Napi::Value LookupBatch(const Napi::CallbackInfo& info);
  Napi::Value UpdateBatch(const Napi::CallbackInfo& info);
  Napi::Value DeleteBatch(const Napi::CallbackInfo& info);
  Napi::Value Pin(const Napi::CallbackInfo& info);

  /** The kernel wants no key at all from queues and stacks. */
  const void* KeyPointer(Bytes key) const { return key_size_ == 0 ? nullptr : key.data(); }

  OwnedFd fd_;
  size_t key_size_;
  /** As seen from user space: rounded up to 8 and times the possible CPUs for per-CPU maps. */
  size_t value_size_;
  std::vector<uint8_t> scratch_;
};

int PossibleCpus();

void DefineMapFunctions(Napi::Env env, Napi::Object exports);

}  // namespace shunt
#endif  // SHUNT_MAP_H_
