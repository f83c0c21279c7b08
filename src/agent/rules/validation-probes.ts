// SPDX-License-Identifier: Apache-2.0
/** Which connections, made from inside a namespace, must be intercepted by a specification. Pure. */
import { decide, type Question } from "../../intercept/decision.ts";
import type { Cidr, InterceptSpec } from "../../intercept/spec.ts";
import type { SelfConnectProbe } from "../../intercept/validate/self-connect.ts";
import { cidrContains, ipFamily } from "../../util/ip.ts";

/** What is known of the namespace. */
export interface Surroundings {
  /** Loopback aside. */
  readonly addresses: readonly string[];
  /** Where its routes lead. */
  readonly routes: readonly Cidr[];
}

export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

export interface DirectionProbes {
  readonly direction: "outbound" | "inbound";
  readonly identity: Identity;
  readonly probes: readonly SelfConnectProbe[];
}

export interface ValidationProbes {
  readonly tests: readonly DirectionProbes[];
  /** What can't be tested, and why. */
  readonly untested: readonly string[];
}

/** That of istio-iptables (--iptables-probe-port), and others in case it is excluded. */
const PROBE_PORTS = [15_002, 15_003, 80];
/** Documentation addresses (RFC 5737, RFC 3849): nothing is ever sent to one that is intercepted, nor heard from it. */
const NOBODY = { 4: ["192.0.2.1", "198.51.100.1"], 6: ["2001:db8::1"] } as const;
const PASSTHROUGH = "::6";
const ANY = { 4: "0.0.0.0", 6: "::" } as const;
/** nobody, and others in case that is the proxy or excluded. */
const ORDINARY_IDS = [65_534, 65_533, 65_532, 1];

export function validationProbes(spec: InterceptSpec, around: Surroundings): ValidationProbes {
  const untested: string[] = [];
  const tests: DirectionProbes[] = [];
  if (spec.outbound) collect("outbound", ordinaryIdentity(spec), outboundProbe);
  if (spec.inbound) {
    if (spec.proxy.external) collect("inbound", proxyIdentity(spec), inboundProbe);
    else untested.push("inbound: only connections from outside are captured, and none can be made from inside");
  }
  return { tests, untested };

  function collect(direction: DirectionProbes["direction"], identity: Identity | string, find: typeof outboundProbe) {
    if (typeof identity === "string") {
      untested.push(`${direction}: ${identity}`);
      return;
    }
    const probes: SelfConnectProbe[] = [];
    for (const family of [4, 6] as const) {
      const probe = find(spec, around, family, identity);
      if (typeof probe === "string") untested.push(`${direction}, IPv${family}: ${probe}`);
      else probes.push(probe);
    }
    if (probes.length > 0) tests.push({ direction, identity, probes });
  }
}

function outboundProbe(
  spec: InterceptSpec,
  around: Surroundings,
  family: 4 | 6,
  owner: Identity,
): SelfConnectProbe | string {
  const outbound = spec.outbound;
  const included = outbound === undefined || outbound.includeCidrs === "all" ? [] : outbound.includeCidrs;
  const places = [...NOBODY[family], ...[...included, ...around.routes].flatMap(insideOf)].filter(
    (address) => ipFamily(address) === family && !around.addresses.includes(address),
  );
  const reachable = places.filter((address) => around.routes.some((route) => cidrContains(route, address)));
  if (reachable.length === 0) return "no route leads to an address that could be captured";
  const ports = [...PROBE_PORTS, ...(outbound?.includePorts ?? [])];
  const question = questionBy(spec, around, { fromProxy: false, owner });
  return firstCaptured(reachable, ports, family, question);
}

/** The proxy calls its own pod: that has to come back to it by the inbound port. */
function inboundProbe(
  spec: InterceptSpec,
  around: Surroundings,
  family: 4 | 6,
  owner: Identity,
): SelfConnectProbe | string {
  // To the pass-through address connections are the proxy's own, which go to the workload.
  const own = around.addresses.filter((address) => ipFamily(address) === family && address !== PASSTHROUGH);
  if (own.length === 0) return "the namespace has no address of this family";
  const included = spec.inbound?.includePorts ?? "all";
  const ports = included === "all" ? PROBE_PORTS : included;
  const question = questionBy(spec, around, { fromProxy: true, owner });
  return firstCaptured(own, ports, family, question);
}

/** Whether a connection is captured that somebody makes. */
function questionBy(
  spec: InterceptSpec,
  around: Surroundings,
  who: Pick<Question, "fromProxy" | "owner">,
): (address: string, port: number) => boolean {
  const common = { ...who, direction: "outbound", transport: "tcp", localAddresses: around.addresses } as const;
  return (address, port) => decide(spec, { ...common, address, port }).verdict === "redirect";
}

function firstCaptured(
  addresses: readonly string[],
  ports: readonly number[],
  family: 4 | 6,
  isCaptured: (address: string, port: number) => boolean,
): SelfConnectProbe | string {
  for (const address of addresses) {
    const port = ports.find((candidate) => isCaptured(address, candidate));
    if (port !== undefined) return { family, source: ANY[family], address, port };
  }
  return `nothing is captured among ${addresses.slice(0, 3).join(", ")}`;
}

/** The first host of a range. */
function insideOf({ address }: Cidr): string[] {
  if (address === "0.0.0.0" || address === "::") return [];
  if (address.includes(".")) {
    const bytes = address.split(".").map(Number);
    return [[...bytes.slice(0, 3), Math.max(bytes[3] ?? 0, 0) | 3].join(".")];
  }
  return address.endsWith("::") ? [`${address}3`] : [address];
}

function ordinaryIdentity({ target, proxy, outbound }: InterceptSpec): Identity | string {
  if (target.kind === "cgroup") return `only processes of cgroup ${target.path} are captured, and the test is none`;
  const { kind, groups } = outbound?.ownerGroups ?? { kind: "all-except" as const, groups: [] };
  const uid = ORDINARY_IDS.find((id) => !proxy.uids.includes(id));
  const candidates = kind === "only" ? groups : ORDINARY_IDS.filter((id) => !groups.includes(id));
  const gid = candidates.find((id) => !proxy.gids.includes(id));
  if (uid === undefined || gid === undefined) return "no user or group is left whose connections are captured";
  return { uid, gid };
}

function proxyIdentity({ proxy }: InterceptSpec): Identity | string {
  const [uid] = proxy.uids;
  const [gid] = proxy.gids;
  if (uid === undefined && gid === undefined)
    return "the proxy is known by neither user nor group, and the test can be nothing else";
  return { uid: uid ?? ORDINARY_IDS[0] ?? 0, gid: gid ?? uid ?? 0 };
}
