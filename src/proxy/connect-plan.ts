// SPDX-License-Identifier: Apache-2.0
import type { ConnectRequest, ConnectSource } from "../net/connect-request.ts";
import { type Endpoint, isLoopback } from "../net/endpoint.ts";
import type { ProxyListener } from "./proxy-listener.ts";

/** Istio's pass-through addresses (pilot/pkg/networking/core/v1alpha3/listener.go, InboundPassthroughBindIpv4/6). */
const PASSTHROUGH_V4 = "127.0.0.6";
const PASSTHROUGH_V6 = "::6";

type Route = Pick<ProxyListener, "source" | "noteOwnFlow">;

/** How the proxy connects to `destination` on behalf of `client`. */
export function planConnect(listener: Route, client: Endpoint, destination: Endpoint): ConnectRequest {
  const source = sourceFor(listener, client, destination);
  return {
    address: destination.address,
    port: destination.port,
    source,
    beforeConnect: source?.transparent ? listener.noteOwnFlow : undefined,
  };
}

function sourceFor(listener: Route, client: Endpoint, destination: Endpoint): ConnectSource | undefined {
  switch (listener.source.kind) {
    case "local":
      return undefined;
    case "passthrough":
      return passthrough(destination);
    case "preserve":
      // From an address to itself the application could not tell proxy from client, and replies would not come back.
      return client.address === destination.address
        ? passthrough(destination)
        : { address: client.address, transparent: true };
  }
}

function passthrough(destination: Endpoint): ConnectSource {
  return { address: destination.address.includes(":") ? PASSTHROUGH_V6 : PASSTHROUGH_V4, transparent: false };
}

/**
 * Whether connecting to `destination` would reach the proxy's own listener. A port of ours at somebody else's
 * address is none of that.
 */
export function wouldLoop(
  ownPorts: readonly number[],
  destination: Endpoint,
  local: Endpoint,
  remote: Endpoint,
): boolean {
  return (
    ownPorts.includes(destination.port) &&
    (isLoopback(destination.address) || destination.address === local.address || destination.address === remote.address)
  );
}
