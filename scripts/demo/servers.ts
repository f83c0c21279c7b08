// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { root } from "../setup/stamp.mjs";
import type { NamespacePair } from "./namespace-pair.ts";
import type { Processes, Serving } from "./processes.ts";

export const NODE_PORT = 8080;
export const PYTHON_PORT = 8000;
export const ECHO_PORT = 7000;

/** Longer than any run of the demo; the echo server insists on an end of its own. */
const ECHO_SECONDS = 600;

/** Real servers in both namespaces: Node in red, Python and the echo server of the measurement in blue. */
export class Servers implements AsyncDisposable {
  readonly node: Serving;
  readonly python: Serving;
  readonly #echo: Serving;

  private constructor(processes: Processes, { red, blue }: NamespacePair) {
    const script = join(root, "scripts/demo/programs/web-server.mjs");
    const pages = join(root, "scripts/demo/programs");
    const echo = join(root, "addon/build/Release/shunt-echo");
    const inRed = { netns: red.netns };
    const inBlue = { netns: blue.netns };
    this.node = processes.start([process.execPath, script, `${NODE_PORT}`], "KILL", inRed);
    const python = ["python3", "-u", "-m", "http.server", `${PYTHON_PORT}`, "--bind", "::", "--directory", pages];
    this.python = processes.start(python, "KILL", inBlue);
    this.#echo = processes.start([echo, "::", `${ECHO_PORT}`, "-d", `${ECHO_SECONDS}`], "KILL", inBlue);
  }

  /** Resolves when all of them listen. */
  static async start(processes: Processes, pair: NamespacePair): Promise<Servers> {
    const servers = new Servers(processes, pair);
    try {
      await Promise.all([
        servers.node.says(/^listening/),
        servers.python.says(/^Serving HTTP/),
        servers.#echo.says(/^ready/),
      ]);
    } catch (error) {
      await servers[Symbol.asyncDispose]();
      throw error;
    }
    return servers;
  }

  /** Addresses that the servers saw as their clients', from their own logs, each once. */
  get clientsSeen(): readonly string[] {
    const asked = [...this.node.lines, ...this.python.lines].filter((line) => line.includes("GET "));
    return [...new Set(asked.map((line) => (line.split(" ")[0] ?? "").replace(/^::ffff:/, "")))].sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.node, this.python, this.#echo].map((server) => server[Symbol.asyncDispose]()));
  }
}
