// SPDX-License-Identifier: Apache-2.0
import { basename } from "node:path";
import type { WorkloadConfig } from "../../config/model.ts";
import type { DnsCounters } from "../../dns/dns-counters.ts";
import { readNameservers } from "../../dns/resolv-conf.ts";
import type { NetworkNamespace } from "../../intercept/network-namespace.ts";
import type { OriginalDestinationSource } from "../../intercept/original-destination.ts";
import type { Logger } from "../../util/log.ts";
import { type DnsAsking, DnsEndpoint } from "./dns-endpoint.ts";

/** The DNS side of one configuration. */
export interface DnsPlan extends DnsAsking {
  /** Absent: nothing is captured. */
  readonly endpoint?: DnsEndpoint;
}

/** The DNS ports of a workload: the one that queries are led to, and those they were led to before. */
export class WorkloadDns {
  readonly #netns: NetworkNamespace;
  readonly #log: Logger;
  #current: DnsEndpoint | undefined;
  readonly #retired = new Set<DnsEndpoint>();
  /** For the log. */
  #workload = "";

  constructor(netns: NetworkNamespace, log: Logger) {
    this.#netns = netns;
    this.#log = log;
  }

  get endpoints(): readonly { direction: "dns"; protocol: "tcp" | "udp"; address: string; port: number }[] {
    const { addresses = [], port = 0 } = this.#current ?? {};
    return addresses.flatMap((address) =>
      (["udp", "tcp"] as const).map((protocol) => ({ direction: "dns" as const, protocol, address, port })),
    );
  }

  get counters(): DnsCounters | undefined {
    return this.#current?.counters;
  }

  /** Binds the port that `config` wants, if it is not ours already. Throws a SystemError when it is taken. */
  open(config: WorkloadConfig): DnsPlan {
    const { dns, enabled } = config.outbound;
    if (!enabled || dns.capture === "off") return { resolvers: [], captured: false };
    const resolvers = dns.servers ?? resolversOf(config);
    const known = this.#all().find((one) => one.fits(dns.port));
    // From now on, not from `adopt` on: its time could be over before the change is.
    known?.keep();
    const endpoint = known ?? new DnsEndpoint(this.#netns, dns.port);
    // Those of the workload's resolv.conf, unless the configuration names others. With a mark of its own, a proxy is
    // known by that one alone.
    return { endpoint, resolvers, captured: dns.capture !== "all", mark: config.proxy.mark?.value };
  }

  /** Answers there, if it does not already. */
  async start({ endpoint, ...asking }: DnsPlan, originals: readonly OriginalDestinationSource[]): Promise<void> {
    if (!endpoint || this.#all().includes(endpoint)) return;
    endpoint.askBy(asking);
    await endpoint.start(originals, (record) => this.#log.debug({ workload: this.#workload, ...record }, "dns query"));
  }

  /** Queries are led there from now on. */
  adopt({ endpoint, ...asking }: DnsPlan, { name }: WorkloadConfig): void {
    const before = this.#current;
    this.#workload = name;
    this.#current = endpoint;
    if (endpoint) {
      endpoint.keep();
      endpoint.askBy(asking);
      this.#retired.delete(endpoint);
    }
    if (before && before !== endpoint) this.#retire(before);
  }

  /** Where queries were meant to go is remembered in these. */
  lookUpIn(originals: readonly OriginalDestinationSource[]): void {
    for (const endpoint of this.#all()) endpoint.lookUpIn(originals);
  }

  /** Of a plan that was never adopted. */
  async discard({ endpoint }: DnsPlan): Promise<void> {
    if (!endpoint) return;
    if (this.#retired.has(endpoint)) this.#retire(endpoint);
    else if (endpoint !== this.#current) await endpoint.close();
  }

  async close(): Promise<void> {
    const all = this.#all();
    this.#current = undefined;
    this.#retired.clear();
    await Promise.all(all.map((endpoint) => endpoint.close()));
  }

  #retire(endpoint: DnsEndpoint): void {
    this.#retired.add(endpoint);
    endpoint.retire(() => this.#retired.delete(endpoint));
  }

  #all(): DnsEndpoint[] {
    return [...(this.#current ? [this.#current] : []), ...this.#retired];
  }
}

/** `ip netns exec` shows each namespace a resolv.conf of its own; processes of a cgroup see the one we see. */
function resolversOf({ target }: WorkloadConfig): string[] {
  const owner =
    target.kind === "pid" ? { pid: target.pid } : target.kind === "netns" ? { netnsName: basename(target.path) } : {};
  return readNameservers(owner).map(({ address }) => address);
}
