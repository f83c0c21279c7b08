// SPDX-License-Identifier: Apache-2.0
/** Somebody else takes away a part of what is in force; the agent finds that and puts it back, under connections. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { PRESERVE_TABLE } from "../../../src/agent/identity.ts";
import { Bpffs } from "../../../src/bpf/bpffs.ts";
import type { StatusReport } from "../../../src/config/formats/status.ts";
import { TABLE_WORDS } from "../../../src/intercept/nftables/naming.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import { BOTH, LiveLab } from "../../support/live-lab.ts";
import { inSomeModes, type Mode } from "../../support/modes.ts";

/*
 * What is taken away leaves the chains that translate: with the last redirect the kernel stops tracking, and connections
 * break by that alone.
 */

/** Detaches every link of the agent, takes away a pin and empties a map. */
function damagePrograms(agent: string): void {
  using bpffs = Bpffs.open();
  const root = join(bpffs.path, "shunt", agent);
  const links = readdirSync(join(root, "links")).map((name) => join(root, "links", name));
  const lookups = readdirSync(join(root, "workloads")).map((slot) => join(root, "workloads", slot, "link"));
  for (const path of [...links, ...lookups]) {
    const link = check(loadAddon().openPinnedLink(path), "bpf_obj_get", path);
    check(link.detach(), "bpf_link_detach", path);
    link.close();
  }
  const slots = check(loadAddon().openPinnedMap(join(root, "maps", "netns_slots")), "bpf_obj_get");
  const key = slots.nextKey(null);
  if (typeof key === "number") throw new Error("nobody is enrolled");
  check(slots.delete(key), "bpf_map_delete_elem");
  slots.close();
}

/** The address and the routing by which the proxy speaks to the application. */
async function damageAdditions(live: LiveLab): Promise<void> {
  const commands = [
    "ip -6 addr del ::6/128 dev lo",
    `ip rule del lookup ${PRESERVE_TABLE}`,
    `ip -6 route flush table ${PRESERVE_TABLE}`,
    "echo 0 > /proc/sys/net/ipv4/tcp_fwmark_accept",
  ];
  await live.inside("sh", "-c", commands.join(" && "));
}

async function damage(live: LiveLab, mode: Mode): Promise<void> {
  if (mode === "ebpf" || mode === "mixed") damagePrograms(live.agent.name);
  if (mode === "nftables") {
    const flush = (chain: string): string => `nft flush chain ${TABLE_WORDS} ${chain}`;
    await live.inside("sh", "-c", ["nat-output", "nat-prerouting"].map(flush).join("; "));
  }
  if (mode === "iptables" || mode === "tproxy" || mode === "mixed") {
    const commands = [
      "iptables -t nat -F SHUNT_OUTPUT",
      "ip6tables -t nat -F SHUNT_OUTPUT",
      "iptables -t nat -D PREROUTING 1",
      "ip6tables -t nat -D PREROUTING 1",
      "iptables -t mangle -F SHUNT_PREROUTING",
      "ip -6 rule del lookup 9530",
    ];
    await live.inside("sh", "-c", commands.map((command) => `${command} 2>/dev/null`).join("; "));
  }
}

async function driftOf(live: LiveLab): Promise<StatusReport["workloads"][number]["drift"]> {
  return (await live.agent.ask<StatusReport>("status")).workloads[0]?.drift;
}

it("finds the address and the routing of preserveSource gone, and puts them back", async () => {
  await using live = await LiveLab.start("auto", { inbound: { preserveSource: true } }, BOTH);
  await live.agent.hangUp();
  expect(await driftOf(live)).toBeUndefined();
  await damageAdditions(live);
  const from = live.agent.logged.length;
  await live.agent.hangUp();
  await live.agent.waitForLog(({ msg }) => msg.startsWith("drift "), from);
  expect(await driftOf(live)).toMatchObject({
    repaired: true,
    last: [
      "IPv6 address ::6/128 missing",
      "sysctl net.ipv4.tcp_fwmark_accept changed",
      `IPv4 ip rule ${PRESERVE_TABLE} missing`,
      `IPv6 ip route ${PRESERVE_TABLE} missing`,
    ],
  });
  live.resume();
  expect(await live.change({ inbound: { preserveSource: true }, failMode: "direct" }, BOTH)).toEqual([]);
  await live.agent.stop();
});

inSomeModes(["mixed", "nftables"], "what somebody else has taken away", (mode) => {
  it("is put back at a reload and every verifyInterval, and told", async () => {
    await using live = await LiveLab.start(mode, {}, BOTH);
    await live.hold("before");
    // Nothing is wrong, and nothing is found.
    await live.agent.hangUp();
    expect(await driftOf(live)).toBeUndefined();

    await damage(live, mode);
    const from = live.agent.logged.length;
    await live.agent.hangUp();
    await live.agent.waitForLog(({ msg }) => msg.startsWith("drift "), from);
    expect(live.agent.logged.slice(from).map(({ msg }) => msg)).toContain("drift repaired");
    live.resume();
    expect(await live.change({ failMode: "direct" }, BOTH)).toEqual([]);
    const first = await driftOf(live);
    expect(first).toMatchObject({ repaired: true });
    expect(first?.found).toBeGreaterThan(0);

    await live.agent.reconfigure({ ...live.file(), verifyInterval: "1s" });
    const then = live.agent.logged.length;
    await damage(live, mode);
    await live.agent.waitForLog(({ msg }) => msg === "drift repaired", then);
    live.resume();
    expect(await live.change({}, BOTH)).toEqual([]);
    const { stdout } = await live.metrics();
    const count = Number(/^shunt_drift_total\{workload="app"\} (\d+)$/m.exec(stdout)?.[1]);
    expect(count).toBe((await driftOf(live))?.found);
    expect(count).toBeGreaterThan(first?.found ?? 0);
    for (const pulse of live.pulses.splice(0)) await pulse.end();
    await live.agent.stop();
  });
});
