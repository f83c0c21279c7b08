// SPDX-License-Identifier: Apache-2.0
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { constants } from "node:os";
import { loadAddon } from "../../native/load-addon.ts";
import { check, SystemError } from "../../native/status.ts";
import { patienceMs } from "./outcome.ts";

/** A listening socket of a scratch namespace; closed with the namespace. */
export interface Listener {
  readonly port: number;
  readonly fd: number;
}

/** A network namespace of one probe with lo up; the kernel removes it when its last fd is closed. */
export class ScratchNetns implements Disposable {
  readonly fd: number;
  readonly #closers: (() => void)[] = [];

  constructor() {
    this.fd = check(loadAddon().newNetns(true), "unshare(CLONE_NEWNET)");
  }

  /** For programs that take a namespace by path; valid while this object is. */
  get path(): string {
    return `/proc/${process.pid}/fd/${this.fd}`;
  }

  /** A TCP server inside, on a free port of the address. Its connections end with it. */
  async serve(address: string, onConnection: (socket: Socket) => void = () => {}): Promise<Listener> {
    const listener = this.#listen(address, "stream");
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      // A client that hangs up at once is no failure of the probe.
      socket.on("error", () => {});
      onConnection(socket);
    });
    this.#closers.push(() => {
      server.close();
      for (const socket of sockets) socket.destroy();
    });
    server.listen({ fd: listener.fd });
    await once(server, "listening");
    return listener;
  }

  /** A UDP server inside that sends every datagram back. */
  async echo(address: string): Promise<Listener> {
    const listener = this.#listen(address, "dgram");
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    socket.on("message", (data, from) => socket.send(data, from.port, from.address, () => {}));
    this.#closers.push(() => socket.close());
    // With an fd, `listening` comes before bind returns.
    const listening = once(socket, "listening");
    socket.bind({ fd: listener.fd, exclusive: true });
    await listening;
    return listener;
  }

  /** Connects inside and closes again; throws a SystemError, ETIMEDOUT included. */
  async connect(address: string, port: number): Promise<void> {
    const addon = loadAddon();
    const fd = check(addon.bindSocket({ address, port, netns: this.fd }), "socket", address);
    try {
      const status = await new Promise<number>((resolve) => {
        const connecting = addon.connectSocket(fd, address, port, resolve);
        if (typeof connecting === "number") {
          resolve(connecting);
          return;
        }
        const giveUp = (): void => {
          connecting.cancel();
          resolve(-constants.errno.ETIMEDOUT);
        };
        setTimeout(giveUp, patienceMs(1000)).unref();
      });
      check(status, "connect", `${address}:${port}`);
    } finally {
      addon.closeFd(fd);
    }
  }

  [Symbol.dispose](): void {
    for (const close of this.#closers) close();
    loadAddon().closeFd(this.fd);
  }

  #listen(address: string, type: "stream" | "dgram"): Listener {
    const addon = loadAddon();
    const fd = check(addon.listen({ address, port: 0, type, netns: this.fd }), "listen", address);
    return { fd, port: check(addon.localAddress(fd), "getsockname", address).port };
  }
}

/** Whether a failure says that the namespace has no IPv6, which is no fault of the hook under test. */
export function lacksIpv6(error: unknown): boolean {
  return error instanceof SystemError && ["EAFNOSUPPORT", "EADDRNOTAVAIL"].includes(error.errnoName);
}
