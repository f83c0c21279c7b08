// SPDX-License-Identifier: Apache-2.0
import { createServer, type Server, type Socket } from "node:net";
import { constants } from "node:os";
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";

export interface ListenAt {
  readonly address: string;
  readonly port: number;
}

/** Listening sockets in a namespace for the time of a test. Connections end at once. */
export class ProbeListeners implements Disposable {
  readonly #netnsFd: number | undefined;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  constructor(netnsFd: number | undefined) {
    this.#netnsFd = netnsFd;
  }

  /**
   * "listening", or why not: somebody else has the port ("busy"), or the namespace has no such address ("no-address").
   * Throws a SystemError for anything else. The callback gets the descriptor of each accepted socket, for the time of the
   * call.
   */
  listen({ address, port }: ListenAt, onConnection: (fd: number) => void): "listening" | "busy" | "no-address" {
    const fd = loadAddon().listen({
      address,
      port,
      type: "stream",
      reuseAddress: true,
      ...(address.includes(":") && { v6only: true }),
      ...(this.#netnsFd !== undefined && { netns: this.#netnsFd }),
    });
    if (fd === -constants.errno.EADDRINUSE) return "busy";
    if (fd === -constants.errno.EADDRNOTAVAIL || fd === -constants.errno.EAFNOSUPPORT) return "no-address";
    check(fd, "listen", `${address} port ${port}`);
    const server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => {}).on("close", () => this.#sockets.delete(socket));
      onConnection((socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd);
      socket.destroy();
    });
    server.listen({ fd });
    this.#servers.push(server);
    return "listening";
  }

  [Symbol.dispose](): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
