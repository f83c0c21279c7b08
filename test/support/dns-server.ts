// SPDX-License-Identifier: Apache-2.0
import dgram from "node:dgram";
import { closeSync, openSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import dnsPacket, { type DecodedPacket } from "dns-packet";
import { frame, TcpFrames } from "../../src/dns/tcp-frames.ts";
import { loadAddon } from "../../src/native/load-addon.ts";

export interface TestQuery {
  readonly transport: "udp" | "tcp";
  readonly bytes: Buffer;
  readonly packet: DecodedPacket;
  readonly name: string;
  readonly client: { readonly address: string; readonly port: number };
  /** The address of the server's that was asked. */
  readonly server: string;
  /** Sends bytes to the client as they are; over UDP from another socket when told so. */
  reply(bytes: Buffer, from?: dgram.Socket): void;
  /** The connection of a TCP query. */
  readonly connection: Socket | undefined;
}

/** A DNS server that says what a test wants, over UDP and TCP on both families of a namespace. */
export class TestDnsServer implements Disposable {
  readonly queries: TestQuery[] = [];
  /** Sockets on other addresses or ports, to forge answers from. */
  readonly strays: dgram.Socket[] = [];
  handler: (query: TestQuery) => void = (query) => query.reply(answerTo(query));
  readonly #netns: number;
  readonly #udp: dgram.Socket[] = [];
  readonly #tcp: Server[] = [];
  readonly #connections = new Set<Socket>();

  private constructor(netns: number) {
    this.#netns = netns;
  }

  static async start(netnsPath: string, addresses: readonly string[], port = 53): Promise<TestDnsServer> {
    const server = new TestDnsServer(openSync(netnsPath, "r"));
    for (const address of addresses) {
      server.#udp.push(
        await server.udpSocket(address, port, (socket, bytes, from) => {
          server.#take({
            transport: "udp",
            bytes,
            client: from,
            server: address,
            connection: undefined,
            reply: (answer, stray) => (stray ?? socket).send(answer, from.port, from.address),
          });
        }),
      );
      await server.#listen(address, port);
    }
    return server;
  }

  async udpSocket(
    address: string,
    port: number,
    onMessage: (socket: dgram.Socket, bytes: Buffer, from: dgram.RemoteInfo) => void = () => {},
  ): Promise<dgram.Socket> {
    const v6 = address.includes(":");
    const fd = loadAddon().listen({ address, port, type: "dgram", netns: this.#netns });
    if (fd < 0) throw new Error(`udp ${address} ${port}: ${fd}`);
    const socket = dgram.createSocket(v6 ? "udp6" : "udp4");
    socket.on("message", (bytes, from) => onMessage(socket, bytes, from));
    await new Promise<void>((resolve) => socket.bind({ fd }, resolve));
    return socket;
  }

  async stray(address: string, port: number): Promise<dgram.Socket> {
    const socket = await this.udpSocket(address, port);
    this.strays.push(socket);
    return socket;
  }

  async #listen(address: string, port: number): Promise<void> {
    const fd = loadAddon().listen({ address, port, type: "stream", netns: this.#netns, reuseAddress: true });
    if (fd < 0) throw new Error(`tcp ${address} ${port}: ${fd}`);
    const listener = createServer((socket) => {
      this.#connections.add(socket);
      const client = { address: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 };
      const frames = new TcpFrames((bytes) =>
        this.#take({
          transport: "tcp",
          bytes,
          client,
          server: address,
          connection: socket,
          reply: (answer) => socket.write(frame(answer)),
        }),
      );
      socket.on("data", (chunk) => frames.push(chunk));
      socket.on("error", () => {});
      socket.on("close", () => this.#connections.delete(socket));
    });
    this.#tcp.push(listener);
    await new Promise<void>((resolve) => listener.listen({ fd }, resolve));
  }

  #take(came: Omit<TestQuery, "packet" | "name">): void {
    const packet = dnsPacket.decode(came.bytes);
    const query = { ...came, packet, name: packet.questions?.[0]?.name ?? "" };
    this.queries.push(query);
    this.handler(query);
  }

  [Symbol.dispose](): void {
    for (const socket of [...this.#udp, ...this.strays]) socket.close();
    for (const listener of this.#tcp) listener.close();
    for (const connection of this.#connections) connection.destroy();
    closeSync(this.#netns);
  }
}

/** A good answer: `count` TXT records of 200 characters, or one address. */
export function answerTo(
  query: TestQuery,
  options: { texts?: number; address?: string; name?: string; truncated?: boolean } = {},
): Buffer {
  const name = options.name ?? query.name;
  const question = query.packet.questions?.[0];
  if (!question) throw new Error("a query without a question");
  const texts = Array.from({ length: options.texts ?? 0 }, (_, i) => ({
    type: "TXT" as const,
    name,
    ttl: 1,
    data: String(i % 10).repeat(200),
  }));
  return dnsPacket.encode({
    type: "response",
    id: query.packet.id ?? 0,
    flags:
      dnsPacket.RECURSION_DESIRED |
      dnsPacket.RECURSION_AVAILABLE |
      (options.truncated ? dnsPacket.TRUNCATED_RESPONSE : 0),
    questions: [{ ...question, name }],
    answers: texts.length > 0 ? texts : [{ type: "A", name, ttl: 1, data: options.address ?? "192.0.2.80" }],
  });
}
