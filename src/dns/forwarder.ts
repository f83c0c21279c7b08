// SPDX-License-Identifier: Apache-2.0
import dgram from "node:dgram";
import { createServer, isIPv6, type Server, type Socket } from "node:net";
import { ShuntError } from "../util/shunt-error.ts";
import { DnsCounterSet, type DnsCounters } from "./dns-counters.ts";
import { DEFAULT_DNS_LIMITS, type DnsForwarderOptions } from "./forwarder-options.ts";
import { TcpClient } from "./tcp-client.ts";
import { type ForwarderContext, UdpServer } from "./udp-server.ts";

export class DnsForwarderError extends ShuntError<"ERR_DNS_LISTEN"> {}

/**
 * Takes captured DNS queries and passes them on to the resolver they were meant for, over the transport they
 * came by; bytes stay as they are but for the id. It caches nothing.
 */
export class DnsForwarder implements AsyncDisposable {
  readonly #context: ForwarderContext;
  readonly #counters: DnsCounterSet;
  readonly #udp: UdpServer[] = [];
  readonly #tcp: Server[] = [];
  readonly #clients = new Set<TcpClient>();

  private constructor(context: ForwarderContext, counters: DnsCounterSet) {
    this.#context = context;
    this.#counters = counters;
  }

  /** Adopts the sockets and answers on them. Throws a DnsForwarderError, with all of them closed, when one is unfit. */
  static async start(options: DnsForwarderOptions): Promise<DnsForwarder> {
    const counters = new DnsCounterSet();
    const forwarder = new DnsForwarder(
      {
        sockets: options,
        limits: { ...DEFAULT_DNS_LIMITS, ...options.limits },
        log: { counters, onQuery: options.onQuery },
        originalResolver: options.originalResolver ?? (() => undefined),
        fallbackResolvers: options.fallbackResolvers,
      },
      counters,
    );
    const unadopted = new Set([...options.udpFds, ...options.tcpFds]);
    try {
      for (const fd of options.udpFds) await forwarder.#adoptUdp(fd, options, unadopted);
      for (const fd of options.tcpFds) await forwarder.#adoptTcp(fd, unadopted);
    } catch (error) {
      for (const fd of unadopted) options.addon.closeFd(fd);
      await forwarder.close();
      throw error;
    }
    return forwarder;
  }

  get counters(): DnsCounters {
    return this.#counters.snapshot();
  }

  /** For queries to come: how its sockets towards resolvers are marked, and who is asked when it is not known whom. */
  configure(changes: Pick<DnsForwarderOptions, "mark" | "fallbackResolvers">): void {
    const { mark, fallbackResolvers } = changes;
    // Servers and clients have the same object.
    Object.assign(this.#context, { fallbackResolvers, sockets: { ...this.#context.sockets, mark } });
  }

  /** Drops what is under way and closes every socket. */
  async close(): Promise<void> {
    for (const server of this.#udp.splice(0)) server.close();
    for (const client of this.#clients) client.close();
    await Promise.all(
      this.#tcp.splice(0).map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #adoptUdp(fd: number, options: DnsForwarderOptions, unadopted: Set<number>): Promise<void> {
    const local = options.addon.localAddress(fd);
    if (typeof local === "number")
      throw new DnsForwarderError("ERR_DNS_LISTEN", `descriptor ${fd} is no bound UDP socket`);
    const socket = dgram.createSocket({ type: isIPv6(local.address) ? "udp6" : "udp4" });
    await new Promise<void>((resolve, reject) => {
      socket.once("error", (cause) =>
        reject(new DnsForwarderError("ERR_DNS_LISTEN", `descriptor ${fd} can't be adopted as a UDP socket`, { cause })),
      );
      socket.bind({ fd, exclusive: true }, resolve);
    });
    unadopted.delete(fd);
    socket.removeAllListeners("error");
    this.#udp.push(new UdpServer(socket, this.#context));
  }

  async #adoptTcp(fd: number, unadopted: Set<number>): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#accepted(socket));
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause) =>
        reject(
          new DnsForwarderError("ERR_DNS_LISTEN", `descriptor ${fd} can't be adopted as a TCP listener`, { cause }),
        ),
      );
      server.listen({ fd, exclusive: true }, resolve);
    });
    unadopted.delete(fd);
    server.removeAllListeners("error");
    // EMFILE and the like: the connection is lost, the listener goes on.
    server.on("error", () => {});
    this.#tcp.push(server);
  }

  #accepted(socket: Socket): void {
    const { remoteAddress, remotePort, localPort } = socket;
    if (
      remoteAddress === undefined ||
      remotePort === undefined ||
      localPort === undefined ||
      this.#clients.size >= this.#context.limits.maxTcpClients
    ) {
      socket.destroy();
      return;
    }
    const fd = descriptorOf(socket);
    const arrival = { localPort, ...(fd !== undefined && { fd }) };
    const client = new TcpClient(socket, { address: remoteAddress, port: remotePort }, arrival, this.#context);
    this.#clients.add(client);
    this.#counters.tcpClients = this.#clients.size;
    socket.on("close", () => {
      this.#clients.delete(client);
      this.#counters.tcpClients = this.#clients.size;
    });
  }
}

/** Node has no public way to ask for it; the handle has carried it as `fd` since 0.10. */
function descriptorOf(socket: Socket): number | undefined {
  const handle: unknown = Reflect.get(socket, "_handle");
  const fd: unknown = typeof handle === "object" && handle !== null ? Reflect.get(handle, "fd") : undefined;
  return typeof fd === "number" && fd >= 0 ? fd : undefined;
}
