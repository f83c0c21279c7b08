// SPDX-License-Identifier: Apache-2.0
// Hot: called some times for every connection, never for bytes.

import { loadAddon } from "../native/load-addon.ts";
import type { NativeCarrier } from "../native/native-carrier.ts";
import { check, errnoName, SystemError } from "../native/status.ts";
import { Carried, type CarriedOwner, type Side } from "./carried.ts";
import { type Endpoint, unmapAddress } from "./endpoint.ts";
import { UpstreamRoutes } from "./upstream-routes.ts";

/** Who takes the connections of a listener. */
export interface Acceptor {
  /**
   * The connection is the acceptor's, which attaches an owner to it or releases it. `remote` is undefined when it was
   * reset before it was accepted.
   */
  accept(connection: Carried, fd: number, local: Endpoint, remote: Endpoint | undefined): void;
  onAcceptError(error: Error): void;
}

/** The connections of one thread: their sockets and bytes are the addon's, what is to become of them is decided here. */
export class Carrier implements Disposable {
  readonly #native: NativeCarrier;
  readonly #acceptors = new Map<number, Acceptor>();
  readonly #owners: (CarriedOwner | undefined)[] = [];
  #nextListener = 0;

  constructor() {
    const owners = this.#owners;
    const native = loadAddon().createCarrier({
      onAccept: (listener, number, fd, local, remote) => {
        const connection = new Carried(this.#native, number, owners);
        this.#acceptors.get(listener)?.accept(connection, fd, unmapped(local), remote && unmapped(remote));
      },
      onAcceptError: (listener, status) =>
        this.#acceptors.get(listener)?.onAcceptError(new SystemError(status, "accept")),
      onConnected: (number) => owners[number]?.onConnected(),
      onConnectFailed: (number, status) =>
        owners[number]?.onConnectFailed({ syscall: "connect", errnoName: errnoName(status) }),
      onFailed: (number, side, status) => owners[number]?.onFailed(side as Side, errnoName(status)),
      onLasting: (number) => owners[number]?.onLasting(),
      onFinished: (number, down, up) => owners[number]?.onFinished(down, up),
    });
    this.#native = check(native, "epoll_create1");
  }

  /** Accepts from now on; `fd` is the carrier's then. The listener's number. Throws SystemError for no listening socket. */
  listen(fd: number, acceptor: Acceptor): number {
    const listener = this.#nextListener++;
    check(this.#native.listen(listener, fd), "listen", `fd ${fd}`);
    this.#acceptors.set(listener, acceptor);
    return listener;
  }

  stopListening(listener: number): void {
    this.#acceptors.delete(listener);
    this.#native.stopListening(listener);
  }

  /** Sockets for upstream connections in this namespace, with this mark. */
  routes(netnsFd: number | undefined, mark: number | undefined): UpstreamRoutes {
    return new UpstreamRoutes(this.#native, netnsFd, mark);
  }

  /** Resets every connection. */
  [Symbol.dispose](): void {
    this.#native.close();
  }
}

function unmapped(end: Endpoint): Endpoint {
  const address = unmapAddress(end.address);
  return address === end.address ? end : { address, port: end.port };
}
