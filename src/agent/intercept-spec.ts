// SPDX-License-Identifier: Apache-2.0
import type { InboundConfig, OutboundConfig, ProxyIdentityConfig, WorkloadConfig } from "../config/model.ts";
import type { InboundSpec, InterceptSpec, OutboundSpec, ProxyIdentity, Target } from "../intercept/spec.ts";
import { PRESERVE_MARK, PRESERVE_MARK_MASK, PROXY_MARK, PROXY_MARK_MASK } from "./identity.ts";
import { cgroupDirectory } from "./target.ts";

/** What only the running agent knows: the ports its listeners got, and the resolvers of the workload. */
export interface SpecFacts {
  readonly outboundPort: number;
  readonly inboundPort: number;
  readonly dnsPort: number;
  readonly resolvers: readonly string[];
}

/** The configuration of a workload in interception's own terms. */
export function toInterceptSpec(config: WorkloadConfig, target: Target, facts: SpecFacts): InterceptSpec {
  return {
    name: config.name,
    target,
    ...(config.outbound.enabled ? { outbound: toOutbound(config.outbound, facts) } : {}),
    ...(config.inbound.enabled ? { inbound: toInbound(config.inbound, facts) } : {}),
    proxy: toIdentity(config.proxy),
    interfaces: { exclude: [], reroute: [] },
    dropInvalid: false,
    failMode: config.failMode,
    trace: config.trace,
  };
}

function toOutbound(config: OutboundConfig, facts: SpecFacts): OutboundSpec {
  const { enabled: _enabled, dns, ...rest } = config;
  const port = facts.dnsPort;
  const capture =
    dns.capture === "off"
      ? ({ kind: "off" } as const)
      : dns.capture === "all"
        ? ({ kind: "all", port } as const)
        : ({ kind: "servers", servers: dns.servers ?? facts.resolvers, port } as const);
  return { ...rest, port: facts.outboundPort, dns: capture, ownerGroups: { kind: "all-except", groups: [] } };
}

function toInbound(config: InboundConfig, facts: SpecFacts): InboundSpec {
  const { enabled: _enabled, preserveSource, ...rest } = config;
  const preserveMark = { value: PRESERVE_MARK, mask: PRESERVE_MARK_MASK };
  return { ...rest, port: facts.inboundPort, ...(preserveSource ? { preserveMark } : {}) };
}

/** A proxy of our own is known by its mark, whatever else is configured. */
function toIdentity(config: ProxyIdentityConfig): ProxyIdentity {
  const mark = config.mark ?? (config.external ? undefined : { value: PROXY_MARK, mask: PROXY_MARK_MASK });
  return {
    ...(mark === undefined ? {} : { mark }),
    uids: config.uid === undefined ? [] : [config.uid],
    gids: config.gid === undefined ? [] : [config.gid],
    ...(config.cgroup === undefined ? {} : { cgroup: cgroupDirectory(config.cgroup) }),
    external: config.external,
  };
}
