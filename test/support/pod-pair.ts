// SPDX-License-Identifier: Apache-2.0
import { LabProcesses } from "./lab-process.ts";
import type { Mode } from "./modes.ts";
import { ip, type LabNode, NetLab } from "./net-lab.ts";
import { type AgentFile, ShuntAgent } from "./shunt.ts";

/** Fields of a workload besides name and target. */
export type Traffic = Record<string, unknown>;

export interface PodPairSettings {
  readonly mode: Mode;
  /** What of the client's namespace is intercepted; absent: nothing. */
  readonly client?: Traffic;
  readonly server?: Traffic;
  /** Further fields of the configuration file. */
  readonly agent?: Record<string, unknown>;
}

/** Two namespaces with processes in them, and an agent that intercepts one or both. */
export class PodPair implements AsyncDisposable {
  readonly lab: NetLab;
  readonly processes = new LabProcesses();
  readonly #settings: PodPairSettings;
  #agent: ShuntAgent | undefined;

  private constructor(settings: PodPairSettings) {
    this.#settings = settings;
    this.lab = new NetLab();
  }

  static async start(settings: PodPairSettings): Promise<PodPair> {
    const pair = new PodPair(settings);
    try {
      pair.#agent = await ShuntAgent.start(pair.agentFile());
      return pair;
    } catch (error) {
      await pair[Symbol.asyncDispose]();
      throw error;
    }
  }

  get agent(): ShuntAgent {
    if (!this.#agent) throw new Error("the agent has not started");
    return this.#agent;
  }

  /** The configuration, with other traffic for whom it is given. */
  agentFile(changes: { readonly client?: Traffic; readonly server?: Traffic } = {}): AgentFile {
    const { mode, agent = {} } = this.#settings;
    const { client, server } = { ...this.#settings, ...changes };
    const workloads = [
      ...(client === undefined ? [] : [{ name: "client", netns: this.lab.client.path, ...client }]),
      ...(server === undefined ? [] : [{ name: "server", netns: this.lab.server.path, ...server }]),
    ];
    return { mode, ...agent, workloads };
  }

  /** `ip ARGS…` in the namespace of one of them. */
  ip({ netns }: LabNode, ...args: string[]): string {
    return ip("-n", netns, ...args);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent?.[Symbol.asyncDispose]();
    await this.processes[Symbol.asyncDispose]();
    this.lab[Symbol.dispose]();
  }
}

/** `ip:port` as records have it. */
export function endpoint(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
