// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_HANGUPS_H_
#define SHUNT_HANGUPS_H_

#include <napi.h>

namespace shunt {

/** createEpoll, watchHangup and hangups. */
void DefineHangupFunctions(Napi::Env env, Napi::Object exports);

}  // namespace shunt
#endif  // SHUNT_HANGUPS_H_
