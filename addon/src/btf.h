// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_BTF_H_
#define SHUNT_BTF_H_

#include <napi.h>

struct btf;

namespace shunt {

/** Every type of a BTF section as plain objects; an empty array for no section. */
Napi::Value DescribeBtf(Napi::Env env, const btf* section);

}  // namespace shunt
#endif  // SHUNT_BTF_H_
