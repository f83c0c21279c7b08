// SPDX-License-Identifier: Apache-2.0
import type { Processes } from "./processes.ts";

/** One of the two network namespaces, with its end of the cable. */
export interface Side {
  readonly color: "red" | "blue";
  /** Name for `ip netns`. */
  readonly netns: string;
  readonly v4: string;
  readonly v6: string;
}

/** Two network namespaces joined by a veth pair. Every pair has the same addresses, as nothing joins the pairs. */
export class NamespacePair implements AsyncDisposable {
  readonly red: Side;
  readonly blue: Side;
  readonly #processes: Processes;

  private constructor(processes: Processes, prefix: string) {
    this.#processes = processes;
    this.red = { color: "red", netns: `${prefix}-red`, v4: "10.98.7.1", v6: "fd98:7::1" };
    this.blue = { color: "blue", netns: `${prefix}-blue`, v4: "10.98.7.2", v6: "fd98:7::2" };
  }

  static async make(processes: Processes, prefix: string): Promise<NamespacePair> {
    const pair = new NamespacePair(processes, prefix);
    const { red, blue } = pair;
    try {
      await processes.step(["ip", "netns", "add", red.netns]);
      await processes.step(["ip", "netns", "add", blue.netns]);
      const cable = `link add eth0 netns ${red.netns} type veth peer name eth0 netns ${blue.netns}\n`;
      await processes.step(["ip", "-batch", "-"], { input: cable });
      for (const side of [red, blue]) {
        const lines = [
          "link set lo up",
          "link set eth0 up",
          `addr add ${side.v4}/24 dev eth0`,
          // Duplicate address detection would keep the address unusable for a second.
          `addr add ${side.v6}/64 dev eth0 nodad`,
        ];
        await processes.step(["ip", "-netns", side.netns, "-batch", "-"], { input: `${lines.join("\n")}\n` });
      }
    } catch (error) {
      await pair[Symbol.asyncDispose]();
      throw error;
    }
    return pair;
  }

  get sides(): readonly [Side, Side] {
    return [this.red, this.blue];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { netns } of this.sides) {
      const exists = await this.#processes.step(["ip", "netns", "list"]);
      if (exists.split(/\s/).includes(netns)) await this.#processes.step(["ip", "netns", "del", netns]);
    }
  }
}
