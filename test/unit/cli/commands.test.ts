// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TRAFFIC_OPTIONS } from "../../../src/cli/command-table.ts";
import type { ExecOptions, ProbeOptions, RunOptions } from "../../../src/config/command-options.ts";
import type { ProbeReport } from "../../../src/config/formats/probe.ts";
import type { AgentConfig } from "../../../src/config/model.ts";
import { temporaryFolder } from "../../support/admin-fixture.ts";
import { shunt } from "../../support/cli-fixture.ts";

let folder: ReturnType<typeof temporaryFolder>;
let file: string;
beforeEach(() => {
  folder = temporaryFolder();
  file = join(folder.path, "agent.yaml");
});
afterEach(() => folder[Symbol.dispose]());

const example = join(import.meta.dirname, "../../../examples/agent.yaml");

describe("run", () => {
  async function runCall(...argv: string[]): Promise<{ config: AgentConfig; options: RunOptions }> {
    const { calls, err } = await shunt(["run", ...argv]);
    expect(err).toBe("");
    const [[name, config, options] = []] = calls;
    expect(name).toBe("runAgent");
    return { config: config as AgentConfig, options: options as RunOptions };
  }

  it("hands the file's configuration to the agent, flags before file", async () => {
    const { config, options } = await runCall(
      "--config",
      example,
      "--mode",
      "iptables",
      "--workers",
      "5",
      "--cgroup-root",
      "/c",
    );
    expect(config).toMatchObject({ name: "node", mode: "iptables", workers: 5, logFormat: "text" });
    expect(options).toMatchObject({ configFile: example, cgroupRoot: "/c" });
  });

  it("reads the file again on reload, flags applied as before, and tells what is wrong with it", async () => {
    writeFileSync(file, "workloads: [{name: a, netns: a}]");
    const { options } = await runCall("--config", file, "--workers", "5");
    writeFileSync(file, "workers: 9\nworkloads: [{name: b, netns: b}]");
    expect(options.reload?.()).toMatchObject({ workers: 5, workloads: [{ name: "b" }] });
    writeFileSync(file, "workloads: [{name: b, netns: b, failMode: x}]");
    expect(() => options.reload?.()).toThrow(`${file}:1: workloads[0].failMode: "x" is not one of deny, direct`);
  });

  it("makes workloads from flags, each with a name of its own and all with the same traffic", async () => {
    const { config, options } = await runCall(
      ...[
        "--workload-netns",
        "blue",
        "--workload-netns",
        "/run/netns/x/blue",
        "--workload-pid",
        "7",
        "--workload-cgroup",
        "/a/b.service",
      ],
      ...[
        "--exclude-outbound-ports",
        "22,23",
        "--include-outbound-cidrs",
        "10.0.0.0/8,fd00::/8",
        "--include-inbound-ports",
        "80",
      ],
      ...["--capture-loopback", "--dns-capture", "all", "--fail-mode", "direct", "--proxy-mark", "0x10/0xff"],
    );
    expect(options.configFile).toBeUndefined();
    expect(config.workloads.map(({ name, target }) => [name, target])).toEqual([
      ["blue", { kind: "netns", path: "/run/netns/blue" }],
      ["blue-2", { kind: "netns", path: "/run/netns/x/blue" }],
      ["pid-7", { kind: "pid", pid: 7 }],
      ["a-b.service", { kind: "cgroup", path: "/a/b.service" }],
    ]);
    for (const workload of config.workloads) {
      expect(workload).toMatchObject({
        outbound: {
          excludePorts: [22, 23],
          includeCidrs: [{ prefixLength: 8 }, { address: "fd00::" }],
          captureLoopback: true,
          dns: { capture: "all" },
        },
        inbound: { includePorts: [80], preserveSource: false },
        failMode: "direct",
        proxy: { mark: { value: 16, mask: 255 } },
      });
    }
  });

  it.each(TRAFFIC_OPTIONS)("$long changes the configuration", async (option) => {
    const base = await runCall("--workload-netns", "a");
    const values: Record<string, string> = {
      PORT: "9",
      PORTS: "9,10",
      CIDRS: "10.0.0.0/8",
      WHICH: "all",
      MODE: "direct",
      MARK: "9",
      UIDS: "9,10",
      GIDS: "9",
      NAME: "kuma",
      NAMES: "eth1",
      GROUPS: "9",
      "KEY=VALUE": "traffic.sidecar.istio.io/excludeOutboundPorts=9",
    };
    const value = option.kind === "value" ? [values[option.metavar] ?? ""] : [];
    const changed = await runCall("--workload-netns", "a", option.long, ...value);
    expect(changed.config).not.toEqual(base.config);
  });

  it("names the flag a wrong field came from", async () => {
    const argv = [
      "run",
      "--workload-netns",
      "a",
      "--workload-netns",
      "/run/netns/a",
      "--exclude-inbound-cidrs",
      "10.0.0.0/8,x",
      "--inbound-port",
      "15001",
    ];
    const { status, err } = await shunt(argv);
    expect(status).toBe(2);
    expect(err).toContain('--exclude-inbound-cidrs: "x" is not an address range');
    expect(err).toContain("--workload-netns /run/netns/a: netns:/run/netns/a is the target of workloads[0] already");
    const ports = await shunt(["run", "--workload-netns", "a", "--inbound-port", "15001"]);
    expect(ports.err).toBe(
      "shunt run: --inbound-port: 15001 is outbound.port already, and two listeners can't share a port\n",
    );
  });

  it("--check tells that a file is right, or prints what it means, and starts nothing", async () => {
    const { status, out, calls } = await shunt(["run", "--config", example, "--check"]);
    expect([status, calls]).toEqual([0, []]);
    expect(out).toMatch(/^ok: agent node, mode auto, 4 workloads\n {2}blue \(netns:\/run\/netns\/blue\)\n/);
    const json = await shunt(["run", "--config", example, "--check", "--json"]);
    expect(JSON.parse(json.out)).toMatchObject({ name: "node", workloads: [{ name: "blue" }, {}, {}, {}] });
  });

  it("--check lists every problem on a line of its own and ends with 1", async () => {
    writeFileSync(file, "workers: 0\nworkloads: [{name: a}]");
    expect(await shunt(["run", "--config", file, "--check"])).toMatchObject({
      status: 1,
      err: `${file}:1: workers: 0 is not a number of worker threads (1 … 256)\n${file}:2: workloads[0]: names no target (one of netns, pid, cgroup)\n`,
    });
  });

  it("says ready once the agent is", async () => {
    const actions = { runAgent: async (_config: AgentConfig, { onReady }: RunOptions) => (onReady(), 0) };
    expect(await shunt(["run", "--workload-netns", "a"], { actions })).toMatchObject({ status: 0, out: "ready\n" });
  });
});

describe("exec", () => {
  async function execCall(...argv: string[]): Promise<ExecOptions> {
    const { calls, err, status } = await shunt(["exec", ...argv]);
    expect([err, status]).toEqual(["", 7]);
    return calls[0]?.[1] as ExecOptions;
  }

  it("captures everything outbound and nothing inbound, and ends with CMD's status", async () => {
    const options = await execCall("--", "ls");
    expect(options).toMatchObject({
      command: ["ls"],
      mode: "auto",
      killDescendants: false,
      workers: 1,
      logLevel: "warn",
    });
    expect(options.workload.outbound).toMatchObject({
      enabled: true,
      port: 0,
      includeCidrs: "all",
      captureLoopback: true,
      captureLocal: true,
    });
    expect(options.workload.inbound.enabled).toBe(false);
  });

  it.each([
    [
      ["--", "ls", "-l", "--", "x"],
      ["ls", "-l", "--", "x"],
    ],
    [
      ["ls", "--mode", "--help"],
      ["ls", "--mode", "--help"],
    ],
    [
      ["--kill-descendants", "sh", "-c", "a b"],
      ["sh", "-c", "a b"],
    ],
    [["--", "--odd"], ["--odd"]],
    [["--", ""], [""]],
  ])("takes %j apart where CMD begins", async (argv, command) => {
    expect((await execCall(...argv)).command).toEqual(command);
  });

  it("passes its switches and settings on", async () => {
    const argv = [
      "--kill-descendants",
      "--mode",
      "iptables",
      "--cgroup-root",
      "/c",
      "--log-level",
      "debug",
      "--log-format",
      "json",
    ];
    expect(await execCall(...argv, "ls")).toMatchObject({
      killDescendants: true,
      mode: "iptables",
      cgroupRoot: "/c",
      logLevel: "debug",
      logFormat: "json",
    });
  });

  it("has Istio's rules with --preset istio, and nothing inbound without a namespace", async () => {
    const { workload } = await execCall("--preset", "istio", "ls");
    expect(workload).toMatchObject({ outbound: { port: 15001, captureLoopback: false }, inbound: { enabled: false } });
    const inside = await execCall("--preset", "istio", "--netns", "blue", "ls");
    expect(inside).toMatchObject({
      netns: "/run/netns/blue",
      workload: { inbound: { enabled: true, includePorts: "all" } },
    });
  });

  it("captures the ports of --inbound in the namespace of --netns", async () => {
    const options = await execCall("--netns", "/n", "--inbound", "80,90", "ls");
    expect(options).toMatchObject({ netns: "/n", workload: { inbound: { enabled: true, includePorts: [80, 90] } } });
    expect((await execCall("--netns", "/n", "--inbound", "*", "ls")).workload.inbound.includePorts).toBe("all");
  });

  it("takes rules and settings from a file, flags before file", async () => {
    writeFileSync(
      file,
      "mode: ebpf\nrecord: from-file\nproxy: {connectTimeout: 1s}\nworkloads: [{netns: blue, outbound: {excludePorts: [22]}}]",
    );
    expect(await execCall("--config", file, "--record", "r", "ls")).toMatchObject({
      mode: "ebpf",
      record: "r",
      netns: "/run/netns/blue",
      proxy: { connectTimeoutMs: 1000 },
      workload: { outbound: { excludePorts: [22], captureLoopback: true } },
    });
  });

  it("ends with 125 and every problem of its file", async () => {
    writeFileSync(file, "outbound: {port: x}\nfailMode: y");
    const { status, err } = await shunt(["exec", "--config", file, "ls"]);
    expect(status).toBe(125);
    expect(err.split("\n")).toHaveLength(3);
  });

  it("refuses inbound in a file without a namespace, and says when a target goes unused", async () => {
    writeFileSync(file, "inbound: {enabled: true}");
    expect(await shunt(["exec", "--config", file, "ls"])).toMatchObject({
      status: 2,
      err: `shunt exec: ${file}: inbound.enabled true only together with --netns\n`,
    });
    writeFileSync(file, "{netns: blue, cgroup: c, inbound: {enabled: true}}");
    expect(await shunt(["exec", "--config", file, "ls"])).toMatchObject({
      status: 7,
      err: "shunt exec: the workload's cgroup is not used: CMD runs in a cgroup of its own\n",
    });
    writeFileSync(file, "pid: 7");
    expect(await shunt(["exec", "--config", file, "ls"])).toMatchObject({
      status: 7,
      err: "shunt exec: the workload's pid is not used: CMD runs in a cgroup of its own\n",
    });
  });
});

describe("probe", () => {
  const report: ProbeReport = {
    mode: "mixed",
    outbound: "ebpf",
    inbound: "iptables",
    originalDestination: "sockops",
    tier: "C",
    reason: "no sk_lookup",
    features: { "cgroup-connect4": { ok: true }, "sk-lookup": { ok: false, reason: "kernel before 5.9" } },
  };
  const probing = (mode: ProbeReport["mode"]) => ({ actions: { probeMachine: async () => ({ ...report, mode }) } });

  it("tells mode, reason and each feature with why not", async () => {
    const { status, out } = await shunt(["probe"], probing("mixed"));
    expect(status).toBe(0);
    expect(out).toMatch(/^mode +mixed$/m);
    expect(out).toMatch(/^sk-lookup +no +kernel before 5\.9$/m);
  });

  it("prints the report as it is with --json", async () => {
    expect(JSON.parse((await shunt(["probe", "--json"], probing("mixed"))).out)).toEqual(report);
  });

  it("tries the contract only when asked, and tells each behaviour with what was seen", async () => {
    const asked: ProbeOptions[] = [];
    const contract: ProbeReport["contract"] = {
      acceleration: "splice-only",
      behaviours: {
        "byte-order": { verdict: "ok", detail: "450 messages" },
        sendfile: { verdict: "broken", detail: "a file: byte 7 is not the one that was sent" },
      },
    };
    const actions = {
      probeMachine: async (options: ProbeOptions) => {
        asked.push(options);
        return options.contract ? { ...report, contract } : report;
      },
    };
    const { out } = await shunt(["probe", "--contract"], { actions });
    expect(out).toMatch(/^acceleration +splice-only$/m);
    expect(out).toMatch(/^BEHAVIOUR +VERDICT +SEEN$/m);
    expect(out).toMatch(/^sendfile +broken +a file: byte 7 is not the one that was sent$/m);
    expect((await shunt(["probe"], { actions })).out).not.toMatch(/acceleration|BEHAVIOUR/);
    expect(JSON.parse((await shunt(["probe", "--contract", "--json"], { actions })).out)).toEqual({
      ...report,
      contract,
    });
    expect(asked).toEqual([{ contract: true }, { contract: false }, { contract: true }]);
  });

  it("ends with 69 when nothing is possible", async () => {
    expect((await shunt(["probe", "--json"], probing("none"))).status).toBe(69);
  });
});

describe("clean", () => {
  it("cleans the default scope, the named one, or all", async () => {
    const scopeOf = async (...argv: string[]): Promise<unknown> => (await shunt(["clean", ...argv])).calls[0]?.[1];
    expect(await scopeOf()).toEqual({ scope: { kind: "agent", name: "default" } });
    expect(await scopeOf("--name", "x")).toEqual({ scope: { kind: "agent", name: "x" } });
    expect(await scopeOf("--all")).toEqual({ scope: { kind: "all" } });
  });

  it("tells what it removed and ends with 1 where something stays", async () => {
    const removed = [{ kind: "pin", name: "/sys/fs/bpf/shunt/a" }];
    const failed = [{ kind: "route", name: "local default dev lo table 133", reason: "EPERM" }];
    expect(await shunt(["clean"])).toMatchObject({ status: 0, out: "nothing to remove\n" });
    expect(await shunt(["clean"], { actions: { clean: async () => ({ removed, failed }) } })).toMatchObject({
      status: 1,
      out: "removed pin /sys/fs/bpf/shunt/a\ncould not remove route local default dev lo table 133: EPERM\n",
    });
  });
});
