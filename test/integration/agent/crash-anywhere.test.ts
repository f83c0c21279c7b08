// SPDX-License-Identifier: Apache-2.0
/**
 * An agent that is killed between any two of its system calls. By itself at some of them; SHUNT_CRASH_STEP=1 at every one
 * (or at every nth), which takes long.
 */
import { describe, expect, it } from "vitest";
import { findCommand } from "../../../scripts/setup/machine.mjs";
import type { CleanReport } from "../../../src/config/formats/clean-report.ts";
import type { StatusReport } from "../../../src/config/formats/status.ts";
import { patienceMs } from "../../support/inbox.ts";
import type { Mode } from "../../support/modes.ts";
import { namespaceState, tracesOf } from "../../support/namespace-state.ts";
import { NetLab } from "../../support/net-lab.ts";
import { type AgentFile, runCommand, ShuntAgent, shunt, shuntArgv } from "../../support/shunt.ts";
import { CHANGING_CALLS, type ChangingCall, killedBefore, SystemCallKiller } from "../../support/system-call-killer.ts";

const STEP = Number(process.env["SHUNT_CRASH_STEP"] ?? "0");
const MOST = 1_000;
const missing = ["strace", "iptables-restore", "nft"].find((program) => findCommand(program) === undefined);

/** In front of which call it is killed. */
type Point = readonly [call: ChangingCall, nth: number];

function fileFor(lab: NetLab, mode: Mode): AgentFile {
  const workload = { name: "pod", netns: lab.client.path, inbound: { preserveSource: true } };
  return { mode, workers: 1, workloads: [{ ...workload, outbound: { dns: { capture: "all" } } }] };
}

/** False when it came to the end of its change before. */
async function killedWhileItChanges(agent: ShuntAgent, file: AgentFile, [call, nth]: Point): Promise<boolean> {
  await using _killer = await SystemCallKiller.watch(agent.pid, call, nth);
  const killed = agent.ended().then(({ signal }) => signal === "SIGKILL");
  killed.catch(() => {});
  return await Promise.race([killed, agent.reconfigure(file).then(() => false)]);
}

async function cleanUp(name: string, at: string): Promise<void> {
  const { status, stdout, stderr } = await shunt(["clean", "--name", name, "--json"]);
  expect({ status, stderr }, at).toEqual({ status: 0, stderr: "" });
  expect((JSON.parse(stdout) as CleanReport).failed, at).toEqual([]);
}

/** What was left is put in order by the next agent, or taken away by `shunt clean`, in turn. */
async function expectOrder(killed: ShuntAgent, file: AgentFile, turn: number, at: string): Promise<void> {
  if (turn % 2 === 1) {
    await cleanUp(killed.name, at);
    return;
  }
  await using next = await ShuntAgent.start(file, { takeOver: killed });
  // A reload compares everything with what should be.
  await next.hangUp();
  const [workload] = (await next.ask<StatusReport>("status")).workloads;
  expect(workload, at).toMatchObject({ mode: file["mode"] });
  expect(workload?.drift, at).toBeUndefined();
  await next.stop();
}

const why = missing === undefined ? "" : ` (skipped without the program ${missing})`;
describe.skipIf(missing !== undefined)(`an agent that is killed between two system calls${why}`, () => {
  it.each<{ readonly from: Mode | "nothing"; readonly to: Mode; readonly points: readonly Point[] }>([
    {
      from: "nothing",
      to: "ebpf",
      points: [
        ["sendto", 7],
        ["bpf", 150],
      ],
    },
    {
      from: "nothing",
      to: "tproxy",
      points: [
        ["clone", 9],
        ["setns", 9],
      ],
    },
    {
      from: "ebpf",
      to: "nftables",
      points: [
        ["bpf", 9],
        ["clone", 2],
      ],
    },
    {
      from: "nftables",
      to: "mixed",
      points: [
        ["bpf", 60],
        ["clone", 9],
      ],
    },
    {
      from: "tproxy",
      to: "ebpf",
      points: [
        ["clone", 9],
        ["bpf", 150],
      ],
    },
  ])(
    "while it goes from $from to $to leaves what the next one, or shunt clean, puts in order",
    { timeout: patienceMs(120_000 + (STEP === 0 ? 0 : 5_000 * (MOST / STEP))) },
    async ({ from, to, points }) => {
      using lab = new NetLab("crash");
      const before = await namespaceState(lab);
      const file = fileFor(lab, to);
      const initial = from === "nothing" ? { mode: to, workers: 1, workloads: [] } : fileFor(lab, from);
      let turn = 0;
      /** False when the agent came to the end of its change before. */
      const kill = async (point: Point): Promise<boolean> => {
        const at = `killed in front of ${point.join(" ")}`;
        await using agent = await ShuntAgent.start(initial);
        if (!(await killedWhileItChanges(agent, file, point))) {
          await agent.stop();
          return false;
        }
        await expectOrder(agent, file, ++turn, at);
        expect(await namespaceState(lab), at).toEqual(before);
        expect(tracesOf(agent.name), at).toEqual([]);
        return true;
      };
      if (STEP === 0) for (const point of points) expect(await kill(point), point.join(" ")).toBe(true);
      else for (const call of CHANGING_CALLS) for (let nth = 1; await kill([call, nth]); nth += STEP);
      expect(turn).toBeGreaterThan(1);
    },
  );

  it("or a command that applies by eBPF without an agent, leaves what the next one completes, or takes away", {
    timeout: patienceMs(120_000),
  }, async () => {
    using lab = new NetLab("crash");
    const before = await namespaceState(lab);
    const words = (action: string): string[] => ["rules", action, "--netns", lab.client.path, "--name", "web"];
    for (const nth of [40, 150]) {
      const cut = await runCommand(killedBefore("bpf", nth, shuntArgv([...words("apply"), "--backend", "ebpf"])));
      expect(cut.signal, cut.stderr).toBe("SIGKILL");
      if (nth > 100) {
        expect(await shunt([...words("apply"), "--backend", "ebpf"])).toMatchObject({ status: 0 });
        expect(await shunt([...words("verify"), "--backend", "ebpf"])).toMatchObject({ status: 0 });
        expect(await runCommand(killedBefore("unlink", 9, shuntArgv(words("remove"))))).toMatchObject({
          signal: "SIGKILL",
        });
      }
      expect(await shunt(words("remove"))).toMatchObject({ status: 0 });
      expect(await namespaceState(lab)).toEqual(before);
    }
  });
});
