// SPDX-License-Identifier: Apache-2.0
import type { Drift } from "../intercept/backend.ts";
import { addRouting, type MarkRoute, routedFamilies, routingDrift } from "../intercept/iptables/policy-routing.ts";
import type { NetworkNamespace } from "../intercept/network-namespace.ts";
import { run } from "../util/exec.ts";
import type { HostChange } from "./host-change.ts";
import { PRESERVE_MARK, PRESERVE_MARK_MASK, PRESERVE_TABLE } from "./identity.ts";

/*
 * The routing that lets the proxy speak to the application with the client's address: the application's answers
 * take over the mark of the SYN (tcp_fwmark_accept, ≥ 3.15), and what has that mark is delivered locally instead of
 * being sent to the real client.
 */
const MARK = `0x${PRESERVE_MARK.toString(16)}/0x${PRESERVE_MARK_MASK.toString(16)}`;
const TABLE = String(PRESERVE_TABLE);
const ROUTE: MarkRoute = { mark: PRESERVE_MARK, mask: PRESERVE_MARK_MASK, table: PRESERVE_TABLE };
const ACCEPT_MARKS = "net.ipv4.tcp_fwmark_accept";
/** Shows the network namespace of whoever opens it, whichever /proc is mounted. */
const ACCEPT_MARKS_FILE = `/proc/sys/${ACCEPT_MARKS.replaceAll(".", "/")}`;

/** What the namespace does now with the mark of a SYN: "0" or "1". */
export async function readAcceptMarks(netnsPath: string): Promise<string> {
  return (await inNetns(netnsPath, ["cat", ACCEPT_MARKS_FILE])).trim();
}

/** `acceptMarksBefore`: what to set it to again in the end. */
export async function addPreserveSourceRouting(
  netns: NetworkNamespace,
  acceptMarksBefore: string,
): Promise<HostChange[]> {
  const changes: HostChange[] = [];
  try {
    changes.push(await acceptMarks(netns, acceptMarksBefore));
    for (const family of netns.hasIpv6() ? (["-4", "-6"] as const) : (["-4"] as const)) {
      changes.push(await localRoute(netns, family), await markRule(netns, family));
    }
  } catch (error) {
    for (const change of changes.reverse()) await change.remove();
    throw error;
  }
  return changes;
}

/** How the namespace differs from what `addPreserveSourceRouting` makes. */
export async function preserveSourceDrift(netns: NetworkNamespace): Promise<Drift[]> {
  const actual = await readAcceptMarks(netns.currentPath);
  const marks: Drift = { table: "sysctl", chain: ACCEPT_MARKS, kind: "changed", expected: ["1"], actual: [actual] };
  const routing = await routingDrift(netns.currentPath, ROUTE, routedFamilies(netns.hasIpv6()));
  return actual === "1" ? routing : [marks, ...routing];
}

/** Adds what `preserveSourceDrift` misses. */
export async function repairPreserveSource(netns: NetworkNamespace): Promise<void> {
  await writeAcceptMarks(netns.currentPath, "1");
  await addRouting(netns.currentPath, ROUTE, routedFamilies(netns.hasIpv6()));
}

/** Removes what an agent that is gone has left in a namespace; harmless where nothing is. */
export async function removePreserveSourceRouting(netnsPath: string, acceptMarksBefore?: string): Promise<string[]> {
  const removed: string[] = [];
  if (acceptMarksBefore !== undefined && (await readAcceptMarks(netnsPath)) !== acceptMarksBefore) {
    await writeAcceptMarks(netnsPath, acceptMarksBefore);
    removed.push(`sysctl ${ACCEPT_MARKS}=1 (was ${acceptMarksBefore})`);
  }
  for (const family of ["-4", "-6"] as const) {
    const rules = await inNetns(netnsPath, ["ip", family, "rule", "show"]);
    if (!rules.includes(`lookup ${TABLE}`)) continue;
    await inNetns(netnsPath, ["ip", family, "rule", "del", "fwmark", MARK, "lookup", TABLE]);
    await inNetns(netnsPath, ["ip", family, "route", "flush", "table", TABLE]);
    removed.push(`ip ${family} rule fwmark ${MARK} lookup ${TABLE}`);
  }
  return removed;
}

async function acceptMarks(netns: NetworkNamespace, before: string): Promise<HostChange> {
  await writeAcceptMarks(netns.currentPath, "1");
  return {
    kind: "sysctl",
    family: "ipv4",
    description: `sysctl ${ACCEPT_MARKS}=1 (was ${before})`,
    async remove() {
      await writeAcceptMarks(netns.currentPath, before);
    },
  };
}

async function localRoute(netns: NetworkNamespace, family: "-4" | "-6"): Promise<HostChange> {
  const route = ["local", "default", "dev", "lo", "table", TABLE];
  await inNetns(netns.currentPath, ["ip", family, "route", "replace", ...route]);
  return {
    kind: "route",
    family: family === "-4" ? "ipv4" : "ipv6",
    description: `ip ${family} route ${route.join(" ")}`,
    async remove() {
      await removed(inNetns(netns.currentPath, ["ip", family, "route", "del", ...route]));
    },
  };
}

async function markRule(netns: NetworkNamespace, family: "-4" | "-6"): Promise<HostChange> {
  const rule = ["fwmark", MARK, "lookup", TABLE];
  const present = (await inNetns(netns.currentPath, ["ip", family, "rule", "show"])).includes(`lookup ${TABLE}`);
  if (!present) await inNetns(netns.currentPath, ["ip", family, "rule", "add", ...rule]);
  return {
    kind: "ip-rule",
    family: family === "-4" ? "ipv4" : "ipv6",
    description: `ip ${family} rule ${rule.join(" ")}`,
    async remove() {
      await removed(inNetns(netns.currentPath, ["ip", family, "rule", "del", ...rule]));
    },
  };
}

/** What somebody else has removed before is removed. */
async function removed(removal: Promise<string>): Promise<void> {
  await removal.catch((error: Error) => {
    if (!/RTNETLINK answers: No such (file or directory|process)/.test(error.message)) throw error;
  });
}

/** By cat and tee, which every system has; sysctl is a package of its own. */
async function writeAcceptMarks(netnsPath: string, value: string): Promise<void> {
  await inNetns(netnsPath, ["tee", ACCEPT_MARKS_FILE], value);
}

async function inNetns(netnsPath: string, argv: readonly [string, ...string[]], stdin?: string): Promise<string> {
  return (await run("nsenter", [`--net=${netnsPath}`, "--", ...argv], stdin === undefined ? {} : { stdin })).stdout;
}
