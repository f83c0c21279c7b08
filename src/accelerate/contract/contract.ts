// SPDX-License-Identifier: Apache-2.0
/** The kernel contract self-test: tries every behaviour that acceleration depends on, and decides. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadAddon } from "../../native/load-addon.ts";
import { check, SystemError } from "../../native/status.ts";
import { causedBy } from "../../util/shunt-error.ts";
import { type BehaviourName, behaviours } from "./behaviours.ts";
import { ContractPrograms } from "./contract-programs.ts";
import { type CheckResult, ContractError, runChecks } from "./run-checks.ts";
import { accelerationOf, type BehaviourVerdict, type BehaviourVerdicts, type Contract } from "./verdict.ts";

export interface ContractOptions {
  /** Directory of the built objects. */
  readonly objects: string;
  /** An empty cgroup for the checks alone. */
  readonly cgroup: { readonly path: string; readonly fd: number };
  readonly signal?: AbortSignal;
}

/**
 * Harmless everywhere, and enough to tell kernels that must not get further: RHEL 8.1 crashes in poll and MSG_PEEK of
 * redirected bytes, and loses the end of plain ones and the bytes before close().
 */
const FIRST: readonly BehaviourName[] = ["byte-order", "eof-plain", "close-after-write"];
const FIONREAD: BehaviourName = "fionread-plain";
/** Takes its programs away under itself. */
const LAST: BehaviourName = "crash-undelivered";

type Verdicts = ReadonlyMap<BehaviourName, BehaviourVerdict>;
type Run = (names: readonly BehaviourName[], streamVerdict: boolean) => Promise<Verdicts>;

/**
 * Never throws for what the kernel lacks or does wrong; throws a ContractError when the test itself can't be made,
 * and the signal's reason. Nothing is left behind but processes of the cgroup that are ending.
 */
export async function tryContract({ objects, cgroup, signal }: ContractOptions): Promise<Contract> {
  signal?.throwIfAborted();
  const bytes = readFileSync(join(objects, "contract.bpf.o"));
  let netnsFd: number | undefined;
  try {
    netnsFd = check(loadAddon().newNetns(true), "unshare(CLONE_NEWNET)");
    const netns = `/proc/${process.pid}/fd/${netnsFd}`;
    const found = await inOrder(async (names, streamVerdict) => {
      using programs = new ContractPrograms(bytes, cgroup.fd, streamVerdict);
      const results = await runChecks(
        names,
        { netns, cgroup: cgroup.path, maps: programs },
        { onArmed: () => programs[Symbol.dispose](), ...(signal && { signal }) },
      );
      return new Map(names.map((name) => [name, toVerdict(results.get(name))]));
    });
    return complete(found, `not tried: ${FIRST.find((name) => found.get(name)?.verdict !== "ok")} is not ok`);
  } catch (error) {
    if (error instanceof ContractError || signal?.aborted) throw error;
    return untriedContract(reasonOf(error));
  } finally {
    if (netnsFd !== undefined) loadAddon().closeFd(netnsFd);
  }
}

/** Where nothing could be tried, for the reason given. */
export function untriedContract(reason: string): Contract {
  return complete(new Map(), reason);
}

/** Harmless checks first, then with the stream verdict if FIONREAD wants it, and what takes its programs away last. */
async function inOrder(run: Run): Promise<Verdicts> {
  let bare = await run([...FIRST, FIONREAD], false);
  if (FIRST.some((name) => bare.get(name)?.verdict !== "ok")) return bare;
  let streamVerdict = false;
  const fionread = bare.get(FIONREAD);
  if (fionread?.verdict === "broken") {
    const again = await run([...FIRST, FIONREAD], true);
    streamVerdict = [...again.values()].every(({ verdict }) => verdict === "ok");
    const detail = `${fionread.detail}; right with a stream verdict that lets everything pass`;
    if (streamVerdict) bare = new Map([...again, [FIONREAD, { verdict: "worked-around", detail }]]);
  }
  const rest = behaviours.map(({ name }) => name).filter((name) => !bare.has(name) && name !== LAST);
  return new Map([...bare, ...(await run(rest, streamVerdict)), ...(await run([LAST], streamVerdict))]);
}

function toVerdict(result: CheckResult | undefined): BehaviourVerdict {
  if (result === undefined) return { verdict: "untested", detail: "the check did not report" };
  return { verdict: result.result, detail: result.detail };
}

/** What has no verdict was not tried, for the reason given. */
function complete(found: Verdicts, why: string): Contract {
  const verdicts = Object.fromEntries(
    behaviours.map(({ name }) => [name, found.get(name) ?? { verdict: "untested", detail: why }]),
  ) as BehaviourVerdicts;
  return { acceleration: accelerationOf(verdicts), behaviours: verdicts };
}

function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const name = causedBy(error, SystemError)?.errnoName ?? "";
  return `the programs can't be attached: ${message.includes(name) ? message : `${name}: ${message}`}`;
}
