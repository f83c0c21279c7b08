// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { loadAddon } from "../../src/native/load-addon.ts";

/** Answers whatever it is sent, as HTTP that curl reads as well; remembers who came. */
export class HelloServer implements Disposable {
  /** Address and port of each client, as the server sees it. */
  readonly clients: { readonly address: string; readonly port: number }[] = [];
  readonly #netns: number;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #ports = new Map<string, number>();

  private constructor(netns: string) {
    this.#netns = openSync(netns, "r");
  }

  /** A free port on each of the addresses. */
  static async start(addresses: readonly string[], netns = "/proc/self/ns/net"): Promise<HelloServer> {
    const hello = new HelloServer(netns);
    for (const address of addresses) await hello.#listen(address);
    return hello;
  }

  port(address: string): number {
    const port = this.#ports.get(address);
    if (port === undefined) throw new Error(`nobody listens on ${address}`);
    return port;
  }

  /** `ip:port` as records have it. */
  endpoint(address: string): string {
    return `${address.includes(":") ? `[${address}]` : address}:${this.port(address)}`;
  }

  url(address: string): string {
    return `http://${this.endpoint(address)}/`;
  }

  async #listen(address: string): Promise<void> {
    const v6 = address.includes(":");
    const fd = loadAddon().listen({
      address,
      port: 0,
      type: "stream",
      netns: this.#netns,
      ...(v6 && { v6only: true }),
    });
    const local = fd < 0 ? fd : loadAddon().localAddress(fd);
    if (typeof local === "number") throw new Error(`${address}: ${local}`);
    this.#ports.set(address, local.port);
    const server = createServer((socket) => {
      this.clients.push({ address: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 });
      this.#sockets.add(socket);
      socket.once("data", () => socket.end("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
      socket.on("error", () => {});
      socket.on("close", () => this.#sockets.delete(socket));
    });
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen({ fd }, resolve));
  }

  [Symbol.dispose](): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
    closeSync(this.#netns);
  }
}
