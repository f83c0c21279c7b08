// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { adminSocketPath } from "../config/admin-socket-path.ts";
import type { Flow, FlowLine } from "../config/formats/flow.ts";
import type { StatusReport } from "../config/formats/status.ts";
import { BenchError } from "./bench-error.ts";
import type { Processes, Serving } from "./processes.ts";
import { SHUNT } from "./tools.ts";

/** How long nothing new means that nothing more comes. */
const QUIET_MS = 1_000;

/** `shunt run`; without a record file, which costs it something for each connection. */
export class ShuntAgent implements AsyncDisposable {
  readonly name: string;
  readonly #processes: Processes;
  readonly #program: Serving;

  private constructor(name: string, processes: Processes, program: Serving) {
    this.name = name;
    this.#processes = processes;
    this.#program = program;
  }

  /**
   * Resolves when traffic is intercepted.
   * @param file configuration without a name
   * @param cgroup where its processes are
   */
  static async start(processes: Processes, { name, folder, file, cgroup }: AgentSettings): Promise<ShuntAgent> {
    const path = join(folder, `${name}.yaml`);
    // JSON is YAML.
    writeFileSync(path, JSON.stringify({ name, logLevel: "warn", ...file }));
    const argv = [...SHUNT, "run", "--config", path];
    const program = processes.start(argv, "TERM", cgroup === undefined ? {} : { cgroup });
    const agent = new ShuntAgent(name, processes, program);
    try {
      await program.says("ready");
      return agent;
    } catch (error) {
      await agent[Symbol.asyncDispose]().catch(() => {});
      throw error;
    }
  }

  status(): Promise<StatusReport> {
    return this.#ask<StatusReport>("/status");
  }

  /** Whether it accelerates, and why not. */
  async acceleration(): Promise<StatusReport["acceleration"]> {
    return (await this.status()).acceleration;
  }

  /** What is told of the connections that are open or end while something is done, the last news of each. */
  async flowsDuring(done: Promise<unknown>): Promise<readonly Flow[]> {
    const news = new Map<string, Flow>();
    const stop = new AbortController();
    let changed = performance.now();
    const following = this.#follow(stop.signal, (flow) => {
      changed = performance.now();
      news.set(flow.id, flow);
    });
    try {
      await Promise.race([done, following]);
      const allClosed = (): boolean => [...news.values()].every(({ state }) => state === "closed");
      // The ends of connections are told a little later than their clients see them.
      while (!(allClosed() && news.size > 0) && performance.now() - changed < QUIET_MS) await sleep(20);
    } finally {
      stop.abort();
      await following.catch(() => {});
    }
    return [...news.values()];
  }

  async #follow(signal: AbortSignal, take: (flow: Flow) => void): Promise<void> {
    const settings = { socketPath: adminSocketPath(this.name), path: "/flows?follow=1", headers: { host: "shunt" } };
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request({ ...settings, signal }, resolve)
        .on("error", reject)
        .end();
    });
    for await (const line of createInterface({ input: response })) {
      const flow = JSON.parse(line) as FlowLine;
      if (!("lost" in flow)) take(flow);
    }
  }

  /** Connections of proxies, and those that one proxy has spared another. */
  async passages(): Promise<number> {
    const { workloads } = await this.status();
    return workloads.reduce(
      (sum, { connections, counters }) => sum + connections.total + (counters.inbound["hop-left-out"] ?? 0),
      0,
    );
  }

  async #ask<Answer>(path: string): Promise<Answer> {
    const settings = { socketPath: adminSocketPath(this.name), path, headers: { host: "shunt" } };
    const text = await new Promise<string>((resolve, reject) => {
      const asking = request({ ...settings, signal: AbortSignal.timeout(10_000) }, (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
        response.on("end", () => (response.statusCode === 200 ? resolve(body) : reject(new Error(body.trim()))));
        response.on("error", reject);
      });
      asking.on("error", reject).end();
    }).catch((cause: Error) => {
      const output = this.#program.output.trim();
      throw new BenchError("ERR_BENCH_PROGRAM", `agent ${this.name}: ${path}: ${cause.message}; ${output}`, { cause });
    });
    return JSON.parse(text) as Answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const status = await this.#program.stop();
    if (status === 0) return;
    await this.#processes.step([...SHUNT, "clean", "--name", this.name]);
    const how = status === null ? "by a signal" : `with status ${status}`;
    throw new BenchError("ERR_BENCH_PROGRAM", `agent ${this.name} ended ${how}: ${this.#program.output.trim()}`);
  }
}

export interface AgentSettings {
  readonly name: string;
  /** Where its configuration is written. */
  readonly folder: string;
  readonly file: Readonly<Record<string, unknown>>;
  readonly cgroup?: string;
}
