// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_NETNS_H_
#define SHUNT_NETNS_H_

#include <napi.h>

#include <functional>
#include <optional>

namespace shunt {

/**
 * Runs `work` on this thread inside the network namespace of a descriptor and returns its status, or
 * −errno when the namespace cannot be entered. The thread is back in its own namespace afterwards; if
 * that ever fails the process is aborted, because everything it did next would happen in the wrong one.
 */
int InNetns(std::optional<int> netns, const std::function<int()>& work);

void DefineNetnsFunctions(Napi::Env env, Napi::Object exports);

}  // namespace shunt
#endif  // SHUNT_NETNS_H_
