// SPDX-License-Identifier: Apache-2.0
/** Istio's own interception cases, kept outside of this repository. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { patienceMs } from "./inbox.ts";
import { peerFolder } from "./peer-folder.ts";

export interface IstioCase {
  readonly id: string;
  readonly suite: string;
}

export interface IstioCases {
  readonly folder: string;
  /** Those of the command line, sidecar iptables and nftables. */
  readonly cases: readonly IstioCase[];
}

/** The reason when they can't be had. */
export function findIstioCases(): IstioCases | { readonly reason: string } {
  const found = peerFolder("istio-capture");
  if ("reason" in found) return found;
  const text = readFileSync(join(found.path, "cases.json"), "utf8");
  const { cases } = JSON.parse(text) as { cases: readonly IstioCase[] };
  return { folder: found.path, cases: cases.filter(({ suite }) => suite === "iptables" || suite === "nftables") };
}

export interface ScriptResult {
  readonly status: number | null;
  readonly output: string;
}

export function runScript(command: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<ScriptResult> {
  const child = spawn(command[0] ?? "", command.slice(1), {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
    timeout: patienceMs(180_000),
    killSignal: "SIGKILL",
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data: Buffer) => (output += data.toString()));
  return new Promise((settle, reject) => {
    child.on("error", reject);
    child.on("close", (status) => settle({ status, output }));
  });
}

/** Two at a time; the answers are in the order of the items. */
export async function byTwos<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const rest = [...items.entries()];
  const worker = async (): Promise<void> => {
    for (let next = rest.shift(); next !== undefined; next = rest.shift()) results[next[0]] = await work(next[1]);
  };
  await Promise.all([worker(), worker()]);
  return results;
}
