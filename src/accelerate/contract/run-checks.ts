// SPDX-License-Identifier: Apache-2.0
/** shunt-contract: real sockets under the programs, one verdict a line. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { ADDON_PATH } from "../../native/load-addon.ts";
import { ShuntError } from "../../util/shunt-error.ts";
import type { BehaviourName } from "./behaviours.ts";

/** Built beside the addon, by the same build. */
export const CONTRACT_PROGRAM = join(dirname(ADDON_PATH), "shunt-contract");

/** The self-test itself failed: it says nothing about the kernel. */
export class ContractError extends ShuntError<"ERR_CONTRACT_PROGRAM"> {}

export interface CheckResult {
  readonly result: "ok" | "broken" | "untested";
  readonly detail: string;
}

/** Where the checks make their sockets, and what they find attached there. */
export interface CheckSetting {
  /** Path that can be opened by a child. */
  readonly netns: string;
  /** Directory of the cgroup the programs are attached to. */
  readonly cgroup: string;
  readonly maps?: { readonly sockets: number; readonly counts: number };
}

export interface CheckOptions {
  readonly signal?: AbortSignal;
  /** Called when a check is as far that its programs can go; it waits for the returned promise. */
  readonly onArmed?: () => void;
  /** Further arguments: the faults and the steering of the tests. */
  readonly args?: readonly string[];
}

type Line =
  | { readonly name: BehaviourName; readonly result: CheckResult["result"]; readonly detail: string }
  | { readonly armed: BehaviourName }
  | { readonly deadlineMs: number };

/** Runs the checks, several at a time. What was not reported is missing in the answer. */
export async function runChecks(
  names: readonly BehaviourName[],
  { netns, cgroup, maps }: CheckSetting,
  { signal, onArmed, args = [] }: CheckOptions = {},
): Promise<Map<BehaviourName, CheckResult>> {
  signal?.throwIfAborted();
  const ids = maps === undefined ? [] : ["--sockets", String(maps.sockets), "--counts", String(maps.counts)];
  const patience = process.env["SHUNT_PATIENCE"] ?? "1";
  const argv = ["--netns", netns, "--cgroup", cgroup, ...ids, "--patience", patience, ...args, ...names];
  const results = new Map<BehaviourName, CheckResult>();
  let complaint = "";
  let stop = (): void => {};
  try {
    // Throws by itself for what the operating system refuses at once.
    const child = spawn(CONTRACT_PROGRAM, argv, { stdio: ["pipe", "pipe", "pipe"] });
    stop = (): void => void child.kill("SIGKILL");
    signal?.addEventListener("abort", stop, { once: true });
    createInterface({ input: child.stdout }).on("line", (text) => {
      const line = parseLine(text);
      if (line === undefined) return;
      if ("name" in line) results.set(line.name, { result: line.result, detail: line.detail });
      if (!("armed" in line)) return;
      onArmed?.();
      child.stdin.end();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      complaint += chunk.toString();
    });
    child.stdin.on("error", () => {});
    const [status, killer] = (await once(child, "close")) as [number | null, string | null];
    signal?.throwIfAborted();
    if (status === 0) return results;
    throw new ContractError(
      "ERR_CONTRACT_PROGRAM",
      `${CONTRACT_PROGRAM} ended with ${killer ?? `status ${status}`}: ${complaint.trim()}`,
    );
  } catch (error) {
    if (error instanceof ContractError || signal?.aborted) throw error;
    throw new ContractError("ERR_CONTRACT_PROGRAM", `${CONTRACT_PROGRAM} could not be started`, { cause: error });
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/** Undefined for what a program that was killed has not written to its end. */
function parseLine(text: string): Line | undefined {
  try {
    return JSON.parse(text) as Line;
  } catch {
    return undefined;
  }
}
