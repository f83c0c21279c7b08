// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_RINGBUF_H_
#define SHUNT_RINGBUF_H_

#include <napi.h>

namespace shunt {

void DefineRingBufferFunctions(Napi::Env env, Napi::Object exports);

}  // namespace shunt
#endif  // SHUNT_RINGBUF_H_
