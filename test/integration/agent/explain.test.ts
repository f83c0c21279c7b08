// SPDX-License-Identifier: Apache-2.0
/** `shunt explain` of the same workload in every mode: the same answers, each with the object that is really there. */
import { request } from "node:http";
import { isIP } from "node:net";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { Maps } from "../../../src/bpf/generated/types.ts";
import { adminSocketPath } from "../../../src/config/admin-socket-path.ts";
import type { Explanation } from "../../../src/config/formats/explanation.ts";
import { PinnedMaps } from "../../../src/intercept/ebpf/pinned-maps.ts";
import { PinDirectory } from "../../../src/intercept/ebpf/pins.ts";
import { inNetns } from "../../support/iptables-save.ts";
import { inEveryMode } from "../../support/modes.ts";
import { ip, NetLab } from "../../support/net-lab.ts";
import { ShuntAgent } from "../../support/shunt.ts";

const OBJECTS = join(import.meta.dirname, "../../../bpf/build");
const FOREIGN = { uid: "1000", gid: "3000" };

type Asked = Readonly<Record<string, string>>;

/** Question, verdict, reason, rule. */
type Case = readonly [asked: Asked, verdict: string, reason: string, rule: string];

function out(address: string, port: number, more: Asked = FOREIGN): Asked {
  return { direction: "outbound", address, port: String(port), ...more };
}

function into(address: string, port: number, more: Asked = {}): Asked {
  return { direction: "inbound", address, port: String(port), ...more };
}

const UDP = { ...FOREIGN, transport: "udp" };
const ONLY = "outbound.ownerGroups: only 3000,3001";

/** `own` are addresses of the namespace. */
function casesOf(own: readonly string[]): readonly Case[] {
  return [
    [out("203.0.113.9", 22), "pass", "port-excluded", "outbound.excludePorts: 22"],
    [out("fd00::9", 22), "pass", "port-excluded", "outbound.excludePorts: 22"],
    [out("10.1.2.3", 80), "redirect", "cidr-included", "outbound.includeCidrs: 10.0.0.0/8"],
    [out("10.1.2.3", 80, {}), "pass", "owner-group", ONLY],
    [out("10.1.2.3", 80, { uid: "1000", gid: "7" }), "pass", "owner-group", ONLY],
    [out("10.1.2.3", 80, { gid: "3001" }), "redirect", "cidr-included", "outbound.includeCidrs: 10.0.0.0/8"],
    [out("10.1.2.3", 80, { uid: "1337", gid: "3000" }), "pass", "own-traffic", "proxy.uids: 1337"],
    [out("fd00::1", 80, { uid: "9", gid: "1338" }), "pass", "own-traffic", "proxy.gids: 1338"],
    [out("10.1.2.3", 80, { ...FOREIGN, mark: "0x539" }), "pass", "own-traffic", ""],
    [
      out("10.1.2.3", 80, { ...FOREIGN, mark: "0x538" }),
      "redirect",
      "cidr-included",
      "outbound.includeCidrs: 10.0.0.0/8",
    ],
    [out("10.20.2.3", 80), "pass", "cidr-excluded", "outbound.excludeCidrs: 10.20.0.0/16"],
    [out("fd00:20::3", 80), "pass", "cidr-excluded", "outbound.excludeCidrs: fd00:20::/32"],
    [out("203.0.113.9", 7070), "redirect", "port-included", "outbound.includePorts: 7070"],
    [out("203.0.113.9", 80), "pass", "not-included", ""],
    [
      out("10.77.0.9", 80, { ...FOREIGN, interface: "skip7" }),
      "pass",
      "interface-excluded",
      "interfaces.exclude: skip7",
    ],
    // The route says by which interface it leaves, unless the question does.
    [out("10.77.0.9", 80), "pass", "interface-excluded", "interfaces.exclude: skip7"],
    [
      out("10.77.0.9", 80, { ...FOREIGN, interface: "other" }),
      "redirect",
      "cidr-included",
      "outbound.includeCidrs: 10.0.0.0/8",
    ],
    [out("127.0.0.5", 80), "pass", "loopback", "outbound.captureLoopback: false"],
    [out("::1", 80), "pass", "loopback", "outbound.captureLoopback: false"],
    ...own.map((address): Case => [out(address, 80), "pass", "local-address", "outbound.captureLocal: false"]),
    [out("10.0.0.53", 53), "redirect", "dns", "outbound.dns: 10.0.0.53"],
    [out("10.0.0.53", 53, UDP), "redirect", "dns", "outbound.dns: 10.0.0.53"],
    [out("fd00::53", 53, UDP), "redirect", "dns", "outbound.dns: fd00::53"],
    [out("10.0.0.53", 53, { ...UDP, gid: "7" }), "pass", "owner-group", ONLY],
    [out("10.0.0.54", 53, UDP), "pass", "not-included", "only TCP and captured DNS are intercepted"],
    [out("10.1.2.3", 80, { ...FOREIGN, source: "127.0.0.6" }), "pass", "passthrough-source", ""],
    ...own
      .flatMap((address): Case[] => [
        [into(address, 15021), "pass", "port-excluded", "inbound.excludePorts: 15021"],
        [
          into(address, 8080),
          "redirect",
          "cidr-included",
          `inbound.includeCidrs: ${isIP(address) === 4 ? "192.0.2.0/24" : "fd00::/16"}`,
        ],
        [into(address, 80), "pass", "not-included", ""],
        [into(address, 8080, { interface: "skip7" }), "pass", "interface-excluded", "interfaces.exclude: skip7"],
        [into(address, 53, { transport: "udp" }), "pass", "not-included", "only TCP is intercepted inbound"],
      ])
      .map(withClient),
    [
      into(own[0] ?? "", 8080, { source: "192.0.2.200" }),
      "pass",
      "cidr-excluded",
      "inbound.excludeCidrs: 192.0.2.128/25",
    ],
    [into(own[0] ?? "", 8080, { source: "127.0.0.6" }), "pass", "passthrough-source", ""],
  ];
}

function withClient([asked, ...rest]: Case): Case {
  const source = isIP(asked["address"] ?? "") === 4 ? "192.0.2.7" : "fd00::7";
  return [{ source, ...asked }, ...rest];
}

inEveryMode("explain", (mode) => {
  it("answers as in every other mode, by an object that is there", async () => {
    using lab = new NetLab("explain");
    const { path, netns, v4, v6 } = lab.client;
    ip("-n", netns, "link", "add", "skip7", "type", "veth", "peer", "name", "skip8");
    ip("-n", netns, "link", "set", "skip7", "up");
    ip("-n", netns, "addr", "add", "10.77.0.1/24", "dev", "skip7");
    const workload = {
      name: "pod",
      netns: path,
      outbound: {
        excludePorts: [22],
        includePorts: [7070],
        includeCidrs: ["10.0.0.0/8", "fd00::/16"],
        excludeCidrs: ["10.20.0.0/16", "fd00:20::/32"],
        includeGroups: [3000, 3001],
        dns: { capture: "resolv.conf", servers: ["10.0.0.53", "fd00::53"] },
      },
      inbound: { includePorts: [8080], includeCidrs: ["192.0.2.0/24", "fd00::/16"], excludeCidrs: ["192.0.2.128/25"] },
      proxy: { uid: 1337, gid: 1338 },
      interfaces: { exclude: ["skip7"] },
    };
    await using agent = await ShuntAgent.start({ mode, workloads: [workload] });
    const answers: Explanation[] = [];
    const cases = casesOf([v4, v6]);
    for (const [asked] of cases) answers.push(await explain(agent, asked));
    expect(answers.map(({ verdict, reason, rule }) => [verdict, reason, rule])).toEqual(
      cases.map(([, verdict, reason, rule]) => [verdict, reason, rule]),
    );
    using maps = new PinnedMaps(new PinDirectory("/sys/fs/bpf", agent.name), OBJECTS);
    for (const answer of answers) expectToExist(answer, path, maps);
  });
});

/** What `decidedBy` names is found where it says, by the tools that list it. */
function expectToExist({ query, decidedBy, reason }: Explanation, netnsPath: string, maps: PinnedMaps): void {
  const what = `${JSON.stringify(query)}: ${decidedBy}`;
  const words = decidedBy.replaceAll('"', "").split(" ");
  if (decidedBy.startsWith("inet shunt ")) {
    const [, , chain = "", ...rule] = words;
    const listed = normalized(
      inNetns(netnsPath, "nft", "-n", "list", "chain", "inet", "shunt", chain.replace(/:$/, "")),
    );
    if (!chain.endsWith(":")) expect(listed.split("\n"), what).toContain(normalized(rule.join(" ")));
  } else if (/^(nat|mangle|raw) /.test(decidedBy)) {
    const [table = "", option, chain = "", ...rule] = words;
    const program = query.address.includes(":") ? "ip6tables" : "iptables";
    const run = (...args: string[]) => inFlavour(netnsPath, program, "-t", table, ...args);
    // The end of a chain is there when the chain is.
    if (option === "-A") expect(run("-C", chain, ...rule), what).toBe(true);
    else expect(run("-S", (option ?? "").replace(/[,:]$/, "")), what).toBe(true);
  } else {
    expectEntry(decidedBy, maps, what);
  }
  // Whatever decides is named; only what is captured by nothing comes to an end.
  if (/no rule, its end|: no entry/.test(decidedBy)) expect(reason, what).toBe("not-included");
}

function expectEntry(decidedBy: string, maps: PinnedMaps, what: string): void {
  const [, map = "", inside = "", rest = ""] = /^(\w+)\[(.*)\](.*)$/.exec(decidedBy) ?? [];
  if (map === "workloads") expect(rest, what).toMatch(/^(\.(flags (without )?[A-Z_, ]+|\w+)|: no entry)/);
  const entries = ENTRIES[map];
  if (entries) expect(entries(maps), what).toContain(inside);
  else expect(decidedBy, what).toMatch(/^program (connect|inbound): /);
}

/** The entries of maps as `explain` writes them. */
const ENTRIES: Readonly<Record<string, (maps: PinnedMaps) => readonly string[]>> = {
  ports: (maps) =>
    keysOf(maps, "ports").map((key) => `policy ${key.policy}, ${key.direction}, ${key.action}, ${key.port}`),
  owners: (maps) => keysOf(maps, "owners").map((key) => `policy ${key.policy}, ${key.kind}, ${key.id}`),
  cidrs: (maps) =>
    keysOf(maps, "cidrs").map(({ policy, kind, address, prefixLength }) => {
      // An interface is said to lead to an address, not to the range that the routing table has.
      if (kind === "interface-route" && address === "10.77.0.0") return `policy ${policy}, ${kind}, 10.77.0.9`;
      return `policy ${policy}, ${kind}, ${address}/${prefixLength - 64 - (isIP(address) === 4 ? 96 : 0)}`;
    }),
  interfaces: (maps) => keysOf(maps, "interfaces").map(({ policy }) => `policy ${policy}, skip7`),
  local_addrs: (maps) => keysOf(maps, "local_addrs").map(({ address }) => address),
  workloads: (maps) => keysOf(maps, "workloads").map(String),
};

function keysOf<Name extends keyof Maps>(maps: PinnedMaps, name: Name): Maps[Name]["key"][] {
  return [...(maps.shared(name)?.entries() ?? [])].map(([key]) => key);
}

/** Which of the two iptables the agent chose shows in where its rules are. */
function inFlavour(netnsPath: string, program: string, ...args: string[]): boolean {
  return ["nft", "legacy"].some((flavour) => {
    try {
      inNetns(netnsPath, `${program}-${flavour}`, ...args);
      return true;
    } catch {
      return false;
    }
  });
}

/** nft writes numbers and names in its own way. */
function normalized(text: string): string {
  return text
    .replaceAll('"', "")
    .replace(/0x0*(?=[0-9a-f])/g, "0x")
    .split("\n")
    .map((line) => line.trim())
    .join("\n");
}

function explain(agent: ShuntAgent, asked: Asked): Promise<Explanation> {
  const path = `/explain?${new URLSearchParams({ workload: "pod", ...asked }).toString()}`;
  return new Promise((resolve, reject) => {
    request({ socketPath: adminSocketPath(agent.name), path }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => {
        if (response.statusCode === 200) resolve(JSON.parse(text) as Explanation);
        else reject(new Error(text));
      });
    })
      .on("error", reject)
      .end();
  });
}
