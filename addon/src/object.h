// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_OBJECT_H_
#define SHUNT_OBJECT_H_

#include <vector>

#include "handle.h"

struct bpf_object;

namespace shunt {

/** A parsed object file; after Load() also the owner of its maps and programs until it is closed. */
class Object {
 public:
  static constexpr Class kClass = Class::kObject;
  static constexpr const char* kName = "Object";
  static std::vector<napi_property_descriptor> Properties();
  static Napi::Value Open(const Napi::CallbackInfo& info);

  ~Object() { Close(); }
  bool closed() const { return object_ == nullptr; }
  void Close();

 private:
  explicit Object(bpf_object* object) : object_(object) {}

  Napi::Value Maps(const Napi::CallbackInfo& info);
  Napi::Value Programs(const Napi::CallbackInfo& info);
  Napi::Value Btf(const Napi::CallbackInfo& info);
  Napi::Value SetAutoload(const Napi::CallbackInfo& info);
  Napi::Value SetAutocreate(const Napi::CallbackInfo& info);
  Napi::Value SetMaxEntries(const Napi::CallbackInfo& info);
  Napi::Value ReuseMap(const Napi::CallbackInfo& info);
  Napi::Value Load(const Napi::CallbackInfo& info);
  Napi::Value GetMap(const Napi::CallbackInfo& info);
  Napi::Value GetProgram(const Napi::CallbackInfo& info);

  bpf_object* object_;
};

void DefineObjectFunctions(Napi::Env env, Napi::Object exports);

}  // namespace shunt
#endif  // SHUNT_OBJECT_H_
