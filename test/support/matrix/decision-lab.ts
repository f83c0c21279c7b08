// SPDX-License-Identifier: Apache-2.0
/** A namespace whose connections end at servers that say who they are, and a world outside of it. */
import { patienceMs } from "../inbox.ts";
import { LabProcesses, python } from "../lab-process.ts";
import { ip, NetLab } from "../net-lab.ts";
import { type MatrixAnswer, MatrixAsker } from "./asker.ts";

export const PORTS = { outbound: 15001, inbound: 15006, dns: 15053 } as const;
export const SERVED = [22, 53, 80, 443, 8080];
/** Addresses of the world, as destinations and as clients. */
export const WORLD = ["10.1.2.3", "10.1.9.9", "10.200.0.1", "192.0.2.77", "fd00:1::5", "fd00:2::5", "2001:db8::1"];
const LOOPBACK = ["127.0.0.1", "127.5.5.5", "::1"];
export const DESTINATIONS = [...WORLD, ...LOOPBACK, "local4", "local6"];

export interface Inquiry {
  readonly direction: "outbound" | "inbound";
  readonly transport: "tcp" | "udp";
  readonly address: string;
  readonly port: number;
  readonly source?: string;
  /** By an IPv6 socket, for an IPv4 address. */
  readonly mapped: boolean;
  readonly who: { readonly uid?: number; readonly gid?: number; readonly mark?: number };
}

export class DecisionLab implements AsyncDisposable {
  readonly lab = new NetLab("decide");
  readonly #processes = new LabProcesses();
  #pod: MatrixAsker | undefined;
  #world: MatrixAsker | undefined;
  /** What becomes of each inquiry while nothing intercepts. */
  readonly #untouched = new Map<string, string>();

  /** `handedOver`: inbound connections come to the proxy with their destination, and so to loopback. */
  static async start({ handedOver }: { readonly handedOver: boolean }): Promise<DecisionLab> {
    const made = new DecisionLab();
    try {
      await made.#start(handedOver);
      return made;
    } catch (error) {
      await made[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Addresses of the namespace, loopback aside. */
  get local(): readonly string[] {
    return [this.lab.client.v4, this.lab.client.v6];
  }

  /** Who took it, and where they think it was going. */
  async outcome(inquiry: Inquiry): Promise<string> {
    const { direction, transport, address, port, source, mapped, who } = inquiry;
    const asker = direction === "outbound" ? this.#pod : this.#world;
    if (!asker) throw new Error("nobody asks");
    const place = mapped && !address.includes(":") ? `::ffff:${address}` : address;
    const timeoutMs = patienceMs(20_000);
    const bound = source === undefined ? {} : { source };
    return described(await asker.ask({ transport, address: place, port, ...bound, ...who, timeoutMs }));
  }

  /** What became of it before anything was intercepted; asked once, which has to be while nothing is. */
  async untouched(inquiry: Inquiry): Promise<string> {
    const key = JSON.stringify({ ...inquiry, who: {} });
    const known = this.#untouched.get(key);
    if (known !== undefined) return known;
    const outcome = await this.outcome(inquiry);
    this.#untouched.set(key, outcome);
    return outcome;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pod?.[Symbol.asyncDispose]();
    await this.#world?.[Symbol.asyncDispose]();
    await this.#processes[Symbol.asyncDispose]();
    this.lab[Symbol.dispose]();
  }

  async #start(handedOver: boolean): Promise<void> {
    const { client, server } = this.lab;
    for (const address of WORLD) {
      ip("-n", server.netns, "addr", "add", `${address}/${address.includes(":") ? 128 : 32}`, "dev", "lo");
    }
    ip("-n", client.netns, "route", "add", "default", "via", server.v4);
    ip("-n", client.netns, "-6", "route", "add", "default", "via", server.v6);
    const tcp = SERVED.flatMap((port) => ["--tcp", String(port)]);
    const start = (netns: string, who: string, ...args: string[]): Promise<unknown> =>
      this.#processes.start(python("matrix_server.py", "--who", who, ...args), netns);
    await start(server.path, "world", ...tcp, "--udp", "53", ...WORLD);
    await start(client.path, "app", ...tcp, "--udp", "53", ...LOOPBACK, ...this.local);
    await start(client.path, "outbound", "--tcp", String(PORTS.outbound), "127.0.0.1", "::1");
    const inbound = handedOver ? ["--transparent", "127.0.0.1", "::1"] : ["0.0.0.0", "::"];
    await start(client.path, "inbound", "--tcp", String(PORTS.inbound), ...inbound);
    await start(client.path, "dns", "--tcp", String(PORTS.dns), "--udp", String(PORTS.dns), "127.0.0.1", "::1");
    this.#pod = await MatrixAsker.start(client.path);
    this.#world = await MatrixAsker.start(server.path);
  }
}

/** "outbound for 10.1.2.3 80"; of a connection that nobody redirected it is where it ended. */
function described({ error, told }: MatrixAnswer): string {
  if (!told) return error ?? "";
  const [address, port] = told.original ?? told.server ?? told.sender ?? [];
  return `${told.who ?? "nobody known"} for ${address} ${port}`;
}
