// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Bpffs } from "../../../src/bpf/bpffs.ts";
import { PinDirectory } from "../../../src/intercept/ebpf/pins.ts";
import { mapFromFd } from "../../../src/intercept/map-from-fd.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import { ExecRun, leftovers } from "../../support/exec-run.ts";
import { patienceMs } from "../../support/inbox.ts";
import { ResolverLab } from "../../support/resolver-lab.ts";
import { type LogLine, runCommand, ShuntAgent } from "../../support/shunt.ts";

const CLIENT = join(import.meta.dirname, "../../support/programs/dns_client.py");
let lab: ResolverLab;
let folder = "";
beforeAll(async () => {
  lab = await ResolverLab.create();
  folder = mkdtempSync(join(tmpdir(), "shunt-test-dns-"));
});
afterAll(() => {
  lab[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});
afterEach(() => {
  lab.first.queries.length = 0;
  lab.second.queries.length = 0;
});

const both = [4, 6] as const;
const first = (family: 4 | 6): string => (family === 4 ? lab.v4 : lab.v6)[0];
const second = (family: 4 | 6): string => (family === 4 ? lab.v4 : lab.v6)[1];
const endpoint = (address: string): string => (address.includes(":") ? `[${address}]:53` : `${address}:53`);

function agentFor(
  dns: object,
  rest: { failMode?: "deny" | "direct"; excludePorts?: number[]; mode?: string } = {},
): Promise<ShuntAgent> {
  const { failMode = "deny", excludePorts = [], mode = "ebpf" } = rest;
  const outbound = { includeCidrs: [], excludePorts, dns };
  return ShuntAgent.start({
    mode,
    workers: 1,
    workloads: [{ name: "app", netns: lab.lab.client.netns, outbound, inbound: { enabled: false }, failMode }],
  });
}

async function run(argv: readonly string[], resolvers?: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await runCommand(lab.inside(argv, resolvers));
  if (status !== 0) throw new Error(`${argv.join(" ")}: ${status} ${stdout} ${stderr}`);
  return stdout.trim();
}

async function told(how: "sendto" | "connect", name: string, ...rest: string[]): Promise<unknown> {
  return JSON.parse(await run(["python3", CLIENT, how, name, ...rest]));
}

/** The log comes through a pipe, a moment after the answer. */
const LOGGED = { timeout: patienceMs(5000) };

/** The addresses in a map of the agent, one for each entry. */
function entriesOf(agent: ShuntAgent, name: "originals" | "dgram_origs"): string[] {
  using bpffs = Bpffs.find();
  const path = join(new PinDirectory(bpffs?.path ?? "", agent.name).maps, name);
  const native = check(loadAddon().openPinnedMap(path), "bpf_obj_get", path);
  using map = mapFromFd(name, native.fd);
  native.close();
  return [...map.entries()].map(([, { address }]) => address);
}

/** What the agent's DNS port was asked for a name. */
function asked(log: readonly LogLine[], name: string): (readonly unknown[])[] {
  return log
    .filter((line) => line.msg === "dns query" && line["name"] === name)
    .map(({ transport, resolver, type, outcome }) => [transport, resolver, type, outcome]);
}

describe.each(["ebpf", "iptables", "nftables"])("DNS capture in mode %s, the resolvers of resolv.conf", (mode) => {
  let agent: ShuntAgent;
  beforeAll(async () => {
    agent = await agentFor({ capture: "resolv.conf" }, { mode });
  });
  afterAll(async () => {
    await agent.stop();
    await agent[Symbol.asyncDispose]();
  });

  it.each(both)("brings what dig asks over UDP and TCP to the resolver it asked, v%i", async (family) => {
    const name = `dig${family}-${mode}.test`;
    const server = first(family);
    for (const transport of ["+notcp", "+tcp"]) {
      const out = await run(["dig", "+tries=1", "+time=5", transport, `@${server}`, name]);
      expect(out).toContain("192.0.2.1");
      expect(out).toContain(`SERVER: ${server}#53`);
    }
    expect(lab.first.queries.map((query) => query.transport)).toEqual(["udp", "tcp"]);
    await agent.waitForLog((line) => line["transport"] === "tcp" && line["name"] === name);
    await expect
      .poll(() => asked(agent.logged, name), LOGGED)
      .toEqual([
        ["udp", endpoint(server), "A", "answered"],
        ["tcp", endpoint(server), "A", "answered"],
      ]);
  });

  it.each(both)("cuts large answers as the client can take them, and gives all of it over TCP, v%i", async (family) => {
    const dig = ["dig", "+tries=1", "+time=5", `@${first(family)}`, `big${family}.test`, "TXT"];
    expect(await run([...dig, "+ignore", "+noedns"])).toMatch(/flags:.* tc/);
    expect(await run([...dig, "+ignore", "+bufsize=8000"])).toMatch(/flags: qr rd ra.*ANSWER: 20/);
    // By itself dig asks again over TCP.
    expect(await run([...dig, "+noedns"])).toMatch(/Truncated, retrying in TCP[^]*ANSWER: 20/);
    expect(lab.first.queries.map((query) => query.transport)).toEqual(["udp", "udp", "udp", "tcp"]);
  });

  it.each(both)("serves glibc, which asks A and AAAA over one connected socket, v%i", async (family) => {
    const name = `glibc${family}-${mode}.test`;
    expect(await run(["getent", "ahosts", name], [first(family)])).toMatch(
      /2001:db8::1[^]*192\.0\.2\.1|192\.0\.2\.1[^]*2001:db8::1/,
    );
    expect(await run(["getent", "hosts", name], [first(family)])).toContain("2001:db8::1");
    expect(new Set(lab.first.queries.map((query) => query.name))).toEqual(new Set([name]));
    await expect.poll(() => asked(agent.logged, name).length, LOGGED).toBe(lab.first.queries.length);
  });

  it.each(both)("serves Node's dns.resolve and dns.lookup, v%i", async (family) => {
    const script = `const dns = require("node:dns/promises"); const name = process.argv[1];
      Promise.all([dns.resolve4(name), dns.resolve6(name), dns.lookup(name, { family: 4 })])
        .then((all) => console.log(JSON.stringify(all)))`;
    const name = `node${family}-${mode}.test`;
    const out = await run([process.execPath, "-e", script, name], [first(family)]);
    expect(JSON.parse(out)).toEqual([["192.0.2.1"], ["2001:db8::1"], { address: "192.0.2.1", family: 4 }]);
    await expect.poll(() => asked(agent.logged, name).length, LOGGED).toBeGreaterThanOrEqual(3);
  });

  it.each(both)(
    "keeps the illusion on a connected socket that sends twice: peer and sender are the resolver, v%i",
    async (family) => {
      const server = first(family);
      expect(await told("connect", "twice.test", server)).toEqual([
        { peer: [server, 53] },
        { from: [server, 53], id: 0, rcode: 0, address: "192.0.2.1" },
        { from: [server, 53], id: 1, rcode: 0, address: "2001:db8::1" },
      ]);
    },
  );

  it.each(both)("leaves a resolver that is not in resolv.conf alone, v%i", async (family) => {
    const name = `stranger${family}-${mode}.test`;
    const server = second(family);
    expect(await told("sendto", name, server)).toEqual([{ from: [server, 53], id: 0, rcode: 0, address: "192.0.2.2" }]);
    expect(await run(["dig", "+short", "+tcp", `@${server}`, name])).toBe("192.0.2.2");
    expect(asked(agent.logged, name)).toEqual([]);
  });
});

describe("DNS capture of all resolvers", () => {
  it.each(both)(
    "brings each query to the resolver it was sent to, from one socket and from a bound one, v%i",
    async (family) => {
      await using agent = await agentFor({ capture: "all" });
      const servers = [first(family), second(family), first(family)];
      const expected = servers.map((server, id) => ({
        from: [server, 53],
        id,
        rcode: 0,
        address: id === 1 ? "192.0.2.2" : "192.0.2.1",
      }));
      const source = family === 4 ? lab.lab.client.v4 : lab.lab.client.v6;
      expect(await told("sendto", "all.test", ...servers)).toEqual(expected);
      expect(await told("sendto", "bound.test", `bind=${source}`, ...servers)).toEqual(expected);
      expect(await told("connect", "bound2.test", `bind=${source}`, second(family))).toMatchObject([
        { peer: [second(family), 53] },
        { from: [second(family), 53], address: "192.0.2.2" },
        { from: [second(family), 53], address: "2001:db8::2" },
      ]);
      // The map of connections is not what queries fill: those of TCP would find it full.
      expect(entriesOf(agent, "originals")).toEqual([]);
      expect(new Set(entriesOf(agent, "dgram_origs"))).toEqual(new Set(servers));
      for (const name of ["all.test", "bound.test"]) {
        await expect
          .poll(() => asked(agent.logged, name), LOGGED)
          .toEqual(servers.map((server) => ["udp", endpoint(server), "A", "answered"]));
      }
      await agent.stop();
    },
  );

  it("serves a v4 resolver asked through a v6 socket", async () => {
    await using agent = await agentFor({ capture: "all" });
    const server = `::ffff:${second(4)}`;
    expect(await told("sendto", "mapped.test", server)).toMatchObject([{ from: [server, 53], address: "192.0.2.2" }]);
    expect(await told("connect", "mapped.test", server)).toMatchObject([
      { peer: [server, 53] },
      { from: [server, 53] },
      { from: [server, 53] },
    ]);
    await expect
      .poll(() => asked(agent.logged, "mapped.test").map((query) => query[1]), LOGGED)
      .toEqual(Array(3).fill(endpoint(second(4))));
  });

  it("leaves port 53 alone when it is excluded", async () => {
    await using agent = await agentFor({ capture: "all" }, { excludePorts: [53] });
    for (const how of ["sendto", "connect"] as const)
      expect(JSON.stringify(await told(how, "excluded.test", first(4)))).toContain("192.0.2.1");
    expect(await run(["dig", "+short", "+tcp", `@${first(4)}`, "excluded.test"])).toBe("192.0.2.1");
    expect(asked(agent.logged, "excluded.test")).toEqual([]);
    expect(lab.first.queries.length).toBe(4);
  });
});

describe("without a DNS listener, the agent killed", () => {
  it.each(both)("fail mode direct sends queries to the resolver itself, UDP and TCP, v%i", async (family) => {
    await using agent = await agentFor({ capture: "all" }, { failMode: "direct" });
    await agent.crash();
    const server = second(family);
    for (const how of ["sendto", "connect"] as const)
      expect(await told(how, "direct.test", server)).toContainEqual({
        from: [server, 53],
        id: 0,
        rcode: 0,
        address: "192.0.2.2",
      });
    expect(await run(["dig", "+short", "+tcp", `@${server}`, "direct.test"])).toBe("192.0.2.2");
  });

  it.each(both)("fail mode deny makes queries fail at once, UDP and TCP, v%i", async (family) => {
    await using agent = await agentFor({ capture: "all" });
    await agent.crash();
    const server = second(family);
    for (const how of ["sendto", "connect"] as const)
      expect(await told(how, "deny.test", server)).toEqual([{ error: "PermissionError" }]);
    const { status } = await runCommand(
      lab.inside(["dig", "+short", "+tcp", "+tries=1", "+time=2", `@${server}`, "deny.test"]),
    );
    expect(status).not.toBe(0);
    expect(lab.second.queries).toEqual([]);
  });
});

describe.each(["ebpf", "iptables", "nftables"])("DNS capture of exec in mode %s", (mode) => {
  it("answers CMD from the resolver of its resolv.conf and leaves other processes alone", async () => {
    const file = join(folder, "exec.yaml");
    writeFileSync(file, "outbound:\n  dns:\n    capture: resolv.conf\n");
    const script = "echo ready; read go; getent ahostsv4 $0 && dig +short +tcp $0";
    const name = `exec-${mode}.test`;
    const options = ["--mode", mode, "--config", file, "--log-level", "debug", "--log-format", "json"];
    await using exec = new ExecRun([...options, "--", "sh", "-c", script, name], {
      within: lab.inside([], [first(4)]),
    });
    await exec.printed(/ready/);
    expect(await told("sendto", "outside.test", first(4))).toMatchObject([{ address: "192.0.2.1" }]);
    exec.child.stdin?.end("go\n");
    const { status, out, err } = await exec.outcome();
    expect({ status, out }).toMatchObject({
      status: 0,
      out: expect.stringMatching(/192\.0\.2\.1 [^]*\n192\.0\.2\.1\n$/),
    });
    const log = err
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as LogLine);
    expect(asked(log, name)).toContainEqual(["udp", endpoint(first(4)), "A", "answered"]);
    expect(asked(log, name)).toContainEqual(["tcp", endpoint(first(4)), "A", "answered"]);
    expect(asked(log, "outside.test")).toEqual([]);
    expect(leftovers(exec.pid)).toEqual([]);
  });
});
