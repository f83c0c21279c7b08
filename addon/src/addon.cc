// SPDX-License-Identifier: Apache-2.0
#include <bpf/libbpf.h>
#include <napi.h>

#include <string>

#include "addresses.h"
#include "carrier-handle.h"
#include "environment.h"
#include "files.h"
#include "hangups.h"
#include "libbpf-log.h"
#include "link.h"
#include "map.h"
#include "netns.h"
#include "object.h"
#include "program.h"
#include "ringbuf.h"
#include "socket.h"
#include "watcher.h"

#if LIBBPF_MAJOR_VERSION < 1 || (LIBBPF_MAJOR_VERSION == 1 && LIBBPF_MINOR_VERSION < 1)
#error "shunt needs the headers of libbpf 1.1 or newer"
#endif

namespace {

std::string Version(uint32_t major, uint32_t minor) { return std::to_string(major) + "." + std::to_string(minor); }

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  // Exactly one per environment, also when the addon is loaded by several workers or from two paths.
  napi_set_instance_data(
      env, new shunt::Environment(env),
      [](napi_env, void* data, void*) { delete static_cast<shunt::Environment*>(data); }, nullptr);
  shunt::LibbpfLog::Silence();

  Napi::Object versions = Napi::Object::New(env);
  versions.Set("libbpf", Version(libbpf_major_version(), libbpf_minor_version()));
  versions.Set("libbpfBuilt", Version(LIBBPF_MAJOR_VERSION, LIBBPF_MINOR_VERSION));
  versions.Set("napi", NAPI_VERSION);
  exports.Set("versions", versions);

  shunt::DefineObjectFunctions(env, exports);
  shunt::DefineMapFunctions(env, exports);
  shunt::DefineProgramFunctions(env, exports);
  shunt::DefineQueryFunctions(env, exports);
  shunt::DefineLinkFunctions(env, exports);
  shunt::Handle<shunt::Watcher>::Define(env);
  shunt::DefineRingBufferFunctions(env, exports);
  shunt::DefineHangupFunctions(env, exports);
  shunt::DefineSocketFunctions(env, exports);
  shunt::DefineConnectFunctions(env, exports);
  shunt::DefineCarrierFunctions(env, exports);
  shunt::DefineUnixFdFunctions(env, exports);
  shunt::DefineAddressFunctions(env, exports);
  shunt::DefineNetlinkFunctions(env, exports);
  shunt::DefineNetnsFunctions(env, exports);
  shunt::DefineFileFunctions(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(shunt, Init)
