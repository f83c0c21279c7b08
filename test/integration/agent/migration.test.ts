// SPDX-License-Identifier: Apache-2.0
/**
 * A workload goes over from each mode to another one, with its connections, and leaves nothing of the mode before: by
 * itself round all of them one way, and with the clients' addresses the other; SHUNT_MODES=all is every exchange.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Bpffs } from "../../../src/bpf/bpffs.ts";
import type { StatusReport } from "../../../src/config/formats/status.ts";
import { eventually } from "../../support/inbox.ts";
import { BOTH, LiveLab } from "../../support/live-lab.ts";
import { ALL_MODES, interceptionOf, MODES, type Mode, missingProgram } from "../../support/modes.ts";
import type { Pulse } from "../../support/pulse.ts";
import { ShuntAgent, shunt } from "../../support/shunt.ts";
import { TakenLookups } from "../../support/taken-lookups.ts";

const usable = MODES.filter((mode) => missingProgram(mode) === undefined);
const others = (mode: Mode): readonly Mode[] => usable.filter((other) => other !== mode);

/** What there is of each mechanism. */
async function traces(
  live: LiveLab,
): Promise<{ readonly iptables: boolean; readonly nftables: boolean; readonly programs: boolean }> {
  const saved = await live.inside(
    "sh",
    "-c",
    "iptables-save; ip6tables-save; iptables-legacy-save; ip6tables-legacy-save",
  );
  const tables = await live.inside("sh", "-c", "nft list tables 2>/dev/null || true");
  using bpffs = Bpffs.open();
  return {
    iptables: saved.includes("SHUNT"),
    nftables: /shunt/.test(tables),
    programs: existsSync(join(bpffs.path, "shunt", live.agent.name)),
  };
}

function tracesOf(mode: Mode): Awaited<ReturnType<typeof traces>> {
  return {
    iptables: mode === "mixed" || mode === "iptables" || mode === "tproxy",
    nftables: mode === "nftables",
    programs: mode === "ebpf" || mode === "mixed",
  };
}

async function status(live: LiveLab): Promise<StatusReport["workloads"][number]> {
  const [workload] = (await live.agent.ask<StatusReport>("status")).workloads;
  if (!workload) throw new Error("the workload is not told");
  return workload;
}

/** Waits until nothing is left of any mode but this one. */
async function settled(live: LiveLab, mode: Mode): Promise<void> {
  let now = await traces(live);
  const looking = { done: false };
  void (async () => {
    while (!looking.done && JSON.stringify(now) !== JSON.stringify(tracesOf(mode))) now = await traces(live);
    looking.done = true;
  })();
  try {
    await eventually(() => looking.done);
  } finally {
    looking.done = true;
  }
  expect(now).toEqual(tracesOf(mode));
}

/** A way that goes once from every mode to every other one (a circuit of Euler, by Hierholzer's algorithm). */
function everyExchange(): readonly Mode[] {
  const left = new Map(usable.map((mode) => [mode, [...others(mode)]]));
  const stack = usable.slice(0, 1);
  const circuit: Mode[] = [];
  for (let at = stack.at(-1); at !== undefined; at = stack.at(-1)) {
    const next = left.get(at)?.shift();
    if (next === undefined) circuit.unshift(...stack.splice(-1));
    else stack.push(next);
  }
  return circuit;
}

/** Once into every mode and out of it, and back. */
const ROUND: readonly Mode[] = [...usable, ...usable.slice(0, 1)];

/** Ends connections in order, and looks how they are recorded. */
async function endAll(live: LiveLab, pulses: readonly Pulse[], mode: Mode): Promise<void> {
  for (const pulse of pulses) {
    const bytes = await pulse.end();
    live.pulses.splice(live.pulses.indexOf(pulse), 1);
    const port = `:${pulse.peer.localPort}`;
    const [record] = await live.agent.waitForRecords(
      ({ bytesReceived, source }) => bytesReceived === bytes && source.endsWith(port),
    );
    const direction = pulse.title.includes(" out ") ? "outbound" : "inbound";
    const interception = interceptionOf(mode, direction);
    expect(record, pulse.title).toMatchObject({ outcome: "closed", bytesSent: bytes, direction, interception });
  }
}

it("is a way with every exchange", () => {
  expect(everyExchange()).toHaveLength(usable.length * (usable.length - 1) + 1);
});

describe("a workload that goes from mode to mode", () => {
  it.each([
    { title: "with the proxy's address", traffic: {}, way: ALL_MODES ? everyExchange() : ROUND },
    {
      title: "with the clients' addresses",
      traffic: { inbound: { preserveSource: true } },
      way: ROUND.toReversed(),
    },
  ])("$title keeps all connections, and no new one passes by or is refused", async ({ traffic, way }) => {
    const [first = "ebpf", ...rest] = way;
    await using live = await LiveLab.start(first, traffic, BOTH);
    const held = [{ mode: first, pulses: await live.hold(`first ${first}`) }];
    for (const mode of rest) {
      expect(await live.migrate(mode), `to ${mode}`).toEqual([]);
      expect(await status(live)).toMatchObject({
        mode,
        outbound: interceptionOf(mode, "outbound"),
        inbound: interceptionOf(mode, "inbound"),
      });
      held.push({ mode, pulses: await live.hold(`then ${mode}`) });
      // Those of the two modes before go on; more would say nothing else.
      const done = held.length > 3 ? held.splice(0, 1) : [];
      for (const one of done) await endAll(live, one.pulses, one.mode);
    }
    for (const one of held) await endAll(live, one.pulses, one.mode);
    expect(live.agent.records().filter(({ outcome }) => outcome !== "closed")).toEqual([]);
    await live.agent.stop();
    expect(await traces(live)).toEqual({ iptables: false, nftables: false, programs: false });
  });
});

describe.concurrent.each(usable)("what mode %s had", (mode) => {
  it("goes when the last connection that came by it has ended, and not before", async () => {
    const next = usable[(usable.indexOf(mode) + 1) % usable.length] ?? mode;
    await using live = await LiveLab.start(mode, {}, BOTH);
    const held = await live.hold("before");
    expect(await live.migrate(next)).toEqual([]);
    await endAll(live, held, mode);
    await settled(live, next);
    expect((await status(live)).outgoing ?? []).toEqual([]);
    await live.agent.stop();
  });
});

describe("a mode that cannot be had", () => {
  it("leaves the one before in force, and the reload says why", async () => {
    await using live = await LiveLab.start("iptables", {}, BOTH);
    const held = await live.hold("before");
    {
      using _taken = new TakenLookups(live.lab.client.path);
      const from = live.agent.logged.length;
      expect(await live.migrate("ebpf")).toEqual([]);
      const refused = await live.agent.waitForLog(({ msg }) => msg === "workload not changed", from);
      expect(JSON.stringify(refused)).toContain("ebpf: bpf_link_create");
      const { mode, problem } = await status(live);
      expect(mode).toBe("iptables");
      expect(problem).toContain("ebpf: bpf_link_create");
      for (const pulse of held) await pulse.goesOn();
      expect(await traces(live)).toEqual(tracesOf("iptables"));
    }
    // The same file again, now that it can be had.
    await live.agent.hangUp();
    expect((await status(live)).mode).toBe("ebpf");
    expect(await live.change({}, BOTH)).toEqual([]);
    await live.agent.stop();
  });
});

describe("an agent that is killed while a workload goes over", () => {
  it.each(usable.map((mode, i) => [mode, usable[(i + 1) % usable.length] ?? mode] as const))(
    "from %s to %s leaves what the next one, or shunt clean, puts in order",
    async (mode, next) => {
      await using live = await LiveLab.start(mode, {}, BOTH);
      // What it holds makes the mode before stay, whenever exactly the end comes.
      await live.hold("before");
      const from = live.agent.logged.length;
      live.writeMode(next);
      await live.agent.waitForLog(
        ({ msg }) => msg === "interception exchanged" || msg.startsWith("configuration"),
        from,
      );
      await live.agent.crash();
      await using successor = await ShuntAgent.start(live.file(), { takeOver: live.agent });
      await successor.stop();
      expect(await traces(live)).toEqual({ iptables: false, nftables: false, programs: false });
      const cleaned = await shunt(["clean", "--name", live.agent.name, "--json"]);
      expect(cleaned).toMatchObject({ status: 0 });
    },
  );
});
