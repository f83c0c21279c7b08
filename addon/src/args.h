// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_ARGS_H_
#define SHUNT_ARGS_H_

#include <napi.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace shunt {

using Bytes = std::span<uint8_t>;

/**
 * Reads the arguments of a call, or the fields of its options object. The first wrong one throws a
 * TypeError that names it; the reads after that answer a default, so that a function reads them all and
 * then asks ok() once.
 */
class Args {
 public:
  explicit Args(const Napi::CallbackInfo& info) : info_(info), env_(info.Env()) {}

  bool ok() const { return ok_; }
  Napi::Env env() const { return env_; }

  int Fd(size_t index, const char* name) { return ToFd(At(index), name); }
  std::optional<int> OptionalFd(size_t index, const char* name);
  uint32_t Unsigned(size_t index, const char* name, uint32_t fallback);
  uint32_t Unsigned(size_t index, const char* name) { return ToUnsigned(At(index), name); }
  int32_t Signed(size_t index, const char* name);
  bool Boolean(size_t index, const char* name) { return ToBoolean(At(index), name); }
  std::string Text(size_t index, const char* name) { return ToText(At(index), name); }
  /** A leading null character names an abstract unix socket. */
  std::string SocketPath(size_t index, const char* name);
  Bytes Data(size_t index, const char* name) { return ToBytes(At(index), name); }
  /** undefined and null read as absent. */
  std::optional<Bytes> OptionalData(size_t index, const char* name);
  /** Exactly `size` bytes. */
  Bytes Data(size_t index, const char* name, size_t size);
  std::vector<int> Fds(size_t index, const char* name);
  Napi::Function Function(size_t index, const char* name);
  /** The native handle T of a wrapped, open object. */
  template <typename T>
  T* Native(size_t index, const char* name);

  /** Chooses the options object that the Field functions read. */
  void Options(size_t index, const char* name);
  std::string FieldText(const char* name) { return ToText(Field(name), name); }
  std::optional<std::string> FieldOptionalText(const char* name);
  uint32_t FieldUnsigned(const char* name) { return ToUnsigned(Field(name), name); }
  uint32_t FieldUnsigned(const char* name, uint32_t fallback);
  std::optional<uint32_t> FieldOptionalUnsigned(const char* name);
  std::optional<int> FieldOptionalFd(const char* name);
  bool FieldBoolean(const char* name) { return FieldOptionalBoolean(name).value_or(false); }
  std::optional<bool> FieldOptionalBoolean(const char* name);
  Bytes FieldBytes(const char* name) { return ToBytes(Field(name), name); }
  std::optional<Bytes> FieldOptionalBytes(const char* name);
  uint16_t FieldPort(const char* name) { return ToPort(Field(name), name); }
  uint16_t Port(size_t index, const char* name) { return ToPort(At(index), name); }

  void Fail(const std::string& name, const std::string& expected);

 private:
  Napi::Value At(size_t index) const { return info_[index]; }
  Napi::Value Field(const char* name);
  std::optional<double> ToInteger(Napi::Value value, const char* name, double min, double max);
  int ToFd(Napi::Value value, const char* name);
  uint32_t ToUnsigned(Napi::Value value, const char* name);
  uint16_t ToPort(Napi::Value value, const char* name);
  bool ToBoolean(Napi::Value value, const char* name);
  std::string ToText(Napi::Value value, const char* name);
  Bytes ToBytes(Napi::Value value, const char* name);

  const Napi::CallbackInfo& info_;
  Napi::Env env_;
  Napi::Object options_;
  bool ok_ = true;
};

inline Napi::Value Status(Napi::Env env, int64_t status) { return Napi::Number::New(env, static_cast<double>(status)); }

/** Bytes of JavaScript's own, copied from native memory. */
Napi::Value CopyBytes(Napi::Env env, const void* data, size_t size);

}  // namespace shunt
#endif  // SHUNT_ARGS_H_
