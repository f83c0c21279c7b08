// SPDX-License-Identifier: Apache-2.0
import { basename } from "node:path";
import type { RulesWorkload } from "../../config/command-options.ts";
import { formatTarget, type WorkloadConfig } from "../../config/model.ts";
import { readNameservers } from "../../dns/resolv-conf.ts";
import { OWN_NETNS } from "../../intercept/network-namespace.ts";
import type { InterceptSpec, Target } from "../../intercept/spec.ts";
import { ShuntError } from "../../util/shunt-error.ts";
import { toInterceptSpec } from "../intercept-spec.ts";
import { cgroupDirectory } from "../target.ts";

/** The specification of a workload without an agent that listens for it. Opens nothing but its resolv.conf. */
export function handSpec({ config, byAgent }: RulesWorkload): InterceptSpec {
  const { outbound, inbound, proxy } = config;
  requirePort(config, "outbound.port", outbound.enabled ? outbound.port : undefined);
  requirePort(config, "inbound.port", inbound.enabled ? inbound.port : undefined);
  const capturesDns = outbound.enabled && outbound.dns.capture !== "off";
  requirePort(config, "outbound.dns.port", capturesDns ? outbound.dns.port : undefined);
  const spec = toInterceptSpec(config, targetOf(config), {
    outboundPort: outbound.port,
    inboundPort: inbound.port,
    dnsPort: outbound.dns.port,
    // Those of a running agent are free ones, and rules need none.
    moreDnsPorts: [],
    resolvers: capturesDns && outbound.dns.capture === "resolv.conf" ? resolversOf(config) : [],
  });
  if (byAgent) return spec;
  const { mark: _mark, ...identity } = spec.proxy;
  const { preserveMark: _preserveMark, ...arriving } = spec.inbound ?? {};
  return {
    ...spec,
    // Whoever answers DNS here is the proxy's, not ours, and so are sockets with a client's address.
    proxy: { ...identity, ...(proxy.mark === undefined ? {} : { mark: proxy.mark }) },
    ...(spec.inbound ? { inbound: arriving as typeof spec.inbound } : {}),
  };
}

/** Names stay names: nothing is opened before something is done there. */
function targetOf({ target }: WorkloadConfig): Target {
  switch (target.kind) {
    case "netns":
      return { kind: "netns", path: target.path };
    case "pid":
      return { kind: "netns", path: `/proc/${target.pid}/ns/net` };
    case "cgroup":
      return { kind: "cgroup", path: cgroupDirectory(target.path), netnsPath: target.netns ?? OWN_NETNS };
    default:
      return target satisfies never;
  }
}

function requirePort({ name, target }: WorkloadConfig, field: string, port: number | undefined): void {
  if (port !== 0) return;
  throw new ShuntError(
    "ERR_RULES_PORT",
    `${name} (${formatTarget(target)}): ${field}: 0 is a free port, which only a running agent knows; give a port (1 … 65535)`,
  );
}

function resolversOf({ target, outbound }: WorkloadConfig): readonly string[] {
  if (outbound.dns.servers) return outbound.dns.servers;
  const owner =
    target.kind === "pid" ? { pid: target.pid } : target.kind === "netns" ? { netnsName: basename(target.path) } : {};
  return readNameservers(owner).map(({ address }) => address);
}
