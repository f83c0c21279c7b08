// SPDX-License-Identifier: Apache-2.0
import type { Endpoint } from "../../src/net/endpoint.ts";
import { listeningOn, makeListenSocket } from "../../src/net/listen-socket.ts";
import type { ConnectionRecord } from "../../src/proxy/connection-record.ts";
import type { OpenConnection } from "../../src/proxy/open-connection.ts";
import type { ProxyListener } from "../../src/proxy/proxy-listener.ts";
import { ProxyRuntime } from "../../src/proxy/proxy-runtime.ts";
import { Inbox } from "./inbox.ts";
import { TcpPeer } from "./tcp-peer.ts";

export interface RigOptions extends Partial<Omit<ProxyListener, "fd">> {
  /** Where the proxy itself listens. */
  readonly address?: string;
  readonly listenNetnsFd?: number;
}

/** A proxy in this thread with one listener, for which every connection was meant for `destination`. */
export class ProxyRig implements AsyncDisposable {
  readonly runtime: ProxyRuntime;
  readonly records = new Inbox<ConnectionRecord>();
  readonly opened = new Inbox<OpenConnection>();
  readonly name = "rig";
  readonly address: string;
  readonly port: number;
  readonly #listenNetnsFd: number | undefined;

  private constructor(address: string, port: number, netnsFd: number | undefined) {
    this.address = address;
    this.port = port;
    this.#listenNetnsFd = netnsFd;
    this.runtime = new ProxyRuntime({
      onOpen: this.opened.push,
      onRecord: this.records.push,
      onAcceptError: (_, error) => {
        throw error;
      },
      now: () => performance.timeOrigin + performance.now(),
    });
  }

  static async start(destination: Endpoint | undefined, options: RigOptions = {}): Promise<ProxyRig> {
    const { address = "127.0.0.1", listenNetnsFd, ...listener } = options;
    const fd = makeListenSocket({ address, port: 0, ...(listenNetnsFd !== undefined && { netnsFd: listenNetnsFd }) });
    const rig = new ProxyRig(address, listeningOn(fd).port, listenNetnsFd);
    rig.runtime.addListener({
      name: rig.name,
      workload: "web",
      direction: "outbound",
      connectTimeoutMs: 10_000,
      idleTimeoutMs: 0,
      source: { kind: "local" },
      ownPorts: [rig.port],
      interception: "ebpf",
      lookup: () => destination && { ...destination, interception: "ebpf" },
      ...listener,
      fd,
    });
    return rig;
  }

  /** A client of the proxy. */
  connect(): Promise<TcpPeer> {
    return TcpPeer.connect({ address: this.address, port: this.port, netnsFd: this.#listenNetnsFd });
  }

  /** Connects and says how that ended: an errno name, also when the reset comes before the client could look. */
  async fateOfClient(): Promise<string> {
    try {
      return await (await this.connect()).read().fate;
    } catch (error) {
      return (error as Error).message;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.runtime.close();
  }
}
