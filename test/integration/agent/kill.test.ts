// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ownCgroup } from "../../../src/agent/exec/scratch-cgroup.ts";
import { Bpffs } from "../../../src/bpf/bpffs.ts";
import type { CleanReport } from "../../../src/config/formats/clean-report.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import { eventually } from "../../support/inbox.ts";
import { ask, LabProcesses, tellServer, tool } from "../../support/lab-process.ts";
import { ip, type LabNode, NetLab } from "../../support/net-lab.ts";
import { fateOf, Prober } from "../../support/prober.ts";
import { runCommand, ShuntAgent, shunt, shuntArgv } from "../../support/shunt.ts";

const PORT = 8080;
const ECHO_PORT = 8081;

type FailMode = "deny" | "direct";

/** Pod A is the lab's client, whose connections are intercepted both ways; pod B has no agent. */
class Rig implements AsyncDisposable {
  readonly lab = new NetLab();
  readonly processes = new LabProcesses();

  static async start(): Promise<Rig> {
    const rig = new Rig();
    for (const node of [rig.lab.client, rig.lab.server]) {
      for (const address of addressesOf(node))
        await rig.processes.start(tellServer("node", address, [PORT]), node.path);
    }
    return rig;
  }

  get podA(): LabNode {
    return this.lab.client;
  }

  get podB(): LabNode {
    return this.lab.server;
  }

  config(failMode: FailMode, more: Record<string, unknown> = {}) {
    return { mode: "ebpf", workloads: [{ name: "a", netns: this.podA.path, failMode, ...more }] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.processes[Symbol.asyncDispose]();
    this.lab[Symbol.dispose]();
  }
}

function addressesOf({ v4, v6 }: LabNode): string[] {
  return [v4, v6];
}

function now(): number {
  return performance.timeOrigin + performance.now();
}

/** Ids of the pinned links, by pin. */
function pinnedLinks(name: string): Map<string, number> {
  using bpffs = Bpffs.open();
  const root = join(bpffs.path, "shunt", name);
  const pins = [
    ...readdirSync(join(root, "links")).map((link) => join("links", link)),
    ...readdirSync(join(root, "workloads")).map((slot) => join("workloads", slot, "link")),
  ];
  const ids = pins.map((pin): [string, number] => {
    const link = check(loadAddon().openPinnedLink(join(root, pin)), "bpf_obj_get", pin);
    const { id } = check(link.info(), "bpf_link_get_info", pin);
    link.close();
    return [pin, id];
  });
  return new Map(ids);
}

function pinsOf(name: string): string {
  using bpffs = Bpffs.open();
  return join(bpffs.path, "shunt", name);
}

/** Distinct fates in the order in which they first came. */
function sequence(fates: readonly string[]): string[] {
  return fates.filter((fate, index) => fate !== fates[index - 1]);
}

/** Counts SYNs to pod B that leave pod A without the proxy's mark. */
async function countUnmarkedSyns(podA: LabNode, podB: LabNode): Promise<() => Promise<number>> {
  const rule = ["OUTPUT", "-p", "tcp", "--syn", "-d", podB.v4, "-m", "mark", "!", "--mark", "0x539"];
  const added = await runCommand(["iptables", "-w", "-A", ...rule], { netns: podA.path });
  if (added.status !== 0) throw new Error(added.stderr);
  return async () => {
    const { stdout } = await runCommand(["iptables", "-w", "-L", "OUTPUT", "-v", "-x", "-n"], { netns: podA.path });
    return Number(stdout.trim().split("\n").at(-1)?.trim().split(/\s+/)[0]);
  };
}

describe.each([
  { failMode: "deny", outbound: "EPERM", inbound: "ECONNREFUSED" },
  { failMode: "direct", outbound: "direct", inbound: "direct" },
] as const)("with fail mode $failMode an agent killed under load", ({ failMode, outbound, inbound }) => {
  it("leaves its fail mode in force, and its successor takes over without a gap", async () => {
    await using rig = await Rig.start();
    const { podA, podB } = rig;
    await rig.processes.start([tool("shunt-echo"), podB.v4, String(ECHO_PORT), "--until-stdin-closes"], podB.path);
    await using agent = await ShuntAgent.start(rig.config(failMode));
    const unmarkedSyns = await countUnmarkedSyns(podA, podB);
    await using outwards = await Prober.start(podA.path, PORT, addressesOf(podB));
    await using inwards = await Prober.start(podB.path, PORT, addressesOf(podA));
    const load = (seconds: number): ReturnType<typeof runCommand> =>
      runCommand(
        [tool("shunt-load"), podB.v4, String(ECHO_PORT), "connect", "-c", "8", "-s", "64", "-d", String(seconds)],
        {
          netns: podA.path,
        },
      );
    const loaded = load(2);
    await outwards.until((probe) => fateOf(probe) === "proxied", 0, addressesOf(podB));
    await inwards.until((probe) => fateOf(probe) === "proxied", 0, addressesOf(podA));
    expect(await unmarkedSyns()).toBe(0);
    const links = pinnedLinks(agent.name);
    expect(links.size).toBeGreaterThan(4);

    await agent.crash();
    const killedAt = now();
    expect(pinnedLinks(agent.name)).toEqual(links);
    await outwards.until(() => true, killedAt, addressesOf(podB));
    await inwards.until(() => true, killedAt, addressesOf(podA));
    await loaded;
    const takeOverAt = now();
    await using successor = await ShuntAgent.start(rig.config(failMode), { takeOver: agent });
    const readyAt = now();
    const unmarkedWhileAway = await unmarkedSyns();
    expect(unmarkedWhileAway > 0).toBe(failMode === "direct");
    const reloaded = load(1);
    await outwards.until(() => true, readyAt, addressesOf(podB), 20);
    await inwards.until(() => true, readyAt, addressesOf(podA), 20);
    const after = JSON.parse((await reloaded).stdout) as { errors: number; requests: number };
    expect(after.errors).toBe(0);
    expect(after.requests).toBeGreaterThan(0);
    expect(await unmarkedSyns()).toBe(unmarkedWhileAway);
    // The links are the same ones: only their programs were replaced.
    expect(pinnedLinks(agent.name)).toEqual(links);

    for (const [prober, away, targets] of [
      [outwards, outbound, addressesOf(podB)],
      [inwards, inbound, addressesOf(podA)],
    ] as const) {
      for (const target of targets) {
        const fates = (from: number, to?: number): string[] =>
          prober
            .probes(from, to)
            .filter((probe) => probe.target === target)
            .map(fateOf);
        expect(sequence(fates(killedAt, takeOverAt))).toEqual([away]);
        expect(sequence(fates(takeOverAt, readyAt)).join(" ")).toMatch(new RegExp(`^(${away}( proxied)?|proxied)$`));
        expect(sequence(fates(readyAt))).toEqual(["proxied"]);
      }
    }
    await successor.stop();
    const stoppedAt = now();
    await outwards.until((probe) => fateOf(probe) === "direct", stoppedAt, addressesOf(podB));
    await inwards.until((probe) => fateOf(probe) === "direct", stoppedAt, addressesOf(podA));
    expect(existsSync(pinsOf(agent.name))).toBe(false);
  });
});

describe("an agent that follows one that was killed", () => {
  it("inherits what that one added to the host, and takes it away at its own end", async () => {
    await using rig = await Rig.start();
    const host = (): string[] => [
      ip("-n", rig.podA.netns, "-6", "addr", "show", "dev", "lo"),
      ...["-4", "-6"].map((family) => ip("-n", rig.podA.netns, family, "rule", "show")),
      ip("-n", rig.podA.netns, "-4", "route", "show", "table", "all"),
      ip("netns", "exec", rig.podA.netns, "cat", "/proc/sys/net/ipv4/tcp_fwmark_accept"),
    ];
    const config = rig.config("deny", { inbound: { preserveSource: true } });
    const before = host();
    await using agent = await ShuntAgent.start(config);
    const during = host();
    expect(during[0]).toContain("inet6 ::6/128");
    expect(during[1]).toContain("fwmark 0x1539");
    expect(during[2]).toContain("fwmark 0x1539");
    expect(during[3]).toContain("local default dev lo table 5433");
    expect(during[4]).toBe("1\n");
    await agent.crash();
    expect(host()).toEqual(during);
    await using successor = await ShuntAgent.start(config, { takeOver: agent });
    expect(host()).toEqual(during);
    const { hostAdditions } = await successor.ask<{ hostAdditions: { kind: string }[] }>("status");
    expect(hostAdditions.map(({ kind }) => kind).sort()).toEqual([
      "address",
      "ip-rule",
      "ip-rule",
      "route",
      "route",
      "sysctl",
    ]);
    await successor.stop();
    expect(host()).toEqual(before);
  });

  it("ends the enrolment of workloads it does not have, and enrols new ones", async () => {
    await using rig = await Rig.start();
    const { podA, podB } = rig;
    const lo = (node: LabNode): string => ip("-n", node.netns, "-6", "addr", "show", "dev", "lo");
    await using agent = await ShuntAgent.start(rig.config("deny"));
    await agent.crash();
    expect(await ask("python", podA.path, podB.v4, PORT)).toEqual({ error: "PermissionError" });
    expect(await ask("node", podA.path, podB.v6, PORT)).toEqual({ error: "EPERM" });
    await using successor = await ShuntAgent.start(
      { mode: "ebpf", workloads: [{ name: "b", netns: podB.path }] },
      { takeOver: agent },
    );
    // Out of A directly, into B by the proxy.
    expect(await ask("python", podA.path, podB.v4, PORT)).toMatchObject({ client: "127.0.0.6" });
    expect(await ask("python", podB.path, podA.v6, PORT)).toMatchObject({ client: podB.v6 });
    const records = await successor.waitForRecords(() => true, 2);
    expect(records.map(({ workload, direction }) => [workload, direction])).toEqual([
      ["b", "inbound"],
      ["b", "outbound"],
    ]);
    expect(lo(podA)).not.toContain("::6");
    expect(lo(podB)).toContain("::6");
    await successor.stop();
    expect(lo(podB)).not.toContain("::6");
  });

  it("takes over from another mode", async () => {
    await using rig = await Rig.start();
    const { podA, podB } = rig;
    const told = () => ask("python", podA.path, podB.v4, PORT);
    const rules = async (): Promise<string> => (await runCommand(["iptables-save"], { netns: podA.path })).stdout;
    await using first = await ShuntAgent.start(rig.config("deny"));
    const followed = async (agent: ShuntAgent, mode: string): Promise<ShuntAgent> => {
      await agent.crash();
      return ShuntAgent.start({ ...rig.config("deny"), mode }, { takeOver: agent });
    };
    const works = async (agent: ShuntAgent, mode: string): Promise<void> => {
      const seen = agent.records().length;
      expect(await told()).toMatchObject({ client: podA.v4 });
      await agent.waitForRecords(() => true, seen + 1);
      expect(agent.records().slice(seen)).toMatchObject([
        { interception: mode, originalDestination: `${podB.v4}:${PORT}` },
      ]);
      expect((await rules()).includes("REDIRECT")).toBe(mode === "iptables");
      expect(existsSync(pinsOf(agent.name))).toBe(mode === "ebpf");
    };
    await using second = await followed(first, "iptables");
    await works(second, "iptables");
    await using third = await followed(second, "ebpf");
    await works(third, "ebpf");
    await third.stop();
    expect(await rules()).not.toContain("REDIRECT");
    expect(existsSync(pinsOf(third.name))).toBe(false);
  });
});

describe("shunt clean", () => {
  it.each(["ebpf", "mixed", "iptables", "nftables"])(
    "removes and lists everything a killed agent in mode %s left",
    async (mode) => {
      await using rig = await Rig.start();
      const { podA, podB } = rig;
      const host = async (): Promise<string[]> => [
        ip("-n", podA.netns, "-6", "addr", "show", "dev", "lo"),
        ip("-n", podA.netns, "rule", "show"),
        // The link-local address comes when duplicate address detection is done.
        ip("-n", podA.netns, "-6", "route", "show", "table", "all").replaceAll(/^local fe80:.*\n/gm, ""),
        ...(
          await Promise.all(
            ["iptables-save", "ip6tables-save"].map(
              async (program) => (await runCommand([program, "-t", "nat"], { netns: podA.path })).stdout,
            ),
          )
        ).map((text) => text.replaceAll(/^[#:].*\n/gm, "")),
        (await runCommand(["nft", "list", "tables", "inet"], { netns: podA.path })).stdout,
      ];
      // Once, so that the tables that the programs make by looking are there before.
      await host();
      const before = await host();
      await using agent = await ShuntAgent.start({
        ...rig.config("deny", { inbound: { preserveSource: mode === "ebpf" } }),
        mode,
      });
      const refused = await shunt(["clean", "--name", agent.name]);
      expect(refused).toMatchObject({ status: 1, stdout: "" });
      expect(refused.stderr).toContain(`agent "${agent.name}" runs with pid ${agent.pid}`);
      expect(await ask("python", podB.path, podA.v6, PORT)).toMatchObject({
        client: mode === "ebpf" ? podB.v6 : "::6",
      });
      await agent.waitForRecords(({ direction }) => direction === "inbound");

      await agent.crash();
      const cleaned = await shunt(["clean", "--name", agent.name, "--json"]);
      expect(cleaned).toMatchObject({ status: 0, stderr: "" });
      const { removed, failed } = JSON.parse(cleaned.stdout) as CleanReport;
      expect(failed).toEqual([]);
      expect(removed.map(({ kind }) => kind)).toEqual([
        ...(mode === "ebpf" || mode === "mixed" ? ["pin"] : []),
        ...(mode === "ebpf" ? ["ip-rule"] : [mode === "nftables" ? "nftables" : "iptables"]),
        "address",
        "folder",
      ]);
      expect(await host()).toEqual(before);
      expect(existsSync(pinsOf(agent.name))).toBe(false);
      expect(existsSync(`/run/shunt/${agent.name}`)).toBe(false);
      // Nothing is intercepted, and nothing is denied.
      expect(await ask("python", podB.path, podA.v6, PORT)).toMatchObject({ client: podB.v6 });
      expect(await ask("python", podA.path, podB.v4, PORT)).toMatchObject({ client: podA.v4 });
      expect(await shunt(["clean", "--name", agent.name])).toMatchObject({ status: 0, stdout: "nothing to remove\n" });
    },
  );

  it("removes the cgroup of an exec that was killed, once its command has gone", async () => {
    await using processes = new LabProcesses();
    const sleeper = await processes.start(shuntArgv(["exec", "--", "sh", "-c", "echo ready $$; exec sleep 60"]));
    const name = `exec-${sleeper.child.pid}`;
    const cgroup = join(ownCgroup(), `shunt-${name}`);
    const pids = (): number[] =>
      readFileSync(join(cgroup, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
    const [command = 0] = pids();
    expect(await shunt(["clean", "--name", name])).toMatchObject({ status: 1 });
    sleeper.child.kill("SIGKILL");
    await eventually(() => sleeper.child.signalCode !== null);
    expect(pids()).toEqual([command]);
    process.kill(command, "SIGKILL");
    await eventually(() => pids().length === 0);
    const { stdout, status } = await shunt(["clean", "--name", name, "--json"]);
    expect(status).toBe(0);
    const { removed } = JSON.parse(stdout) as CleanReport;
    expect(removed).toContainEqual({ kind: "cgroup", name: cgroup });
    expect(removed.map(({ kind }) => kind)).toEqual(["pin", "cgroup", "folder"]);
    expect(existsSync(cgroup)).toBe(false);
  });
});
