// SPDX-License-Identifier: Apache-2.0
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <cerrno>
#include <cstring>

#include "addresses.h"
#include "args.h"
#include "netns.h"
#include "owned-fd.h"
#include "sockaddr.h"
#include "watcher.h"

namespace shunt {
namespace {

int OpenNetlink(uint32_t groups, int protocol = NETLINK_ROUTE) {
  OwnedFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd.valid()) return -errno;
  sockaddr_nl local = {};
  local.nl_family = AF_NETLINK;
  local.nl_groups = groups;
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&local), sizeof(local)) < 0) return -errno;
  return fd.Release();
}

struct alignas(NLMSG_ALIGNTO) AddressRequest {
  nlmsghdr header;
  ifaddrmsg address;
  char attributes[64];

  void Append(uint16_t type, const void* data, size_t size) {
    auto* attribute = reinterpret_cast<rtattr*>(reinterpret_cast<char*>(this) + NLMSG_ALIGN(header.nlmsg_len));
    attribute->rta_type = type;
    attribute->rta_len = RTA_LENGTH(size);
    std::memcpy(RTA_DATA(attribute), data, size);
    header.nlmsg_len = NLMSG_ALIGN(header.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
  }
};

/** Sends a request and returns the kernel's answer to it, which is already −errno. */
int Transact(AddressRequest& request) {
  OwnedFd fd(OpenNetlink(0));
  if (!fd.valid()) return -errno;
  if (send(fd.get(), &request, request.header.nlmsg_len, 0) < 0) return -errno;
  alignas(nlmsghdr) char buffer[1024];
  ssize_t length = recv(fd.get(), buffer, sizeof(buffer), 0);
  if (length < 0) return -errno;
  auto* header = reinterpret_cast<nlmsghdr*>(buffer);
  if (!NLMSG_OK(header, static_cast<uint32_t>(length)) || header->nlmsg_type != NLMSG_ERROR) return -EPROTO;
  return static_cast<nlmsgerr*>(NLMSG_DATA(header))->error;
}

Napi::Value ChangeAddress(const Napi::CallbackInfo& info) {
  Args args(info);
  std::optional<int> netns = args.OptionalFd(0, "netnsFd");
  bool add = args.Boolean(1, "add");
  std::string interface = args.Text(2, "interfaceName");
  std::string address = args.Text(3, "address");
  uint32_t prefix_length = args.Unsigned(4, "prefixLength");
  if (!args.ok()) return {};
  std::optional<SockAddr> parsed = SockAddr::Parse(address, 0);
  if (!parsed) return Status(info.Env(), -EINVAL);
  bool v6 = parsed->family() == AF_INET6;
  if (prefix_length > (v6 ? 128u : 32u)) return Status(info.Env(), -EINVAL);

  return Status(info.Env(), InNetns(netns, [&] {
                  uint32_t index = if_nametoindex(interface.c_str());
                  if (index == 0) return -ENODEV;
                  AddressRequest request = {};
                  request.header.nlmsg_len = NLMSG_LENGTH(sizeof(ifaddrmsg));
                  request.header.nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR;
                  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_EXCL : 0);
                  request.address.ifa_family = parsed->family();
                  request.address.ifa_prefixlen = prefix_length;
                  request.address.ifa_index = index;
                  // Without duplicate address detection it can be bound to at once.
                  request.address.ifa_flags = v6 ? IFA_F_NODAD : 0;
                  bool loopback = !v6 && (ntohl(parsed->v4.sin_addr.s_addr) >> 24) == 127;
                  request.address.ifa_scope = loopback ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
                  const void* bytes = v6 ? static_cast<const void*>(&parsed->v6.sin6_addr) : &parsed->v4.sin_addr;
                  size_t size = v6 ? sizeof(in6_addr) : sizeof(in_addr);
                  request.Append(IFA_LOCAL, bytes, size);
                  request.Append(IFA_ADDRESS, bytes, size);
                  return Transact(request);
                }));
}

/** A dump that changed while it was read is begun anew so often. */
constexpr int kMostTries = 5;

/** Appends every message of the answer, headers included. −EINTR: it changed meanwhile. */
int ReadDump(int fd, std::vector<uint8_t>& messages) {
  std::vector<uint8_t> buffer(64 << 10);
  bool changed = false;
  for (;;) {
    ssize_t length = recv(fd, buffer.data(), buffer.size(), 0);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return -errno;
    auto left = static_cast<uint32_t>(length);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      changed |= (header->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
      if (header->nlmsg_type == NLMSG_DONE) return changed ? -EINTR : 0;
      if (header->nlmsg_type == NLMSG_ERROR) return static_cast<nlmsgerr*>(NLMSG_DATA(header))->error;
      auto* bytes = reinterpret_cast<uint8_t*>(header);
      messages.insert(messages.end(), bytes, bytes + NLMSG_ALIGN(header->nlmsg_len));
    }
  }
}

int Dump(int fd, uint16_t type, Bytes body, std::vector<uint8_t>& messages) {
  std::vector<uint8_t> request(NLMSG_SPACE(body.size()));
  auto* header = reinterpret_cast<nlmsghdr*>(request.data());
  header->nlmsg_len = NLMSG_LENGTH(body.size());
  header->nlmsg_type = type;
  header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  std::memcpy(NLMSG_DATA(header), body.data(), body.size());
  int status = -EINTR;
  for (int tries = 0; status == -EINTR && tries < kMostTries; tries++) {
    messages.clear();
    if (send(fd, request.data(), header->nlmsg_len, 0) < 0) return -errno;
    status = ReadDump(fd, messages);
  }
  return status;
}

Napi::Value DumpNetlink(const Napi::CallbackInfo& info) {
  Args args(info);
  std::optional<int> netns = args.OptionalFd(0, "netnsFd");
  uint32_t protocol = args.Unsigned(1, "protocol");
  uint32_t type = args.Unsigned(2, "type");
  Bytes body = args.Data(3, "body");
  if (!args.ok()) return {};
  int fd = InNetns(netns, [protocol] { return OpenNetlink(0, static_cast<int>(protocol)); });
  if (fd < 0) return Status(info.Env(), fd);
  OwnedFd socket(fd);
  std::vector<uint8_t> messages;
  int status = Dump(fd, static_cast<uint16_t>(type), body, messages);
  if (status < 0) return Status(info.Env(), status);
  return Napi::Buffer<uint8_t>::Copy(info.Env(), messages.data(), messages.size());
}

bool IsAddressMessage(uint16_t type) { return type == RTM_NEWADDR || type == RTM_DELADDR; }

bool IsRouteMessage(uint16_t type) {
  return type == RTM_NEWLINK || type == RTM_DELLINK || type == RTM_NEWROUTE || type == RTM_DELROUTE;
}

/** Reads the namespace's messages of some types; one call for all that wait. */
class ChangePoll : public Poll {
 public:
  ChangePoll(Environment& environment, OwnedFd fd, bool (*counts)(uint16_t), Napi::Function callback)
      : Poll(environment), fd_(std::move(fd)), counts_(counts), callback_(Napi::Persistent(callback)) {}

 private:
  void OnReady(int status) override {
    bool changed = Drain();
    // libuv stops a handle at POLLERR, which here is only an overrun receive buffer.
    if (status < 0) Restart();
    if (!changed) return;
    CallScope scope(environment());
    scope.Call(callback_, {});
  }

  bool Drain() {
    bool changed = false;
    alignas(nlmsghdr) char buffer[16384];
    for (;;) {
      ssize_t length = recv(fd_.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
      if (length < 0 && errno == EINTR) continue;
      // Messages were lost: something has changed.
      if (length < 0 && errno == ENOBUFS) {
        changed = true;
        continue;
      }
      if (length <= 0) return changed;
      auto left = static_cast<uint32_t>(length);
      for (auto* header = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(header, left);
           header = NLMSG_NEXT(header, left)) {
        changed |= counts_(header->nlmsg_type);
      }
    }
  }

  void OnClose() override {
    fd_.Reset();
    callback_.Reset();
  }

  OwnedFd fd_;
  bool (*counts_)(uint16_t);
  Napi::FunctionReference callback_;
};

Napi::Value Watch(const Napi::CallbackInfo& info, uint32_t groups, bool (*counts)(uint16_t)) {
  Args args(info);
  std::optional<int> netns = args.OptionalFd(0, "netnsFd");
  Napi::Function callback = args.Function(1, "onChange");
  if (!args.ok()) return {};
  int fd = InNetns(netns, [groups] { return OpenNetlink(groups); });
  if (fd < 0) return Status(info.Env(), fd);
  auto* poll = new ChangePoll(Environment::Of(info.Env()), OwnedFd(fd), counts, callback);
  return Watcher::Start(info.Env(), poll, fd);
}

Napi::Value WatchAddresses(const Napi::CallbackInfo& info) {
  return Watch(info, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR, IsAddressMessage);
}

Napi::Value WatchRoutes(const Napi::CallbackInfo& info) {
  return Watch(info, RTMGRP_LINK | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE, IsRouteMessage);
}

}  // namespace

void DefineNetlinkFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("watchAddresses", Napi::Function::New<WatchAddresses>(env, "watchAddresses"));
  exports.Set("watchRoutes", Napi::Function::New<WatchRoutes>(env, "watchRoutes"));
  exports.Set("dumpNetlink", Napi::Function::New<DumpNetlink>(env, "dumpNetlink"));
  exports.Set("changeAddress", Napi::Function::New<ChangeAddress>(env, "changeAddress"));
}

}  // namespace shunt
