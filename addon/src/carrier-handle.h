// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_CARRIER_HANDLE_H_
#define SHUNT_CARRIER_HANDLE_H_

#include <napi.h>

namespace shunt {

void DefineCarrierFunctions(Napi::Env env, Napi::Object exports);

}  // namespace shunt
#endif  // SHUNT_CARRIER_HANDLE_H_
