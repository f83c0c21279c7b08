// SPDX-License-Identifier: Apache-2.0
import type { Carried } from "../net/carried.ts";
import type { Acceptor, Carrier } from "../net/carrier.ts";
import type { Endpoint } from "../net/endpoint.ts";
import { resetOnClose } from "../net/reset-socket.ts";
import type { UpstreamRoutes } from "../net/upstream-routes.ts";
import type { ConnectionHost, LiveConnection } from "./live-connection.ts";
import type { ListenerSettings, ProxyListener, Route } from "./proxy-listener.ts";
import { TcpConnection } from "./tcp-connection.ts";

/** A listener that accepts, or one that waits for its last connections. */
export class ActiveListener implements Acceptor {
  /** As connections that are accepted now get it; those before keep theirs. */
  #listener: ProxyListener;
  #routes: UpstreamRoutes;
  readonly #settings: { connectTimeoutMs: number; idleTimeoutMs: number };
  readonly #host: ConnectionHost;
  readonly #carrier: Carrier;
  readonly #newId: () => string;
  readonly #onAcceptError: (error: Error) => void;
  readonly #connections = new Set<LiveConnection>();
  /** The carrier's number for the socket, while it accepts. */
  #listening: number | undefined;
  #closed: Promise<void> | undefined;
  #onEmpty: (() => void) | undefined;

  /** Accepts from now on. Throws SystemError when `listener.fd` is no listening socket; else it is the carrier's. */
  constructor(
    listener: ProxyListener,
    host: ConnectionHost,
    carrier: Carrier,
    newId: () => string,
    onAcceptError: (error: Error) => void,
  ) {
    this.#listener = listener;
    this.#settings = { connectTimeoutMs: listener.connectTimeoutMs, idleTimeoutMs: listener.idleTimeoutMs };
    this.#carrier = carrier;
    this.#newId = newId;
    this.#onAcceptError = onAcceptError;
    this.#host = {
      wheel: host.wheel,
      now: () => host.now(),
      opened: (connection, description) => host.opened(connection, description),
      replaced: (before, after) => {
        this.#connections.delete(before);
        this.#connections.add(after);
        host.replaced(before, after);
      },
      ended: (connection, record) => {
        this.#connections.delete(connection);
        host.ended(connection, record);
        this.#checkEmpty();
      },
    };
    // A thread that dies closes all its sockets, and its peers must not take that for the end of the data.
    resetOnClose(listener.fd);
    this.#listening = carrier.listen(listener.fd, this);
    this.#routes = carrier.routes(listener.netnsFd, listener.mark);
  }

  accept(carried: Carried, fd: number, local: Endpoint, remote: Endpoint | undefined): void {
    const connection = new TcpConnection(this.#newId(), carried, this.#listener, this.#settings, this.#host);
    this.#connections.add(connection);
    connection.start(fd, local, remote, this.#routes);
  }

  onAcceptError(error: Error): void {
    this.#onAcceptError(error);
  }

  update({ connectTimeoutMs, idleTimeoutMs }: ListenerSettings, route: Partial<Route>): void {
    const { mark } = this.#listener;
    this.#listener = { ...this.#listener, ...route };
    if (this.#listener.mark !== mark) {
      this.#routes[Symbol.dispose]();
      this.#routes = this.#carrier.routes(this.#listener.netnsFd, this.#listener.mark);
    }
    const rearm = idleTimeoutMs !== this.#settings.idleTimeoutMs;
    Object.assign(this.#settings, { connectTimeoutMs, idleTimeoutMs });
    if (rearm) for (const connection of this.#connections) connection.rearm();
  }

  /** Resolves when the last connection has ended; Infinity waits for ever. Called again with less patience, it hurries. */
  async close(drainMs: number): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#onEmpty = resolve;
      // The kernel resets what it has completed and nobody has accepted (inet_csk_listen_stop, net/ipv4/
      // inet_connection_sock.c): one more turn of the loop takes it in first.
      if (drainMs === 0) this.#stop();
      else setImmediate(() => setImmediate(() => this.#stop()));
    });
    const abort = (): void => {
      for (const connection of this.#connections) connection.abort("closed", "the proxy's listener was removed");
    };
    if (drainMs === 0) abort();
    const timer = drainMs === Number.POSITIVE_INFINITY ? undefined : setTimeout(abort, drainMs);
    await this.#closed;
    clearTimeout(timer);
  }

  #stop(): void {
    if (this.#listening === undefined) return;
    this.#carrier.stopListening(this.#listening);
    this.#listening = undefined;
    this.#routes[Symbol.dispose]();
    this.#checkEmpty();
  }

  #checkEmpty(): void {
    if (this.#connections.size === 0 && this.#listening === undefined) this.#onEmpty?.();
  }
}
