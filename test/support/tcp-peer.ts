// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { Server, type Socket } from "node:net";
import { loadAddon } from "../../src/native/load-addon.ts";
import { check } from "../../src/native/status.ts";
import { type ListenSocketOptions, listeningOn, makeListenSocket } from "../../src/net/listen-socket.ts";
import { takeSocketError } from "../../src/net/socket-error.ts";
import { type ConnectRequest, connect } from "./connector.ts";
import { Inbox, patienceMs } from "./inbox.ts";

/** A half-open TCP socket that keeps what it hears: bytes, end, error. Nothing is read before `read` or `text`. */
export class TcpPeer {
  readonly socket: Socket;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** Error code, or "close" without one. */
  readonly fate: Promise<string>;
  #chunks: Buffer[] = [];
  #ended = false;
  readonly #news = new Inbox<string>();

  constructor(socket: Socket) {
    this.socket = socket;
    this.localPort = socket.localPort ?? 0;
    this.remoteAddress = socket.remoteAddress ?? "";
    this.remotePort = socket.remotePort ?? 0;
    this.fate = new Promise((resolve) => {
      socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      socket.once("close", () => resolve("close"));
      // Node does not tell a reset right behind data from an end.
      socket.once("end", () => {
        const error = takeSocketError(socket);
        if (error) resolve(error);
      });
    });
    socket.on("end", () => {
      this.#ended = true;
      this.#news.push("end");
    });
  }

  /** Connects, in a namespace when `netnsFd` is given. */
  static connect(request: ConnectRequest): Promise<TcpPeer> {
    return new Promise((resolve, reject) => {
      const result = connect(request, {
        onConnected: (socket) => resolve(new TcpPeer(socket)),
        onConnectFailed: (failure) => reject(new Error(failure.errnoName)),
      });
      if ("errnoName" in result) reject(new Error(result.errnoName));
    });
  }

  read(): this {
    if (this.socket.listenerCount("data") === 0) {
      this.socket.on("data", (chunk) => {
        this.#chunks.push(chunk);
        this.#news.push("data");
      });
    }
    this.socket.resume();
    return this;
  }

  /** Everything up to the other side's end. */
  async toEnd(): Promise<Buffer> {
    this.read();
    await this.#news.until(() => this.#ended);
    return Buffer.concat(this.#chunks);
  }

  /** Waits until so many bytes have come. */
  async bytes(count: number): Promise<Buffer> {
    this.read();
    return this.#news.until(() => {
      const all = Buffer.concat(this.#chunks);
      return all.length >= count && all;
    });
  }

  write(data: string | Buffer): this {
    this.socket.write(data);
    return this;
  }

  end(): this {
    this.socket.end();
    return this;
  }

  reset(): void {
    this.socket.resetAndDestroy();
  }
}

/** A listener whose connections are taken one by one. */
export class TcpServer implements AsyncDisposable {
  readonly address: string;
  readonly port: number;
  readonly accepted = new Inbox<TcpPeer>();
  readonly #server = new Server({ allowHalfOpen: true, pauseOnConnect: true });

  /** `fd`: a socket that listens already. */
  constructor(options: Partial<ListenSocketOptions> & { readonly fd?: number } = {}) {
    const fd = options.fd ?? makeListenSocket({ address: "127.0.0.1", port: 0, ...options });
    ({ address: this.address, port: this.port } = listeningOn(fd));
    this.#server.on("connection", (socket) => this.accepted.push(new TcpPeer(socket)));
    this.#server.listen({ fd });
  }

  /** Sends back whatever comes, and ends when the other side does. */
  echo(): this {
    this.#server.on("connection", (socket) => {
      socket.on("error", () => {});
      socket.pipe(socket);
    });
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const peer of this.accepted.all) peer.socket.destroy();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, "close", { signal: AbortSignal.timeout(patienceMs(10_000)) });
  }
}

/** A listener of one place in its queue, and that one taken: whoever connects now gets no answer. */
export async function silentListener() {
  const addon = loadAddon();
  const fd = addon.listen({ address: "127.0.0.1", port: 0, type: "stream", backlog: 0 });
  const { address, port } = listeningOn(fd);
  const filler = await TcpPeer.connect({ address, port });
  return {
    address,
    port,
    /** Gives the socket to a server, which then answers. */
    wake(): TcpServer {
      filler.socket.destroy();
      return new TcpServer({ fd: check(addon.duplicate(fd), "dup") });
    },
    [Symbol.dispose]: () => {
      filler.socket.destroy();
      addon.closeFd(fd);
    },
  };
}
