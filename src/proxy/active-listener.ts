// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { Server, type Socket } from "node:net";
import { LISTEN_BACKLOG } from "../net/listen-socket.ts";
import { resetOnClose } from "../net/reset-socket.ts";
import type { ConnectionRecord } from "./connection-record.ts";
import type { ListenerSettings, ProxyListener, Route } from "./proxy-listener.ts";
import { type ConnectionHost, TcpConnection } from "./tcp-connection.ts";

/** A listener that accepts, or one that waits for its last connections. */
export class ActiveListener {
  /** As connections that are accepted now get it; those before keep theirs. */
  #listener: ProxyListener;
  readonly #settings: { connectTimeoutMs: number; idleTimeoutMs: number };
  readonly #host: ConnectionHost;
  readonly #newId: () => string;
  readonly #connections = new Set<TcpConnection>();
  readonly #server: Server;
  #closed: Promise<void> | undefined;
  #onEmpty: (() => void) | undefined;

  constructor(listener: ProxyListener, host: ConnectionHost, newId: () => string) {
    this.#listener = listener;
    this.#settings = { connectTimeoutMs: listener.connectTimeoutMs, idleTimeoutMs: listener.idleTimeoutMs };
    this.#newId = newId;
    this.#host = {
      wheel: host.wheel,
      now: () => host.now(),
      opened: (connection) => host.opened(connection),
      ended: (connection: TcpConnection, record: ConnectionRecord) => {
        this.#connections.delete(connection);
        host.ended(connection, record);
        this.#checkEmpty();
      },
    };
    this.#server = new Server({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) =>
      this.#accept(socket),
    );
  }

  async listen(onAcceptError: (error: Error) => void): Promise<void> {
    // A thread that dies closes all its sockets, and its peers must not take that for the end of the data.
    resetOnClose(this.#listener.fd);
    // A second listen() on a listening socket only sets the backlog.
    this.#server.listen({ fd: this.#listener.fd }, LISTEN_BACKLOG);
    await once(this.#server, "listening");
    this.#server.on("error", onAcceptError);
  }

  update({ connectTimeoutMs, idleTimeoutMs }: ListenerSettings, route: Partial<Route>): void {
    this.#listener = { ...this.#listener, ...route };
    const rearm = idleTimeoutMs !== this.#settings.idleTimeoutMs;
    Object.assign(this.#settings, { connectTimeoutMs, idleTimeoutMs });
    if (rearm) for (const connection of this.#connections) connection.rearm();
  }

  /** Resolves when the last connection has ended; Infinity waits for ever. Called again with less patience, it hurries. */
  async close(drainMs: number): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#onEmpty = resolve;
      // Not the server's own "close": upstream sockets can outlast those it counts.
      const end = (): void => void this.#server.close(() => this.#checkEmpty());
      // The kernel resets what it has completed and nobody has accepted (inet_csk_listen_stop, net/ipv4/
      // inet_connection_sock.c): one more turn of the loop takes it in first.
      if (drainMs === 0) end();
      else setImmediate(() => setImmediate(end));
    });
    const abort = (): void => {
      for (const connection of this.#connections) connection.abort("closed", "the proxy's listener was removed");
    };
    if (drainMs === 0) abort();
    const timer = drainMs === Number.POSITIVE_INFINITY ? undefined : setTimeout(abort, drainMs);
    await this.#closed;
    clearTimeout(timer);
  }

  #checkEmpty(): void {
    if (this.#connections.size === 0 && !this.#server.listening) this.#onEmpty?.();
  }

  #accept(socket: Socket): void {
    const connection = new TcpConnection(this.#newId(), socket, this.#listener, this.#settings, this.#host);
    this.#connections.add(connection);
    connection.start();
  }
}
