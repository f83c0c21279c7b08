// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_LINK_H_
#define SHUNT_LINK_H_

#include <vector>

#include "handle.h"
#include "owned-fd.h"

namespace shunt {

/** One bpf_link; unless pinned, the attachment ends with the last descriptor. */
class Link {
 public:
  static constexpr Class kClass = Class::kLink;
  static constexpr const char* kName = "Link";
  static std::vector<napi_property_descriptor> Properties();

  /** Takes `fd`; a JavaScript Link, or −errno when it is none. Negative `fd` is passed on as the status. */
  static Napi::Value FromFd(Napi::Env env, int fd);

  bool closed() const { return !fd_.valid(); }
  void Close() { fd_.Reset(); }
  int fd() const { return fd_.get(); }

 private:
  explicit Link(OwnedFd fd) : fd_(std::move(fd)) {}

  Napi::Value GetFd(const Napi::CallbackInfo& info);
  Napi::Value Info(const Napi::CallbackInfo& info);
  Napi::Value Update(const Napi::CallbackInfo& info);
  Napi::Value Detach(const Napi::CallbackInfo& info);
  Napi::Value Pin(const Napi::CallbackInfo& info);

  OwnedFd fd_;
};

void DefineLinkFunctions(Napi::Env env, Napi::Object exports);

}  // namespace shunt
#endif  // SHUNT_LINK_H_
