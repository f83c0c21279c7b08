// SPDX-License-Identifier: Apache-2.0
#include "btf.h"

#include <bpf/btf.h>

#include <iterator>

namespace shunt {
namespace {

constexpr const char* kKinds[] = {"UNKN", "INT",     "PTR",      "ARRAY",    "STRUCT",   "UNION", "ENUM",
                                  "FWD",  "TYPEDEF", "VOLATILE", "CONST",    "RESTRICT", "FUNC",  "FUNC_PROTO",
                                  "VAR",  "DATASEC", "FLOAT",    "DECL_TAG", "TYPE_TAG", "ENUM64"};

class Description {
 public:
  Description(Napi::Env env, const btf* section, const btf_type* type) : env_(env), section_(section), type_(type) {}

  Napi::Object Describe(uint32_t id) {
    uint16_t kind = btf_kind(type_);
    result_ = Napi::Object::New(env_);
    result_.Set("id", id);
    result_.Set("kind", kind < std::size(kKinds) ? kKinds[kind] : "UNKN");
    result_.Set("name", Name(type_->name_off));
    switch (kind) {
      case BTF_KIND_INT:
        result_.Set("signed", Napi::Boolean::New(env_, (btf_int_encoding(type_) & BTF_INT_SIGNED) != 0));
        [[fallthrough]];
      case BTF_KIND_FLOAT:
        result_.Set("size", type_->size);
        break;
      case BTF_KIND_STRUCT:
      case BTF_KIND_UNION:
        result_.Set("size", type_->size);
        result_.Set("members", Members());
        break;
      case BTF_KIND_ENUM:
      case BTF_KIND_ENUM64:
        result_.Set("size", type_->size);
        result_.Set("signed", Napi::Boolean::New(env_, btf_kflag(type_)));
        result_.Set("values", kind == BTF_KIND_ENUM ? Values() : Values64());
        break;
      case BTF_KIND_ARRAY:
        result_.Set("typeId", btf_array(type_)->type);
        result_.Set("length", btf_array(type_)->nelems);
        break;
      case BTF_KIND_DATASEC:
        result_.Set("size", type_->size);
        result_.Set("members", Variables());
        break;
      case BTF_KIND_FUNC_PROTO:
        result_.Set("members", Parameters());
        [[fallthrough]];
      case BTF_KIND_PTR:
      case BTF_KIND_TYPEDEF:
      case BTF_KIND_VOLATILE:
      case BTF_KIND_CONST:
      case BTF_KIND_RESTRICT:
      case BTF_KIND_FUNC:
      case BTF_KIND_VAR:
      case BTF_KIND_DECL_TAG:
      case BTF_KIND_TYPE_TAG:
        result_.Set("typeId", type_->type);
        break;
      default:
        break;
    }
    return result_;
  }

 private:
  const char* Name(uint32_t offset) const {
    const char* name = btf__name_by_offset(section_, offset);
    return name == nullptr ? "" : name;
  }

  Napi::Object Member(const char* name, uint32_t type_id, uint32_t bit_offset, uint32_t bit_size) {
    Napi::Object member = Napi::Object::New(env_);
    member.Set("name", name);
    member.Set("typeId", type_id);
    member.Set("bitOffset", bit_offset);
    member.Set("bitSize", bit_size);
    return member;
  }

  Napi::Array Members() {
    uint16_t count = btf_vlen(type_);
    Napi::Array members = Napi::Array::New(env_, count);
    for (uint16_t i = 0; i < count; i++) {
      const btf_member& member = btf_members(type_)[i];
      members.Set(i, Member(Name(member.name_off), member.type, btf_member_bit_offset(type_, i),
                            btf_member_bitfield_size(type_, i)));
    }
    return members;
  }

  Napi::Array Variables() {
    uint16_t count = btf_vlen(type_);
    Napi::Array members = Napi::Array::New(env_, count);
    for (uint16_t i = 0; i < count; i++) {
      const btf_var_secinfo& variable = btf_var_secinfos(type_)[i];
      const btf_type* type = btf__type_by_id(section_, variable.type);
      members.Set(i, Member(type == nullptr ? "" : Name(type->name_off), variable.type, variable.offset * 8, 0));
    }
    return members;
  }

  Napi::Array Parameters() {
    uint16_t count = btf_vlen(type_);
    Napi::Array members = Napi::Array::New(env_, count);
    for (uint16_t i = 0; i < count; i++) {
      const btf_param& parameter = btf_params(type_)[i];
      members.Set(i, Member(Name(parameter.name_off), parameter.type, 0, 0));
    }
    return members;
  }

  Napi::Object Value(const char* name, double number) {
    Napi::Object value = Napi::Object::New(env_);
    value.Set("name", name);
    value.Set("value", number);
    return value;
  }

  Napi::Array Values() {
    Napi::Array values = Napi::Array::New(env_, btf_vlen(type_));
    for (uint16_t i = 0; i < btf_vlen(type_); i++) {
      const struct btf_enum& entry = btf_enum(type_)[i];
      // An unsigned enumeration keeps its bits in the same signed field.
      double number = btf_kflag(type_) || entry.val >= 0 ? entry.val : static_cast<uint32_t>(entry.val);
      values.Set(i, Value(Name(entry.name_off), number));
    }
    return values;
  }

  Napi::Array Values64() {
    Napi::Array values = Napi::Array::New(env_, btf_vlen(type_));
    for (uint16_t i = 0; i < btf_vlen(type_); i++) {
      const struct btf_enum64& entry = btf_enum64(type_)[i];
      uint64_t bits = btf_enum64_value(&entry);
      double number = btf_kflag(type_) ? static_cast<double>(static_cast<int64_t>(bits)) : static_cast<double>(bits);
      values.Set(i, Value(Name(entry.name_off), number));
    }
    return values;
  }

  Napi::Env env_;
  const btf* section_;
  const btf_type* type_;
  Napi::Object result_;
};

}  // namespace

Napi::Value DescribeBtf(Napi::Env env, const btf* section) {
  uint32_t count = section == nullptr ? 1 : btf__type_cnt(section);
  Napi::Array types = Napi::Array::New(env, count - 1);
  // Id 0 is void and not in the section.
  for (uint32_t id = 1; id < count; id++) {
    Napi::HandleScope scope(env);
    types.Set(id - 1, Description(env, section, btf__type_by_id(section, id)).Describe(id));
  }
  return types;
}

}  // namespace shunt
