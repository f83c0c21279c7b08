// SPDX-License-Identifier: Apache-2.0
/** Istio's self-test: a connection of the proxy's user to a pass-through address must come back to the proxy. */
import type { SidecarConfig } from "../istio/istio-config.ts";
import { type SelfConnectProbe, type SelfConnectResult, selfConnect } from "../validate/self-connect.ts";
import type { TargetNamespace } from "./target.ts";

export interface ValidationPlan {
  readonly probes: readonly SelfConnectProbe[];
  /** What can't be tested with these settings, and why. */
  readonly untestable: readonly string[];
}

export function validationPlan(config: SidecarConfig, probePort: number): ValidationPlan {
  const all: readonly SelfConnectProbe[] = [
    { family: 4, source: "127.0.0.1", address: "127.0.0.6", port: probePort },
    { family: 6, source: "::1", address: "::6", port: probePort },
  ];
  const wanted = all.filter(({ family }) => family === 4 || config.enableIpv6);
  const why = new Map(wanted.map(({ family }) => [family, whyUntestable(config, family, probePort)]));
  return {
    probes: wanted.filter(({ family }) => why.get(family) === undefined),
    untestable: [...why].flatMap(([family, reason]) => (reason === undefined ? [] : [`IPv${family}: ${reason}`])),
  };
}

function whyUntestable(config: SidecarConfig, family: 4 | 6, probePort: number): string | undefined {
  if (family === 4 && covers(config.hostIpv4LoopbackCidr)) {
    return `127.0.0.6 is in the loopback range ${config.hostIpv4LoopbackCidr}, which the rules leave alone`;
  }
  if (config.outboundPortsExclude.includes(probePort)) return `port ${probePort} is excluded outbound`;
  if (config.inboundTunnelPort === probePort) return `port ${probePort} is the tunnel port`;
  if (config.excludeInterfaces.includes("lo")) return "interface lo is excluded";
  return undefined;
}

/** Whether 127.0.0.6 is in a range below 127.0.0.0/8. */
function covers(cidr: string): boolean {
  const [address = "", length = "32"] = cidr.split("/");
  const bits = (text: string): number => text.split(".").reduce((value, part) => (value * 256 + Number(part)) >>> 0, 0);
  const shift = 32 - Number(length);
  return bits(address) >>> shift === bits("127.0.0.6") >>> shift;
}

export interface ValidationOptions {
  readonly probes: readonly SelfConnectProbe[];
  readonly timeoutMs: number;
}

/** As the first of the proxy's users if we may, else as ourselves: Istio runs its validation container as that user. */
export function validateIstioRules(
  target: TargetNamespace,
  config: SidecarConfig,
  { probes, timeoutMs }: ValidationOptions,
): Promise<readonly SelfConnectResult[]> {
  const uid = Number(config.proxyUids[0]);
  const gid = Number(config.proxyGids[0] ?? uid);
  const { fd, netnsPath: path } = target;
  return selfConnect({
    probes,
    ports: [config.proxyPort, config.inboundCapturePort],
    timeoutMs,
    signal: target.signal,
    ...(fd !== undefined && path !== undefined && { netns: { fd, path } }),
    ...(process.geteuid?.() === 0 && { identity: { uid, gid } }),
  });
}
