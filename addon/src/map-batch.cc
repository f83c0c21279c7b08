// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>

#include "map.h"

namespace shunt {
namespace {

/** Bounds what one call may allocate; the kernel's own bound for a batch is INT_MAX bytes. */
constexpr uint64_t kMaxBatchBytes = 1 << 30;

}  // namespace

Napi::Value Map::LookupBatch(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Args args(info);
  // A hash map's cursor is a 32-bit bucket number, every other map's the last key.
  size_t cursor_size = std::max<size_t>(key_size_, sizeof(uint32_t));
  bool first = info[0].IsUndefined();
  Bytes cursor = first ? Bytes() : args.Data(0, "cursor", cursor_size);
  uint32_t count = args.Unsigned(1, "count");
  if (!args.ok()) return {};
  if (uint64_t{count} * (key_size_ + value_size_) > kMaxBatchBytes) return Status(env, -E2BIG);

  std::vector<uint8_t> keys(count * key_size_);
  std::vector<uint8_t> values(count * value_size_);
  scratch_.resize(cursor_size);
  LIBBPF_OPTS(bpf_map_batch_opts, options);
  int status = bpf_map_lookup_batch(fd(), first ? nullptr : cursor.data(), scratch_.data(), keys.data(), values.data(),
                                    &count, &options);
  // −ENOENT says that this batch is the last one; it may hold entries all the same.
  if (status < 0 && status != -ENOENT) return Status(env, status);
  Napi::Object result = Napi::Object::New(env);
  result.Set("keys", CopyBytes(env, keys.data(), count * key_size_));
  result.Set("values", CopyBytes(env, values.data(), count * value_size_));
  result.Set("count", count);
  result.Set("cursor", status < 0 ? env.Undefined() : CopyBytes(env, scratch_.data(), cursor_size));
  return result;
}

Napi::Value Map::UpdateBatch(const Napi::CallbackInfo& info) {
  Args args(info);
  uint32_t count = args.Unsigned(2, "count");
  Bytes keys = args.Data(0, "keys", count * key_size_);
  Bytes values = args.Data(1, "values", count * value_size_);
  LIBBPF_OPTS(bpf_map_batch_opts, options);
  options.elem_flags = args.Unsigned(3, "flags", 0);
  if (!args.ok()) return {};
  return Status(info.Env(), bpf_map_update_batch(fd(), keys.data(), values.data(), &count, &options));
}

Napi::Value Map::DeleteBatch(const Napi::CallbackInfo& info) {
  Args args(info);
  uint32_t count = args.Unsigned(1, "count");
  Bytes keys = args.Data(0, "keys", count * key_size_);
  LIBBPF_OPTS(bpf_map_batch_opts, options);
  if (!args.ok()) return {};
  return Status(info.Env(), bpf_map_delete_batch(fd(), keys.data(), &count, &options));
}

}  // namespace shunt
