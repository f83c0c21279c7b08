// SPDX-License-Identifier: Apache-2.0
#include "args.h"

#include <climits>
#include <cmath>
#include <cstring>

namespace shunt {
namespace {

bool IsAbsent(Napi::Value value) { return value.IsEmpty() || value.IsUndefined() || value.IsNull(); }

}  // namespace

void Args::Fail(const std::string& name, const std::string& expected) {
  if (!ok_) return;
  ok_ = false;
  if (env_.IsExceptionPending()) return;
  Napi::TypeError::New(env_, name + " must be " + expected).ThrowAsJavaScriptException();
}

std::optional<double> Args::ToInteger(Napi::Value value, const char* name, double min, double max) {
  if (!ok_) return std::nullopt;
  if (!value.IsEmpty() && value.IsNumber()) {
    double number = value.As<Napi::Number>().DoubleValue();
    if (std::trunc(number) == number && number >= min && number <= max) return number;
  }
  Fail(name, "an integer from " + std::to_string(static_cast<int64_t>(min)) + " to " +
                 std::to_string(static_cast<int64_t>(max)));
  return std::nullopt;
}

int Args::ToFd(Napi::Value value, const char* name) {
  // −1 is let through: the kernel's EBADF says it best.
  return static_cast<int>(ToInteger(value, name, -1, INT_MAX).value_or(-1));
}

uint32_t Args::ToUnsigned(Napi::Value value, const char* name) {
  return static_cast<uint32_t>(ToInteger(value, name, 0, UINT32_MAX).value_or(0));
}

uint16_t Args::ToPort(Napi::Value value, const char* name) {
  return static_cast<uint16_t>(ToInteger(value, name, 0, UINT16_MAX).value_or(0));
}

bool Args::ToBoolean(Napi::Value value, const char* name) {
  if (!ok_) return false;
  if (!value.IsEmpty() && value.IsBoolean()) return value.As<Napi::Boolean>().Value();
  Fail(name, "a boolean");
  return false;
}

std::string Args::ToText(Napi::Value value, const char* name) {
  if (!ok_) return {};
  if (!value.IsEmpty() && value.IsString()) {
    std::string text = value.As<Napi::String>().Utf8Value();
    if (text.find('\0') == std::string::npos) return text;
  }
  Fail(name, "a string without null characters");
  return {};
}

std::string Args::SocketPath(size_t index, const char* name) {
  Napi::Value value = At(index);
  if (!ok_) return {};
  if (!value.IsEmpty() && value.IsString()) {
    std::string text = value.As<Napi::String>().Utf8Value();
    if (text.find('\0', 1) == std::string::npos) return text;
  }
  Fail(name, "a string without null characters but the first");
  return {};
}

Bytes Args::ToBytes(Napi::Value value, const char* name) {
  if (!ok_) return {};
  if (!value.IsEmpty() && value.IsTypedArray()) {
    napi_typedarray_type type;
    size_t length = 0;
    void* data = nullptr;
    napi_get_typedarray_info(env_, value, &type, &length, &data, nullptr, nullptr);
    if (type == napi_uint8_array) return {static_cast<uint8_t*>(data), length};
  }
  Fail(name, "a Uint8Array");
  return {};
}

std::optional<int> Args::OptionalFd(size_t index, const char* name) {
  if (IsAbsent(At(index))) return std::nullopt;
  return Fd(index, name);
}

uint32_t Args::Unsigned(size_t index, const char* name, uint32_t fallback) {
  return IsAbsent(At(index)) ? fallback : Unsigned(index, name);
}

int32_t Args::Signed(size_t index, const char* name) {
  return static_cast<int32_t>(ToInteger(At(index), name, INT32_MIN, INT32_MAX).value_or(0));
}

std::optional<Bytes> Args::OptionalData(size_t index, const char* name) {
  if (IsAbsent(At(index))) return std::nullopt;
  return Data(index, name);
}

Bytes Args::Data(size_t index, const char* name, size_t size) {
  Bytes bytes = Data(index, name);
  if (ok_ && bytes.size() != size) {
    Fail(name, std::to_string(size) + " bytes long, not " + std::to_string(bytes.size()));
  }
  return bytes;
}

std::vector<int> Args::Fds(size_t index, const char* name) {
  std::vector<int> fds;
  if (!ok_) return fds;
  Napi::Value value = At(index);
  if (!value.IsArray()) {
    Fail(name, "an array of descriptors");
    return fds;
  }
  Napi::Array array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length() && ok_; i++) fds.push_back(ToFd(array.Get(i), name));
  return fds;
}

Napi::Function Args::Function(size_t index, const char* name) {
  Napi::Value value = At(index);
  if (ok_ && !value.IsFunction()) Fail(name, "a function");
  return ok_ ? value.As<Napi::Function>() : Napi::Function();
}

void Args::Options(size_t index, const char* name) {
  if (!ok_) return;
  if (!At(index).IsObject()) return Fail(name, "an object");
  options_ = At(index).As<Napi::Object>();
}

Napi::Value Args::Field(const char* name) {
  if (!ok_) return {};
  Napi::Value value = options_.Get(name);
  // A getter of the caller's may have thrown.
  if (env_.IsExceptionPending()) ok_ = false;
  return value;
}

std::optional<std::string> Args::FieldOptionalText(const char* name) {
  Napi::Value value = Field(name);
  if (IsAbsent(value)) return std::nullopt;
  return ToText(value, name);
}

uint32_t Args::FieldUnsigned(const char* name, uint32_t fallback) {
  return FieldOptionalUnsigned(name).value_or(fallback);
}

std::optional<uint32_t> Args::FieldOptionalUnsigned(const char* name) {
  Napi::Value value = Field(name);
  if (IsAbsent(value)) return std::nullopt;
  return ToUnsigned(value, name);
}

std::optional<int> Args::FieldOptionalFd(const char* name) {
  Napi::Value value = Field(name);
  if (IsAbsent(value)) return std::nullopt;
  return ToFd(value, name);
}

std::optional<bool> Args::FieldOptionalBoolean(const char* name) {
  Napi::Value value = Field(name);
  if (IsAbsent(value)) return std::nullopt;
  return ToBoolean(value, name);
}

std::optional<Bytes> Args::FieldOptionalBytes(const char* name) {
  Napi::Value value = Field(name);
  if (IsAbsent(value)) return std::nullopt;
  return ToBytes(value, name);
}

Napi::Value CopyBytes(Napi::Env env, const void* data, size_t size) {
  Napi::Uint8Array bytes = Napi::Uint8Array::New(env, size);
  // Nothing is made in a thread that is being terminated.
  if (size > 0 && !bytes.IsEmpty()) std::memcpy(bytes.Data(), data, size);
  return bytes;
}

}  // namespace shunt
