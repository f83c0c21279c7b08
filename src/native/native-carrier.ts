// SPDX-License-Identifier: Apache-2.0
import type { NativeHandle, SocketAddress, Status } from "./addon.ts";

/** Sockets for connections of a carrier, which keeps some in store. All of them reset when they are closed. */
export interface RouteOptions {
  readonly family: 4 | 6;
  /** Namespace they are made in; the descriptor stays the caller's and open as long as the route. */
  readonly netns?: number;
  readonly mark?: number;
  /** Address they are bound to. */
  readonly source?: string;
  readonly bindNoPort?: boolean;
  readonly transparent?: boolean;
  readonly freebind?: boolean;
}

/**
 * What a carrier tells. `connection` is a number that is free for another one once it is released; `side` is 0 for the
 * downstream, 1 for the upstream. Any of them may release the connection.
 */
export interface CarrierCallbacks {
  /** `remote` is undefined for a connection that was reset before it was accepted. */
  onAccept(
    listener: number,
    connection: number,
    fd: number,
    local: SocketAddress,
    remote: SocketAddress | undefined,
  ): void;
  onAcceptError(listener: number, status: Status): void;
  onConnected(connection: number): void;
  onConnectFailed(connection: number, status: Status): void;
  /** Nothing more happens to the connection until it is released. */
  onFailed(connection: number, side: number, status: Status): void;
  /** A watched connection has shown that it lasts; nothing of it waits to be written. Told again until it is taken. */
  onLasting(connection: number): void;
  /** Both sockets have been closed in order. */
  onFinished(connection: number, fromDownstream: number, fromUpstream: number): void;
}

/**
 * Accepts connections, connects them on, and carries their bytes, without a word to JavaScript about them. Its sockets
 * reset when it closes, and when the thread ends. Callbacks come from the loop, but for those of a connection that `start`
 * finds to be over.
 */
export interface NativeCarrier extends NativeHandle {
  /** Accepts from now on; `fd`, a listening socket, is the carrier's once the answer is 0. */
  listen(listener: number, fd: number): Status;
  stopListening(listener: number): void;
  /** The route's number. */
  addRoute(route: RouteOptions): number;
  removeRoute(route: number): void;
  /** Gives the connection a socket for its upstream, bound to `source` where given: its descriptor, still the carrier's. */
  open(connection: number, route: number, source?: string): Status;
  /** 1: established already. 0: onConnected or onConnectFailed follows. */
  connect(connection: number, address: string, port: number): Status;
  /** Both sides are established: carries from now on. */
  start(connection: number): void;
  /** onLasting at the second exchange, or when one direction has carried so many bytes. */
  watch(connection: number, oneWayBytes: number): void;
  /** Gives both sockets away: they are the caller's. Only in onLasting. */
  take(connection: number): { readonly downstream: number; readonly upstream: number };
  /** Closes both sides by FIN. */
  finish(connection: number): void;
  /** Closes by RST what is not closed, and forgets the connection. */
  release(connection: number): void;
  look(connection: number): {
    readonly fromDownstream: number;
    readonly fromUpstream: number;
    readonly idleMs: number;
    /** The kernel has taken everything that was read. */
    readonly isFlushed: boolean;
  };
  /** As if bytes had moved. */
  touch(connection: number): void;
}
