// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_SOCKET_H_
#define SHUNT_SOCKET_H_

#include <napi.h>

namespace shunt {

/** listen, bindSocket and the questions one can ask a socket. */
void DefineSocketFunctions(Napi::Env env, Napi::Object exports);
/** connectSocket. */
void DefineConnectFunctions(Napi::Env env, Napi::Object exports);
/** sendFds and receiveFds. */
void DefineUnixFdFunctions(Napi::Env env, Napi::Object exports);

}  // namespace shunt
#endif  // SHUNT_SOCKET_H_
