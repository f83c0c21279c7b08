// SPDX-License-Identifier: Apache-2.0
/** One unconnected UDP socket that asks several resolvers at once. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { StatusReport } from "../../../src/config/formats/status.ts";
import { answerTo, TestDnsServer, type TestQuery } from "../../support/dns-server.ts";
import { ExecRun } from "../../support/exec-run.ts";
import { compileWithMusl } from "../../support/musl.ts";
import { ip } from "../../support/net-lab.ts";
import { ResolverLab } from "../../support/resolver-lab.ts";
import { runCommand, ShuntAgent } from "../../support/shunt.ts";

const PROGRAMS = join(import.meta.dirname, "../../support/programs");
const SEVERAL = join(PROGRAMS, "dns_several.py");
const musl = await compileWithMusl(join(PROGRAMS, "resolve.c"), "musl-resolve");
const withoutMusl = musl.ok ? "" : ` (skipped: ${musl.reason})`;

let lab: ResolverLab;
let third: TestDnsServer;
let v4: readonly string[];
let v6: readonly string[];
beforeAll(async () => {
  lab = await ResolverLab.create();
  const [more4, more6] = [lab.v4[0].replace(/2$/, "4"), lab.v6[0].replace(/2$/, "4")];
  const { netns, path } = lab.lab.server;
  ip("-n", netns, "addr", "add", `${more4}/24`, "dev", "eth0");
  ip("-n", netns, "addr", "add", `${more6}/64`, "dev", "eth0", "nodad");
  third = await TestDnsServer.start(path, [more4, more6]);
  v4 = [...lab.v4, more4];
  v6 = [...lab.v6, more6];
});
afterAll(() => {
  third?.[Symbol.dispose]();
  lab[Symbol.dispose]();
});

const servers = (): TestDnsServer[] => [lab.first, lab.second, third];
/** What each resolver says: its own number, IPv4 ones from 1, IPv6 ones from 11. */
const said = (server: string): string =>
  `192.0.2.${v6.includes(server) ? 11 + v6.indexOf(server) : 1 + v4.indexOf(server)}`;
const toldBy = (server: string) => ({ from: server, port: 53, address: said(server) });

let asked: TestQuery[] = [];
/** Answers nobody until so many have asked, and then the last one first. */
function answerBackwards(count: number): void {
  asked = [];
  for (const server of servers()) {
    server.handler = (query) => {
      asked.push(query);
      if (asked.length < count) return;
      const late = asked.splice(0);
      for (const one of late.toReversed()) one.reply(answerTo(one, { address: said(one.server) }));
      count = 1;
    };
  }
}
/** One resolver says something; the others nothing. */
function answerOnlyAt(server: string): void {
  for (const one of servers()) {
    one.handler = (query) => {
      if (query.server !== server) return;
      const answers =
        query.packet.questions?.[0]?.type === "A" ? answerTo(query, { address: said(server) }) : undefined;
      query.reply(answers ?? emptyAnswerTo(query));
    };
  }
}
/** The question and no record: no name has an IPv6 address here. */
function emptyAnswerTo(query: TestQuery): Buffer {
  const answer = Buffer.from(query.bytes);
  answer.writeUInt16BE(0x8180, 2);
  return answer;
}
beforeEach(() => {
  for (const server of servers()) server.queries.length = 0;
});

function agentFor(
  mode: string,
  failMode: "deny" | "direct" = "deny",
  proxy: object = {},
  dns: object = { capture: "all" },
): Promise<ShuntAgent> {
  const outbound = { includeCidrs: [], dns };
  return ShuntAgent.start({
    mode,
    workers: 1,
    workloads: [{ name: "app", netns: lab.lab.client.netns, outbound, inbound: { enabled: false }, failMode, proxy }],
  });
}

async function several(...args: readonly string[]): Promise<unknown[]> {
  const { status, stdout, stderr } = await runCommand(["python3", SEVERAL, "all.test", ...args], { netns: lab.netns });
  if (status !== 0) throw new Error(`${args.join(" ")}: ${status} ${stdout} ${stderr}`);
  return (JSON.parse(stdout) as unknown[]).slice(0, -1);
}

const sets = [
  ["IPv4 resolvers", () => v4],
  ["IPv6 resolvers", () => v6],
  ["resolvers of both families, the IPv4 ones v4-mapped", () => [v4[0], v6[1], v4[1], v6[2]] as string[]],
] as const;

describe.each(["ebpf", "mixed"])("in mode %s", (mode) => {
  let agent: ShuntAgent;
  beforeAll(async () => {
    agent = await agentFor(mode);
  });
  afterAll(async () => {
    await agent.stop();
    await agent[Symbol.asyncDispose]();
  });

  it.each(sets)("each query reaches the resolver it was sent to, and each answer comes from it: %s", async (_, of) => {
    const resolvers = of();
    answerBackwards(resolvers.length);
    expect(await several(...resolvers)).toEqual(resolvers.map(toldBy));
  });

  it("more resolvers than there are ports can be asked by one socket that waits for their answers", async () => {
    answerBackwards(4);
    const [a = "", b = "", c = "", d = ""] = [...v4, v6[0]];
    expect(await several(a, b, c, d, "then", v6[1] ?? "")).toEqual([a, b, c, d, v6[1] ?? ""].map(toldBy));
  });

  // A v6 socket that is connected to an IPv6 address can't send to a v4-mapped one, with or without us.
  it.each(sets.slice(0, 2))(
    "a connected socket hears its own resolver alone, whomever it sends to: %s",
    async (_, of) => {
      const [other = "", peer = "", further = ""] = of();
      answerBackwards(3);
      const argv = ["python3", SEVERAL, "connected.test", other, peer, further, "connect", peer];
      const { stdout, stderr } = await runCommand(argv, { netns: lab.netns });
      expect(JSON.parse(stdout || "null"), stderr).toEqual([null, toldBy(peer), null, peer]);
      const queries = servers().flatMap((one) => one.queries.map(({ server }) => server));
      expect(queries.toSorted()).toEqual([other, peer, further].toSorted());
    },
  );

  it.skipIf(!musl.ok).each(sets)(
    `musl, which asks all resolvers at once, hears the only one that answers${withoutMusl}: %s`,
    async (_, of) => {
      const resolvers = of().slice(0, 3);
      for (const answering of resolvers) {
        answerOnlyAt(answering);
        const program = musl.ok ? musl.path : "";
        const { stdout, stderr } = await runCommand(lab.inside([program, "musl.test"], resolvers));
        expect(stdout + stderr).toBe(`${said(answering)}\n`);
      }
    },
  );
});

it.each([
  ["deny", { error: "PermissionError" }],
  ["direct", "answered"],
] as const)(
  "who waits for more resolvers than there are ports is left to the fail mode: %s",
  async (failMode, fifth) => {
    await using agent = await agentFor("ebpf", failMode);
    const resolvers = [...v4, v6[0] ?? "", v6[1] ?? ""];
    const last = v6[1] ?? "";
    answerBackwards(fifth === "answered" ? 5 : 4);
    // With the answers there is room again.
    expect(await several(...resolvers, "then", last)).toEqual([
      ...resolvers.slice(0, 4).map(toldBy),
      fifth === "answered" ? toldBy(last) : fifth,
      toldBy(last),
    ]);
    const { workloads } = await agent.ask<StatusReport>("status");
    expect(workloads[0]?.counters.outbound).toEqual({ dns: 5, "resolvers-full": 1 });
    await agent.stop();
  },
);

it.each(sets)("in mode iptables each answer seems to come from the resolver that was asked: %s", async (_, of) => {
  await using agent = await agentFor("iptables");
  const resolvers = of();
  // Conntrack tells nobody where a datagram was going: the first resolver of resolv.conf is asked for all of them.
  const first = v4[0] ?? "";
  answerBackwards(resolvers.length);
  expect(await several(...resolvers)).toEqual(
    resolvers.map((server) => ({ from: server, port: 53, address: said(first) })),
  );
  await agent.stop();
});

describe.each(["iptables", "tproxy", "nftables"])("in mode %s, with resolvers listed", (mode) => {
  it("each query reaches the resolver it was sent to, over both families", async () => {
    const listed = [...v4, ...v6];
    await using agent = await agentFor(mode, "deny", {}, { capture: "resolv.conf", servers: listed });
    for (const [, of] of sets) {
      const resolvers = of();
      answerBackwards(resolvers.length);
      expect(await several(...resolvers)).toEqual(resolvers.map(toldBy));
    }
    expect(agent.logged.filter(({ msg }) => msg === "dns query").length).toBeGreaterThanOrEqual(listed.length);
    expect(agent.stderr).not.toContain("is not known in iptables mode");
    await agent.stop();
  });
});

it.each([{ uid: 1337 }, { mark: "0x77" }])("beside an external proxy known by %j it is no other", async (identity) => {
  await using agent = await agentFor("ebpf", "deny", { external: true, ...identity });
  const resolvers = [v4[0], v6[1], v4[2]] as string[];
  answerBackwards(resolvers.length);
  expect(await several(...resolvers)).toEqual(resolvers.map(toldBy));
  await agent.stop();
});

it("exec tells the resolvers of CMD apart", async () => {
  const folder = mkdtempSync(join(tmpdir(), "shunt-test-several-"));
  try {
    const file = join(folder, "exec.yaml");
    writeFileSync(file, "outbound:\n  dns:\n    capture: all\n");
    const resolvers = [v4[0], v6[1], v4[2]] as string[];
    answerBackwards(resolvers.length);
    const options = ["--mode", "ebpf", "--config", file, "--log-level", "debug"];
    await using exec = new ExecRun([...options, "--", "python3", SEVERAL, "exec.test", ...resolvers], {
      within: lab.inside([], [v4[0] ?? ""]),
    });
    const { status, out, err } = await exec.outcome();
    expect({ status, told: JSON.parse(out || "null") as unknown }, err).toEqual({
      status: 0,
      told: [...resolvers.map(toldBy), null],
    });
    expect(err.match(/dns query/g)).toHaveLength(resolvers.length);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
