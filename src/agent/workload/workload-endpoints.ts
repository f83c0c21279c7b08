// SPDX-License-Identifier: Apache-2.0
import type { WorkloadConfig } from "../../config/model.ts";
import type { DnsCounters } from "../../dns/dns-counters.ts";
import type { Direction, InboundListener } from "../../intercept/backend.ts";
import type { NetworkNamespace } from "../../intercept/network-namespace.ts";
import type { Selected } from "../../intercept/select.ts";
import type { OpenConnection } from "../../proxy/open-connection.ts";
import { EveryStep } from "../../util/every-step.ts";
import type { SpecFacts } from "../intercept-spec.ts";
import { ExternalProxy } from "./external-proxy.ts";
import type { ListenerRoute } from "./listener-group.ts";
import { type ConnectionsSource, routeFor } from "./listener-route.ts";
import { type ListenerSet, ProxyListeners, type Reaches } from "./proxy-listeners.ts";
import type { WorkloadContext } from "./workload-context.ts";
import { type DnsPlan, WorkloadDns } from "./workload-dns.ts";

/** What listens for a configuration that is on its way into force. */
export interface EndpointSet {
  readonly config: WorkloadConfig;
  readonly dns: DnsPlan;
  listeners: ListenerSet;
}

export interface WorkloadListener {
  readonly direction: Direction | "dns";
  readonly protocol: "tcp" | "udp";
  readonly address: string;
  readonly port: number;
}

/** Everything that listens for one workload: the proxy's listeners, DNS ports, and what an external proxy has. */
export class WorkloadEndpoints {
  readonly #context: WorkloadContext;
  readonly #listeners: ProxyListeners;
  readonly #dns: WorkloadDns;
  readonly #external: ExternalProxy;

  readonly #netns: NetworkNamespace;

  /** `onReplacement`: see ProxyListeners. */
  constructor(context: WorkloadContext, netns: NetworkNamespace, onReplacement: (socket: InboundListener) => void) {
    this.#context = context;
    this.#netns = netns;
    this.#listeners = new ProxyListeners(netns, context.pool, onReplacement);
    this.#dns = new WorkloadDns(netns, context.log);
    this.#external = new ExternalProxy(netns, context.log);
  }

  get listeners(): readonly WorkloadListener[] {
    const proxies = [...this.#listeners.endpoints, ...this.#external.endpoints];
    return [...proxies.map((endpoint) => ({ ...endpoint, protocol: "tcp" as const })), ...this.#dns.endpoints];
  }

  get externalProblem(): string | undefined {
    return this.#external.problem;
  }

  get dnsCounters(): DnsCounters | undefined {
    return this.#dns.counters;
  }

  /** Binds and listens where `config` wants it and nobody does yet. Throws, with nothing changed, when it cannot. */
  async open(config: WorkloadConfig, reaches: Reaches): Promise<EndpointSet> {
    const dns = this.#dns.open(config);
    try {
      return { config, dns, listeners: this.#listeners.open(config, reaches) };
    } catch (error) {
      await this.#dns.discard(dns);
      throw error;
    }
  }

  /** What is new of the set takes connections and queries, which `source` can say the meaning of. */
  async start(set: EndpointSet, source: ConnectionsSource): Promise<void> {
    await this.#listeners.start(set.listeners, (direction) => this.#route(direction, set, source));
    await this.#dns.start(set.dns, source.originals("outbound"));
  }

  /** The set is what interception leads to from now on. What is no longer of use runs out. */
  adopt(set: EndpointSet, selected: Selected): void {
    this.#listeners.adopt(set.listeners);
    this.#dns.adopt(set.dns, set.config);
    this.lead(set, selected);
  }

  /** Has an external proxy's listeners be where interception leads to. */
  lead({ config }: EndpointSet, selected: Selected): void {
    this.#external.follow(config, selected);
  }

  /** New connections go by the set's configuration, and are remembered where `source` says. */
  async reroute(set: EndpointSet, source: ConnectionsSource): Promise<void> {
    await this.#listeners.update((direction) => this.#route(direction, set, source));
    this.#dns.lookUpIn(source.originals("outbound"));
  }

  /** Has the listeners be reached otherwise; those moved are to be started later where `source` is not there yet. */
  async move(set: EndpointSet, reaches: Partial<Reaches>, source: ConnectionsSource | undefined): Promise<void> {
    const before = set.listeners;
    set.listeners = await this.#listeners.move(set.config, before, reaches);
    if (!source || set.listeners === before) return;
    await this.#listeners.start(set.listeners, (direction) => this.#route(direction, set, source));
  }

  /** Inbound sockets that interception is to lead to; `known` are those that it leads to already. */
  toHandOver({ listeners }: EndpointSet, known: "with known" | "new alone"): readonly InboundListener[] {
    if (known === "new alone" && this.#listeners.leadsInboundTo(listeners)) return [];
    return this.#listeners.toHandOver(listeners);
  }

  async discard(set: EndpointSet): Promise<void> {
    await this.#listeners.discard(set.listeners);
    await this.#dns.discard(set.dns);
  }

  factsOf({ config, dns, listeners }: EndpointSet): SpecFacts {
    const { outbound, inbound, proxy } = config;
    return {
      outboundPort: proxy.external ? outbound.port : (listeners.get("outbound")?.port ?? 0),
      inboundPort: proxy.external ? inbound.port : (listeners.get("inbound")?.port ?? 0),
      dnsPort: dns.endpoint?.port ?? 0,
      moreDnsPorts: dns.endpoint?.morePorts ?? [],
      resolvers: dns.resolvers,
    };
  }

  /** Those that came by listeners of this workload. */
  connections(): OpenConnection[] {
    return this.#listeners.connections();
  }

  stopWatching(): void {
    this.#external[Symbol.dispose]();
  }

  /** Resets the connections that are left. */
  async closeListeners(): Promise<void> {
    await this.#listeners.close();
  }

  async close(): Promise<void> {
    const steps = new EveryStep();
    await steps.run(() => this.#listeners.close());
    await steps.run(() => this.#dns.close());
    steps.runSync(() => this.#context.acceleration.forget(this.#netns));
    steps.throwIfAny("listeners not closed");
  }

  #route(direction: Direction, { config, listeners }: EndpointSet, source: ConnectionsSource): ListenerRoute {
    const ownPorts = this.#listeners.portsWith(listeners);
    const { timeouts } = this.#context;
    const acceleration = this.#context.acceleration.sourceFor(config, this.#netns);
    const splice = this.#context.acceleration.spliceFor(config, this.#netns);
    return routeFor(direction, config, { ownPorts, timeouts, source, acceleration, splice });
  }
}
