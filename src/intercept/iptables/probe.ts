// SPDX-License-Identifier: Apache-2.0
/** Whether rules can be made here, tried in a fresh network namespace: never guessed from versions. */

import type { ProbeAnswer } from "../backend.ts";
import { byPreference } from "./choose-flavour.ts";
import { hasIpv6, readNamespace } from "./namespace-rules.ts";
import type { Family } from "./rule.ts";
import { type FamilyTools, type Flavour, installedTools, restore, type Tools } from "./tools.ts";

export interface IptablesProbe extends ProbeAnswer {
  /** What `apply` would write with in the examined namespace. */
  readonly flavour?: Flavour;
  readonly flavours: Readonly<Record<Flavour, ProbeAnswer>>;
  readonly ipv6: ProbeAnswer;
  /** Rules for the processes of one cgroup (`exec`). */
  readonly cgroupMatch: ProbeAnswer;
  /** Rules for DNS capture. */
  readonly dnsZones: ProbeAnswer;
  /** Rules that lead inbound connections to the proxy with their destination unchanged. */
  readonly tproxy: ProbeAnswer;
}

type Need = "rules" | "cgroup" | "zones" | "tproxy";

const NEEDS: Readonly<Record<Need, (family: Family) => string>> = {
  rules: () =>
    [
      "*nat",
      ":SHUNT_PROBE - [0:0]",
      "-A SHUNT_PROBE -p tcp -m multiport --dports 1,2 -m comment --comment shunt -j RETURN",
      "-A SHUNT_PROBE -m owner --uid-owner 1 -j RETURN",
      "-A SHUNT_PROBE -m owner --gid-owner 1 -j RETURN",
      "-A SHUNT_PROBE -m mark --mark 0x1/0x1 -j RETURN",
      "-A SHUNT_PROBE -m conntrack --ctstate DNAT -j RETURN",
      "-A SHUNT_PROBE -m addrtype ! --dst-type LOCAL -j RETURN",
      "-A SHUNT_PROBE -p tcp -j REDIRECT --to-ports 1",
      "-A OUTPUT -g SHUNT_PROBE",
      "COMMIT\n",
    ].join("\n"),
  cgroup: () => "*nat\n-A OUTPUT -m cgroup --path / -j RETURN\nCOMMIT\n",
  zones: () => "*raw\n-A OUTPUT -p udp --dport 53 -j CT --zone 1\nCOMMIT\n",
  tproxy: (family) =>
    [
      "*mangle",
      "-A PREROUTING -p tcp -m socket --transparent -j MARK --set-xmark 0x1/0x1",
      `-A PREROUTING -p tcp -j TPROXY --on-port 1 --on-ip ${family === 4 ? "127.0.0.1" : "::1"} --tproxy-mark 0x1/0x1`,
      "-A OUTPUT -m conntrack --ctdir ORIGINAL -j MARK --set-xmark 0x1/0x1",
      "COMMIT\n",
    ].join("\n"),
};

async function attempt(tools: FamilyTools, need: Need, signal?: AbortSignal, family: Family = 4): Promise<ProbeAnswer> {
  try {
    await restore("scratch", tools, NEEDS[need](family), signal);
    return { ok: true };
  } catch (error) {
    if (signal?.aborted) throw error;
    return { ok: false, reason: error instanceof Error ? error.message : String(error) };
  }
}

async function probeFlavour(tools: Tools | undefined, flavour: Flavour, signal?: AbortSignal): Promise<ProbeAnswer> {
  if (!tools) return { ok: false, reason: `iptables-${flavour} is not installed` };
  return attempt(tools[4], "rules", signal);
}

/** Examines this machine and, when a path is given, one namespace of it. */
export async function probe(netnsPath?: string, signal?: AbortSignal): Promise<IptablesProbe> {
  const installed = await installedTools(signal);
  const of = (flavour: Flavour): Tools | undefined => installed.find((t) => t.flavour === flavour);
  const flavours = {
    nft: await probeFlavour(of("nft"), "nft", signal),
    legacy: await probeFlavour(of("legacy"), "legacy", signal),
  };
  const chosen = await choose(installed, flavours, netnsPath, signal);
  if (!chosen) {
    const reason =
      installed.length === 0
        ? "iptables is not installed"
        : `nft: ${flavours.nft.reason ?? "not chosen"}; legacy: ${flavours.legacy.reason ?? "not chosen"}`;
    const no = { ok: false, reason };
    return { ...no, flavours, ipv6: no, cgroupMatch: no, dnsZones: no, tproxy: no };
  }
  const ipv6 = chosen[6]
    ? await attempt(chosen[6], "rules", signal, 6)
    : { ok: false, reason: "ip6tables is not installed" };
  const cgroupMatch = await attempt(chosen[4], "cgroup", signal);
  const dnsZones = await attempt(chosen[4], "zones", signal);
  const tproxy = await attempt(chosen[4], "tproxy", signal);
  const leaks = !ipv6.ok && netnsPath !== undefined && (await hasIpv6(netnsPath, signal));
  const verdict: ProbeAnswer = leaks
    ? { ok: false, reason: `the namespace has IPv6, but: ${ipv6.reason}` }
    : { ok: true };
  return { ...verdict, flavour: chosen.flavour, flavours, ipv6, cgroupMatch, dnsZones, tproxy };
}

async function choose(
  installed: readonly Tools[],
  flavours: Readonly<Record<Flavour, ProbeAnswer>>,
  netnsPath: string | undefined,
  signal?: AbortSignal,
): Promise<Tools | undefined> {
  const usable = installed.filter((t) => flavours[t.flavour].ok);
  if (netnsPath === undefined) return usable[0];
  const ipv6 = await hasIpv6(netnsPath, signal);
  return byPreference(await readNamespace(netnsPath, usable, signal), { ipv6 })[0]?.tools;
}
