// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_ADDRESSES_H_
#define SHUNT_ADDRESSES_H_

#include <napi.h>

namespace shunt {

/** interfaceAddresses. */
void DefineAddressFunctions(Napi::Env env, Napi::Object exports);
/** watchAddresses and changeAddress, by rtnetlink. */
void DefineNetlinkFunctions(Napi::Env env, Napi::Object exports);

}  // namespace shunt
#endif  // SHUNT_ADDRESSES_H_
