// SPDX-License-Identifier: Apache-2.0
/** The contract self-test on the running kernel. */
import { existsSync, mkdtempSync, readdirSync, readlinkSync, rmSync, statSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { behaviours } from "../../../src/accelerate/contract/behaviours.ts";
import { tryContract } from "../../../src/accelerate/contract/contract.ts";
import { accelerationOf, type Contract } from "../../../src/accelerate/contract/verdict.ts";
import { contractMetrics, runContract } from "../../../src/agent/acceleration-contract.ts";
import { ScratchCgroup } from "../../../src/intercept/probe/scratch-cgroup.ts";
import { run } from "../../../src/util/exec.ts";
import { findCgroup2 } from "../../../src/util/mountinfo.ts";
import { CONTRACT_OBJECTS } from "../../support/contract-bed.ts";
import { Spinners } from "../../support/spinners.ts";

const patience = Number(process.env["SHUNT_PATIENCE"] ?? "1");
/** By hand 50, as often as the verdicts must be the same under load. */
const RUNS = Number(process.env["SHUNT_CONTRACT_RUNS"] ?? "3");
const RUN_MS = 60_000 * patience;

async function tryHere(signal?: AbortSignal): Promise<Contract> {
  const cgroup = new ScratchCgroup();
  try {
    return await tryContract({ objects: CONTRACT_OBJECTS, cgroup, ...(signal && { signal }) });
  } finally {
    await cgroup[Symbol.asyncDispose]();
  }
}

const verdictsOf = ({ behaviours: found }: Contract) =>
  Object.fromEntries(Object.entries(found).map(([name, { verdict }]) => [name, verdict]));

/** What a run could leave behind. */
function traces() {
  const cgroups = readdirSync(findCgroup2()?.mountPoint ?? "").filter((name) =>
    name.startsWith(`shunt-probe-${process.pid}-`),
  );
  const fds = readdirSync("/proc/self/fd").flatMap((fd) => {
    const path = join("/proc/self/fd", fd);
    const target = existsSync(path) ? readlinkSync(path) : "";
    return target.startsWith("net:") || target.includes("bpf") ? [target] : [];
  });
  return { cgroups, fds };
}

describe("the contract", () => {
  let contract: Contract;
  let took: number;
  const before = traces();
  beforeAll(async () => {
    const begin = performance.now();
    contract = await tryHere();
    took = performance.now() - begin;
  }, RUN_MS);

  it("has a verdict and a detail for every behaviour, and decides by them", () => {
    expect(Object.keys(contract.behaviours)).toEqual(behaviours.map(({ name }) => name));
    for (const { detail } of Object.values(contract.behaviours)) expect(detail).not.toBe("");
    expect(contract.acceleration).toBe(accelerationOf(contract.behaviours));
  });

  it("takes less than three seconds on a machine that is not busy", ({ skip }) => {
    const load = loadavg()[0] ?? 0;
    // What is quick enough on a busy one is so.
    skip(took >= 3000 * patience && load > availableParallelism(), `the load is ${load}`);
    expect(took).toBeLessThan(3000 * patience);
  });

  it("leaves nothing behind", () => {
    expect(traces()).toEqual(before);
  });

  it("ends at once when it is no longer wanted", async () => {
    const controller = new AbortController();
    const running = tryHere(controller.signal);
    controller.abort(new Error("no longer wanted"));
    await expect(running).rejects.toThrow("no longer wanted");
    expect(traces()).toEqual(before);
  });

  it.skipIf(process.env["SHUNT_CONTRACT_RUNS"] === "0")(
    `has the same verdicts in ${RUNS} runs on a machine without a moment to spare`,
    async () => {
      using _load = new Spinners(2 * availableParallelism());
      for (let i = 0; i < RUNS; i++) expect(verdictsOf(await tryHere()), `run ${i}`).toEqual(verdictsOf(contract));
    },
    RUNS * RUN_MS,
  );
});

describe("the contract of an agent", () => {
  const folder = mkdtempSync(join(tmpdir(), "shunt-test-"));
  const path = join(folder, ".contract/verdict.json");
  afterAll(() => rmSync(folder, { recursive: true }));

  it("is tried once in a boot, and has a metric for each behaviour", async ({ skip }) => {
    const contract = await runContract(undefined, path);
    const untested = Object.entries(contract.behaviours).find(([, { verdict }]) => verdict === "untested");
    if (untested) skip(`${untested[0]} can't be tried here: ${untested[1].detail}`);
    const kept = statSync(path, { bigint: true }).mtimeNs;
    // An abandoned signal would end a run at once; what is kept needs none.
    expect(await runContract(AbortSignal.abort(), path)).toEqual(contract);
    expect(statSync(path, { bigint: true }).mtimeNs).toBe(kept);
    const { samples } = contractMetrics(contract);
    expect(samples.map(({ labels }) => labels)).toEqual(
      Object.entries(contract.behaviours).map(([behaviour, { verdict }]) => ({ behaviour, verdict })),
    );
    expect(contractMetrics(undefined).samples).toEqual([]);
  });
});

describe("what a machine lacks", () => {
  it("is a reason, not a failure: no behaviour is tested and acceleration is off", async () => {
    // A descriptor that is no cgroup: nothing can be attached to it.
    const contract = await tryContract({ objects: CONTRACT_OBJECTS, cgroup: { path: "/nowhere", fd: 0 } });
    expect(contract.acceleration).toBe("off");
    for (const { verdict, detail } of Object.values(contract.behaviours)) {
      expect(verdict).toBe("untested");
      expect(detail).toMatch(/can't be attached/);
    }
  });
});

describe("shunt probe --contract --json", () => {
  it("has the contract beside the features, and no contract without the flag", async () => {
    const main = join(import.meta.dirname, "../../../dist/main.js");
    const probe = async (...flags: string[]) =>
      JSON.parse((await run(process.execPath, [main, "probe", "--json", ...flags], { timeoutMs: RUN_MS })).stdout) as {
        contract?: Contract;
      };
    const { contract } = await probe("--contract");
    expect(Object.keys(contract?.behaviours ?? {})).toEqual(behaviours.map(({ name }) => name));
    expect(contract?.acceleration).toBe(contract && accelerationOf(contract.behaviours));
    expect(await probe()).not.toHaveProperty("contract");
  });
});
