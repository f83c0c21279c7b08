// SPDX-License-Identifier: Apache-2.0
/** DNS capture comes, goes and moves under clients that keep their sockets. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type LabProcess, LabProcesses } from "../../support/lab-process.ts";
import { inSomeModes } from "../../support/modes.ts";
import { ResolverLab } from "../../support/resolver-lab.ts";
import { ShuntAgent } from "../../support/shunt.ts";

const PROGRAM = join(import.meta.dirname, "../../support/programs/dns_session.py");

inSomeModes(["ebpf", "iptables"], "a live change of DNS capture", (mode) => {
  let lab: ResolverLab;

  beforeAll(async () => {
    lab = await ResolverLab.create();
  });

  afterAll(() => {
    lab[Symbol.dispose]();
  });

  const file = (outbound: object): Record<string, unknown> => ({
    mode,
    workers: 1,
    workloads: [{ name: "app", netns: lab.lab.client.netns, outbound, inbound: { enabled: false } }],
  });

  it("keeps every client answered, and captures what is opened from then on as it says", async () => {
    const resolvers = [lab.v4[0], lab.v6[0]];
    const steps = [
      { title: "on", outbound: { dns: { capture: "all" } }, captured: true },
      { title: "port", outbound: { dns: { capture: "all", port: 15353 } }, captured: true },
      { title: "off", outbound: {}, captured: false },
      { title: "others", outbound: { dns: { capture: "resolv.conf", servers: [lab.v4[1]] } }, captured: false },
      { title: "these", outbound: { dns: { capture: "resolv.conf", servers: resolvers } }, captured: true },
      { title: "outbound-off", outbound: { enabled: false }, captured: false },
    ];
    await using agent = await ShuntAgent.start(file({}));
    const sessions: LabProcess[] = [];
    await using processes = new LabProcesses();
    for (const { title, outbound, captured } of steps) {
      expect(await agent.reconfigure(file(outbound))).toMatchObject({ msg: "configuration applied" });
      const from = agent.logged.length;
      for (const resolver of resolvers) {
        sessions.push(await processes.start(["python3", "-IS", PROGRAM, resolver], lab.netns));
      }
      for (const [index, session] of sessions.entries()) {
        const name = `${title}-${index}.test`;
        session.child.stdin?.write(`${name}\n`);
        expect(JSON.parse(await session.line(new RegExp(name), 30_000))).toEqual({
          name,
          udp: "192.0.2.1",
          tcp: "192.0.2.1",
        });
      }
      const asked = (index: number): number =>
        agent.logged.slice(from).filter((line) => line.msg === "dns query" && line["name"] === `${title}-${index}.test`)
          .length;
      for (const index of [sessions.length - 2, sessions.length - 1]) {
        if (captured) await agent.waitForLog((line) => line["name"] === `${title}-${index}.test`, from);
        else expect(asked(index), `${title} ${index}`).toBe(0);
      }
    }
    await agent.stop();
  });
});
