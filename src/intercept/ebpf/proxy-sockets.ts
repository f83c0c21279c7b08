// SPDX-License-Identifier: Apache-2.0
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";
import type { InboundListener } from "../backend.ts";
import { takeListeners } from "../external-listeners.ts";
import { type ListeningSocket, ListeningSockets } from "../listening-sockets.ts";
import type { NetworkNamespace } from "../network-namespace.ts";
import { LISTENER_GROUP } from "./inbound-lookup.ts";

/** Addresses of a listener that is meant for redirected connections. */
const PROXY_ADDRESSES: ReadonlySet<string> = new Set(["127.0.0.1", "::1", "0.0.0.0", "::"]);

interface TakenSocket {
  readonly socket: ListeningSocket;
  readonly cookie: bigint;
}

/** The sockets that listen on a port of a namespace at one moment, as copies that are closed when this is disposed of. */
export class ProxySockets implements Disposable {
  /** With their places in the map of sk_lookup; the kernel reaches more of one reuseport group by any of it. */
  readonly listeners: readonly InboundListener[];
  readonly sockets: readonly TakenSocket[];
  readonly #fds: readonly number[];

  /** Throws ERR_LISTENER_HOLDER when somebody listens whose socket can't be had. */
  constructor(netns: NetworkNamespace, port: number) {
    using table = new ListeningSockets(netns);
    const found = table.onPort(port).filter(({ address }) => PROXY_ADDRESSES.has(address));
    const { listeners, failure } = takeListeners(netns, found);
    this.#fds = listeners.map(({ fd }) => fd);
    try {
      if (failure) throw failure;
      this.sockets = listeners.map(({ socket, fd }) => ({
        socket,
        cookie: check(loadAddon().socketCookie(fd), "getsockopt(SO_COOKIE)"),
      }));
      this.listeners = ([4, 6] as const).flatMap((family) =>
        listeners
          .filter(({ families }) => families.includes(family))
          .slice(0, LISTENER_GROUP)
          .map(({ fd }, index) => ({ family, index, fd })),
      );
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds) loadAddon().closeFd(fd);
  }
}
