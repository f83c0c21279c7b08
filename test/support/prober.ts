// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { eventually } from "./inbox.ts";
import { LabProcess } from "./lab-process.ts";

/** One connection of a prober. */
export interface Probe {
  /** When it called connect(2), in ms of Date.now(). */
  readonly at: number;
  readonly target: string;
  /** `ok`, an errno name, `empty` when nothing came back, `timeout` after five seconds of patience. */
  readonly result: string;
  /** Its own address: loopback where the connection was redirected on its way out. */
  readonly local: string;
  /** Its address as the server sees it: the pass-through address where the server's side intercepts. */
  readonly client: string;
  /** The server sees another port than its own; only told with `ownPorts`. */
  readonly steered?: boolean;
}

export interface ProberSettings {
  /** Connects from ports of its choice, by which proxies that the addresses do not show are found out. */
  readonly ownPorts?: boolean;
}

/** A client that connects to a tell server at every address each 20 ms, and tells how that went. */
export class Prober implements AsyncDisposable {
  readonly #process: LabProcess;
  readonly #parsed: Probe[] = [];

  private constructor(process: LabProcess) {
    this.#process = process;
  }

  static async start(
    netns: string,
    port: number,
    addresses: readonly string[],
    { ownPorts = false }: ProberSettings = {},
  ): Promise<Prober> {
    const program = join(import.meta.dirname, "programs/prober.mjs");
    const environment = ownPorts ? ["env", "PROBER_FIRST_PORT=20000"] : [];
    const argv = [...environment, process.execPath, program, String(port), ...addresses];
    return new Prober(await LabProcess.start(argv, netns));
  }

  /** Those that began in this time, in order. */
  probes(from = 0, to = Number.POSITIVE_INFINITY): Probe[] {
    const unread = this.#process.lines.slice(this.#parsed.length);
    this.#parsed.push(...unread.map((line) => JSON.parse(line) as Probe));
    return this.#parsed.filter(({ at }) => at >= from && at < to).sort((a, b) => a.at - b.at);
  }

  /** Waits until `count` connections to every address that began at or after `from` fit. */
  async until(fits: (probe: Probe) => boolean, from: number, addresses: readonly string[], count = 10): Promise<void> {
    await eventually(() => {
      const found = this.probes(from).filter(fits);
      return addresses.every((address) => found.filter(({ target }) => target === address).length >= count);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

/** What a connection was, in one word: proxied, direct, or how it failed. */
export function fateOf({ result, local, client, steered }: Probe): string {
  if (result !== "ok") return result;
  if (steered !== undefined) return steered ? "proxied" : "direct";
  return local === "127.0.0.1" || local === "::1" || client === "127.0.0.6" || client === "::6" ? "proxied" : "direct";
}
