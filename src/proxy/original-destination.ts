// SPDX-License-Identifier: Apache-2.0
/** How the proxy learns where an accepted connection was meant to go; interception supplies the answer. */
export type Direction = "outbound" | "inbound" | "dns";

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** What is known of an accepted connection before anything is read from it. */
export interface AcceptedConnection {
  readonly fd: number;
  readonly local: Endpoint;
  readonly remote: Endpoint;
}

export interface OriginalDestination extends Endpoint {
  /** How the connection came to the proxy: `ebpf` or `iptables`. */
  readonly interception: string;
}

/** Synchronous, because it is asked once per connection on the data path. Undefined: nobody knows; the connection is refused. */
export type OriginalDestinationLookup = (connection: AcceptedConnection) => OriginalDestination | undefined;
