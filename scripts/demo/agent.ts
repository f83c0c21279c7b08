// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ConnectionRecord } from "../../src/proxy/connection-record.ts";
import { root } from "../setup/stamp.mjs";
import { DemoFailure } from "./failure.ts";
import type { NamespacePair } from "./namespace-pair.ts";
import type { Processes, Serving } from "./processes.ts";

export type Mode = "ebpf" | "iptables";

/** The built program, as `npx shunt` runs it. */
export const SHUNT = [process.execPath, join(root, "dist/main.js")] as const;

/** `shunt run` for both namespaces of a pair. */
export class Agent implements AsyncDisposable {
  readonly name: string;
  readonly mode: Mode;
  readonly #recordFile: string;
  readonly #processes: Processes;
  readonly #program: Serving;
  #readyMs = 0;
  #stopped = false;

  private constructor(processes: Processes, pair: NamespacePair, mode: Mode, folder: string) {
    this.mode = mode;
    this.name = pair.red.netns.replace(/-red$/, "");
    this.#processes = processes;
    this.#recordFile = join(folder, `${mode}.jsonl`);
    const configFile = join(folder, `${mode}.yaml`);
    const workloads = pair.sides.map(({ color, netns }) => `  - { name: ${color}, netns: ${netns} }\n`).join("");
    writeFileSync(
      configFile,
      `name: ${this.name}\nmode: ${mode}\nrecord: ${this.#recordFile}\nworkloads:\n${workloads}`,
    );
    this.#program = processes.start([...SHUNT, "run", "--config", configFile], "TERM");
  }

  /** Resolves when traffic is intercepted. */
  static async start(processes: Processes, pair: NamespacePair, mode: Mode, folder: string): Promise<Agent> {
    const startedMs = performance.now();
    const agent = new Agent(processes, pair, mode, folder);
    try {
      await agent.#program.says(/^ready$/);
      agent.#readyMs = performance.now() - startedMs;
      return agent;
    } catch (error) {
      await agent.stop().catch(() => {});
      throw error;
    }
  }

  /** From its start to its `ready`. */
  get readyMs(): number {
    return this.#readyMs;
  }

  /** Records of connections that have ended. */
  records(): readonly ConnectionRecord[] {
    if (!existsSync(this.#recordFile)) return [];
    const lines = readFileSync(this.#recordFile, "utf8").split("\n").slice(0, -1);
    return lines.map((line) => JSON.parse(line) as ConnectionRecord);
  }

  /** Ends it, and takes away what it left if it did not end as it should, which is an error. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    const { status, stderr } = await this.#program.stop();
    if (status === 0) return;
    await this.#processes.step([...SHUNT, "clean", "--name", this.name]);
    throw new DemoFailure(`the agent ended with status ${status ?? "by a signal"}: ${stderr}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
