// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_FILES_H_
#define SHUNT_FILES_H_

#include <napi.h>

namespace shunt {

/** duplicate, duplicateFrom, openInNetns, closeFd, lockFile, mount and unmount. */
void DefineFileFunctions(Napi::Env env, Napi::Object exports);

}  // namespace shunt
#endif  // SHUNT_FILES_H_
