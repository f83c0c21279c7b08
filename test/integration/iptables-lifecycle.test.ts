// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { iptablesBackend } from "../../src/intercept/iptables/backend.ts";
import type { InterceptSpec } from "../../src/intercept/spec.ts";
import { findCgroup2 } from "../../src/util/mountinfo.ts";
import { inNetns, rulesOf, whyUnusable } from "../support/iptables-save.ts";
import { NetLab } from "../support/net-lab.ts";
import { NetnsSockets } from "../support/netns-sockets.ts";
import { anInbound, anOutbound, aSpec } from "../unit/intercept/iptables/iptables-specs.ts";

const dns = { kind: "all", port: 15053 } as const;

describe.each(["nft", "legacy"] as const)("rules of iptables-%s", (flavour) => {
  const parts: Disposable[] = [];
  let lab: NetLab;
  let spec: InterceptSpec;
  const rules = (): string => rulesOf(lab.client.path, flavour);
  const tool = (program: string, ...args: string[]): string =>
    inNetns(lab.client.path, `${program}-${flavour}`, ...args);

  beforeEach(async (context) => {
    const missing = await whyUnusable(flavour);
    context.skip(missing !== undefined, missing);
    lab = new NetLab("life");
    parts.push(lab);
    spec = aSpec({
      target: { kind: "netns", path: lab.client.path },
      outbound: anOutbound({ dns }),
      inbound: anInbound(),
    });
    tool("iptables", "-t", "nat", "-A", "OUTPUT", "-d", "192.0.2.1/32", "-j", "RETURN");
    tool("iptables", "-t", "nat", "-N", "SOMEBODYS");
    tool(
      "iptables",
      "-t",
      "nat",
      "-A",
      "PREROUTING",
      "-m",
      "comment",
      "--comment",
      'somebody\'s "own"',
      "-j",
      "SOMEBODYS",
    );
    tool("ip6tables", "-A", "FORWARD", "-j", "DROP");
  });

  afterEach(() => {
    for (const part of parts.splice(0)) part[Symbol.dispose]();
  });

  it("goes where rules are already, and takes every one of ours away again, leaving the others", async () => {
    const before = rules();
    const applied = await iptablesBackend.apply(spec);
    expect(applied.flavour).toBe(flavour);
    expect(rules()).not.toBe(before);
    await applied.remove();
    expect(rules()).toBe(before);
  });

  it("is the same after a second time", async () => {
    await iptablesBackend.apply(spec);
    const once = rules();
    await iptablesBackend.apply(spec);
    expect(rules()).toBe(once);
    expect(once.match(/-A OUTPUT .*-j SHUNT_OUTPUT/g)).toHaveLength(4);
  });

  it("replaces the rules of an earlier specification", async () => {
    await iptablesBackend.apply(spec);
    const changed = { ...spec, outbound: anOutbound({ excludePorts: [2222] }) };
    const applied = await iptablesBackend.apply(changed);
    expect(rules()).toContain("--dport 2222");
    expect(rules(), "DNS capture is off now").not.toContain("15053");
    expect(await applied.verify()).toEqual([]);
  });

  it("keeps other workloads' rules when one is removed", async () => {
    const before = rules();
    await iptablesBackend.apply(spec);
    const alone = rules();
    await iptablesBackend.apply({ ...spec, name: "other one", inbound: anInbound({ port: 15106 }) });
    expect(await iptablesBackend.findOurs(lab.client.path)).toEqual(["other one", "web"]);
    await iptablesBackend.remove(lab.client.path, "other one");
    expect(rules()).toBe(alone);
    await iptablesBackend.remove(lab.client.path, "web");
    expect(rules()).toBe(before);
  });

  it("removes nothing, and complains of nothing, where nothing is", async () => {
    const before = rules();
    await iptablesBackend.remove(lab.client.path, "web");
    expect(await iptablesBackend.removeAll(lab.client.path)).toEqual([]);
    expect(rules()).toBe(before);
  });

  it("cleans up what a crash and a careless hand have left", async () => {
    const before = rules();
    await iptablesBackend.apply(spec);
    await iptablesBackend.apply({ ...spec, name: "b" });
    tool("iptables", "-t", "nat", "-F", "SHUNT_OUTPUT");
    tool("ip6tables", "-t", "nat", "-D", "OUTPUT", "1");
    tool("iptables", "-t", "nat", "-A", "OUTPUT", "-m", "comment", "--comment", "shunt", "-j", "SHUNT_OUTPUT");
    expect(await iptablesBackend.removeAll(lab.client.path)).toEqual(["b", "web"]);
    expect(rules()).toBe(before);
  });

  it("puts IPv4 back when IPv6 is refused", async () => {
    const before = rules();
    obstructIpv6();
    await expect(iptablesBackend.apply(spec, { flavour })).rejects.toMatchObject({ code: "ERR_IPTABLES_APPLY" });
    expect(inNetns(lab.client.path, `iptables-${flavour}-save`)).not.toContain("SHUNT");
    expect(before).not.toContain("SHUNT");
  });

  it("puts the earlier specification back when a later one is refused", async () => {
    await iptablesBackend.apply(spec);
    const before = rules();
    const uid = { ...spec, proxy: { uids: [-7], gids: [], external: false } };
    await expect(iptablesBackend.apply(uid)).rejects.toThrow(/uid-owner/);
    expect(rules()).toBe(before);
  });

  it("says what somebody else has changed", async () => {
    const applied = await iptablesBackend.apply(spec);
    expect(await applied.verify()).toEqual([]);
    tool("ip6tables", "-t", "nat", "-D", "PREROUTING", "1");
    tool("iptables", "-t", "raw", "-F", "SHUNT_OUTPUT");
    tool("iptables", "-t", "nat", "-I", "SHUNT_4b5e57f6_OUT", "1", "-j", "RETURN");
    const drifts = await iptablesBackend.verify(spec);
    expect(drifts.map(({ family, table, chain, kind }) => ({ family, table, chain, kind }))).toEqual([
      { family: 4, table: "nat", chain: "SHUNT_4b5e57f6_OUT", kind: "changed" },
      { family: 4, table: "raw", chain: "SHUNT_OUTPUT", kind: "missing" },
      { family: 6, table: "nat", chain: "PREROUTING", kind: "missing" },
    ]);
    await iptablesBackend.apply(spec);
    expect(await applied.verify()).toEqual([]);
  });

  it("applies many workloads at once without losing one", async () => {
    const names = Array.from({ length: 6 }, (_, i) => `w${i}`);
    const applied = await Promise.all(names.map((name) => iptablesBackend.apply({ ...spec, name })));
    expect(await iptablesBackend.findOurs(lab.client.path)).toEqual(names);
    const first = applied[0];
    expect(await first?.verify()).toEqual([]);
    await Promise.all(applied.map((a) => a.remove()));
    expect(rules()).not.toContain("SHUNT");
  });

  it("is not held up by the rules of a cgroup that is gone", async (context) => {
    const mount = findCgroup2();
    context.skip(!mount, "no cgroup2 file system is mounted");
    const path = `${mount?.mountPoint}/shunt-test-gone-${process.pid}`;
    mkdirSync(path);
    const before = rules();
    try {
      await iptablesBackend.apply(
        aSpec({ name: "gone", target: { kind: "cgroup", path, netnsPath: lab.client.path }, outbound: anOutbound() }),
      );
    } finally {
      rmdirSync(path);
    }
    const applied = await iptablesBackend.apply(spec);
    expect(await iptablesBackend.findOurs(lab.client.path)).toEqual(["web"]);
    await applied.remove();
    expect(rules()).toBe(before);
  });

  it("stops when the caller aborts, and leaves nothing behind", async () => {
    const before = rules();
    const controller = new AbortController();
    const applying = iptablesBackend.apply(spec, { signal: controller.signal });
    setImmediate(() => controller.abort());
    await expect(applying).rejects.toThrow(/was stopped|was not started|aborted/);
    expect(rules()).toBe(before);
  });

  /** What makes this flavour refuse every change of the IPv6 nat table. */
  function obstructIpv6(): void {
    if (flavour === "nft") {
      // Chains of a type that iptables can't express make the whole table somebody else's.
      inNetns(lab.client.path, "nft", "add table ip6 nat { chain OUTPUT { type filter hook output priority 7; } ; }");
      return;
    }
    const mount = findCgroup2();
    const path = `${mount?.mountPoint}/shunt-test-obstruct-${process.pid}`;
    mkdirSync(path);
    try {
      tool(
        "ip6tables",
        "-t",
        "nat",
        "-A",
        "INPUT",
        "-m",
        "cgroup",
        "--path",
        `/shunt-test-obstruct-${process.pid}`,
        "-j",
        "RETURN",
      );
    } finally {
      rmdirSync(path);
    }
  }
});

describe("a machine without ip6tables", () => {
  const path = process.env["PATH"];
  let lab: NetLab;
  let bin: string;

  beforeEach(() => {
    lab = new NetLab("no6");
    bin = mkdtempSync(join(tmpdir(), "shunt-test-bin-"));
    const programs = ["nsenter", "unshare", "sh", "cat", "iptables-nft-save", "iptables-nft-restore"];
    for (const program of programs) {
      symlinkSync(
        execFileSync("sh", ["-c", 'command -v "$0"', program], { encoding: "utf8" }).trim(),
        join(bin, program),
      );
    }
    process.env["PATH"] = bin;
  });

  afterEach(() => {
    process.env["PATH"] = path;
    rmSync(bin, { recursive: true });
    lab[Symbol.dispose]();
  });

  it("is refused while the namespace has IPv6", async () => {
    const spec = aSpec({ target: { kind: "netns", path: lab.client.path }, outbound: anOutbound() });
    await expect(iptablesBackend.apply(spec)).rejects.toMatchObject({ code: "ERR_IPTABLES_IPV6_UNAVAILABLE" });
    expect(await iptablesBackend.findOurs(lab.client.path)).toEqual([]);
    expect(await iptablesBackend.probe(lab.client.path)).toMatchObject({ ok: false, ipv6: { ok: false } });
  });

  it("is good enough for a namespace without IPv6, and says so", async () => {
    process.env["PATH"] = path;
    inNetns(lab.client.path, "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
    process.env["PATH"] = bin;
    const spec = aSpec({ target: { kind: "netns", path: lab.client.path }, outbound: anOutbound() });
    const applied = await iptablesBackend.apply(spec);
    expect(applied.families).toEqual([4]);
    expect(applied.warnings).toEqual([expect.stringContaining("IPv6 is not intercepted")]);
    using pod = new NetnsSockets(lab.client.path);
    await pod.tellingServer("outbound", "127.0.0.1", 15001);
    expect(await pod.ask(lab.server.v4, 80)).toMatchObject({ who: "outbound" });
  });
});

describe("a machine without iptables", () => {
  it("says so", async () => {
    const path = process.env["PATH"];
    process.env["PATH"] = "/nonexistent";
    try {
      const spec = aSpec({ target: { kind: "netns", path: "/proc/self/ns/net" }, outbound: anOutbound() });
      await expect(iptablesBackend.apply(spec)).rejects.toMatchObject({ code: "ERR_IPTABLES_UNAVAILABLE" });
      expect(await iptablesBackend.probe()).toMatchObject({ ok: false, reason: "iptables is not installed" });
    } finally {
      process.env["PATH"] = path;
    }
  });
});

describe("the probe", () => {
  it("tries every match that rules need, in a namespace of its own", async () => {
    const version = execFileSync("iptables", ["--version"], { encoding: "utf8" });
    const { flavours, ...found } = await iptablesBackend.probe();
    const standard = version.includes("nf_tables") ? "nft" : "legacy";
    expect(flavours[standard]).toEqual({ ok: true });
    expect(found).toEqual({
      ok: true,
      flavour: standard,
      ipv6: { ok: true },
      cgroupMatch: { ok: true },
      dnsZones: { ok: true },
      tproxy: { ok: true },
    });
  });

  it("chooses the flavour that a namespace uses", async () => {
    using lab = new NetLab("probe");
    inNetns(lab.client.path, "ip6tables-legacy", "-A", "INPUT", "-j", "ACCEPT");
    expect(await iptablesBackend.probe(lab.client.path)).toMatchObject({ ok: true, flavour: "legacy" });
  });
});
