// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_PROGRAM_H_
#define SHUNT_PROGRAM_H_

#include <vector>

#include "handle.h"
#include "owned-fd.h"

namespace shunt {

/** One loaded BPF program by its descriptor. */
class Program {
 public:
  static constexpr Class kClass = Class::kProgram;
  static constexpr const char* kName = "Program";
  static std::vector<napi_property_descriptor> Properties();

  /** Takes `fd`; a JavaScript Program, or −errno when it is none. Negative `fd` is passed on as the status. */
  static Napi::Value FromFd(Napi::Env env, int fd);

  bool closed() const { return !fd_.valid(); }
  void Close() { fd_.Reset(); }
  int fd() const { return fd_.get(); }

 private:
  explicit Program(OwnedFd fd) : fd_(std::move(fd)) {}

  Napi::Value GetFd(const Napi::CallbackInfo& info);
  Napi::Value Info(const Napi::CallbackInfo& info);
  Napi::Value CreateLink(const Napi::CallbackInfo& info);
  Napi::Value Attach(const Napi::CallbackInfo& info);
  Napi::Value Detach(const Napi::CallbackInfo& info);
  Napi::Value TestRun(const Napi::CallbackInfo& info);
  Napi::Value Pin(const Napi::CallbackInfo& info);

  OwnedFd fd_;
};

void DefineProgramFunctions(Napi::Env env, Napi::Object exports);
/** queryPrograms and loadProgram. */
void DefineQueryFunctions(Napi::Env env, Napi::Object exports);

}  // namespace shunt
#endif  // SHUNT_PROGRAM_H_
