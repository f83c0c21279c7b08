// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync } from "node:fs";
import { createServer, type Server, Socket } from "node:net";
import type { NativeAddon, SocketAddress } from "../../src/native/addon.ts";
import { loadAddon } from "../../src/native/load-addon.ts";

/** What a client learns from a `tellingServer`: who took its connection, and where that one thinks it was going. */
export interface Told {
  readonly who: string;
  readonly original: SocketAddress | null;
  readonly client: string;
  /** Address and port of the socket that took it. */
  readonly local: SocketAddress;
}

const CONNECT_DEADLINE_MS = 10_000 * Number(process.env["SHUNT_PATIENCE"] ?? "1");

/** Sockets in one namespace, made by this process; everything is closed with it. */
export class NetnsSockets implements Disposable {
  readonly fd: number;
  readonly #addon: NativeAddon = loadAddon();
  readonly #servers: Server[] = [];

  constructor(path: string) {
    this.fd = openSync(path, "r");
  }

  /** Answers each connection with one line of JSON that says `who` and the original destination from conntrack. */
  async tellingServer(who: string, address: string, port: number, { transparent = false } = {}): Promise<void> {
    const family = address.includes(":") ? 6 : 4;
    const fd = this.#addon.listen({
      address,
      port,
      type: "stream",
      netns: this.fd,
      reuseAddress: true,
      v6only: family === 6,
      transparent,
    });
    if (fd < 0) throw new Error(`listen ${address} ${port}: ${fd}`);
    const server = createServer((socket) => {
      const original = this.#addon.originalDestination(fdOf(socket), family);
      const told: Told = {
        who,
        original: typeof original === "number" ? null : { address: original.address, port: original.port },
        client: socket.remoteAddress ?? "",
        local: { address: socket.localAddress ?? "", port: socket.localPort ?? 0 },
      };
      socket.on("error", () => {});
      socket.end(`${JSON.stringify(told)}\n`);
    });
    this.#servers.push(server);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ fd }, resolve);
    });
  }

  /** Connects and gives what was told, or the negative errno of the refusal. */
  async ask(
    address: string,
    port: number,
    options: { mark?: number; bindAddress?: string; bindPort?: number } = {},
  ): Promise<Told | number> {
    const fd = this.#addon.bindSocket({ address, port, netns: this.fd, ...options });
    if (fd < 0) return fd;
    const status = await new Promise<number>((resolve, reject) => {
      const deadline = setTimeout(() => reject(new Error(`no answer from ${address} ${port}`)), CONNECT_DEADLINE_MS);
      const connect = this.#addon.connectSocket(fd, address, port, (result) => {
        clearTimeout(deadline);
        resolve(result);
      });
      if (typeof connect === "number") {
        clearTimeout(deadline);
        resolve(connect);
      }
    });
    if (status < 0) {
      this.#addon.closeFd(fd);
      return status;
    }
    const socket = new Socket({ fd, readable: true, writable: true });
    let text = "";
    for await (const chunk of socket) text += String(chunk);
    return JSON.parse(text) as Told;
  }

  [Symbol.dispose](): void {
    for (const server of this.#servers) server.close();
    closeSync(this.fd);
  }
}

export function fdOf(socket: Socket): number {
  return (Reflect.get(socket, "_handle") as { fd: number }).fd;
}
