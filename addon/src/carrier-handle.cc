// SPDX-License-Identifier: Apache-2.0
#include "carrier-handle.h"

#include <sys/epoll.h>

#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "carrier.h"
#include "handle.h"

namespace shunt {
namespace {

constexpr const char* kToldNames[] = {"onAccept", "onAcceptError", "onConnected", "onConnectFailed",
                                      "onFailed", "onLasting",     "onFinished"};
static_assert(std::size(kToldNames) == static_cast<size_t>(Told::kCount));

/** The JavaScript face of a Carrier. */
class CarrierHandle {
 public:
  static constexpr Class kClass = Class::kCarrier;
  static constexpr const char* kName = "Carrier";

  static std::vector<napi_property_descriptor> Properties() {
    using H = Handle<CarrierHandle>;
    return {H::Method<&CarrierHandle::Listen>("listen"),     H::Method<&CarrierHandle::StopListening>("stopListening"),
            H::Method<&CarrierHandle::AddRoute>("addRoute"), H::Method<&CarrierHandle::RemoveRoute>("removeRoute"),
            H::Method<&CarrierHandle::Open>("open"),         H::Method<&CarrierHandle::Connect>("connect"),
            H::Method<&CarrierHandle::Start>("start"),       H::Method<&CarrierHandle::Watch>("watch"),
            H::Method<&CarrierHandle::Take>("take"),         H::Method<&CarrierHandle::Finish>("finish"),
            H::Method<&CarrierHandle::Release>("release"),   H::Method<&CarrierHandle::Look>("look"),
            H::Method<&CarrierHandle::Touch>("touch")};
  }

  explicit CarrierHandle(Carrier* carrier) : poll_(carrier), carrier_(carrier) { carrier->SetSlot(&poll_); }
  ~CarrierHandle() { Close(); }
  bool closed() const { return poll_ == nullptr; }
  void Close() {
    if (poll_ != nullptr) poll_->Close();
  }

 private:
  Napi::Value Listen(const Napi::CallbackInfo& info) {
    Args args(info);
    uint32_t listener = args.Unsigned(0, "listener");
    int fd = args.Fd(1, "fd");
    if (!args.ok()) return {};
    return Status(info.Env(), carrier_->Listen(listener, fd));
  }

  Napi::Value StopListening(const Napi::CallbackInfo& info) {
    Args args(info);
    uint32_t listener = args.Unsigned(0, "listener");
    if (args.ok()) carrier_->StopListening(listener);
    return info.Env().Undefined();
  }

  Napi::Value AddRoute(const Napi::CallbackInfo& info) {
    Args args(info);
    args.Options(0, "route");
    uint32_t family = args.FieldUnsigned("family");
    if (args.ok() && family != 4 && family != 6) args.Fail("family", "4 or 6");
    SocketKind kind{family == 4 ? AF_INET : AF_INET6, args.FieldOptionalFd("netns"), {}, std::nullopt};
    kind.preparation.ReadCommon(args);
    kind.preparation.bind_no_port = args.FieldBoolean("bindNoPort");
    kind.preparation.linger = 0;
    kind.preparation.no_delay = true;
    std::optional<std::string> source = args.FieldOptionalText("source");
    if (!args.ok()) return {};
    if (source) {
      kind.source = SockAddr::Parse(*source, 0);
      if (!kind.source || kind.source->family() != kind.family) args.Fail("source", "an address of the family");
      if (!args.ok()) return {};
    }
    return Status(info.Env(), carrier_->AddRoute(std::move(kind)));
  }

  Napi::Value RemoveRoute(const Napi::CallbackInfo& info) {
    Args args(info);
    uint32_t route = args.Unsigned(0, "route");
    if (args.ok()) carrier_->RemoveRoute(route);
    return info.Env().Undefined();
  }

  Napi::Value Open(const Napi::CallbackInfo& info) {
    Args args(info);
    Relay* relay = RelayOf(args);
    uint32_t number = args.Unsigned(1, "route");
    SocketPool* route = carrier_->route(number);
    if (args.ok() && route == nullptr) args.Fail("route", "a route");
    if (args.ok() && relay->fd(Side::kUpstream) >= 0) args.Fail("connection", "one without an upstream");
    std::optional<SockAddr> source;
    if (args.ok() && !info[2].IsUndefined()) {
      source = SockAddr::Parse(args.Text(2, "source"), 0);
      if (!source) args.Fail("source", "an address");
    }
    if (!args.ok()) return {};
    int fd = route->Take();
    if (fd < 0) return Status(info.Env(), fd);
    relay->SetUpstream(fd);
    if (source && bind(fd, &source->any, source->size) < 0) return Status(info.Env(), -errno);
    return Status(info.Env(), fd);
  }

  Napi::Value Connect(const Napi::CallbackInfo& info) {
    Args args(info);
    Relay* relay = RelayOf(args);
    std::string address = args.Text(1, "address");
    uint16_t port = args.Port(2, "port");
    if (!args.ok()) return {};
    std::optional<SockAddr> remote = SockAddr::Parse(address, port);
    return Status(info.Env(), remote ? relay->Connect(*remote) : -EINVAL);
  }

  Napi::Value Start(const Napi::CallbackInfo& info) {
    Args args(info);
    Relay* relay = RelayOf(args);
    if (args.ok()) relay->Start();
    return info.Env().Undefined();
  }

  Napi::Value Watch(const Napi::CallbackInfo& info) {
    Args args(info);
    Relay* relay = RelayOf(args);
    uint32_t one_way_bytes = args.Unsigned(1, "oneWayBytes");
    if (args.ok()) relay->Watch(one_way_bytes);
    return info.Env().Undefined();
  }

  Napi::Value Take(const Napi::CallbackInfo& info) {
    Args args(info);
    Relay* relay = RelayOf(args);
    if (!args.ok()) return {};
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("downstream", relay->Take(Side::kDownstream));
    result.Set("upstream", relay->Take(Side::kUpstream));
    return result;
  }

  Napi::Value Finish(const Napi::CallbackInfo& info) {
    Args args(info);
    Relay* relay = RelayOf(args);
    if (args.ok()) relay->Close();
    return info.Env().Undefined();
  }

  Napi::Value Release(const Napi::CallbackInfo& info) {
    Args args(info);
    Relay* relay = RelayOf(args);
    if (args.ok()) carrier_->Release(relay->number());
    return info.Env().Undefined();
  }

  Napi::Value Look(const Napi::CallbackInfo& info) {
    Args args(info);
    Relay* relay = RelayOf(args);
    if (!args.ok()) return {};
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("fromDownstream", static_cast<double>(relay->bytes_from(Side::kDownstream)));
    result.Set("fromUpstream", static_cast<double>(relay->bytes_from(Side::kUpstream)));
    result.Set("idleMs", relay->IdleMs());
    result.Set("isFlushed", relay->IsFlushed());
    return result;
  }

  Napi::Value Touch(const Napi::CallbackInfo& info) {
    Args args(info);
    Relay* relay = RelayOf(args);
    if (args.ok()) relay->Touch();
    return info.Env().Undefined();
  }

  /** The connection that the first argument names. */
  Relay* RelayOf(Args& args) {
    uint32_t number = args.Unsigned(0, "connection");
    Relay* relay = args.ok() ? carrier_->relay(number) : nullptr;
    if (args.ok() && relay == nullptr) args.Fail("connection", "one that has not been released");
    return relay;
  }

  Poll* poll_;
  Carrier* carrier_;
};

Napi::Value CreateCarrier(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Args args(info);
  args.Options(0, "callbacks");
  Carrier::Callbacks callbacks;
  Napi::Object object = args.ok() ? info[0].As<Napi::Object>() : Napi::Object();
  for (size_t i = 0; args.ok() && i < callbacks.size(); i++) {
    Napi::Value callback = object.Get(kToldNames[i]);
    if (callback.IsFunction())
      callbacks[i] = Napi::Persistent(callback.As<Napi::Function>());
    else
      args.Fail(kToldNames[i], "a function");
  }
  if (!args.ok()) return {};
  OwnedFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return Status(env, -errno);
  int fd = epoll.get();
  auto* carrier = new Carrier(Environment::Of(env), std::move(epoll), std::move(callbacks));
  int status = carrier->Start(fd, UV_READABLE);
  if (status < 0) return Status(env, status);
  Napi::Value result = Handle<CarrierHandle>::Wrap(env, std::make_unique<CarrierHandle>(carrier));
  if (!result.IsEmpty()) carrier->KeepAlive(result.As<Napi::Object>());
  return result;
}

}  // namespace

void DefineCarrierFunctions(Napi::Env env, Napi::Object exports) {
  Handle<CarrierHandle>::Define(env);
  exports.Set("createCarrier", Napi::Function::New<CreateCarrier>(env, "createCarrier"));
}

}  // namespace shunt
