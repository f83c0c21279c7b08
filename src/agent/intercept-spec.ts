// SPDX-License-Identifier: Apache-2.0
import type { InboundConfig, OutboundConfig, WorkloadConfig } from "../config/model.ts";
import type { InboundSpec, InterceptSpec, OutboundSpec, ProxyIdentity, Target } from "../intercept/spec.ts";
import { PRESERVE_MARK, PRESERVE_MARK_MASK, PROXY_MARK, PROXY_MARK_MASK } from "./identity.ts";
import { cgroupDirectory } from "./target.ts";

/** What only the running agent knows: the ports its listeners got, and the resolvers of the workload. */
export interface SpecFacts {
  readonly outboundPort: number;
  readonly inboundPort: number;
  readonly dnsPort: number;
  readonly moreDnsPorts: readonly number[];
  readonly resolvers: readonly string[];
}

/** The configuration of a workload in interception's own terms. */
export function toInterceptSpec(config: WorkloadConfig, target: Target, facts: SpecFacts): InterceptSpec {
  return {
    name: config.name,
    target,
    ...(config.outbound.enabled ? { outbound: toOutbound(config.outbound, facts) } : {}),
    ...(config.inbound.enabled ? { inbound: toInbound(config.inbound, facts) } : {}),
    proxy: toIdentity(config),
    interfaces: config.interfaces,
    dropInvalid: config.dropInvalid,
    ...(takesOneHop(config) ? { oneHop: true } : {}),
    failMode: config.failMode,
    trace: config.trace,
  };
}

function toOutbound(config: OutboundConfig, facts: SpecFacts): OutboundSpec {
  const { enabled: _enabled, dns, includeGroups, excludeGroups, ...rest } = config;
  const ports = { port: facts.dnsPort, morePorts: facts.moreDnsPorts };
  const capture =
    dns.capture === "off"
      ? ({ kind: "off" } as const)
      : dns.capture === "all"
        ? ({ kind: "all", ...ports } as const)
        : ({ kind: "servers", servers: dns.servers ?? facts.resolvers, ...ports } as const);
  const ownerGroups =
    includeGroups === "all"
      ? ({ kind: "all-except", groups: excludeGroups } as const)
      : ({ kind: "only", groups: includeGroups.filter((group) => !excludeGroups.includes(group)) } as const);
  return { ...rest, port: facts.outboundPort, dns: capture, ownerGroups };
}

function toInbound(config: InboundConfig, facts: SpecFacts): InboundSpec {
  const { enabled: _enabled, preserveSource, ...rest } = config;
  const preserveMark = { value: PRESERVE_MARK, mask: PRESERVE_MARK_MASK };
  return { ...rest, port: facts.inboundPort, ...(preserveSource ? { preserveMark } : {}) };
}

/** Our own sockets are known by their mark, whatever else is configured: the proxy's, and the DNS forwarder's. */
function toIdentity({ proxy: config, outbound }: WorkloadConfig): ProxyIdentity {
  const ours = !config.external || (outbound.enabled && outbound.dns.capture !== "off");
  const mark = config.mark ?? (ours ? { value: PROXY_MARK, mask: PROXY_MARK_MASK } : undefined);
  return {
    ...(mark === undefined ? {} : { mark }),
    uids: config.uids,
    gids: config.gids,
    ...(config.cgroup === undefined ? {} : { cgroup: cgroupDirectory(config.cgroup) }),
    external: config.external,
  };
}

/** What is not accelerated goes by both proxies, and nobody knows which hop to leave out before a proxy that is not ours. */
function takesOneHop({ acceleration, proxy, target }: WorkloadConfig): boolean {
  return acceleration.mode === "auto" && acceleration.hops === "one" && !proxy.external && target.kind !== "cgroup";
}
