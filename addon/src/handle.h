// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_HANDLE_H_
#define SHUNT_HANDLE_H_

#include <napi.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "args.h"
#include "environment.h"

namespace shunt {

/**
 * Ties a native object of type T to a JavaScript object that owns it. T has
 *   static constexpr Class kClass; static constexpr const char* kName;
 *   static std::vector<napi_property_descriptor> Properties();
 *   bool closed() const; void Close();
 * The JavaScript object carries a type tag, so that no method of one class ever sees another's memory,
 * and scripts cannot construct one: only Wrap() can.
 */
template <typename T>
class Handle {
 public:
  static void Define(Napi::Env env) {
    std::vector<napi_property_descriptor> properties = T::Properties();
    properties.push_back(CloseMethod("close"));
    properties.push_back({"closed", nullptr, nullptr, ClosedCallback, nullptr, nullptr, napi_default, nullptr});
    napi_value constructor = nullptr;
    napi_define_class(env, T::kName, NAPI_AUTO_LENGTH, Construct, nullptr, properties.size(), properties.data(),
                      &constructor);
    Environment::Of(env).constructor(T::kClass) = Napi::Persistent(Napi::Function(env, constructor));
  }

  static Napi::Value Wrap(Napi::Env env, std::unique_ptr<T> native) {
    Environment& environment = Environment::Of(env);
    environment.constructing = native.get();
    napi_value object = nullptr;
    napi_status status = napi_new_instance(env, environment.constructor(T::kClass).Value(), 0, nullptr, &object);
    environment.constructing = nullptr;
    if (status != napi_ok) return {};
    native.release();
    return Napi::Value(env, object);
  }

  /** Null, with a TypeError pending, when `value` is anything but a T of this addon. */
  static T* Unwrap(napi_env env, napi_value value) {
    napi_type_tag tag = Tag();
    bool tagged = false;
    void* native = nullptr;
    napi_valuetype type = napi_undefined;
    if (value != nullptr && napi_typeof(env, value, &type) == napi_ok && type == napi_object &&
        napi_check_object_type_tag(env, value, &tag, &tagged) == napi_ok && tagged &&
        napi_unwrap(env, value, &native) == napi_ok) {
      return static_cast<T*>(native);
    }
    napi_throw_type_error(env, nullptr, (std::string("not a ") + T::kName).c_str());
    return nullptr;
  }

  /** As Unwrap, and throws ERR_HANDLE_CLOSED when it is closed. */
  static T* UnwrapOpen(napi_env env, napi_value value) {
    T* native = Unwrap(env, value);
    if (native == nullptr || !native->closed()) return native;
    napi_throw_error(env, "ERR_HANDLE_CLOSED", (std::string(T::kName) + " is closed").c_str());
    return nullptr;
  }

  /** A method that closes; harmless when it is closed already. */
  static napi_property_descriptor CloseMethod(const char* name) {
    return {name, nullptr, CloseCallback, nullptr, nullptr, nullptr, napi_default_method, nullptr};
  }

  template <Napi::Value (T::*member)(const Napi::CallbackInfo&)>
  static napi_property_descriptor Method(const char* name) {
    return {name, nullptr, Invoke<member>, nullptr, nullptr, nullptr, napi_default_method, nullptr};
  }

  template <Napi::Value (T::*member)(const Napi::CallbackInfo&)>
  static napi_property_descriptor Getter(const char* name) {
    return {name, nullptr, nullptr, Invoke<member>, nullptr, nullptr, napi_default, nullptr};
  }

 private:
  /** By address, so that two loaded copies of the addon, perhaps of two versions, refuse each other's. */
  static napi_type_tag Tag() {
    static const char kHere = 0;
    return {reinterpret_cast<uintptr_t>(&kHere), static_cast<uint64_t>(T::kClass) + 1};
  }

  template <Napi::Value (T::*member)(const Napi::CallbackInfo&)>
  static napi_value Invoke(napi_env env, napi_callback_info raw) {
    Napi::CallbackInfo info(env, raw);
    T* native = UnwrapOpen(env, info.This());
    return native == nullptr ? napi_value(nullptr) : napi_value((native->*member)(info));
  }

  static napi_value CloseCallback(napi_env env, napi_callback_info raw) {
    Napi::CallbackInfo info(env, raw);
    T* native = Unwrap(env, info.This());
    if (native != nullptr) native->Close();
    return nullptr;
  }

  static napi_value ClosedCallback(napi_env env, napi_callback_info raw) {
    Napi::CallbackInfo info(env, raw);
    T* native = Unwrap(env, info.This());
    return native == nullptr ? napi_value(nullptr) : napi_value(Napi::Boolean::New(env, native->closed()));
  }

  static napi_value Construct(napi_env env, napi_callback_info raw) {
    Napi::CallbackInfo info(env, raw);
    auto* native = static_cast<T*>(std::exchange(Environment::Of(env).constructing, nullptr));
    if (native == nullptr) {
      napi_throw_type_error(env, nullptr, "illegal constructor");
      return nullptr;
    }
    napi_type_tag tag = Tag();
    napi_type_tag_object(env, info.This(), &tag);
    napi_wrap(
        env, info.This(), native, [](napi_env, void* data, void*) { delete static_cast<T*>(data); }, nullptr, nullptr);
    return info.This();
  }
};

template <typename T>
T* Args::Native(size_t index, const char*) {
  if (!ok_) return nullptr;
  T* native = Handle<T>::UnwrapOpen(env_, At(index));
  if (native == nullptr) ok_ = false;
  return native;
}

}  // namespace shunt
#endif  // SHUNT_HANDLE_H_
