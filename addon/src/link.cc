// SPDX-License-Identifier: Apache-2.0
#include "link.h"

#include <bpf/bpf.h>

#include "bpf-fd.h"
#include "program.h"

namespace shunt {
namespace {

/** BPF_LINK_TYPE_SOCKMAP and its part of bpf_link_info, from kernel 6.10's include/uapi/linux/bpf.h. */
constexpr uint32_t kSockmapLink = 14;
struct SockmapLinkInfo {
  uint32_t map_id;
  uint32_t attach_type;
};

Napi::Value OpenPinnedLink(const Napi::CallbackInfo& info) {
  Args args(info);
  std::string path = args.Text(0, "path");
  if (!args.ok()) return {};
  return Link::FromFd(info.Env(), bpf_obj_get(path.c_str()));
}

}  // namespace

Napi::Value Link::FromFd(Napi::Env env, int fd) {
  if (fd < 0) return Status(env, fd);
  OwnedFd owned(fd);
  int status = CheckKind(fd, kLinkInode);
  if (status < 0) return Status(env, status);
  return Handle<Link>::Wrap(env, std::unique_ptr<Link>(new Link(std::move(owned))));
}

std::vector<napi_property_descriptor> Link::Properties() {
  using H = Handle<Link>;
  return {H::Getter<&Link::GetFd>("fd"), H::Method<&Link::Info>("info"), H::Method<&Link::Update>("update"),
          H::Method<&Link::Detach>("detach"), H::Method<&Link::Pin>("pin")};
}

Napi::Value Link::GetFd(const Napi::CallbackInfo& info) { return Status(info.Env(), fd()); }

Napi::Value Link::Info(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  bpf_link_info link;
  int status = GetInfo(fd(), &link);
  if (status < 0) return Status(env, status);
  Napi::Object result = Napi::Object::New(env);
  result.Set("id", link.id);
  result.Set("type", link.type);
  result.Set("programId", link.prog_id);
  if (link.type == BPF_LINK_TYPE_CGROUP) {
    result.Set("cgroupId", Napi::BigInt::New(env, static_cast<uint64_t>(link.cgroup.cgroup_id)));
    result.Set("attachType", link.cgroup.attach_type);
  } else if (link.type == BPF_LINK_TYPE_NETNS) {
    result.Set("netnsInode", link.netns.netns_ino);
    result.Set("attachType", link.netns.attach_type);
  } else if (link.type == kSockmapLink) {
    SockmapLinkInfo sockmap;
    std::memcpy(&sockmap, &link.cgroup, sizeof(sockmap));
    result.Set("mapId", sockmap.map_id);
    result.Set("attachType", sockmap.attach_type);
  }
  return result;
}

Napi::Value Link::Update(const Napi::CallbackInfo& info) {
  Args args(info);
  Program* program = args.Native<Program>(0, "program");
  if (!args.ok()) return {};
  return Status(info.Env(), bpf_link_update(fd(), program->fd(), nullptr));
}

Napi::Value Link::Detach(const Napi::CallbackInfo& info) { return Status(info.Env(), bpf_link_detach(fd())); }

Napi::Value Link::Pin(const Napi::CallbackInfo& info) {
  Args args(info);
  std::string path = args.Text(0, "path");
  if (!args.ok()) return {};
  return Status(info.Env(), bpf_obj_pin(fd(), path.c_str()));
}

void DefineLinkFunctions(Napi::Env env, Napi::Object exports) {
  Handle<Link>::Define(env);
  exports.Set("openPinnedLink", Napi::Function::New<OpenPinnedLink>(env, "openPinnedLink"));
}

}  // namespace shunt
