// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findCommand } from "../../../scripts/setup/machine.mjs";
import { BpfObject } from "../../../src/bpf/bpf-object.ts";
import type { StatusReport } from "../../../src/config/formats/status.ts";
import { EbpfBackend } from "../../../src/intercept/ebpf/backend.ts";
import { NetworkNamespace } from "../../../src/intercept/network-namespace.ts";
import { check } from "../../../src/native/status.ts";
import { NetLab } from "../../support/net-lab.ts";
import { NetnsSockets } from "../../support/netns-sockets.ts";
import { runCommand, ShuntAgent } from "../../support/shunt.ts";

/** BPF_SK_LOOKUP, and how many programs a namespace takes (net/core/filter.c via kernel/bpf/net_namespace.c). */
const SK_LOOKUP = 36;
const MAX_SK_LOOKUP_PROGRAMS = 64;

const objects = join(import.meta.dirname, "../../../bpf/build");

describe("where eBPF can't do what is asked", () => {
  it("outbound, everything falls back to iptables and status says why", async () => {
    using lab = new NetLab("fallback");
    const folder = mkdtempSync(join(tmpdir(), "shunt-test-fallback-"));
    try {
      // A directory that is no cgroup: the kernel refuses to attach there.
      await using agent = await ShuntAgent.start(
        { workloads: [{ name: "client", netns: lab.client.path }] },
        { flags: ["--cgroup-root", folder] },
      );
      const status = await agent.ask<StatusReport>("status");
      expect(status.workloads[0]).toMatchObject({ mode: "iptables", outbound: "iptables", inbound: "iptables" });
      expect(status.agent.reason).toMatch(/^ebpf: bpf_link_create: E\w+ .*; mixed: bpf_link_create: E\w+/);
      const { stdout } = await runCommand(["ip", "netns", "exec", lab.client.netns, "iptables-save"]);
      expect(stdout).toContain("SHUNT_OUTPUT");
      await agent.stop();
      expect((await runCommand(["ip", "netns", "exec", lab.client.netns, "iptables-save"])).stdout).not.toContain(
        "SHUNT",
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("and there is no iptables, to nftables, whose verdicts are counted by reason", async () => {
    using lab = new NetLab("fallnft");
    const folder = mkdtempSync(join(tmpdir(), "shunt-test-fallback-"));
    for (const program of ["nsenter", "unshare", "sh", "mount", "cat", "nft"])
      symlinkSync(findCommand(program) ?? `/missing/${program}`, join(folder, program));
    try {
      await using agent = await ShuntAgent.start(
        { workloads: [{ name: "client", netns: lab.client.path }] },
        { flags: ["--cgroup-root", folder], env: { PATH: folder } },
      );
      const [workload] = (await agent.ask<StatusReport>("status")).workloads;
      expect(workload).toMatchObject({ mode: "nftables", outbound: "nftables", inbound: "nftables" });
      using pod = new NetnsSockets(lab.client.path);
      expect(await pod.ask("127.0.0.1", 9)).toBeLessThan(0);
      const after = await agent.ask<StatusReport>("status");
      expect(after.workloads[0]?.counters.outbound).toEqual({ loopback: 1 });
      expect(after.agent.reason).toMatch(/^ebpf: .*; mixed: .*; iptables: iptables is not installed$/);
      await agent.stop();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("inbound only, outbound stays eBPF and inbound becomes rules", async () => {
    using lab = new NetLab("mixed");
    using netns = new NetworkNamespace(lab.client.path);
    using object = BpfObject.open(join(objects, "inbound.bpf.o"));
    object.load();
    const program = object.program("inbound");
    const links = Array.from({ length: MAX_SK_LOOKUP_PROGRAMS }, () =>
      check(program.link(netns.fd, SK_LOOKUP), "bpf_link_create"),
    );
    try {
      await using agent = await ShuntAgent.start({ workloads: [{ name: "client", netns: lab.client.path }] });
      const status = await agent.ask<StatusReport>("status");
      expect(status.workloads[0]).toMatchObject({ mode: "mixed", outbound: "ebpf", inbound: "iptables" });
      expect(status.agent.reason).toMatch(/^ebpf: bpf_link_create: E2BIG/);
      await agent.stop();
    } finally {
      for (const link of links) link.close();
    }
  });

  it("a mode that was asked for by name is refused, not replaced, and nothing stays", async () => {
    using lab = new NetLab("refused");
    const folder = mkdtempSync(join(tmpdir(), "shunt-test-fallback-"));
    try {
      const start = ShuntAgent.start(
        { mode: "ebpf", workloads: [{ name: "client", netns: lab.client.path }] },
        { flags: ["--cgroup-root", folder] },
      );
      await expect(start).rejects.toThrow(/bpf_link_create/);
      expect((await runCommand(["ip", "netns", "exec", lab.client.netns, "ss", "-Hltn"])).stdout).toBe("");
      using netns = new NetworkNamespace(lab.client.path);
      expect(netns.addresses()).not.toContain("::6");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

// Loads the same programs as the agent does, so that a failure above can be told from a kernel that has none.
describe("the programs", () => {
  it("load on this kernel", async () => {
    using lab = new NetLab("loads");
    using netns = new NetworkNamespace(lab.client.path);
    const backend = new EbpfBackend({ name: `shunt-test-${process.pid}-loads` });
    try {
      const outbound = {
        port: 15001,
        includePorts: [],
        excludePorts: [],
        includeCidrs: "all",
        excludeCidrs: [],
        captureLoopback: false,
        captureLocal: false,
        dns: { kind: "all", port: 15053 },
        ownerGroups: { kind: "all-except", groups: [] },
      } as const;
      const scope = await backend.apply(
        {
          name: "loads",
          target: { kind: "netns", path: lab.client.path },
          outbound,
          proxy: { uids: [1337], gids: [], external: true },
          interfaces: { exclude: [], reroute: [] },
          dropInvalid: false,
          failMode: "deny",
          trace: false,
        },
        netns,
        [],
      );
      expect(scope.counters()).toEqual({ outbound: {}, inbound: {} });
    } finally {
      backend.remove();
    }
  });
});
