// SPDX-License-Identifier: Apache-2.0
import { iptablesBackend } from "../intercept/iptables/backend.ts";
import { execIn } from "../intercept/iptables/tools.ts";
import type { NetworkNamespace } from "../intercept/network-namespace.ts";
import { readProcNet } from "../intercept/read-proc-net.ts";
import type { Logger } from "../util/log.ts";
import type { Workload } from "./workload/workload.ts";

/** Asked first, because it costs one program and most namespaces have none. */
async function hasNoTables(netns: NetworkNamespace, signal: AbortSignal): Promise<boolean> {
  const legacy = ["ip_tables_names", "ip6_tables_names"].some((name) => readProcNet(netns, name) !== "");
  if (legacy) return false;
  const listed = execIn({ netnsPath: netns.currentPath }, "nft", ["list", "tables"], { signal });
  // Without nft, iptables is asked.
  return listed.then(
    ({ stdout }) => stdout === "",
    () => false,
  );
}

/** How many are told by name. */
const TOLD = 3;

/**
 * Rules of other interceptors in the namespaces of workloads, such as those of Istio's init container: a connection that
 * meets both mostly fails. Looked for once in each workload's life, and left alone.
 */
export class ForeignRules implements Disposable {
  readonly #log: Logger;
  readonly #found = new WeakMap<Workload, readonly string[]>();
  readonly #abort = new AbortController();
  #turn: Promise<void> = Promise.resolve();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** In the words of the programs that list them; empty also while nobody has looked. */
  of(workload: Workload): readonly string[] {
    return this.#found.get(workload) ?? [];
  }

  /** Looks at those that are new, one after another. */
  look(workloads: Iterable<Workload>): Promise<void> {
    const all = [...workloads];
    this.#turn = this.#turn.then(async () => {
      for (const workload of all) if (!this.#found.has(workload)) await this.#lookAt(workload);
    });
    return this.#turn;
  }

  [Symbol.dispose](): void {
    this.#abort.abort();
  }

  async #lookAt(workload: Workload): Promise<void> {
    const { signal } = this.#abort;
    if (signal.aborted) return;
    const { name } = workload.config;
    try {
      if (await hasNoTables(workload.netns, signal)) {
        this.#found.set(workload, []);
        return;
      }
      const all = await iptablesBackend.leftovers(workload.netns.currentPath, { live: [], signal });
      const found = all.filter(({ who }) => who !== "shunt").map(({ where, what }) => `${where}: ${what}`);
      this.#found.set(workload, found);
      if (found.length === 0) return;
      const rules = found.slice(0, TOLD);
      const more = found.length - rules.length;
      this.#log.warn(
        { workload: name, rules, ...(more > 0 ? { more } : {}) },
        "another interceptor has rules in the namespace; shunt rules verify --remove-leftovers removes them",
      );
    } catch (err) {
      if (!signal.aborted) this.#log.debug({ workload: name, err }, "rules of others not looked for");
    }
  }
}
