// SPDX-License-Identifier: Apache-2.0
#include "socket.h"

#include <cerrno>

#include "args.h"
#include "netns.h"
#include "owned-fd.h"
#include "preparation.h"
#include "sockaddr.h"

namespace shunt {
namespace {

// Not in every libc's headers; values from include/uapi/linux/{netfilter_ipv4,netfilter_ipv6/ip6_tables}.h and
// include/uapi/asm-generic/socket.h.
constexpr int kSoOriginalDst = 80;
constexpr int kSoNetnsCookie = 71;

/** Far more than anybody waits, far less than what the kernel's arithmetic in jiffies holds. */
constexpr int32_t kMaxLingerSeconds = 3600;

Napi::Value Listen(const Napi::CallbackInfo& info) {
  Args args(info);
  args.Options(0, "options");
  std::string address = args.FieldText("address");
  uint16_t port = args.FieldPort("port");
  std::string type = args.FieldText("type");
  if (args.ok() && type != "stream" && type != "dgram") args.Fail("type", "\"stream\" or \"dgram\"");
  std::optional<int> netns = args.FieldOptionalFd("netns");
  uint32_t backlog = args.FieldUnsigned("backlog", SOMAXCONN);
  Preparation preparation;
  preparation.ReadCommon(args);
  preparation.reuse_port = args.FieldBoolean("reusePort");
  preparation.v6only = args.FieldOptionalBoolean("v6only");
  if (!args.ok()) return {};

  int kind = type == "stream" ? SOCK_STREAM : SOCK_DGRAM;
  return Status(info.Env(), InNetns(netns, [&] {
                  // Inside, because a scope's interface name belongs to the namespace.
                  std::optional<SockAddr> local = SockAddr::Parse(address, port);
                  if (!local) return -EINVAL;
                  OwnedFd fd(socket(local->family(), kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
                  if (!fd.valid()) return -errno;
                  int status = preparation.Apply(fd.get(), local->family());
                  if (status < 0) return status;
                  if (bind(fd.get(), &local->any, local->size) < 0) return -errno;
                  if (kind == SOCK_STREAM && listen(fd.get(), static_cast<int>(backlog)) < 0) return -errno;
                  return fd.Release();
                }));
}

Napi::Value BindSocket(const Napi::CallbackInfo& info) {
  Args args(info);
  args.Options(0, "options");
  std::string address = args.FieldText("address");
  uint16_t port = args.FieldPort("port");
  std::optional<int> netns = args.FieldOptionalFd("netns");
  std::optional<std::string> bind_address = args.FieldOptionalText("bindAddress");
  std::optional<uint32_t> bind_port = args.FieldOptionalUnsigned("bindPort");
  if (args.ok() && bind_port.value_or(0) > UINT16_MAX) args.Fail("bindPort", "an integer from 0 to 65535");
  Preparation preparation;
  preparation.ReadCommon(args);
  preparation.bind_no_port = args.FieldBoolean("bindNoPort");
  preparation.linger = args.FieldOptionalUnsigned("linger");
  if (args.ok() && preparation.linger.value_or(0) > static_cast<uint32_t>(kMaxLingerSeconds))
    args.Fail("linger", "an integer from 0 to 3600");
  if (!args.ok()) return {};

  return Status(info.Env(), InNetns(netns, [&] {
                  std::optional<SockAddr> remote = SockAddr::Parse(address, port);
                  if (!remote) return -EINVAL;
                  OwnedFd fd(socket(remote->family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
                  if (!fd.valid()) return -errno;
                  int status = preparation.Apply(fd.get(), remote->family());
                  if (status < 0) return status;
                  if (!bind_address && !bind_port) return fd.Release();
                  const char* any = remote->family() == AF_INET6 ? "::" : "0.0.0.0";
                  std::optional<SockAddr> local = SockAddr::Parse(bind_address.value_or(any), bind_port.value_or(0));
                  if (!local) return -EINVAL;
                  if (bind(fd.get(), &local->any, local->size) < 0) return -errno;
                  return fd.Release();
                }));
}

template <int (*get)(int, sockaddr*, socklen_t*) noexcept>
Napi::Value NameOf(const Napi::CallbackInfo& info) {
  Args args(info);
  int fd = args.Fd(0, "fd");
  if (!args.ok()) return {};
  SockAddr address{};
  socklen_t size = sizeof(sockaddr_in6);
  if (get(fd, &address.any, &size) < 0) return Status(info.Env(), -errno);
  return Describe(info.Env(), address);
}

Napi::Value OriginalDestination(const Napi::CallbackInfo& info) {
  Args args(info);
  int fd = args.Fd(0, "fd");
  uint32_t family = args.Unsigned(1, "family");
  if (args.ok() && family != 4 && family != 6) args.Fail("family", "4 or 6");
  if (!args.ok()) return {};
  SockAddr address{};
  // ip6_tables' IP6T_SO_ORIGINAL_DST has the number of its IPv4 twin.
  socklen_t size = family == 4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  if (getsockopt(fd, family == 4 ? SOL_IP : SOL_IPV6, kSoOriginalDst, &address.any, &size) < 0) {
    return Status(info.Env(), -errno);
  }
  return Describe(info.Env(), address);
}

Napi::Value SocketCookie(const Napi::CallbackInfo& info) {
  Args args(info);
  int fd = args.Fd(0, "fd");
  if (!args.ok()) return {};
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) < 0) return Status(info.Env(), -errno);
  return Napi::BigInt::New(info.Env(), cookie);
}

Napi::Value NetnsCookie(const Napi::CallbackInfo& info) {
  Args args(info);
  std::optional<int> netns = args.OptionalFd(0, "netnsFd");
  if (!args.ok()) return {};
  uint64_t cookie = 0;
  int status = InNetns(netns, [&] {
    OwnedFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!fd.valid()) return -errno;
    socklen_t size = sizeof(cookie);
    return getsockopt(fd.get(), SOL_SOCKET, kSoNetnsCookie, &cookie, &size) < 0 ? -errno : 0;
  });
  if (status < 0) return Status(info.Env(), status);
  return Napi::BigInt::New(info.Env(), cookie);
}

Napi::Value SetSocketOption(const Napi::CallbackInfo& info) {
  Args args(info);
  int fd = args.Fd(0, "fd");
  int level = args.Signed(1, "level");
  int name = args.Signed(2, "name");
  int value = args.Signed(3, "value");
  if (!args.ok()) return {};
  return Status(info.Env(), SetOption(fd, level, name, value));
}

Napi::Value SetLingerOf(const Napi::CallbackInfo& info) {
  Args args(info);
  int fd = args.Fd(0, "fd");
  int32_t seconds = args.Signed(1, "seconds");
  if (args.ok() && (seconds < -1 || seconds > kMaxLingerSeconds)) args.Fail("seconds", "an integer from -1 to 3600");
  if (!args.ok()) return {};
  return Status(info.Env(), SetLinger(fd, seconds));
}

Napi::Value GetSocketOption(const Napi::CallbackInfo& info) {
  Args args(info);
  int fd = args.Fd(0, "fd");
  int level = args.Signed(1, "level");
  int name = args.Signed(2, "name");
  if (!args.ok()) return {};
  int value = 0;
  socklen_t size = sizeof(value);
  if (getsockopt(fd, level, name, &value, &size) < 0) return Status(info.Env(), -errno);
  // Options with the top bit set (a mark) must not read as an error.
  return Status(info.Env(), static_cast<uint32_t>(value));
}

}  // namespace

void DefineSocketFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("listen", Napi::Function::New<Listen>(env, "listen"));
  exports.Set("bindSocket", Napi::Function::New<BindSocket>(env, "bindSocket"));
  exports.Set("localAddress", Napi::Function::New<NameOf<getsockname>>(env, "localAddress"));
  exports.Set("remoteAddress", Napi::Function::New<NameOf<getpeername>>(env, "remoteAddress"));
  exports.Set("originalDestination", Napi::Function::New<OriginalDestination>(env, "originalDestination"));
  exports.Set("socketCookie", Napi::Function::New<SocketCookie>(env, "socketCookie"));
  exports.Set("netnsCookie", Napi::Function::New<NetnsCookie>(env, "netnsCookie"));
  exports.Set("setSocketOption", Napi::Function::New<SetSocketOption>(env, "setSocketOption"));
  exports.Set("setLinger", Napi::Function::New<SetLingerOf>(env, "setLinger"));
  exports.Set("getSocketOption", Napi::Function::New<GetSocketOption>(env, "getSocketOption"));
}

}  // namespace shunt
