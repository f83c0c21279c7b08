// SPDX-License-Identifier: Apache-2.0
import type { Endpoint } from "../net/endpoint.ts";
import type { Accelerator } from "./acceleration.ts";
import type { Direction, OriginalDestinationLookup } from "./original-destination.ts";
import type { Splicer } from "./splice.ts";

/** Where the proxy connects to the original destination from. */
export type UpstreamSource =
  /** Whatever address the kernel chooses. */
  | { readonly kind: "local" }
  /** 127.0.0.6 or ::6, as Istio's InboundPassthroughCluster. */
  | { readonly kind: "passthrough" }
  /** The client's own address; `passthrough` where the client is the destination itself. */
  | { readonly kind: "preserve" };

/** What can change while connections live, for all of them. */
export interface ListenerSettings {
  readonly connectTimeoutMs: number;
  /** No byte in either direction for so long ends a connection; 0: never. */
  readonly idleTimeoutMs: number;
}

/** What can change for the connections that are accepted from then on; plain data. */
export interface RouteConfig {
  readonly workload: string;
  /** SO_MARK of upstream connections. */
  readonly mark?: number | undefined;
  readonly source: UpstreamSource;
  /** Ports the proxy itself listens on in the namespace; connections meant for them would loop. */
  readonly ownPorts: readonly number[];
  /** How connections come here, for the record of one whose original destination is unknown. */
  readonly interception: string;
}

export interface Route extends RouteConfig {
  readonly lookup: OriginalDestinationLookup;
  /** Marks an upstream connection with the client's address as the proxy's own before its SYN leaves. */
  readonly noteOwnFlow?: ((local: Endpoint, remote: Endpoint) => Disposable) | undefined;
  /** Absent where every connection is copied. */
  readonly accelerator?: Accelerator | undefined;
  /** Absent where no sockets of proxies are spliced. */
  readonly splicer?: Splicer | undefined;
}

/** All but the socket and the functions: plain data that can be sent to a worker. */
export interface ListenerConfig extends ListenerSettings, RouteConfig {
  /** Unique among the listeners of a runtime. */
  readonly name: string;
  readonly direction: Direction;
  /** Namespace that upstream connections are made in; the agent's own when absent. Stays the caller's. */
  readonly netnsFd?: number | undefined;
}

export interface ProxyListener extends ListenerConfig, Route {
  /** A listening socket; the runtime owns it. */
  readonly fd: number;
}
