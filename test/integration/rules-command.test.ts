// SPDX-License-Identifier: Apache-2.0
/** `shunt rules` on real namespaces: the same round through every back-end, with connections that tell who took them. */
import { existsSync, statSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Bpffs } from "../../src/bpf/bpffs.ts";
import {
  RULES_BACKENDS,
  type RulesBackendName,
  type RulesReport,
  rulesSchema,
} from "../../src/config/formats/rules.ts";
import { BPF_OBJECTS } from "../../src/intercept/bpf-objects.ts";
import { PinnedMaps } from "../../src/intercept/ebpf/pinned-maps.ts";
import { PinDirectory } from "../../src/intercept/ebpf/pins.ts";
import { rulesInstance } from "../../src/intercept/ebpf/rules-instance.ts";
import { NetworkNamespace } from "../../src/intercept/network-namespace.ts";
import { workloadPrefix } from "../../src/intercept/nftables/naming.ts";
import { inSomeModes } from "../support/modes.ts";
import { ip, type LabNode, NetLab } from "../support/net-lab.ts";
import { NetnsSockets, type Told } from "../support/netns-sockets.ts";
import { type Finished, ShuntAgent, shunt } from "../support/shunt.ts";

const APP_PORT = 9080;
const EXCLUDED = 9022;

let lab: NetLab;
let pod: NetnsSockets;
let outside: NetnsSockets;
beforeEach(async () => {
  lab = new NetLab("rules");
  pod = new NetnsSockets(lab.server.path);
  outside = new NetnsSockets(lab.client.path);
  for (const address of [lab.client.v4, lab.client.v6]) {
    for (const port of [APP_PORT, EXCLUDED]) await outside.tellingServer("server", address, port);
  }
  for (const address of [lab.server.v4, lab.server.v6]) await pod.tellingServer("app", address, APP_PORT);
});
afterEach(async () => {
  await shunt(["rules", "remove", "--netns", lab.server.path, "--name", "web"]);
  pod[Symbol.dispose]();
  outside[Symbol.dispose]();
  lab[Symbol.dispose]();
});

/** Every form of a rule needs its listener elsewhere: REDIRECT on the address of the interface, the others on loopback. */
async function startProxy(backend: RulesBackendName): Promise<void> {
  for (const loopback of ["127.0.0.1", "::1"]) await pod.tellingServer("proxy, outbound", loopback, 15_001);
  const redirects = backend === "iptables" || backend === "nftables";
  for (const address of redirects ? ["0.0.0.0", "::"] : ["127.0.0.1", "::1"])
    await pod.tellingServer("proxy, inbound", address, 15_006, { transparent: backend === "tproxy" });
}

function rules(action: string, ...more: string[]): Promise<Finished> {
  return shunt(["rules", action, "--netns", lab.server.path, "--name", "web", ...more]);
}

async function reported(action: string, ...more: string[]) {
  const { stdout, stderr, status } = await rules(action, ...more, "--format", "json");
  const report: RulesReport = rulesSchema.parse(stdout === "" ? undefined : JSON.parse(stdout));
  const [workload] = report.workloads;
  if (!workload) throw new Error(stderr);
  return { ...workload, status, stderr };
}

const who = (told: Told | number): string => (typeof told === "number" ? `errno ${-told}` : told.who);

/** Who takes a connection: outbound over both families, inbound over both, and outbound to the excluded port. */
async function takers(): Promise<string[]> {
  return [
    who(await pod.ask(lab.client.v4, APP_PORT)),
    who(await pod.ask(lab.client.v6, APP_PORT)),
    who(await outside.ask(lab.server.v4, APP_PORT)),
    who(await outside.ask(lab.server.v6, APP_PORT)),
    who(await pod.ask(lab.client.v4, EXCLUDED)),
  ];
}

const DIRECT = ["server", "server", "app", "app", "server"];
const INTERCEPTED = ["proxy, outbound", "proxy, outbound", "proxy, inbound", "proxy, inbound", "server"];

/** Of workload web in nftables. */
const webChain = (role: string): string[] => ["inet", "shunt", workloadPrefix("web") + role];

/** Does what somebody might do who does not know what it is. */
const damage: Readonly<Record<RulesBackendName, () => void>> = {
  iptables: () => void ip("netns", "exec", lab.server.netns, "iptables", "-t", "nat", "-D", "SHUNT_OUTPUT", "1"),
  tproxy: () => void ip("-n", lab.server.netns, "rule", "del", "table", "9530"),
  nftables: () => void ip("netns", "exec", lab.server.netns, "nft", "flush", "chain", ...webChain("out-redirect")),
  ebpf: () => {
    using netns = new NetworkNamespace(lab.server.path);
    using bpffs = Bpffs.find();
    const pins = new PinDirectory(bpffs?.path ?? "", rulesInstance(netns.inode, "web"));
    using maps = new PinnedMaps(pins, BPF_OBJECTS);
    for (const [key] of [...(maps.shared("ports")?.entries() ?? [])]) maps.shared("ports")?.delete(key);
  },
};

describe.each(RULES_BACKENDS)("with back-end %s", (backend) => {
  const flags = ["--backend", backend, "--exclude-outbound-ports", String(EXCLUDED)];

  it("a workload is intercepted, checked, repaired and given back", async () => {
    await startProxy(backend);
    expect(await takers()).toEqual(DIRECT);
    expect(await reported("apply", ...flags)).toMatchObject({ status: 0, outcome: "applied", leftovers: [] });
    expect(await reported("apply", ...flags)).toMatchObject({ status: 0, outcome: "unchanged" });
    expect(await takers()).toEqual(INTERCEPTED);
    expect(await reported("verify", ...flags)).toMatchObject({ status: 0, outcome: "as-planned", drift: [] });
    const validation = await reported("validate", ...flags);
    expect(validation).toMatchObject({ status: 0, outcome: "valid", untested: [] });
    expect(validation.connections?.map(({ direction, family, ok }) => [direction, family, ok])).toEqual([
      ["outbound", 4, true],
      ["outbound", 6, true],
      ["inbound", 4, true],
      ["inbound", 6, true],
    ]);

    damage[backend]();
    const drifted = await reported("verify", ...flags);
    expect(drifted).toMatchObject({ status: 1, outcome: "drifted" });
    expect(drifted.drift).not.toEqual([]);
    const repaired = await reported("apply", ...flags);
    expect(repaired).toMatchObject({ status: 0, outcome: "updated", drift: drifted.drift });
    expect(await reported("verify", ...flags)).toMatchObject({ status: 0, drift: [] });
    expect(await takers()).toEqual(INTERCEPTED);

    // What has the workload is found without being named.
    expect(await reported("verify", ...flags.slice(2))).toMatchObject({ status: 0, backend });
    expect(await reported("remove")).toMatchObject({ status: 0, outcome: "removed", removed: [backend] });
    expect(await takers()).toEqual(DIRECT);
    expect(await reported("remove")).toMatchObject({ status: 0, outcome: "nothing" });
    expect(ip("-n", lab.server.netns, "-6", "addr", "show", "dev", "lo")).not.toContain("::6/128");
  });
});

describe("rules in Istio's form", () => {
  const istio = ["--backend", "iptables", "--chain-prefix", "ISTIO"];

  it("are applied, checked, told by other back-ends, and removed when asked", async () => {
    await startProxy("iptables");
    expect(await reported("apply", ...istio)).toMatchObject({ status: 0, outcome: "applied" });
    expect(await reported("apply", ...istio)).toMatchObject({ status: 0, outcome: "unchanged" });
    expect(await reported("validate", ...istio)).toMatchObject({ status: 0, outcome: "valid" });
    ip("netns", "exec", lab.server.netns, "iptables", "-t", "nat", "-D", "ISTIO_INBOUND", "1");
    expect(await reported("verify", ...istio)).toMatchObject({ status: 1, outcome: "drifted" });
    expect(await reported("apply", ...istio)).toMatchObject({ status: 0, outcome: "updated" });

    const beside = await reported("apply", "--backend", "nftables");
    expect(beside.leftovers).toContainEqual(expect.objectContaining({ who: "istio", kind: "chain", removed: false }));
    const cleaned = await reported("verify", "--backend", "nftables", "--remove-leftovers");
    expect(cleaned).toMatchObject({ status: 0, outcome: "as-planned" });
    expect(cleaned.leftovers).toContainEqual(expect.objectContaining({ who: "istio", removed: true }));
    expect(ip("netns", "exec", lab.server.netns, "iptables-save")).not.toContain("ISTIO_");
    expect((await takers()).slice(0, 4)).toEqual(INTERCEPTED.slice(0, 4));
  });
});

inSomeModes(["ebpf", "tproxy"], "a workload that an agent has", (mode) => {
  it("is validated, and verified where it is rules alone that it has", async () => {
    await using agent = await ShuntAgent.start({ mode, workloads: [{ name: "web", netns: lab.server.path }] });
    const hasPrograms = mode === "ebpf" || mode === "mixed";
    const ask = (action: string): Promise<Finished> => shunt(["rules", action, "--config", agent.configFile]);
    const valid = await ask("validate");
    expect(valid).toMatchObject({
      status: 0,
      stdout: expect.stringContaining(`${hasPrograms ? "ebpf" : mode}: intercepted`),
    });
    expect(valid.stdout.match(/arrived at the proxy that runs/g)).toHaveLength(2);
    const verified = await ask("verify");
    expect(verified.status, verified.stderr).toBe(hasPrograms ? 1 : 0);
    const why = `web: agent "${agent.name}", pid ${agent.pid}, has the workload by eBPF, and tells by its status`;
    if (hasPrograms) expect(verified.stderr).toContain(why);
    await agent.stop();
  });
});

it("rules by hand keep an agent off their target, at its start and at a reload, until they are removed", async () => {
  expect(await reported("apply", "--backend", "iptables")).toMatchObject({ outcome: "applied", status: 0 });
  const { ino } = statSync(lab.server.path);
  const why = `netns:${ino} is intercepted by rules applied by hand, workload "web", already`;
  const file = (...nodes: readonly LabNode[]) => ({
    mode: "iptables",
    workloads: nodes.map(({ netns }) => ({ name: netns, netns })),
  });
  await expect(ShuntAgent.start(file(lab.server))).rejects.toThrow(why);
  await using agent = await ShuntAgent.start(file(lab.client));
  expect(JSON.stringify(await agent.reconfigure(file(lab.client, lab.server)))).toContain("rules applied by hand");
  expect(await reported("verify", "--backend", "iptables")).toMatchObject({ outcome: "as-planned" });
  expect(await reported("remove")).toMatchObject({ outcome: "removed", status: 0 });
  expect(await agent.hangUp()).toMatchObject({ msg: "configuration applied" });
  await agent.stop();
});

describe("eBPF without an agent", () => {
  const flags = ["--backend", "ebpf"];

  it("warns while nobody listens, and goes on to a proxy that comes later and to its successor", async () => {
    expect((await rules("apply", ...flags)).stderr).toContain("nobody listens on port 15006");
    await startProxy("ebpf");
    expect((await takers()).slice(0, 4)).toEqual(INTERCEPTED.slice(0, 4));
    pod[Symbol.dispose]();
    pod = new NetnsSockets(lab.server.path);
    await startProxy("ebpf");
    expect(await reported("verify", ...flags)).toMatchObject({ status: 0, drift: [] });
    expect((await takers()).slice(0, 4)).toEqual(INTERCEPTED.slice(0, 4));
    expect((await rules("apply", ...flags)).stderr).not.toContain("nobody listens");
  });

  it("is known to clean by name", async () => {
    await rules("apply", ...flags);
    using netns = new NetworkNamespace(lab.server.path);
    const instance = rulesInstance(netns.inode, "web");
    using bpffs = Bpffs.find();
    const pins = new PinDirectory(bpffs?.path ?? "", instance);
    expect(existsSync(pins.path)).toBe(true);
    const { status, stdout } = await shunt(["clean", "--name", instance]);
    expect(status).toBe(0);
    expect(stdout).toContain(`removed pin ${pins.path}`);
    expect(existsSync(pins.path)).toBe(false);
    expect(existsSync(`/run/shunt/${instance}`)).toBe(false);
    expect(await takers()).toEqual(DIRECT);
  });
});

describe("what is not there", () => {
  it("is not intercepted, which validate tells with status 126", async () => {
    const report = await reported("validate", "--backend", "iptables");
    expect(report).toMatchObject({ status: 126, outcome: "invalid" });
    expect(report.connections?.every(({ ok }) => ok)).toBe(false);
  });

  it("is a namespace: the report says so, and the status is 1", async () => {
    const { status, stderr } = await shunt([
      "rules",
      "apply",
      "--netns",
      "shunt-test-nowhere",
      "--backend",
      "iptables",
    ]);
    expect(status).toBe(1);
    expect(stderr).toContain("/run/netns/shunt-test-nowhere");
  });
});
