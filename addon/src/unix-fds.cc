// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "args.h"
#include "owned-fd.h"
#include "socket.h"

namespace shunt {
namespace {

/** SCM_MAX_FD of include/net/scm.h. */
constexpr size_t kMaxFds = 253;

Napi::Value SendFds(const Napi::CallbackInfo& info) {
  Args args(info);
  int socket = args.Fd(0, "socketFd");
  Bytes data = args.Data(1, "data");
  std::vector<int> fds = args.Fds(2, "fds");
  if (args.ok() && data.empty()) args.Fail("data", "at least one byte long");
  if (!args.ok()) return {};
  if (fds.size() > kMaxFds) return Status(info.Env(), -EINVAL);

  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))] = {};
  iovec part{data.data(), data.size()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  }
  ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  return Status(info.Env(), sent < 0 ? -errno : sent);
}

Napi::Value ReceiveFds(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Args args(info);
  int socket = args.Fd(0, "socketFd");
  uint32_t max_bytes = args.Unsigned(1, "maxBytes");
  uint32_t max_fds = args.Unsigned(2, "maxFds");
  if (!args.ok()) return {};
  if (max_fds > kMaxFds || max_bytes > (1u << 20)) return Status(env, -EINVAL);

  std::vector<uint8_t> data(max_bytes);
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))] = {};
  iovec part{data.data(), data.size()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  // Not CMSG_SPACE: its padding has room for one descriptor more than was asked for.
  message.msg_controllen = CMSG_LEN(max_fds * sizeof(int));
  ssize_t length = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (length < 0) return Status(env, -errno);

  std::vector<OwnedFd> fds;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    for (size_t i = 0; i < (header->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
      fds.emplace_back(fd);
    }
  }
  // The kernel has dropped some; half a message is none.
  if ((message.msg_flags & MSG_CTRUNC) != 0) return Status(env, -EMSGSIZE);
  Napi::Array list = Napi::Array::New(env, fds.size());
  for (uint32_t i = 0; i < fds.size(); i++) list.Set(i, fds[i].Release());
  Napi::Object result = Napi::Object::New(env);
  result.Set("data", CopyBytes(env, data.data(), length));
  result.Set("fds", list);
  return result;
}

Napi::Value SendDatagram(const Napi::CallbackInfo& info) {
  Args args(info);
  std::string path = args.SocketPath(0, "path");
  Bytes data = args.Data(1, "data");
  if (!args.ok()) return {};

  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  // No room for a closing NUL is needed: the length says where the name ends, and abstract names have none.
  if (path.empty() || path.size() > sizeof(address.sun_path)) return Status(info.Env(), -EINVAL);
  std::memcpy(address.sun_path, path.data(), path.size());
  OwnedFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return Status(info.Env(), -errno);
  ssize_t sent = sendto(socket.get(), data.data(), data.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&address),
                        offsetof(sockaddr_un, sun_path) + path.size());
  return Status(info.Env(), sent < 0 ? -errno : sent);
}

}  // namespace

void DefineUnixFdFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("sendFds", Napi::Function::New<SendFds>(env, "sendFds"));
  exports.Set("receiveFds", Napi::Function::New<ReceiveFds>(env, "receiveFds"));
  exports.Set("sendDatagram", Napi::Function::New<SendDatagram>(env, "sendDatagram"));
}

}  // namespace shunt
