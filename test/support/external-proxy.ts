// SPDX-License-Identifier: Apache-2.0
/** An unmodified proxy in a namespace, as user and group 1337 like a sidecar. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ListeningSockets } from "../../src/intercept/listening-sockets.ts";
import { NetworkNamespace } from "../../src/intercept/network-namespace.ts";
import { eventually } from "./inbox.ts";
import { LabProcess } from "./lab-process.ts";
import type { Peer } from "./peers.ts";

/** User and group of Istio's sidecars. */
export const PROXY_ID = 1337;

/** What a workload says of such a proxy. */
export const EXTERNAL = { external: true, uid: PROXY_ID, gid: PROXY_ID };

/** Reading is allowed, because the cache of downloaded programs can lie below a home directory. */
const AS_PROXY = [
  "setpriv",
  `--reuid=${PROXY_ID}`,
  `--regid=${PROXY_ID}`,
  "--clear-groups",
  "--inh-caps=+dac_read_search",
  "--ambient-caps=+dac_read_search",
];

export interface ExternalProxySettings {
  readonly peer: Extract<Peer, { ok: true }>;
  /** Path of the namespace. */
  readonly netns: string;
  readonly config: string;
  /** Arguments that make it run in the foreground with that file. */
  readonly args: (configFile: string) => readonly string[];
  /** Started when it listens on every one of them. */
  readonly ports: readonly number[];
}

export class ExternalProxy implements AsyncDisposable {
  readonly process: LabProcess;
  readonly #folder: string;

  private constructor(process: LabProcess, folder: string) {
    this.process = process;
    this.#folder = folder;
  }

  static async start({ peer, netns, config, args, ports }: ExternalProxySettings): Promise<ExternalProxy> {
    const folder = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-proxy-`));
    const file = join(folder, "proxy.yaml");
    writeFileSync(file, config);
    const env = Object.entries(peer.env).map(([name, value]) => `${name}=${value}`);
    const argv = [...AS_PROXY, "env", ...env, peer.command, ...args(file)];
    const started = await LabProcess.start(["sh", "-c", 'echo ready; exec "$@"', "sh", ...argv], netns);
    const proxy = new ExternalProxy(started, folder);
    try {
      await eventually(() => {
        const ended = started.lines.find((line) => line.startsWith("ended with"));
        if (ended !== undefined) throw new Error(proxy.output);
        return ports.every((port) => listens(netns, port));
      });
    } catch (error) {
      await proxy[Symbol.asyncDispose]();
      throw new Error(`the proxy does not listen:\n${proxy.output}`, { cause: error });
    }
    return proxy;
  }

  get output(): string {
    return this.process.lines.join("\n");
  }

  /** Lines of its log that fit. */
  logged(pattern: RegExp): readonly string[] {
    return this.process.lines.filter((line) => pattern.test(line));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export function listens(netnsPath: string, port: number): boolean {
  using netns = new NetworkNamespace(netnsPath);
  using table = new ListeningSockets(netns);
  return table.onPort(port).length > 0;
}
