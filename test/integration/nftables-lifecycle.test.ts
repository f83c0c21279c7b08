// SPDX-License-Identifier: Apache-2.0
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { nftablesBackend } from "../../src/intercept/nftables/backend.ts";
import { workloadPrefix } from "../../src/intercept/nftables/naming.ts";
import { render } from "../../src/intercept/nftables/render.ts";
import type { InterceptSpec } from "../../src/intercept/spec.ts";
import { findCgroup2 } from "../../src/util/mountinfo.ts";
import { inNetns } from "../support/iptables-save.ts";
import { NetLab } from "../support/net-lab.ts";
import { NetnsSockets } from "../support/netns-sockets.ts";
import { anInbound, anOutbound, aSpec } from "../unit/intercept/iptables/iptables-specs.ts";

const FOREIGN = `
table ip nat {
	chain OUTPUT {
		type nat hook output priority -100; policy accept;
		ip daddr 192.0.2.1 return comment "somebody's"
	}
}
table inet shunt-like {
	set w4b5e57f6-out-exclude4 { type ipv4_addr; }
	chain w4b5e57f6-out { counter comment "shunt:web"
	}
}
`;

describe("rules of nftables", () => {
  const parts: Disposable[] = [];
  let lab: NetLab;
  let spec: InterceptSpec;
  const nft = (...args: string[]): string => inNetns(lab.client.path, "nft", ...args);
  /** Everything of everybody, without what traffic counts. */
  const rules = (): string => nft("-s", "list", "ruleset").replace(/packets \d+ bytes \d+/g, "");

  beforeEach(async (context) => {
    const { ok, reason } = await nftablesBackend.probe();
    context.skip(!ok, reason);
    lab = new NetLab("nftlife");
    parts.push(lab);
    spec = aSpec({
      target: { kind: "netns", path: lab.client.path },
      outbound: anOutbound({
        dns: { kind: "all", port: 15053 },
        excludeCidrs: [
          { address: "10.0.0.0", prefixLength: 8 },
          { address: "10.1.0.0", prefixLength: 16 },
          { address: "fd00::", prefixLength: 8 },
        ],
      }),
      inbound: anInbound(),
      dropInvalid: true,
    });
    execFileSync("nsenter", [`--net=${lab.client.path}`, "nft", "-f", "-"], { input: FOREIGN });
  });

  afterEach(() => {
    for (const part of parts.splice(0)) part[Symbol.dispose]();
  });

  it("take every one of theirs away again, and leave those of others", async () => {
    const before = rules();
    await nftablesBackend.apply(spec);
    expect(rules()).not.toBe(before);
    expect(await nftablesBackend.remove(lab.client.path, spec.name)).toBe(true);
    expect(rules()).toBe(before);
    expect(await nftablesBackend.remove(lab.client.path, spec.name)).toBe(false);
    expect(await nftablesBackend.removeAll(lab.client.path)).toEqual([]);
    expect(rules()).toBe(before);
  });

  it("are not touched a second time", async () => {
    expect(await nftablesBackend.adopt(spec)).toBeUndefined();
    expect(await nftablesBackend.apply(spec)).toMatchObject({ changed: true });
    const once = nft("-a", "list", "ruleset");
    expect(await nftablesBackend.apply(spec)).toMatchObject({ changed: false, warnings: [expect.any(String)] });
    expect(await nftablesBackend.adopt(spec)).toMatchObject({ changed: false });
    expect(nft("-a", "list", "ruleset"), "not even with other handles").toBe(once);
  });

  it("replace those of an earlier specification", async () => {
    await nftablesBackend.apply(spec);
    const changed = { ...spec, outbound: anOutbound({ excludePorts: [2222] }), dropInvalid: false };
    expect(await nftablesBackend.apply(changed)).toMatchObject({ changed: true });
    expect(rules()).toContain("tcp dport 2222");
    expect(rules(), "DNS capture is off now").not.toContain("15053");
    expect(rules(), "and base chains without a rule go").not.toContain("raw-output");
    expect(await nftablesBackend.verify(changed)).toEqual([]);
    expect(await nftablesBackend.verify(spec)).not.toEqual([]);
  });

  it("of other workloads stay when those of one are removed", async () => {
    const before = rules();
    await nftablesBackend.apply(spec);
    const alone = rules();
    const other = { ...spec, name: `other one ${"x".repeat(200)}`, inbound: anInbound({ port: 15106 }) };
    await nftablesBackend.apply(other);
    expect(await nftablesBackend.findOurs(lab.client.path)).toEqual([other.name, "web"]);
    expect(await nftablesBackend.verify(other)).toEqual([]);
    expect(await nftablesBackend.verify(spec)).toEqual([]);
    await nftablesBackend.remove(lab.client.path, other.name);
    expect(rules()).toBe(alone);
    await nftablesBackend.remove(lab.client.path, "web");
    expect(rules()).toBe(before);
  });

  it("are as they were when a transaction is refused", async () => {
    await nftablesBackend.apply(spec);
    const before = nft("-a", "list", "ruleset");
    const uid = { ...spec, proxy: { uids: [-7], gids: [], external: false } };
    await expect(nftablesBackend.apply(uid)).rejects.toMatchObject({ code: "ERR_NFTABLES_APPLY" });
    expect(nft("-a", "list", "ruleset")).toBe(before);
  });

  it("say what somebody else has changed, and are repaired", async () => {
    await nftablesBackend.apply(spec);
    expect(await nftablesBackend.verify(spec)).toEqual([]);
    nft("delete", "element", "inet", "shunt", "w4b5e57f6-out-exclude4", "{ 10.0.0.0/8 }");
    nft("flush", "chain", "inet", "shunt", "raw-output");
    nft("insert", "rule", "inet", "shunt", "w4b5e57f6-out", "return");
    nft("add", "chain", "inet", "shunt", "w4b5e57f6-more");
    const drifts = await nftablesBackend.verify(spec);
    expect(drifts.map(({ table, chain, kind }) => ({ table, chain, kind }))).toEqual([
      { table: "inet shunt", chain: "raw-output", kind: "missing" },
      { table: "inet shunt", chain: "w4b5e57f6-out", kind: "changed" },
      { table: "inet shunt", chain: "w4b5e57f6-out-exclude4", kind: "changed" },
    ]);
    nft("add", "rule", "inet", "shunt", "w4b5e57f6-more", "drop");
    expect(await nftablesBackend.verify(spec)).toContainEqual(
      expect.objectContaining({ chain: "w4b5e57f6-more", kind: "unexpected" }),
    );
    await nftablesBackend.apply(spec);
    expect(await nftablesBackend.verify(spec)).toEqual([]);
  });

  it("replace what an earlier version has left in their table", async () => {
    const before = rules();
    nft("add table inet shunt { chain output { type nat hook output priority -100; } ; chain old { } ; }");
    nft('add rule inet shunt output counter goto old comment "shunt:web"');
    await nftablesBackend.apply(spec);
    expect(rules()).not.toContain("chain old");
    expect(await nftablesBackend.verify(spec)).toEqual([]);
    await nftablesBackend.remove(lab.client.path, "web");
    expect(rules()).toBe(before);
  });

  it("are not made beside an earlier version's that others still need", async () => {
    nft("add table inet shunt { chain output { type nat hook output priority -100; } ; }");
    nft('add rule inet shunt output counter comment "shunt:elder netns"');
    const before = rules();
    await expect(nftablesBackend.apply(spec)).rejects.toMatchObject({ code: "ERR_NFTABLES_FOREIGN_LAYOUT" });
    expect(rules()).toBe(before);
    expect(await nftablesBackend.removeAll(lab.client.path)).toEqual(["elder"]);
  });

  it("of many workloads are applied at once without losing one", async () => {
    const names = Array.from({ length: 6 }, (_, i) => `w${i}`);
    await Promise.all(names.map((name) => nftablesBackend.apply({ ...spec, name })));
    expect(await nftablesBackend.findOurs(lab.client.path)).toEqual(names);
    for (const name of names) expect(await nftablesBackend.verify({ ...spec, name })).toEqual([]);
    await Promise.all(names.map((name) => nftablesBackend.remove(lab.client.path, name)));
    expect(rules()).not.toContain("table inet shunt {");
  });

  it("are all there or not at all when nft is killed while it applies them", async () => {
    const excludeCidrs = Array.from({ length: 4000 }, (_, i) => ({
      address: `198.${18 + (i >> 11)}.${(i >> 3) & 255}.${(i & 7) * 2}`,
      prefixLength: 32,
    }));
    const large = { ...spec, outbound: anOutbound({ excludeCidrs }) };
    const script = render(nftablesBackend.plan(large));
    let whole = 0;
    let killed = 0;
    for (let delayMs = 0; delayMs < 60 && (whole < 2 || killed < 5); delayMs += 4) {
      await nftablesBackend.removeAll(lab.client.path);
      const child = spawn("nsenter", [`--net=${lab.client.path}`, "nft", "-f", "-"], {
        stdio: ["pipe", "ignore", "ignore"],
      });
      child.stdin?.on("error", () => {});
      child.stdin?.end(script);
      const ended = once(child, "close") as Promise<[number | null]>;
      const timer = setTimeout(() => child.kill("SIGKILL"), delayMs);
      const [status] = await ended;
      clearTimeout(timer);
      if (status === null) killed++;
      const there = (await nftablesBackend.findOurs(lab.client.path)).length > 0;
      if (there) {
        whole++;
        expect(await nftablesBackend.verify(large)).toEqual([]);
      } else expect(rules()).not.toContain("table inet shunt {");
    }
    expect(killed).toBeGreaterThan(0);
    await nftablesBackend.apply(large);
    expect(await nftablesBackend.verify(large)).toEqual([]);
  });

  it("stay away when the caller aborts", async () => {
    const before = rules();
    const controller = new AbortController();
    const applying = nftablesBackend.apply(spec, { signal: controller.signal });
    setImmediate(() => controller.abort());
    await expect(applying).rejects.toThrow(/was stopped|was not started|aborted/);
    expect(rules()).toBe(before);
  });

  it("of a cgroup that is gone hold nobody up", async (context) => {
    const mount = findCgroup2();
    context.skip(!mount, "no cgroup2 file system is mounted");
    const path = `${mount?.mountPoint}/shunt-test-nftgone-${process.pid}`;
    mkdirSync(path);
    const before = rules();
    const target = { kind: "cgroup", path, netnsPath: lab.client.path } as const;
    try {
      await nftablesBackend.apply(aSpec({ name: "gone", target, outbound: anOutbound() }));
    } finally {
      rmdirSync(path);
    }
    await nftablesBackend.apply(spec);
    expect(await nftablesBackend.verify(spec)).toEqual([]);
    expect(await nftablesBackend.findOurs(lab.client.path)).toEqual(["gone", "web"]);
    expect(await nftablesBackend.remove(lab.client.path, "gone")).toBe(true);
    expect(await nftablesBackend.remove(lab.client.path, "web")).toBe(true);
    expect(rules()).toBe(before);
  });

  it("that stand in the wrong order are noticed", async (context) => {
    const mount = findCgroup2();
    context.skip(!mount, "no cgroup2 file system is mounted");
    const path = `${mount?.mountPoint}/shunt-test-nftorder-${process.pid}`;
    mkdirSync(path);
    parts.push({ [Symbol.dispose]: () => rmdirSync(path) });
    const inner = aSpec({
      name: "inner",
      target: { kind: "cgroup", path, netnsPath: lab.client.path },
      outbound: anOutbound(),
    });
    await nftablesBackend.apply(spec);
    await nftablesBackend.apply(inner);
    expect(await nftablesBackend.verify(spec)).toEqual([]);
    nft("flush", "chain", "inet", "shunt", "nat-output");
    for (const [name, rank] of [
      ["web", "netns"],
      ["inner", "level 1"],
    ] as const) {
      nft(`add rule inet shunt nat-output goto ${workloadPrefix(name)}out comment "shunt:${name} ${rank}"`);
    }
    expect(await nftablesBackend.verify(spec)).toContainEqual(
      expect.objectContaining({ chain: "nat-output", kind: "changed" }),
    );
  });

  it("keep away from the world nobody but whom they are for", async () => {
    using pod = new NetnsSockets(lab.client.path);
    using world = new NetnsSockets(lab.server.path);
    await world.tellingServer("world", lab.server.v4, 80);
    await nftablesBackend.apply(aSpec({ ...spec, outbound: anOutbound({ port: 15999 }) }));
    expect(await pod.ask(lab.server.v4, 80)).toBeLessThan(0);
    await nftablesBackend.removeAll(lab.client.path);
    expect(await pod.ask(lab.server.v4, 80)).toMatchObject({ who: "world" });
  });
});

describe("a machine without nft", () => {
  const path = process.env["PATH"];
  let bin: string;

  beforeEach(() => {
    bin = mkdtempSync(join(tmpdir(), "shunt-test-bin-"));
    for (const program of ["nsenter", "unshare", "sh", "mount"]) {
      const found = execFileSync("sh", ["-c", 'command -v "$0"', program], { encoding: "utf8" }).trim();
      symlinkSync(found, join(bin, program));
    }
    process.env["PATH"] = bin;
  });

  afterEach(() => {
    process.env["PATH"] = path;
    rmSync(bin, { recursive: true });
  });

  it("says so, and has nothing to remove", async () => {
    const spec = aSpec({ target: { kind: "netns", path: "/proc/self/ns/net" }, outbound: anOutbound() });
    await expect(nftablesBackend.apply(spec)).rejects.toMatchObject({ code: "ERR_NFTABLES_UNAVAILABLE" });
    expect(await nftablesBackend.probe()).toMatchObject({ ok: false, reason: "nft is not installed" });
    expect(await nftablesBackend.removeAll("/proc/self/ns/net")).toEqual([]);
  });
});
